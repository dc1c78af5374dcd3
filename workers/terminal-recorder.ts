// The recorder of one terminal, at the end that reads the session: the agent, or the proxy in a proxy mode. The rule is that of every
// recording (session-tap.ts): a sync mode waits for the disk, else `strict` ends the session and `best_effort` counts what is lost.
// Input is no part of it: what a person types is heard only as far as the terminal shows it.

import type { Clock } from '../core/clock.ts'
import type { Authorized } from '../core/login.ts'
import type { Refusal } from '../core/protocol.ts'
import type { RecordingEvent } from '../core/recording/events.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { TerminalRecorder, TerminalStart } from '../core/ssh/services.ts'
import type { Recorders } from './recorders.ts'
import { recordingRule } from './statement-tap.ts'

export interface TerminalRecorderOptions {
  readonly cluster: string
  /** Who records: this agent or proxy. */
  readonly host: string
  readonly clock: Clock
  readonly recorders: Recorders
  readonly snapshot: Snapshot | undefined
  readonly right: Authorized
  readonly start: TerminalStart
  evict(refusal: Refusal): void
}

const TWICE = 'a session with this id is being recorded already'

/** Undefined: the cluster records nothing. */
export function terminalRecorder(
  options: TerminalRecorderOptions,
): TerminalRecorder | Refusal | undefined {
  const { cluster, host, clock, recorders, snapshot, right, start } = options
  // Unknown means the strictest: whoever has no configuration waits for the disk.
  const mode = snapshot?.config.recording ?? 'node-sync'
  if (mode === 'off') return undefined
  const { sid, columns, rows, term, fields } = start
  const startedAtMs = clock.now()
  const header = { sid, kind: 'ssh', cluster, serverId: host, startedAtMs } as const
  const refusal = (reason: string, next: string): Refusal => ({
    decisionId: right.decisionId,
    kind: 'unavailable',
    reason,
    next,
  })
  // In a turn of its own: whoever prints is not ended from within.
  const end = (reason: string, next: string): void =>
    queueMicrotask(() => options.evict(refusal(reason, next)))
  const recorder = recorders.open(header, recordingRule(mode, right.grant), end)
  // Two sessions would write one file.
  if (recorder === undefined) return refusal(TWICE, 'Connect again.')
  const add = (event: RecordingEvent): void => recorder.add(event)
  add({ kind: 'start', atMs: startedAtMs, fields: { ...fields, term } })
  add({ kind: 'resize', atMs: startedAtMs, columns, rows })
  return {
    get full() {
      return recorder.full
    },
    ready: () => recorder.ready(),
    print: (bytes) => add({ kind: 'print', atMs: clock.now(), bytes }),
    resize: (width, height) =>
      add({ kind: 'resize', atMs: clock.now(), columns: width, rows: height }),
    seal(reason) {
      add({ kind: 'end', atMs: clock.now(), reason })
      return recorder.seal()
    },
  }
}
