// What every part of control is given: the store, the signer, the audit log, time. One value, passed by constructor; no part
// opens anything itself. The helpers read and write the store's JSON with a check, so that a damaged record is an error here.

import type * as z from 'zod'

import type { EventFields } from '../core/audit/event.ts'
import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import type { Logger } from '../core/log.ts'
import type { Envelope } from './envelope.ts'
import type { SignerApi } from './signer/api.ts'
import type { Store } from './store/contract.ts'

export interface Base {
  readonly cluster: string
  readonly store: Store
  readonly signer: SignerApi
  /** Seals secrets before they reach the store. */
  readonly secrets: Envelope
  readonly clock: Clock
  readonly log: Logger
  /** Appends to the audit log; resolves when it is durable. */
  audit(name: string, code: string, fields: EventFields): Promise<void>
}

/** A stored value with the revision to compare and swap by. */
export interface Stored<T> {
  readonly value: T
  readonly revision: number
}

export async function readStored<T>(
  store: Store,
  key: string,
  schema: z.ZodType<T>,
): Promise<Stored<T> | undefined> {
  const item = await store.get(key)
  return item === undefined
    ? undefined
    : { value: parseStored(item.value, schema, key), revision: item.revision }
}

export function parseStored<T>(text: string, schema: z.ZodType<T>, key: string): T {
  const parsed = schema.safeParse(JSON.parse(text))
  if (parsed.success) return parsed.data
  throw new ProxyError(
    'store.unavailable',
    'A stored record has a form this version does not know.',
    {
      detail: `${key}: ${parsed.error.message}`,
    },
  )
}

/** Runs `attempt` again while another writer was faster. It must read anew each time. */
export async function retryOnConflict<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt()
    } catch (error) {
      if (errorCode(error) !== 'resource.conflict' || tries >= CONFLICTS_MAX) throw error
    }
  }
}

const CONFLICTS_MAX = 5
