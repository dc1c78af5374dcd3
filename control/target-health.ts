// Which databases answer, as the agents that serve them say: each reports its own connects with its inventory. In memory alone, as
// presence is: after a restart of control a status is unknown until the next report. An agent is believed for its own names only.

import type { HealthReport, ServerHealth, TargetSummary } from './api/messages.ts'
import type { Presence } from './presence.ts'
import type { TargetRecord } from './records.ts'

type Served = Pick<TargetRecord, 'name' | 'agents'>

export class TargetHealths {
  readonly #presence: Presence
  readonly #reports = new Map<string, ReadonlyMap<string, HealthReport>>()

  constructor(presence: Presence) {
    this.#presence = presence
  }

  /** An agent's whole list; what it no longer tells is unknown. */
  heard(agent: string, reports: readonly HealthReport[]): void {
    this.#reports.set(agent, new Map(reports.map((each) => [each.name, each])))
  }

  /** What each of its agents says of a target. */
  servers({ name, agents }: Served): readonly ServerHealth[] {
    return agents.map((agent) => {
      const report = this.#reports.get(agent)?.get(name)
      return {
        agent,
        online: this.#presence.isOnline(agent),
        status: report?.status ?? 'unknown',
        reason: report?.reason ?? '',
        sinceMs: report?.sinceMs ?? 0,
      }
    })
  }

  /** One word for all its agents: the best that one of them can say, since sessions go there. */
  summary(target: Served): TargetSummary {
    const online = this.servers(target).filter((each) => each.online)
    if (target.agents.length === 0) return { status: 'offline', reason: 'no agent serves it' }
    if (online.length === 0)
      return { status: 'offline', reason: 'its agents have not been heard of' }
    const best = (['healthy', 'unknown', 'unhealthy'] as const).flatMap((status) =>
      online.filter((each) => each.status === status),
    )[0]
    const { status, reason } = best ?? { status: 'unknown' as const, reason: '' }
    return { status, reason }
  }

  /** Forgets agents that presence has forgotten. */
  sweep(): void {
    const known = new Set(this.#presence.known())
    for (const agent of this.#reports.keys()) if (!known.has(agent)) this.#reports.delete(agent)
  }
}
