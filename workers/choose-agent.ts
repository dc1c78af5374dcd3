// Which of the agents of a target gets the next session: pure. One that would refuse is never asked; one that has just kept silent,
// or says that the target does not answer it, comes after one that did not; among equals the least busy, then the one that waited
// longest for a session, so that equals share.

import type { TargetRef } from '../core/identity.ts'

export interface Candidate {
  readonly agentId: string
  /** It said that it takes no new sessions. */
  readonly draining: boolean
  /** A spare of it died, or none came, and it has not been heard of since. */
  readonly suspect: boolean
  /** `kind/name` of targets that do not answer it. */
  readonly unhealthy: ReadonlySet<string>
  readonly sessions: number
  /** Number of the choice it was chosen by last. */
  readonly chosenAt: number
}

/** Undefined when none of them takes sessions. */
export function chooseAgent<C extends Candidate>(
  candidates: readonly C[],
  parked: (agentId: string) => number,
  target: TargetRef | undefined,
): C | undefined {
  const name = target === undefined ? '' : `${target.kind}/${target.name}`
  const rank = (each: C): readonly number[] => [
    each.suspect ? 1 : 0,
    each.unhealthy.has(name) ? 1 : 0,
    parked(each.agentId) > 0 ? 0 : 1,
    each.sessions,
    each.chosenAt,
  ]
  return candidates
    .filter((each) => !each.draining)
    .map((each) => ({ each, rank: rank(each) }))
    .reduce<{ each: C; rank: readonly number[] } | undefined>(
      (best, next) => (best === undefined || isLess(next.rank, best.rank) ? next : best),
      undefined,
    )?.each
}

function isLess(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index])
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0)
}
