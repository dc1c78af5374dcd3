// The session leases a process holds (`max_connections`): taken from control by the process that verified the certificate, kept
// while the session lives. Without control its own count decides, up to the limit, or nothing does with `max_connections_mode:
// strict`; what was counted here alone is told to control when it is back. Used by the main threads of agents and proxies.

import { randomBytes } from 'node:crypto'

import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'

export interface LeaseWish {
  readonly issuer: string
  readonly user: string
  readonly decisionId: string
  readonly connectionsMax: number
}

export interface LeaseControl {
  /** Rejects with `limit.exceeded` when the person has that many sessions. */
  takeLease(wish: LeaseWish, signal: AbortSignal): Promise<string>
  /** Takes it anew when control does not know it. */
  keepLease(lease: string, holder: Pick<LeaseWish, 'issuer' | 'user'>): Promise<void>
  releaseLease(lease: string): Promise<void>
}

export interface HeldLeasesOptions {
  readonly control: LeaseControl
  readonly mode: () => 'strict' | 'best_effort'
  readonly log: Logger
}

interface Held<Owner> {
  readonly owner: Owner
  readonly wish: LeaseWish
}

/** `Owner`: whose sessions end together, a worker thread. */
export class HeldLeases<Owner> {
  readonly #options: HeldLeasesOptions
  readonly #held = new Map<string, Held<Owner>>()

  constructor(options: HeldLeasesOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#held.size
  }

  /** Rejects with `limit.exceeded`, or with `control.unavailable` in strict mode. */
  async take(owner: Owner, wish: LeaseWish): Promise<string> {
    const lease = await this.#ask(wish)
    this.#held.set(lease, { owner, wish })
    return lease
  }

  release(lease: string): void {
    if (!this.#held.delete(lease)) return
    // Control forgets it by itself when it does not hear of it again.
    void this.#options.control.releaseLease(lease).catch(() => {})
  }

  /** Gives back what a lost thread's sessions held. */
  lost(owner: Owner): void {
    for (const [lease, held] of this.#held) if (held.owner === owner) this.release(lease)
  }

  /** Called at half the life of a lease. A session does not end because control has forgotten it, or is away. */
  async keep(): Promise<void> {
    for (const [lease, { wish }] of this.#held)
      await this.#options.control
        .keepLease(lease, wish)
        .then(() => {
          // Released meanwhile: control may just have taken it anew.
          if (!this.#held.has(lease)) this.#options.control.releaseLease(lease).catch(() => {})
        })
        .catch((error: unknown) =>
          this.#options.log.debug('lease not kept', { error: String(error) }),
        )
  }

  async #ask(wish: LeaseWish): Promise<string> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), max('controlAskMs'))
    try {
      return await this.#options.control.takeLease(wish, late.signal)
    } catch (error) {
      if (!isAway(error)) throw error
      return this.#ownCount(wish)
    } finally {
      clearTimeout(timer)
    }
  }

  #ownCount({ issuer, user, connectionsMax }: LeaseWish): string {
    if (this.#options.mode() === 'strict')
      throw new ProxyError(
        'control.unavailable',
        'control cannot be reached, and the cluster counts sessions strictly (max_connections_mode)',
      )
    const own = [...this.#held.values()].filter(
      ({ wish }) => wish.issuer === issuer && wish.user === user,
    ).length
    if (own >= connectionsMax)
      throw new ProxyError(
        'limit.exceeded',
        `${user} has ${own} sessions here; the roles allow ${connectionsMax} (max_connections)`,
      )
    return randomBytes(16).toString('hex')
  }
}

/** Control did not answer: it is down, silent, or its answer was lost. */
function isAway(error: unknown): boolean {
  const code = errorCode(error)
  if (code === 'control.unavailable' || code === 'dial.failed') return true
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')
}
