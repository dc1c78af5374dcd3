// So many at a time, the rest in order behind them.

export class Slots {
  readonly #most: number
  #running = 0
  readonly #queue: (() => void)[] = []
  #idle: (() => void)[] = []

  constructor(most: number) {
    this.#most = most
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#most) await new Promise<void>((go) => this.#queue.push(go))
    else this.#running++
    try {
      return await work()
    } finally {
      // Whoever waits takes over the slot.
      const next = this.#queue.shift()
      if (next === undefined) this.#running--
      next?.()
      if (this.#running === 0) for (const wake of this.#idle.splice(0)) wake()
    }
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }
}
