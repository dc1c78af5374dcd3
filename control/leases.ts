// Session leases: how many sessions a person has in the whole cluster, counted by (issuer, user). Taken by the agent that verified
// the certificate, refreshed at half their life, gone when it stops. The newest over the limit is refused. Kept in memory: after
// a restart of control agents take theirs again, and for one life the count is low.

import { randomBytes } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'

interface Lease {
  readonly owner: string
  readonly subject: string
  endsAtMs: number
}

/** Whose session it is. */
export interface Holder {
  readonly issuer: string
  readonly user: string
}

export interface LeaseWish extends Holder {
  /** Id of the agent or proxy that asks: nobody else may keep or release its lease. */
  readonly owner: string
  readonly max: number
}

export class Leases {
  readonly #clock: Clock
  readonly #leases = new Map<string, Lease>()
  readonly #bySubject = new Map<string, Set<string>>()
  readonly #byOwner = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#leases.size
  }

  /** Throws `limit.exceeded` when the person has `max` sessions already. */
  take(wish: LeaseWish): string {
    const subject = subjectOf(wish)
    const ids = this.#bySubject.get(subject) ?? new Set()
    for (const id of ids) this.#dropIfOver(id)
    if (ids.size >= wish.max)
      throw new ProxyError(
        'limit.exceeded',
        `${wish.user} has ${ids.size} sessions; the roles allow ${wish.max} (max_connections).`,
        {
          side: 'client',
          next: 'End another session, or ask for a role with a higher max_connections.',
        },
      )
    const id = randomBytes(16).toString('hex')
    this.#add(id, wish.owner, subject)
    return id
  }

  /**
   * One that is not known is taken anew for `holder`, over the limit too: the session stands, and a restart of control must not end
   * it. Without a holder, or for another one's lease, throws `resource.not-found`.
   */
  keep(id: string, owner: string, holder?: Holder): void {
    this.#dropIfOver(id)
    const lease = this.#leases.get(id)
    if (lease === undefined && holder !== undefined) return this.#add(id, owner, subjectOf(holder))
    if (lease === undefined || lease.owner !== owner)
      throw new ProxyError('resource.not-found', 'There is no such lease.', { side: 'client' })
    lease.endsAtMs = this.#end()
  }

  release(id: string, owner: string): void {
    if (this.#leases.get(id)?.owner === owner) this.#drop(id)
  }

  /** Drops what has ended. Called each minute. */
  sweep(): void {
    for (const id of this.#leases.keys()) this.#dropIfOver(id)
  }

  /** Bounded for each member: one that asks for ever is refused, not believed. */
  #add(id: string, owner: string, subject: string): void {
    const owned = this.#byOwner.get(owner) ?? 0
    if (owned >= max('leasesPerMemberMax'))
      throw new ProxyError('limit.exceeded', 'This member holds leasesPerMemberMax leases.', {
        side: 'client',
      })
    this.#byOwner.set(owner, owned + 1)
    this.#leases.set(id, { owner, subject, endsAtMs: this.#end() })
    const ids = this.#bySubject.get(subject) ?? new Set()
    this.#bySubject.set(subject, ids.add(id))
  }

  #end(): number {
    return this.#clock.monotonic() + max('leaseTtlMs')
  }

  #dropIfOver(id: string): void {
    const lease = this.#leases.get(id)
    if (lease !== undefined && this.#clock.monotonic() >= lease.endsAtMs) this.#drop(id)
  }

  #drop(id: string): void {
    const lease = this.#leases.get(id)
    if (lease === undefined) return
    this.#leases.delete(id)
    const owned = (this.#byOwner.get(lease.owner) ?? 1) - 1
    if (owned > 0) this.#byOwner.set(lease.owner, owned)
    else this.#byOwner.delete(lease.owner)
    const ids = this.#bySubject.get(lease.subject)
    ids?.delete(id)
    if (ids?.size === 0) this.#bySubject.delete(lease.subject)
  }
}

/** Null cannot occur in either, so two pairs never look alike. */
function subjectOf({ issuer, user }: Holder): string {
  return `${issuer}\0${user}`
}
