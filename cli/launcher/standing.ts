// Whether a person whose certificate holds may have this login here now: cluster, dates, resets, locks, and how old all of that is.
// The call that core/login.ts `authorize` takes over once it decides about nodes; until then roles are the agent's to judge.

import { certificateEndMs } from '../../core/login.ts'
import type { CertificateFacts, UserIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from '../../core/policy/locks.ts'
import { beaconAgeMs, type Snapshot } from '../../core/snapshot.ts'
import type { LaunchAsk } from '../../workers/launch-wire.ts'

export interface Standing {
  readonly ask: LaunchAsk
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
  readonly keySha256: string
  readonly snapshot: Snapshot
  readonly nowMs: number
}

/** The sentence of a refusal; undefined when nothing speaks against it. */
export function refusalOf(standing: Standing): string | undefined {
  const { identity, facts, snapshot, nowMs } = standing
  if (identity.cluster !== snapshot.config.cluster) return 'The certificate is of another cluster.'
  if (nowMs >= certificateEndMs(identity, facts))
    return 'The certificate has expired. Log in again.'
  const key = userGenerationKey(identity.issuer, identity.name)
  if (isGenerationStale(snapshot.lockSet, key, identity.generation))
    return 'The account was reset since this login. Log in again.'
  return lockedBy(standing) ?? unsure(standing)
}

function lockedBy(standing: Standing): string | undefined {
  const { ask, identity, facts, keySha256, snapshot, nowMs } = standing
  const subject = sessionSubject(identity, {
    kind: 'node',
    target: ask.node.name,
    principal: ask.login,
    certificateSerial: facts.serial,
    keySha256,
    serverIds: [ask.node.agentId],
  })
  const lock = matchLock(snapshot.lockSet, subject, nowMs)
  return lock === undefined ? undefined : `Refused: ${lockText(lock)}.`
}

function unsure({ snapshot, nowMs }: Standing): string | undefined {
  if (snapshot.config.lockingMode !== 'strict') return undefined
  if (beaconAgeMs(snapshot.beaconAtMs, nowMs) <= max('stalenessMaxMs')) return undefined
  return 'Locks cannot be checked, as control has been silent too long for strict locking.'
}
