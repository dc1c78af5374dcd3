// Things that wait until the agent comes for them on a connection of its own, each under a key nobody can guess. Bounded, and each
// for a named time; what is not taken is given back to whoever put it there.

import { randomBytes } from 'node:crypto'

import { type LimitName, max } from '../../core/limits.ts'

const KEY_BYTES = 16

interface Waiting<T> {
  readonly value: T
  readonly timer: NodeJS.Timeout
}

export class Takings<T> {
  readonly #waiting = new Map<string, Waiting<T>>()
  readonly #countMax: LimitName
  readonly #waitMs: LimitName

  constructor(countMax: LimitName, waitMs: LimitName) {
    this.#countMax = countMax
    this.#waitMs = waitMs
  }

  get size(): number {
    return this.#waiting.size
  }

  /** The key it can be taken by; undefined when too many wait. `late` is called when nobody came. */
  put(value: T, late: () => void): string | undefined {
    if (this.#waiting.size >= max(this.#countMax)) return undefined
    const key = randomBytes(KEY_BYTES).toString('hex')
    const timer = setTimeout(() => {
      this.#waiting.delete(key)
      late()
    }, max(this.#waitMs))
    this.#waiting.set(key, { value, timer })
    return key
  }

  take(key: string): T | undefined {
    const found = this.#waiting.get(key)
    clearTimeout(found?.timer)
    this.#waiting.delete(key)
    return found?.value
  }
}
