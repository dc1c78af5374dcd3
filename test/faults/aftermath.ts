// What must hold of a cluster after any fault (design section 6, invariant, and section 8): linked, its pool at the target size, its
// ledgers at zero, its processes counted, its audit log whole and with everything in it that was acknowledged before.

import assert from 'node:assert/strict'

import { ROLES } from '../../cli/supervisor/messages.ts'
import { max } from '../../core/limits.ts'
import type { Cluster } from '../fixtures/cluster.ts'
import type { Diagnostics } from '../fixtures/metrics.ts'
import { eventually } from './eventually.ts'
import { childrenOf } from './processes.ts'

const READY_MS = 30_000

export interface Gaps {
  readonly proxy: number
  readonly agent: number
}

export class Aftermath {
  readonly #cluster: Cluster
  readonly #diagnostics: Diagnostics
  readonly #types: string
  readonly #roles: number

  /** `types`: the audit events that a session of this protocol leaves, comma-separated. `roles`: that the supervisor runs. */
  constructor(
    cluster: Cluster,
    diagnostics: Diagnostics,
    types: string,
    roles: number = ROLES.length,
  ) {
    this.#cluster = cluster
    this.#diagnostics = diagnostics
    this.#types = types
    this.#roles = roles
  }

  /** Control answers calls again. */
  async answered(): Promise<void> {
    const answers = (): Promise<boolean> =>
      this.#cluster.admin.call('ping', {}).then(
        () => true,
        () => false,
      )
    await eventually(answers, READY_MS, 'control answers')
  }

  /** Spares that the proxy has accepted since it started: a storm of them is a fault of its own. */
  async sparesDialled(): Promise<number> {
    return (await this.#diagnostics.read('proxy'))?.['listener_spare'] ?? 0
  }

  /** The newest events that control has acknowledged: they may never go again. */
  async acknowledged(): Promise<ReadonlySet<string>> {
    return new Set((await this.#cluster.events(this.#types)).map(uidOf))
  }

  /** Pools and ledgers are back where they were, within the deadline. */
  async settled(): Promise<void> {
    await this.#diagnostics.until(
      'proxy',
      ({
        spares = 0,
        links,
        relayed_sessions: sessions,
        unfinished_connections: unfinished,
        audit_spool: spool,
      }) =>
        links === 1 &&
        spares >= max('sparesIdle') &&
        sessions === 0 &&
        unfinished === 0 &&
        spool === 0,
      READY_MS,
      'the proxy has its link, a full pool, no session and nothing to upload',
    )
    await this.#diagnostics.until(
      'agent',
      ({ sessions, leases, linked_proxies: links, audit_spool: spool }) =>
        sessions === 0 && leases === 0 && links === 1 && spool === 0,
      READY_MS,
      'the agent has its link, no session, no lease and nothing to upload',
    )
    const supervisor = this.#cluster.program.pid
    await eventually(
      () => childrenOf(supervisor).length === this.#roles,
      READY_MS,
      () => `the supervisor has its ${this.#roles} roles: ${childrenOf(supervisor).join(' ')}`,
    )
  }

  /** Lost events that the log tells of, by who lost them. */
  async gaps(): Promise<Gaps> {
    const lost = { proxy: 0, agent: 0 }
    for (const event of await this.#cluster.events('audit.gap')) {
      const role: unknown = Object.getOwnPropertyDescriptor(Object(event['emitter']), 'role')?.value
      if (role === 'proxy' || role === 'agent') lost[role] += Number(event['lost'] ?? 0)
    }
    return lost
  }

  /** The log is whole, and nothing of `before` is missing. */
  async audited(before: ReadonlySet<string>): Promise<void> {
    const { ok, problem } = await this.#cluster.admin.call('audit-verify', {})
    assert.deepEqual({ ok, problem }, { ok: true, problem: undefined })
    const missing = new Set(before)
    for (let page = await this.#page(); ; page = await this.#page(page.next)) {
      for (const event of page.items) missing.delete(uidOf(event))
      if (missing.size === 0 || page.next === undefined) break
    }
    assert.deepEqual([...missing], [])
  }

  #page(cursor?: string): Promise<Page> {
    const more = cursor === undefined ? {} : { cursor }
    return this.#cluster.admin.call('audit-list', { types: this.#types, ...more })
  }
}

interface Page {
  readonly items: readonly Readonly<Record<string, unknown>>[]
  readonly next?: string
}

function uidOf(event: Readonly<Record<string, unknown>>): string {
  return String(event['uid'])
}
