// Where a replay stands, and when its next event is due: recorded time, faster or slower, with long silences cut when asked, held, moved.
// Times are on a line of its own that begins at 0. It reads a clock that never jumps and waits for nobody.

import type { Clock } from '../../core/clock.ts'

export interface Pace {
  readonly speed: Speed
  readonly skipIdle: boolean
}

export const SPEEDS = ['0.5x', '1x', '2x', '4x', '8x'] as const
export type Speed = (typeof SPEEDS)[number]

/** What is left of a silence that is skipped. */
export const IDLE_MS = 500

/** From one event to the next on the replay's line. Recorded clocks may step back; a replay does not. */
export function gapMs(beforeMs: number, atMs: number, skipIdle: boolean): number {
  const recordedMs = Math.max(0, atMs - beforeMs)
  return skipIdle ? Math.min(recordedMs, IDLE_MS) : recordedMs
}

export class Playhead {
  readonly #clock: Clock
  #speed: number
  #paused = false
  #atMs = 0
  /** Since when it moves; undefined: it stands. */
  #sinceMs: number | undefined

  constructor(clock: Clock, speed: Speed) {
    this.#clock = clock
    this.#speed = SPEEDS.indexOf(speed)
  }

  get paused(): boolean {
    return this.#paused
  }

  get atMs(): number {
    if (this.#sinceMs === undefined) return this.#atMs
    return this.#atMs + (this.#clock.monotonic() - this.#sinceMs) * this.#factor
  }

  /** How long until `atMs` is reached; 0: it is. Begins to move when that lies ahead, so that catching up takes no time of its own. */
  leftMs(atMs: number): number {
    const left = atMs - this.atMs
    if (left <= 0) return 0
    if (this.#paused) return Number.POSITIVE_INFINITY
    this.#sinceMs ??= this.#clock.monotonic()
    return left / this.#factor
  }

  togglePause(): void {
    this.#stand(this.atMs)
    this.#paused = !this.#paused
  }

  seek(byMs: number): void {
    this.#stand(Math.max(0, this.atMs + byMs))
  }

  faster(steps: 1 | -1): void {
    this.#stand(this.atMs)
    this.#speed = Math.min(Math.max(this.#speed + steps, 0), SPEEDS.length - 1)
  }

  get #factor(): number {
    return Number((SPEEDS[this.#speed] ?? '1x').slice(0, -1))
  }

  /** Until somebody asks how long it takes. */
  #stand(atMs: number): void {
    this.#atMs = atMs
    this.#sinceMs = undefined
  }
}
