// How many programs run, for all logins and for each: counted before one is started, given back when it ended.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Release } from '../../workers/ledger.ts'

export class Rooms {
  readonly #ofLogin = new Map<number, number>()
  #all = 0

  get size(): number {
    return this.#all
  }

  /** Throws when there is no room for another program of this uid. */
  take(uid: number): Release {
    const own = this.#ofLogin.get(uid) ?? 0
    if (this.#all >= max('launchProgramsMax')) throw full('launchProgramsMax')
    if (own >= max('launchLoginProgramsMax')) throw full('launchLoginProgramsMax')
    this.#all += 1
    this.#ofLogin.set(uid, own + 1)
    let held = true
    return () => {
      if (!held) return
      held = false
      this.#giveBack(uid)
    }
  }

  #giveBack(uid: number): void {
    this.#all -= 1
    const left = (this.#ofLogin.get(uid) ?? 1) - 1
    if (left === 0) this.#ofLogin.delete(uid)
    else this.#ofLogin.set(uid, left)
  }
}

function full(limit: string): ProxyError {
  return new ProxyError('limit.exceeded', `As many programs run as ${limit} allows.`)
}
