// What a proxy checks before it relays SSH that it cannot read: that whoever came may be served at all, and may know of the node. It
// admits to no node: which login is wanted is said inside the SSH, and the agent decides (core/login.ts). A node that does not exist
// and one that is hidden are answered alike.

import { compileRoles } from './policy/compile.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from './policy/locks.ts'
import { lockModeOf } from './policy/options.ts'
import { isVisible } from './policy/reach.ts'
import { unknownTargetRefusal } from './policy/refusal.ts'
import type { Peer, Refusal } from './protocol.ts'
import { beaconAgeMs, type Snapshot, type Target } from './snapshot.ts'

export interface PassageContext {
  readonly nowMs: number
  readonly decisionId: string
  readonly stalenessMaxMs: number
  readonly keySha256: string
  /** This proxy. */
  readonly serverIds: readonly string[]
}

const LOG_IN = 'Log in again: tsh login.'

/** Why somebody is not served here, whatever they want. Undefined: they may ask for nodes. */
export function refuseVisitor(
  peer: Peer,
  snapshot: Snapshot,
  context: PassageContext,
): Refusal | undefined {
  const { identity, facts } = peer
  const { nowMs, decisionId, stalenessMaxMs } = context
  const no = (kind: Refusal['kind'], reason: string, next: string): Refusal => ({
    decisionId,
    kind,
    reason,
    next,
  })
  // A certificate for one target opens no other door.
  if (identity.route !== undefined)
    return no('identity', 'the certificate is for one target, and is no login', LOG_IN)
  const endsAtMs = Math.min(facts.notAfterMs, identity.loginExpiresAtMs ?? facts.notAfterMs)
  if (nowMs >= endsAtMs) return no('expired', 'the certificate has expired', LOG_IN)
  const { lockSet, config } = snapshot
  const key = userGenerationKey(identity.issuer, identity.name)
  if (isGenerationStale(lockSet, key, identity.generation))
    return no('expired', 'the account was reset since this login', LOG_IN)
  const locked = lockOn(peer, undefined, snapshot, context)
  if (locked !== undefined) return locked
  const strict =
    config.lockingMode === 'strict' ||
    lockModeOf(identity, compileRoles(snapshot.roles)) === 'strict'
  if (!strict || beaconAgeMs(snapshot.beaconAtMs, nowMs) <= stalenessMaxMs) return undefined
  const reason = 'locks cannot be checked, as control has been silent too long for strict locking'
  return no('unavailable', reason, 'Try again when control is back.')
}

/** Why this node is not theirs to reach. `target`: what the name stands for; undefined: nothing. */
export function refuseNode(
  peer: Peer,
  target: Target | undefined,
  snapshot: Snapshot,
  context: PassageContext,
): Refusal | undefined {
  const roles = compileRoles(snapshot.roles)
  const seen = target !== undefined && isVisible(peer.identity, target, roles)
  if (!seen) return unknownTargetRefusal(context.decisionId, 'node', peer.identity, roles)
  return lockOn(peer, target, snapshot, context)
}

/** The nodes of these that somebody may know of. */
export function visibleNodes(
  peer: Peer,
  targets: Iterable<Target>,
  snapshot: Snapshot,
): readonly Target[] {
  const roles = compileRoles(snapshot.roles)
  return [...targets].filter(
    (target) => target.ref.kind === 'node' && isVisible(peer.identity, target, roles),
  )
}

function lockOn(
  peer: Peer,
  target: Target | undefined,
  { lockSet }: Snapshot,
  { nowMs, decisionId, keySha256, serverIds }: PassageContext,
): Refusal | undefined {
  const subject = sessionSubject(peer.identity, {
    kind: 'node',
    target: target?.ref.name ?? '',
    principal: '',
    certificateSerial: peer.facts.serial,
    keySha256,
    serverIds,
  })
  const lock = matchLock(lockSet, subject, nowMs)
  if (lock === undefined) return undefined
  return { decisionId, kind: 'lock', reason: lockText(lock), next: 'Ask an administrator.' }
}
