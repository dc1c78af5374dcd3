// The sessions of one worker thread that live now, and what ends them from outside: a lock in force, credentials that were reset,
// locks that could not be refreshed for too long, the drain. The same at an agent and at a proxy that terminates. Each session is
// told in its own protocol's words; nothing here opens or reads a connection.

import { randomBytes } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Authorized } from '../core/login.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from '../core/policy/locks.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import { beaconAgeMs, type LockSet } from '../core/snapshot.ts'
import { newDecisionId } from '../core/ulid.ts'
import { pause } from './pause.ts'
import type { Trust } from './trust.ts'

/** A certificate and its key. */
export interface Proof {
  readonly peer: Peer
  readonly keySha256: string
}

/** What locks are matched with, as far as the session knows it by now. */
export interface LiveSession {
  readonly peer: Peer | undefined
  readonly right: Authorized | undefined
  readonly target: TargetRef | undefined
  readonly keySha256: string
  /** What was proved on the way here, where that was another certificate of theirs: a lock on it holds too. */
  readonly entered?: Proof | undefined
  /** Hosts it runs through. */
  readonly serverIds: readonly string[]
  evict(refusal: Refusal): void
}

export interface LiveSessionsOptions {
  readonly trust: Trust
  readonly clock: Clock
  /** Who drains: `agent`, `proxy`. */
  readonly host: string
}

const LOGIN_AGAIN = 'Log in again: tsh login.'
const DB_LOGIN_AGAIN = 'Log in again: tsh login, then tsh db login.'
const ASK_ADMINISTRATOR = 'Ask an administrator: tctl get locks.'

export class LiveSessions<S extends LiveSession> {
  readonly #options: LiveSessionsOptions
  readonly #live = new Set<S>()

  constructor(options: LiveSessionsOptions) {
    this.#options = options
    options.trust.onChange((what) => {
      if (what === 'locks') this.#enforceLocks()
      if (what === 'beacon') this.#enforceStaleness()
    })
  }

  get size(): number {
    return this.#live.size
  }

  add(session: S): void {
    this.#live.add(session)
  }

  delete(session: S): void {
    this.#live.delete(session)
  }

  /** Lets sessions end until the deadline, then evicts the rest. */
  async drain(deadlineMs: number): Promise<void> {
    const { clock, host } = this.#options
    const endMs = clock.monotonic() + deadlineMs
    while (this.#live.size > 0 && clock.monotonic() < endMs) await pause(100)
    for (const session of this.#live)
      session.evict(
        this.#refusal('unavailable', `the ${host} is being restarted`, 'Connect again.'),
      )
  }

  /** Resolves when the last one is gone, or after the time that cut connections have. */
  async gone(): Promise<void> {
    const { clock } = this.#options
    const endMs = clock.monotonic() + max('socketsCloseMs')
    while (this.#live.size > 0 && clock.monotonic() < endMs) await pause(max('lastFramesMs') / 10)
  }

  /** Ends every session that a lock in force matches, within the tick its set arrived in. */
  #enforceLocks(): void {
    const lockSet = this.#options.trust.snapshot?.lockSet
    if (lockSet === undefined) return
    for (const session of this.#live) {
      const refusal = this.#locked(session, lockSet)
      if (refusal !== undefined) session.evict(refusal)
    }
  }

  #locked(session: S, lockSet: LockSet): Refusal | undefined {
    const { peer, keySha256, entered } = session
    if (peer === undefined) return undefined
    const refusal = this.#provedLocked(session, { peer, keySha256 }, lockSet)
    if (refusal !== undefined || entered === undefined) return refusal
    return this.#provedLocked(session, entered, lockSet)
  }

  #provedLocked(session: S, { peer, keySha256 }: Proof, lockSet: LockSet): Refusal | undefined {
    const { right, target, serverIds } = session
    if (target === undefined) return undefined
    const { issuer, name, generation } = peer.identity
    if (isGenerationStale(lockSet, userGenerationKey(issuer, name), generation))
      return this.#refusal(
        'lock',
        'the credentials of this user were reset',
        target.kind === 'node' ? LOGIN_AGAIN : DB_LOGIN_AGAIN,
      )
    const subject = sessionSubject(peer.identity, {
      kind: target.kind,
      target: target.name,
      principal: right?.access.principal ?? '',
      certificateSerial: peer.facts.serial,
      keySha256,
      serverIds,
    })
    const lock = matchLock(lockSet, subject, this.#options.clock.now())
    return lock === undefined ? undefined : this.#refusal('lock', lockText(lock), ASK_ADMINISTRATOR)
  }

  /** Strict locking does not outlive its knowledge: beyond the bound its sessions end. */
  #enforceStaleness(): void {
    const { trust, clock } = this.#options
    const { snapshot } = trust
    if (
      snapshot === undefined ||
      beaconAgeMs(snapshot.beaconAtMs, clock.now()) < max('stalenessMaxMs')
    )
      return
    const reason = 'locks could not be refreshed for too long (strict locking)'
    for (const session of this.#live)
      if (session.right?.grant.lockMode === 'strict')
        session.evict(this.#refusal('lock', reason, 'Try again when control is back.'))
  }

  #refusal(kind: Refusal['kind'], reason: string, next: string): Refusal {
    const decisionId = newDecisionId(this.#options.clock.now(), randomBytes(10))
    return { decisionId, kind, reason, next }
  }
}
