// Who calls: read from the certificate of the connection by core/cert/verify.ts, and judged again for every request, since
// connections outlive certificates, locks and resets. A refused certificate still lets its holder make anonymous calls (log in).

import { type Expectation, type Verified, verifyPeer } from '../../core/cert/verify.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type {
  CertificateFacts,
  Identity,
  SystemIdentity,
  UserIdentity,
} from '../../core/identity.ts'
import {
  hostGenerationKey,
  isGenerationStale,
  lockText,
  matchLock,
  userGenerationKey,
} from '../../core/policy/locks.ts'
import type { LockSet } from '../../core/snapshot.ts'

interface Certified {
  readonly facts: CertificateFacts
  readonly keySha256: string
  /** DER. */
  readonly certificate: Uint8Array
}

export type Caller =
  | { readonly kind: 'anyone' }
  | ({ readonly kind: 'user'; readonly identity: UserIdentity } & Certified)
  | ({ readonly kind: 'system'; readonly identity: SystemIdentity } & Certified)
  /** Control's own unix socket. */
  | { readonly kind: 'local' }

export interface CallerRefusal {
  readonly code: ErrorCode
  readonly reason: string
  /** Who it is, where the CA of their kind vouches for that: for the audit log. */
  readonly identity?: Identity
}

/** What callers are judged by, now. */
export interface CallerTrust {
  readonly cluster: string
  readonly userCas: readonly Uint8Array[]
  readonly hostCas: readonly Uint8Array[]
  readonly lockSet: LockSet
}

/** The caller behind a chain, leaf first. Without a chain: anyone. */
export function readCaller(
  chain: readonly Uint8Array[],
  trust: CallerTrust,
  nowMs: number,
): Caller | CallerRefusal {
  const [leaf] = chain
  if (leaf === undefined) return { kind: 'anyone' }
  const presented = chain.slice(0, 2)
  const person = verifyPeer(presented, expect(trust, 'user', trust.userCas), nowMs)
  if (person.ok) return certified(person, leaf)
  const machine = verifyPeer(presented, expect(trust, 'system', trust.hostCas), nowMs)
  if (machine.ok) return certified(machine, leaf)
  // The more telling of the two: one of them always complains about the CA.
  const { code, reason, identity } = person.code === 'cert.chain' ? machine : person
  return { code, reason, ...(identity === undefined ? {} : { identity }) }
}

function expect(
  trust: CallerTrust,
  type: 'user' | 'system',
  cas: readonly Uint8Array[],
): Expectation {
  return { cas, type, purpose: 'client', cluster: trust.cluster }
}

function certified(verified: Verified, certificate: Uint8Array): Caller {
  const { identity, facts, keySha256 } = verified
  const rest = { facts, keySha256, certificate }
  return identity.type === 'user'
    ? { kind: 'user', identity, ...rest }
    : { kind: 'system', identity, ...rest }
}

/** Why this caller may not go on, or undefined. Asked for each request and each minute of a watch. */
export function callerProblem(
  caller: Caller,
  lockSet: LockSet,
  nowMs: number,
): CallerRefusal | undefined {
  if (caller.kind === 'anyone' || caller.kind === 'local') return undefined
  const { facts, keySha256, identity } = caller
  if (nowMs > facts.notAfterMs)
    return { code: 'cert.expired', reason: 'The certificate expired; log in again.', identity }
  const common = { certificateSerial: facts.serial, keySha256 }
  const subject =
    identity.type === 'user'
      ? { ...common, user: identity.name, roles: identity.roles }
      : { ...common, serverIds: [identity.id] }
  const lock = matchLock(lockSet, subject, nowMs)
  if (lock !== undefined) return { code: 'login.locked', reason: lockText(lock), identity }
  const key =
    identity.type === 'user'
      ? userGenerationKey(identity.issuer, identity.name)
      : hostGenerationKey(identity.id)
  if (isGenerationStale(lockSet, key, identity.generation))
    return {
      code: 'cert.identity',
      reason: 'The certificate is from before a reset of its owner; log in again.',
      identity,
    }
  return undefined
}
