// Who was heard of when, and what they hold: agents and proxies report each minute, proxies also which agents are linked and which
// lock set each has. In memory alone: after a restart of control everybody counts as unheard until the next report.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { AuditCheckpoint } from '../core/snapshot.ts'

export interface Report {
  readonly atMs: number
  /** Newest lock set the member is known to hold; undefined when nobody said. */
  readonly lockRevision?: number
  /** Recordings that it has and control does not have whole. */
  readonly atRisk?: number
  /** When the member itself called last, and since when it does so without a break. */
  readonly called?: { readonly atMs: number; readonly sinceMs: number }
  /** What an agent itself said last, end to end: a proxy between may say what it likes. */
  readonly own?: { readonly atMs: number; readonly lagMs: number }
}

export interface Heard {
  readonly lockRevision?: number
  /** Control's time of the newest beacon the member holds everything of. */
  readonly trustedAtMs?: number
  readonly checkpoint?: AuditCheckpoint
  readonly recordingsAtRisk?: number
  /** Another member says so. */
  readonly hearsay?: boolean
}

export class Presence {
  readonly #clock: Clock
  readonly #reports = new Map<string, Report>()
  readonly #anchors = new Map<string, AuditCheckpoint>()
  readonly #proxyAddresses = new Map<string, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  heard(id: string, heard: Heard = {}): void {
    const before = this.#reports.get(id)
    const atMs = this.#clock.now()
    const lockRevision = heard.lockRevision ?? before?.lockRevision
    const { trustedAtMs } = heard
    const atRisk = heard.recordingsAtRisk ?? before?.atRisk
    const called = heard.hearsay === true ? before?.called : this.#calls(before)
    const own = trustedAtMs === undefined ? before?.own : { atMs, lagMs: atMs - trustedAtMs }
    this.#reports.set(id, {
      atMs,
      ...(lockRevision === undefined ? {} : { lockRevision }),
      ...(atRisk === undefined ? {} : { atRisk }),
      ...(called === undefined ? {} : { called }),
      ...(own === undefined ? {} : { own }),
    })
    if (heard.checkpoint !== undefined) this.#anchors.set(id, heard.checkpoint)
  }

  /** A proxy reported from this address: what comes from there says nothing of the client. */
  proxyAt(address: string): void {
    this.#proxyAddresses.set(address, this.#clock.now())
  }

  isProxyAddress(address: string): boolean {
    return this.#proxyAddresses.has(address)
  }

  /** The checkpoints that members keep, whatever they are worth. */
  anchors(): readonly AuditCheckpoint[] {
    return [...this.#anchors.values()]
  }

  /** Members heard of within a day. */
  known(): readonly string[] {
    return [...this.#reports.keys()]
  }

  lastSeenMs(id: string): number {
    return this.#reports.get(id)?.atMs ?? 0
  }

  recordingsAtRisk(id: string): number {
    return this.#reports.get(id)?.atRisk ?? 0
  }

  isOnline(id: string): boolean {
    return this.#isRecent(this.lastSeenMs(id))
  }

  holdsLocks(id: string, revision: number): boolean {
    return this.isOnline(id) && (this.#reports.get(id)?.lockRevision ?? 0) >= revision
  }

  /** Whether an agent said lately, itself, that nothing newer is withheld from it. Unknown means no. */
  isCurrent(id: string): boolean {
    const own = this.#reports.get(id)?.own
    if (own === undefined || this.#clock.now() - own.atMs > max('presenceMaxMs')) return false
    return own.lagMs <= max('trustLagMaxMs')
  }

  /** How long it has called without a break; 0 when it is away, or only others speak of it. */
  steadyMs(id: string): number {
    const called = this.#reports.get(id)?.called
    if (called === undefined || !this.#isRecent(called.atMs)) return 0
    return this.#clock.now() - called.sinceMs
  }

  #calls(before: Report | undefined): NonNullable<Report['called']> {
    const atMs = this.#clock.now()
    const { called } = before ?? {}
    const goesOn = called !== undefined && this.#isRecent(called.atMs)
    return { atMs, sinceMs: goesOn ? called.sinceMs : atMs }
  }

  #isRecent(atMs: number): boolean {
    return this.#clock.now() - atMs < max('presenceMaxMs')
  }

  /** Forgets members unheard for a day. */
  sweep(): void {
    const oldestMs = this.#clock.now() - 24 * 3_600_000
    for (const [id, { atMs }] of this.#reports) if (atMs < oldestMs) this.#reports.delete(id)
    for (const id of this.#anchors.keys()) if (!this.#reports.has(id)) this.#anchors.delete(id)
    for (const [at, heardMs] of this.#proxyAddresses)
      if (heardMs < oldestMs) this.#proxyAddresses.delete(at)
  }
}
