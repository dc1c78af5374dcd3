// The tap of a session with statements, and its recorder unless the cluster records nothing: whoever writes a session's statements into
// the audit log, agent or proxy, records it too, by the same rule. Says no where two sessions would write one recording.

import type { Clock } from '../core/clock.ts'
import type { Grant } from '../core/protocol.ts'
import type { RecordingMode } from '../core/snapshot.ts'
import type { AuditQueue } from './audit-queue.ts'
import type { Recorders } from './recorders.ts'
import { recordingRule, StatementTap, type StatementTapOptions } from './statement-tap.ts'

export interface OpenTapOptions
  extends Pick<StatementTapOptions, 'observer' | 'fields' | 'cluster' | 'end'> {
  /** Who records: this host. */
  readonly serverId: string
  readonly sid: string
  readonly mode: RecordingMode
  readonly grant: Grant
  readonly clock: Clock
  readonly queue: AuditQueue
  readonly recorders: Recorders
}

const TWICE = 'a session with this id is being recorded already'

export function openTap(options: OpenTapOptions): StatementTap {
  const { mode, grant, sid, serverId, recorders, ...rest } = options
  const { cluster, clock } = rest
  const rule = recordingRule(mode, grant)
  if (mode === 'off') return new StatementTap({ ...rest, rule })
  const header = { sid, kind: 'db', cluster, serverId, startedAtMs: clock.now() } as const
  // The recorder tells only later, when there is a tap.
  let tap: StatementTap | undefined
  const recorder = recorders.open(header, rule, (reason, next) => tap?.giveUp(reason, next))
  tap = new StatementTap({ ...rest, rule, ...(recorder === undefined ? {} : { recorder }) })
  if (recorder === undefined) tap.giveUp(TWICE, 'Connect again.')
  return tap
}
