// The tap of a session at the end that reads it: the agent in relay mode, the proxy in terminate mode. Whoever tells of its statements
// records it too, unless the cluster records nothing. A protocol without statements is counted only; nothing is decided here but
// which rule the queues have.

import type { Clock } from '../core/clock.ts'
import type { Authorized } from '../core/login.ts'
import type { FramedProtocol, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { AuditQueue } from './audit-queue.ts'
import type { Recorders } from './recorders.ts'
import { recordingRule, StatementTap } from './statement-tap.ts'
import { CountingTap } from './tap.ts'

export interface SessionTapOptions {
  readonly protocol: FramedProtocol
  readonly queue: AuditQueue
  readonly cluster: string
  readonly clock: Clock
  readonly right: Authorized
  /** Fields of every event of the session. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly snapshot: Snapshot | undefined
  readonly recorders: Recorders
  /** Who records: this agent or proxy. */
  readonly host: string
  readonly sid: string
  evict(refusal: Refusal): void
}

const TWICE = 'a session with this id is being recorded already'

export function sessionTap(options: SessionTapOptions): Tap & { readonly statements?: number } {
  const { protocol, queue, cluster, clock, right, fields, snapshot, recorders, host, sid } = options
  const { observer } = protocol
  if (observer === undefined) return new CountingTap()
  // Unknown means the strictest: whoever has no configuration waits for the disk.
  const mode = snapshot?.config.recording ?? 'node-sync'
  const rule = recordingRule(mode, right.grant)
  const end = (reason: string, next: string): void =>
    options.evict({ decisionId: right.decisionId, kind: 'unavailable', reason, next })
  const common = { observer, fields, cluster, clock, queue, rule, end }
  if (mode === 'off') return new StatementTap(common)
  const header = { sid, kind: 'db', cluster, serverId: host, startedAtMs: clock.now() } as const
  // It tells of nothing before there is a tap.
  const session: { tap?: StatementTap } = {}
  const giveUp = (reason: string, next: string): void => session.tap?.giveUp(reason, next)
  const recorder = recorders.open(header, rule, giveUp)
  const tap = new StatementTap({ ...common, ...(recorder === undefined ? {} : { recorder }) })
  session.tap = tap
  // Two sessions would write one file.
  if (recorder === undefined) giveUp(TWICE, 'Connect again.')
  return tap
}
