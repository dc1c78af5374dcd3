// Counts live things by kind: sockets, sessions, spares, timers, entries of maps. What was opened must be closed, so every count
// returns to where it was; tests assert that, and metrics show the counts. It owns none of the things it counts.

/** Gives one thing back. Calling it again does nothing. */
export type Release = () => void

export class Ledger {
  readonly #held = new Map<string, number>()
  readonly #gauges = new Map<string, () => number>()

  /** Counts one live thing until the returned function is called. */
  hold(kind: string): Release {
    this.add(kind)
    let held = true
    return () => {
      if (!held) return
      held = false
      this.remove(kind)
    }
  }

  add(kind: string, count = 1): void {
    this.#held.set(kind, (this.#held.get(kind) ?? 0) + count)
  }

  /** Closing more than was opened is a defect, and hides a leak elsewhere. */
  remove(kind: string, count = 1): void {
    const left = (this.#held.get(kind) ?? 0) - count
    if (left < 0) throw new RangeError(`the ledger has no ${kind} left to give back`)
    this.#held.set(kind, left)
  }

  /** Shows a size that somebody else keeps: a map, a queue. */
  watch(kind: string, size: () => number): void {
    this.#gauges.set(kind, size)
  }

  count(kind: string): number {
    return this.#gauges.get(kind)?.() ?? this.#held.get(kind) ?? 0
  }

  counts(): Readonly<Record<string, number>> {
    const kinds = [...this.#held.keys(), ...this.#gauges.keys()].sort()
    return Object.fromEntries(kinds.map((kind) => [kind, this.count(kind)]))
  }

  /** True when nothing is live. */
  get empty(): boolean {
    return Object.values(this.counts()).every((count) => count === 0)
  }
}
