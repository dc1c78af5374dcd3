// Counts failed logins, first by (account, source): a stranger elsewhere cannot lock a person out. Where a proxy's address hides
// the source, the connection stands for it, and the account's own, much wider count stops whoever connects anew for each guess.

import { LRUCache } from 'lru-cache'

import type { Clock } from '../../core/clock.ts'
import { max } from '../../core/limits.ts'
import type { Source } from '../api/handler.ts'

const KEYS_MAX = 50_000

interface Count {
  failures: number
  endsAtMs: number
}

export class LoginAttempts {
  readonly #clock: Clock
  readonly #counts = new LRUCache<string, Count>({ max: KEYS_MAX })

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Milliseconds to wait before this account may be tried from here; 0: now. */
  waitMs(account: string, source: Source): number {
    return Math.max(
      this.#waitOf(pairKey(account, source), max('loginFailuresMax')),
      this.#waitOf(accountKey(account), max('loginFailuresAccountMax')),
    )
  }

  /**
   * A login is tried: it counts as failed until it is known not to be, so that guesses that come all at once are no more than
   * those that come one by one.
   */
  begin(account: string, source: Source): void {
    for (const key of [pairKey(account, source), accountKey(account)]) {
      const count = this.#current(key) ?? { failures: 0, endsAtMs: 0 }
      count.failures++
      count.endsAtMs = this.#clock.monotonic() + max('loginFailureWindowMs')
      this.#counts.set(key, count)
    }
  }

  /** A login that began came to no answer: nothing was learnt from it. */
  abandoned(account: string, source: Source): void {
    for (const key of [pairKey(account, source), accountKey(account)]) this.#takeBack(key)
  }

  /** A login from here succeeded. The account's own count keeps its failures: others may be guessing. */
  succeeded(account: string, source: Source): void {
    this.#counts.delete(pairKey(account, source))
    this.#takeBack(accountKey(account))
  }

  /** A reset by an administrator opens the account again. */
  forget(account: string): void {
    this.#counts.delete(accountKey(account))
  }

  #waitOf(key: string, failuresMax: number): number {
    const count = this.#current(key)
    if (count === undefined || count.failures < failuresMax) return 0
    return count.endsAtMs - this.#clock.monotonic()
  }

  #takeBack(key: string): void {
    const count = this.#counts.get(key)
    if (count !== undefined && --count.failures <= 0) this.#counts.delete(key)
  }

  #current(key: string): Count | undefined {
    const count = this.#counts.get(key)
    return count !== undefined && this.#clock.monotonic() < count.endsAtMs ? count : undefined
  }
}

function pairKey(account: string, source: Source): string {
  return `${account}\0${source.relayed ? `#${source.connection}` : source.address}`
}

function accountKey(account: string): string {
  return `${account}\0`
}
