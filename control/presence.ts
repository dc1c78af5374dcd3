// Who was heard of when, and what they hold: agents and proxies report each minute, proxies also which agents are linked and which
// lock set each has. In memory alone: after a restart of control everybody counts as unheard until the next report.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

export interface Report {
  readonly atMs: number
  /** Newest lock set the member is known to hold; undefined when nobody said. */
  readonly lockRevision?: number
}

export class Presence {
  readonly #clock: Clock
  readonly #reports = new Map<string, Report>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  heard(id: string, lockRevision?: number): void {
    const known = lockRevision ?? this.#reports.get(id)?.lockRevision
    this.#reports.set(id, {
      atMs: this.#clock.now(),
      ...(known === undefined ? {} : { lockRevision: known }),
    })
  }

  lastSeenMs(id: string): number {
    return this.#reports.get(id)?.atMs ?? 0
  }

  isOnline(id: string): boolean {
    return this.#clock.now() - this.lastSeenMs(id) < max('presenceMaxMs')
  }

  holdsLocks(id: string, revision: number): boolean {
    return this.isOnline(id) && (this.#reports.get(id)?.lockRevision ?? 0) >= revision
  }

  /** Forgets members unheard for a day. */
  sweep(): void {
    const oldestMs = this.#clock.now() - 24 * 3_600_000
    for (const [id, { atMs }] of this.#reports) if (atMs < oldestMs) this.#reports.delete(id)
  }
}
