// When to dial a lost link again: exponential back-off with jitter, and a token bucket over it, so that a thousand agents that
// lost one proxy come back spread out and none of them ever hammers. Pure in its inputs; it dials nothing.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

export class Redial {
  readonly #clock: Clock
  readonly #random: () => number
  #failures = 0
  #tokens = max('linkRedialBurstMax')
  #filledMs: number

  /** `random`: 0 ≤ value < 1. */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock
    this.#random = random
    this.#filledMs = clock.monotonic()
  }

  /** How long to wait before the next dial, which it takes as made. */
  next(): number {
    const nowMs = this.#clock.monotonic()
    const earned = (nowMs - this.#filledMs) / max('linkRedialEveryMs')
    this.#filledMs = nowMs
    this.#tokens = Math.min(max('linkRedialBurstMax'), this.#tokens + earned) - 1
    const owedMs = this.#tokens < 0 ? -this.#tokens * max('linkRedialEveryMs') : 0
    const backoffMs = Math.min(max('redialMaxMs'), max('redialMinMs') * 2 ** this.#failures)
    this.#failures++
    return Math.max(owedMs, backoffMs * (0.5 + 0.5 * this.#random()))
  }

  /** The link stood for so long; a link that falls at once has not succeeded. */
  stood(ms: number): void {
    if (ms >= max('linkStableMs')) this.#failures = 0
  }
}
