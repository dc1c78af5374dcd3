// How long a replay waits before its next event: the recorded time, divided by the speed, with long silences cut when asked. Pure.

export interface Pace {
  readonly speed: number
  readonly skipIdle: boolean
}

/** What is left of a silence that is skipped. */
const IDLE_MS = 500

/** From one event to the next, in milliseconds. Recorded clocks may step back; a replay does not. */
export function waitMs(beforeMs: number, atMs: number, { speed, skipIdle }: Pace): number {
  const recordedMs = Math.max(0, atMs - beforeMs)
  return (skipIdle ? Math.min(recordedMs, IDLE_MS) : recordedMs) / speed
}

export const SPEEDS = ['0.5x', '1x', '2x', '4x', '8x'] as const

export function speedOf(text: (typeof SPEEDS)[number]): number {
  return Number(text.slice(0, -1))
}
