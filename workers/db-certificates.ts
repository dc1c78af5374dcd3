// The agent's certificates towards databases: one per (target, database user), got from control on presentation of a user's
// certificate, kept for their day so that pairs in use go on opening while control is away. Renewed in the background by the
// next session after a third of their life. Lives in the agent's main thread; the keys never leave the process.

import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { DbClientCertificate } from '../core/messages.ts'

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
}

export class DbCertificates {
  readonly #clock: Clock
  readonly #issue: IssueDbCertificate
  readonly #log: Logger
  /** Insertion order is age: the oldest goes first when full. */
  readonly #entries = new Map<string, Entry>()
  readonly #asking = new Map<string, Promise<IssuedCertificate>>()

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
    if (nowMs >= entry.renewAtMs)
      this.#ask(key, target, principal, userCertificate).catch((error: unknown) =>
        this.#renewalFailed(key, error),
      )
    return entry.certificate
  }

  /** Drops everything, after a change of the `db_client` CA or of this agent's own identity. */
  clear(): void {
    this.#entries.clear()
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
    const asked = this.#issue(target, principal, userCertificate)
      .then((certificate) => this.#keep(key, certificate))
      .finally(() => this.#asking.delete(key))
    this.#asking.set(key, asked)
    return asked
  }

  #keep(key: string, certificate: IssuedCertificate): IssuedCertificate {
    const nowMs = this.#clock.now()
    const lifeMs = certificate.expiresAtMs - nowMs
    if (lifeMs <= 0)
      throw new ProxyError(
        'cert.expired',
        'control issued a certificate that is over already; check the clocks',
      )
    this.#entries.delete(key)
    this.#entries.set(key, { certificate, renewAtMs: nowMs + lifeMs / 3 })
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
