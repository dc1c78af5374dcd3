// Compares what proxies and agents tell of the same sessions, and says in the log what one of them lacks (core/audit/pairing.ts). It
// hears every batch as it is taken over; once a minute it looks at what waited too long, asks the log itself, and reports. What it
// reports is a matter for people: nobody is locked by it.

import type { Half, Unmatched } from '../core/audit/pairing.ts'
import { halfOf, Pairing } from '../core/audit/pairing.ts'
import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { AuditLog } from './audit.ts'
import type { Directory } from './directory.ts'
import type { Presence } from './presence.ts'

export interface SessionSidesParts {
  readonly audit: Pick<AuditLog, 'onTaken' | 'halves' | 'emit'>
  readonly presence: Pick<Presence, 'steadyMs'>
  readonly cache: Pick<Directory, 'target'>
  readonly clock: Clock
  readonly log: Logger
}

export class SessionSides {
  readonly #parts: SessionSidesParts
  readonly #pairing: Pairing
  readonly #recalled: Promise<void>
  #checking = false

  constructor(parts: SessionSidesParts) {
    this.#parts = parts
    this.#pairing = new Pairing(parts.clock)
    this.#recalled = this.#recall()
    parts.audit.onTaken((emitter, events) => {
      for (const event of events) {
        const half = halfOf(event, emitter)
        if (half !== undefined) this.#pairing.heard(half)
      }
    })
  }

  /** Sessions that wait for their other side. */
  get waiting(): number {
    return this.#pairing.size
  }

  /** Called each minute. */
  async check(): Promise<void> {
    // A slow disk must not make two searches of one.
    if (this.#checking) return
    this.#checking = true
    try {
      await this.#recalled
      await this.#report(this.#pairing.due((half) => this.#isSteady(half)))
      const lost = this.#pairing.takeLost()
      if (lost > 0)
        await this.#parts.audit.emit('audit.unmatched', 'SLA006W', {
          lost,
          reason: `more than ${max('pairsWaitingMax')} sessions waited for their other side`,
        })
    } finally {
      this.#checking = false
    }
  }

  /** After a start: sessions of which one side had told before it. Unread, a few of them go uncompared. */
  async #recall(): Promise<void> {
    const { audit, clock, log } = this.#parts
    try {
      const halves: Half[] = []
      // What is older was compared, and told, before.
      const fromMs = clock.now() - max('pairGraceMs')
      for await (const half of audit.halves(fromMs, max('pairRecallBytesMax')))
        if (half.timeMs >= fromMs) halves.push(half)
      for (const half of halves.reverse()) this.#pairing.heard(half)
    } catch (error) {
      log.warn('the end of the log was not read for half-told sessions', { error: String(error) })
    }
  }

  /** Whether every host that could have told has been there long enough to have told. */
  #isSteady({ lacking, target }: Half): boolean {
    const { presence, cache } = this.#parts
    const hosts = lacking === '' ? (cache.target('db', target)?.agents ?? []) : [lacking]
    return hosts.every((host) => presence.steadyMs(host) >= max('pairGraceMs'))
  }

  /** The other side may have come before this control started, or more than once: the log knows. */
  async #report(candidates: readonly Unmatched[]): Promise<void> {
    if (candidates.length === 0) return
    const byKey = new Map(candidates.map((each) => [each.half.key, each]))
    const oldestMs = Math.min(...candidates.map(({ half }) => half.timeMs))
    const told = this.#parts.audit.halves(oldestMs, max('auditScanBytesMax'))
    for await (const half of told) {
      const candidate = byKey.get(half.key)
      if (candidate === undefined || candidate.half.by === half.by) continue
      byKey.delete(half.key)
      this.#pairing.settle(candidate)
    }
    for (const candidate of byKey.values())
      if (this.#pairing.settle(candidate)) await this.#tell(candidate)
  }

  async #tell({ half, reason }: Unmatched): Promise<void> {
    const { sid, by, teller, lacking, target, event, code, timeMs } = half
    const role = by === 'proxy' ? 'agent' : 'proxy'
    this.#parts.log.warn('one side of a session was not told', { sid, teller, lacking, role })
    await this.#parts.audit.emit('audit.unmatched', 'SLA005W', {
      sid,
      emitter_id: teller,
      lacking: lacking === '' ? `an agent of ${target}` : lacking,
      lacking_role: role,
      target_name: target,
      claimed_event: event,
      claimed_code: code,
      since: new Date(timeMs).toISOString(),
      reason,
    })
  }
}
