// Time as an argument. Wall clock for expiry, monotonic for deadlines: a jump of one must not end the other.

/** Milliseconds since the epoch, and milliseconds on a clock that never jumps. */
export interface Clock {
  now(): number
  monotonic(): number
}

/** The machine's own clocks. Composition roots pass it on; tests pass a FakeClock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}

/** A clock that moves only when told. `advance` moves both hands; `jump` the wall clock alone. */
export class FakeClock implements Clock {
  #wallMs: number
  #monotonicMs = 0

  constructor(wallMs: number = Date.UTC(2026, 0, 1)) {
    this.#wallMs = wallMs
  }

  now(): number {
    return this.#wallMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  advance(ms: number): void {
    this.#wallMs += ms
    this.#monotonicMs += ms
  }

  jump(ms: number): void {
    this.#wallMs += ms
  }
}
