// The agent's certificates towards databases: one per (target, database user), got from control on presentation of a user's
// certificate, kept for their day so that pairs in use go on opening while control is away. Renewed in the background by the
// next session after a third of their life. Lives in the agent's main thread; the keys never leave the process.

import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { DbClientCertificate } from '../core/agent-target.ts'

export interface IssuedCertificate extends DbClientCertificate {
  readonly expiresAtMs: number
}

/** Asks control. Rejects with `control.unavailable` when it is away, with another code when it says no. */
export type IssueDbCertificate = (
  target: TargetRef,
  principal: string,
  userCertificate: Uint8Array,
) => Promise<IssuedCertificate>

interface Entry {
  readonly certificate: IssuedCertificate
  readonly renewAtMs: number
  /** Which time this was asked for since the process began; see `outdate`. */
  readonly round: number
}

export class DbCertificates {
  readonly #clock: Clock
  readonly #issue: IssueDbCertificate
  readonly #log: Logger
  /** Insertion order is age: the oldest goes first when full. */
  readonly #entries = new Map<string, Entry>()
  readonly #asking = new Map<string, Promise<IssuedCertificate>>()
  #round = 0

  constructor(clock: Clock, issue: IssueDbCertificate, log: Logger) {
    this.#clock = clock
    this.#issue = issue
    this.#log = log
  }

  get size(): number {
    return this.#entries.size
  }

  /** A certificate for this pair: the cached one while it lives, else a new one. */
  async get(
    target: TargetRef,
    principal: string,
    userCertificate: Uint8Array,
  ): Promise<DbClientCertificate> {
    const key = JSON.stringify([target.kind, target.name, principal])
    const entry = this.#entries.get(key)
    const nowMs = this.#clock.now()
    if (entry === undefined || entry.certificate.expiresAtMs <= nowMs) {
      this.#entries.delete(key)
      return await this.#ask(key, target, principal, userCertificate)
    }
    if (entry.round !== this.#round)
      return await this.#askAgain(key, entry, target, principal, userCertificate)
    if (nowMs >= entry.renewAtMs)
      this.#ask(key, target, principal, userCertificate).catch((error: unknown) =>
        this.#renewalFailed(key, error),
      )
    return entry.certificate
  }

  /** Something changed at control, stored passwords perhaps: the next session of a pair asks again, and waits for the answer. */
  outdate(): void {
    this.#round++
  }

  /** Drops everything, after a change of the `db_client` CA or of this agent's own identity. */
  clear(): void {
    this.#entries.clear()
  }

  /** What is cached serves on while control is away; what control refuses now is over. */
  async #askAgain(
    key: string,
    entry: Entry,
    ...pair: Parameters<IssueDbCertificate>
  ): Promise<IssuedCertificate> {
    try {
      return await within(max('controlAskMs'), this.#ask(key, ...pair))
    } catch (error) {
      const away = ['control.unavailable', 'dial.failed'].includes(errorCode(error) ?? '')
      if (!away) this.#entries.delete(key)
      if (!away) throw error
      return entry.certificate
    }
  }

  /** One question per pair at a time: a hundred clients that arrive together need one certificate. */
  #ask(
    key: string,
    target: TargetRef,
    principal: string,
    userCertificate: Uint8Array,
  ): Promise<IssuedCertificate> {
    const asking = this.#asking.get(key)
    if (asking !== undefined) return asking
    const round = this.#round
    const asked = this.#issue(target, principal, userCertificate)
      .then((certificate) => this.#keep(key, certificate, round))
      .finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return asked
  }

  #keep(key: string, certificate: IssuedCertificate, round: number): IssuedCertificate {
    const nowMs = this.#clock.now()
    const lifeMs = certificate.expiresAtMs - nowMs
    if (lifeMs <= 0)
      throw new ProxyError(
        'cert.expired',
        'control issued a certificate that is over already; check the clocks',
      )
    this.#entries.delete(key)
    this.#entries.set(key, { certificate, renewAtMs: nowMs + lifeMs / 3, round })
    const [oldest] = this.#entries.keys()
    if (this.#entries.size > max('dbClientCertsCachedMax') && oldest !== undefined)
      this.#entries.delete(oldest)
    return certificate
  }

  /** Control away: the cached certificate serves on. Control says no: the right is gone, and so is the certificate. */
  #renewalFailed(key: string, error: unknown): void {
    if (errorCode(error) === 'policy.denied') this.#entries.delete(key)
    this.#log.warn('a database certificate was not renewed', { pair: key, error: String(error) })
  }
}

/** Rejects as if control were away when it does not answer in time; the question goes on. */
async function within<T>(ms: number, asked: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new ProxyError('control.unavailable', 'Control does not answer.')),
    ms,
  )
  asked.catch(() => {})
  try {
    return await Promise.race([asked, promise])
  } finally {
    clearTimeout(timer)
  }
}
