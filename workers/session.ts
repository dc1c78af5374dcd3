// What a session is to its thread: where it begins, what the thread gives it, how it is watched and ended. Types only; the
// work is in perform.ts. The same services will carry streaming sessions.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { Access, AuditFields, Peer, Refusal, Tap } from '../core/protocol.ts'
import type { Dialled } from './target-login.ts'
import type { Timers } from './timers.ts'

/** Where a session begins. */
export interface SessionStart {
  /** Where recognition left the handshake. */
  readonly stage: string
  readonly target?: TargetRef
  /** Bytes of the client read so far. */
  readonly first: Uint8Array
  /** Said in the client's protocol instead of serving it. */
  readonly denial?: Refusal
  /** What signals for this session are named by; 0 or absent: none reaches it. */
  readonly signalHandle?: number
}

/** A client whose TLS is up. Without `peer` it is refused, with `refusal` when it is known why. */
export interface SecuredClient {
  readonly socket: net.Socket
  readonly peer?: Peer
  readonly alpn?: string
  readonly refusal?: Refusal
  /** What the peer's certificate is routed to, where the session began without a target. */
  readonly target?: TargetRef
}

export type AuthorizeOutcome = { readonly right: Authorized } | { readonly refusal: Refusal }

/** What a session's thread gives it. */
export interface PerformServices {
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  readonly newDecisionId: () => string
  readonly secureClient: (raw: net.Socket, first: Uint8Array) => Promise<SecuredClient>
  readonly authorize: (peer: Peer, access: Access) => Promise<AuthorizeOutcome>
  readonly dial: (right: Authorized, opening: Uint8Array, signal: AbortSignal) => Promise<Dialled>
  readonly tap: (right: Authorized) => Tap
  readonly audit: (code: string, fields: AuditFields, right: Authorized | undefined) => void
  /** Random bytes for a session's secrets. */
  readonly random: (bytes: number) => Uint8Array
  /** A message for another session came on this connection. Never answers, never throws. */
  readonly signal: (key: Uint8Array) => void
  /** This session is reached by signals with `shown` from now on; its target is told `real`. Without a right: not at all. */
  readonly signalKey: (shown: Uint8Array, real: Uint8Array, right: Authorized | undefined) => void
}

export interface SessionCounters {
  readonly fromClientBytes: number
  readonly fromTargetBytes: number
  readonly notes: number
}

export interface Session {
  /** Resolves when both sockets are gone, with why. Never rejects. */
  readonly done: Promise<string>
  readonly counters: SessionCounters
  readonly peer: Peer | undefined
  readonly right: Authorized | undefined
  /** End it now and say why: lock, drain, limit. No byte passes afterwards. */
  evict(refusal: Refusal): void
}
