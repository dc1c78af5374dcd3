// What the store's client and its thread say to each other. One `Reply` answers a whole group of requests, after its commit.
// Errors cross as code and message, since structured clone would strip the class.

import type { ErrorCode } from '../../core/errors.ts'
import type { RangePage, RangeRequest, StoreEvent, StoreItem, StoreOp } from './contract.ts'

export type StoreRequest =
  | { readonly kind: 'get'; readonly key: string }
  | { readonly kind: 'range'; readonly request: RangeRequest }
  | { readonly kind: 'batch'; readonly ops: readonly StoreOp[] }
  | { readonly kind: 'watch'; readonly prefix: string; readonly from?: number }
  /** Nothing but the deletion of what has expired, which every group begins with. */
  | { readonly kind: 'sweep' }

export type StoreResult =
  | { readonly kind: 'item'; readonly item?: StoreItem }
  | { readonly kind: 'page'; readonly page: RangePage }
  | { readonly kind: 'written'; readonly revisions: readonly number[] }
  /** Live events beyond `revision` follow in later replies; `backlog` is what happened between the token and it. */
  | {
      readonly kind: 'watching'
      readonly revision: number
      readonly backlog: readonly StoreEvent[]
    }
  | { readonly kind: 'swept' }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly message: string
      readonly retry: boolean
    }

export interface ToStoreThread {
  readonly id: number
  /** The caller's wall clock: expiry is judged by the time control goes by. */
  readonly nowMs: number
  readonly request: StoreRequest | { readonly kind: 'close' }
}

export type FromStoreThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly message: string }
  | {
      readonly kind: 'reply'
      readonly results: readonly { readonly id: number; readonly result: StoreResult }[]
      /** Every change of the group, in order of revision. */
      readonly events: readonly StoreEvent[]
      readonly nextExpiryMs?: number
    }
  | { readonly kind: 'closed' }

/** Given to the thread when it starts. */
export interface StoreThreadData {
  readonly file: string
}
