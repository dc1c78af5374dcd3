// Whether the other end of a link is the kind of host it must be: from the DER of its certificate, the host CA alone, its
// system role, locks and generation. The same on full and on resumed handshakes, and again whenever trust or locks change.

import { verifyPeer } from '../core/cert/verify.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { CertificateFacts, Identity, SystemIdentity, SystemRole } from '../core/identity.ts'
import { hostGenerationKey, isGenerationStale, lockText, matchLock } from '../core/policy/locks.ts'
import type { Snapshot } from '../core/snapshot.ts'

export type Admission =
  | {
      readonly ok: true
      readonly identity: SystemIdentity
      readonly facts: CertificateFacts
    }
  | {
      readonly ok: false
      readonly code: ErrorCode
      readonly reason: string
      /** Who was refused, where a CA of the cluster says so: for the audit log. */
      readonly identity?: Identity
    }

/** `purpose`: what the peer is on this connection. */
export function admitHost(
  chain: readonly Uint8Array[],
  want: { readonly role: SystemRole; readonly purpose: 'client' | 'server' },
  snapshot: Snapshot,
  nowMs: number,
): Admission {
  const { cluster } = snapshot.config
  const verified = verifyPeer(
    chain,
    { cas: snapshot.cas.host, type: 'system', cluster, ...want },
    nowMs,
  )
  if (!verified.ok) return verified
  const { identity, facts, keySha256 } = verified
  if (identity.type !== 'system')
    return { ok: false, code: 'cert.purpose', reason: 'It is a person’s certificate.', identity }
  const { lockSet } = snapshot
  if (isGenerationStale(lockSet, hostGenerationKey(identity.id), identity.generation))
    return {
      ok: false,
      code: 'login.locked',
      reason: 'Its certificate was replaced by another.',
      identity,
    }
  const subject = { serverIds: [identity.id], certificateSerial: facts.serial, keySha256 }
  const lock = matchLock(lockSet, subject, nowMs)
  if (lock !== undefined)
    return { ok: false, code: 'login.locked', reason: lockText(lock), identity }
  return { ok: true, identity, facts }
}
