// Timers as an argument, beside core/clock.ts: parts that wait are given these, so that tests move time by hand.
// Deadlines run on the monotonic clock; what is dated (certificates) is judged again by the wall clock, which may jump.

import { FakeClock } from '../core/clock.ts'
import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

export interface Timers {
  /** Runs `action` once after `ms`; the result cancels it. */
  after(ms: number, action: () => void): () => void
}

// setTimeout counts in 31 bits and runs longer waits at once.
const WAIT_MS_MAX = 0x7fff_ffff

/** Timers of the event loop. They never keep a process alive: its sockets do. */
export const systemTimers: Timers = {
  after(ms, action) {
    const timer = setTimeout(action, Math.min(Math.max(ms, 0), WAIT_MS_MAX))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** Timers that run when `advance` is called, in the order of their times. */
export class FakeTimers implements Timers {
  readonly clock: FakeClock
  #waiting: { readonly atMs: number; readonly action: () => void }[] = []

  constructor(clock: FakeClock = new FakeClock()) {
    this.clock = clock
  }

  get size(): number {
    return this.#waiting.length
  }

  after(ms: number, action: () => void): () => void {
    const timer = { atMs: this.clock.monotonic() + Math.max(ms, 0), action }
    this.#waiting.push(timer)
    return () => {
      this.#waiting = this.#waiting.filter((each) => each !== timer)
    }
  }

  advance(ms: number): void {
    const endMs = this.clock.monotonic() + ms
    for (;;) {
      const due = this.#waiting
        .filter((timer) => timer.atMs <= endMs)
        .reduce((a, b) => (b.atMs < a.atMs ? b : a), LAST)
      if (due === LAST) break
      this.#waiting = this.#waiting.filter((each) => each !== due)
      this.clock.advance(Math.max(0, due.atMs - this.clock.monotonic()))
      due.action()
    }
    this.clock.advance(endMs - this.clock.monotonic())
  }
}

const LAST = { atMs: Number.POSITIVE_INFINITY, action: (): void => {} }

/** Named deadlines of one owner: each at most once, all gone with `clear`. */
export class Deadlines<Name extends string> {
  readonly #clock: Clock
  readonly #timers: Timers
  readonly #cancel = new Map<Name, () => void>()

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock
    this.#timers = timers
  }

  get size(): number {
    return this.#cancel.size
  }

  /** Runs `action` after `ms` on the monotonic clock. */
  after(name: Name, ms: number, action: () => void): void {
    const run = (): void => {
      this.#cancel.delete(name)
      action()
    }
    this.drop(name)
    this.#cancel.set(name, this.#timers.after(ms, run))
  }

  /** Runs `action` when the wall clock reaches `atMs`, also when it jumps there. */
  at(name: Name, atMs: number, action: () => void): void {
    const leftMs = atMs - this.#clock.now()
    this.after(name, Math.min(Math.max(leftMs, 0), max('wallClockCheckMs')), () => {
      if (this.#clock.now() >= atMs) action()
      else this.at(name, atMs, action)
    })
  }

  has(name: Name): boolean {
    return this.#cancel.has(name)
  }

  drop(name: Name): void {
    this.#cancel.get(name)?.()
    this.#cancel.delete(name)
  }

  clear(): void {
    for (const cancel of this.#cancel.values()) cancel()
    this.#cancel.clear()
  }
}
