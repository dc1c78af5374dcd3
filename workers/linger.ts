// How long the last bytes of a session may take to leave: as long as a slow peer takes some of them in each period, within a
// bound for all. A peer that takes none is dropped. It writes nothing and closes nothing by itself.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Deadlines } from './timers.ts'

export interface Lingering {
  /** What has not left yet. */
  readonly leftBytes: () => number
  readonly drop: () => void
}

export function watchLinger(
  deadlines: Pick<Deadlines<'linger'>, 'after'>,
  clock: Clock,
  lingering: Lingering,
): void {
  const endMs = clock.monotonic() + max('halfClosedMsMax')
  const watch = (beforeBytes: number): void =>
    deadlines.after('linger', max('sessionLingerMs'), () => {
      const leftBytes = lingering.leftBytes()
      const moves = leftBytes > 0 && leftBytes < beforeBytes
      return moves && clock.monotonic() < endMs ? watch(leftBytes) : lingering.drop()
    })
  watch(Number.POSITIVE_INFINITY)
}
