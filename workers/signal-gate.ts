// The bound on guessing at sessions' secrets: by name (a source, a session), so many wrong signals a minute, then a minute of
// deafness. What is on its way counts as wrong until it is known to have hit, so no burst outruns the count; more of one name
// wait for that, a few. It judges no key.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

const MINUTE_MS = 60_000

/** Tells what came of a signal that was let in; called once. */
export type Settle = (hit: boolean) => void

export interface SignalGateOptions {
  readonly clock: Clock
  /** Wrong signals of one name in a minute. */
  readonly wrongMax: number
  /** Over all names; 0: none waits. */
  readonly waitingMax: number
  /** A name is not heard from now on, for a minute. */
  readonly onDeaf?: (name: string) => void
}

interface Named {
  wrong: number
  /** When the minute of this count began. */
  sinceMs: number
  /** Let in and not settled. */
  open: number
  readonly waiting: ((settle: Settle) => void)[]
}

export class SignalGate {
  readonly #options: SignalGateOptions
  readonly #names = new Map<string, Named>()
  #waiting = 0

  constructor(options: SignalGateOptions) {
    this.#options = options
  }

  /** Names that are remembered. */
  get size(): number {
    return this.#names.size
  }

  /** Runs `start` now or when others of the name are settled. False: nobody hears it. */
  enter(name: string, start: (settle: Settle) => void): boolean {
    const named = this.#named(name)
    if (this.#left(named) > 0) {
      this.#start(name, named, start)
      return true
    }
    // Only what may still turn out right is worth waiting for.
    if (named.open === 0 || this.#waiting >= this.#options.waitingMax) return false
    this.#waiting++
    named.waiting.push(start)
    return true
  }

  /** Forgets names whose minute is over. Called by the owner's minute timer. */
  sweep(): void {
    for (const [name, named] of this.#names)
      if (idle(named) && this.#fresh(named)) this.#names.delete(name)
  }

  /** What had this name is gone. */
  forget(name: string): void {
    const named = this.#names.get(name)
    if (named !== undefined && idle(named)) this.#names.delete(name)
  }

  #named(name: string): Named {
    const known = this.#names.get(name)
    if (known !== undefined) {
      if (this.#fresh(known)) known.wrong = 0
      return known
    }
    if (this.#names.size >= max('signalNamesMax')) this.#forgetOne()
    const named: Named = { wrong: 0, sinceMs: 0, open: 0, waiting: [] }
    this.#names.set(name, named)
    return named
  }

  #forgetOne(): void {
    for (const [name, named] of this.#names)
      if (idle(named)) {
        this.#names.delete(name)
        return
      }
  }

  #fresh(named: Named): boolean {
    return this.#options.clock.monotonic() - named.sinceMs >= MINUTE_MS || named.wrong === 0
  }

  #left(named: Named): number {
    return this.#options.wrongMax - named.wrong - named.open
  }

  #start(name: string, named: Named, start: (settle: Settle) => void): void {
    named.open++
    let settled = false
    start((hit) => {
      if (settled) return
      settled = true
      named.open--
      if (!hit) this.#wrong(name, named)
      this.#next(name, named)
    })
  }

  #wrong(name: string, named: Named): void {
    const { clock, wrongMax, onDeaf } = this.#options
    if (this.#fresh(named)) named.wrong = 0
    // The minute is that of the first wrong one; deafness lasts a whole one from the last.
    if (named.wrong === 0 || named.wrong + 1 >= wrongMax) named.sinceMs = clock.monotonic()
    named.wrong++
    if (named.wrong === wrongMax) onDeaf?.(name)
  }

  #next(name: string, named: Named): void {
    while (named.waiting.length > 0 && this.#left(named) > 0) {
      const start = named.waiting.shift()
      this.#waiting--
      if (start !== undefined) this.#start(name, named, start)
    }
    if (named.open > 0) return
    this.#waiting -= named.waiting.length
    named.waiting.length = 0
  }
}

function idle(named: Named): boolean {
  return named.open === 0
}
