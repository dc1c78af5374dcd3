// Questions whether a session knows a signal's key, put to several at once: hit as soon as one says so, missed when all have said no
// or time is over. Only who was asked is heard, and once.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { Deadlines, type Timers } from './timers.ts'

interface Round {
  readonly asked: Set<string>
  readonly settle: (hit: boolean) => void
}

export class SignalRounds {
  readonly #rounds = new Map<number, Round>()
  readonly #deadlines: Deadlines<string>
  #ids = 0

  constructor(clock: Clock, timers: Timers) {
    this.#deadlines = new Deadlines(clock, timers)
  }

  /** Questions without an answer. */
  get size(): number {
    return this.#rounds.size
  }

  /** `put` puts the question to one of them; false when it is gone. */
  ask(names: Iterable<string>, put: (name: string, id: number) => boolean): Promise<boolean> {
    const id = ++this.#ids
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const asked = new Set(names)
    this.#rounds.set(id, { asked, settle: resolve })
    this.#deadlines.after(String(id), max('signalDeadlineMs'), () => this.#end(id, false))
    for (const name of asked) {
      if (!put(name, id)) this.answered(name, id, false)
      // Whoever is asked in this thread may answer at once.
      if (!this.#rounds.has(id)) return promise
    }
    if (asked.size === 0) this.#end(id, false)
    return promise
  }

  answered(name: string, id: number, hit: boolean): void {
    const round = this.#rounds.get(id)
    if (round === undefined || !round.asked.delete(name)) return
    if (hit || round.asked.size === 0) this.#end(id, hit)
  }

  #end(id: number, hit: boolean): void {
    this.#deadlines.drop(String(id))
    this.#rounds.get(id)?.settle(hit)
    this.#rounds.delete(id)
  }
}
