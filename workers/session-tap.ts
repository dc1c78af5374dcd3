// The tap of a session at the end that reads it: the agent in relay mode, the proxy in terminate mode. A protocol without
// statements is counted only; nothing is decided here but which rule the log's queue has.

import type { Clock } from '../core/clock.ts'
import type { Authorized } from '../core/login.ts'
import type { FramedProtocol, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { AuditQueue } from './audit-queue.ts'
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
  evict(refusal: Refusal): void
}

export function sessionTap(options: SessionTapOptions): Tap & { readonly statements?: number } {
  const { protocol, queue, cluster, clock, right, fields, snapshot } = options
  const { observer } = protocol
  if (observer === undefined) return new CountingTap()
  // Unknown means the strictest: whoever has no configuration waits for the disk.
  const rule = recordingRule(snapshot?.config.recording ?? 'node-sync', right.grant)
  const end = (reason: string, next: string): void =>
    options.evict({ decisionId: right.decisionId, kind: 'unavailable', reason, next })
  return new StatementTap({ observer, fields, cluster, clock, queue, rule, end })
}
