// The recorder of one terminal: what it shows is copied, gathered for a moment and handed on as one event, so that a program that writes a
// gigabyte in small pieces costs thousands of events and not millions. Whoever feeds it waits while it is full; the rule of design
// section 9 is the session recorder's. Of sizes it keeps the newest: a client that changes its window without end fills no memory.

import { freeBytes } from '../core/bytes/free.ts'
import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Authorized } from '../core/login.ts'
import type { AuditFields, Refusal } from '../core/protocol.ts'
import type { TerminalEvent } from '../core/recording/events.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { TerminalRecorder, TerminalStart } from '../core/ssh/services.ts'
import type { SessionRecorder } from './recorder.ts'
import type { Recorders, RecordingShare } from './recorders.ts'
import { recordingRule } from './statement-tap.ts'
import type { Timers } from './timers.ts'

export interface TerminalRecordingOptions {
  readonly recorders: Recorders
  readonly clock: Clock
  readonly timers: Timers
  readonly cluster: string
  /** Who records: this agent or proxy. */
  readonly host: string
  readonly right: Authorized
  readonly snapshot: Snapshot | undefined
  readonly start: TerminalStart
  evict(refusal: Refusal): void
}

const TWICE = 'a session with this id is being recorded already'

/** Undefined: the cluster records nothing. A refusal: it may not begin. Asked only at the end that records (design section 5). */
export function recordTerminal(
  options: TerminalRecordingOptions,
): TerminalRecorder | Refusal | undefined {
  const { recorders, clock, timers, cluster, host, right, snapshot, start } = options
  // Unknown means the strictest: whoever has no configuration waits for the disk.
  const mode = snapshot?.config.recording ?? 'node-sync'
  if (mode === 'off') return undefined
  const { sid } = start
  const refusal = (reason: string, next: string): Refusal => {
    return { decisionId: right.decisionId, kind: 'unavailable', reason, next }
  }
  const header = { sid, kind: 'ssh', cluster, serverId: host, startedAtMs: clock.now() } as const
  const rule = recordingRule(mode, right.grant)
  const recorder = recorders.open(header, rule, (reason, next) =>
    options.evict(refusal(reason, next)),
  )
  if (recorder === undefined) return refusal(TWICE, 'Connect again.')
  const { share } = recorders
  // A sync mode shows nothing that the disk does not have: gathering would only make it wait longer.
  const gatherMs = rule === 'sync' ? 0 : max('recordingPrintMs')
  const fields = { ...whoAndWhere(right), ...start.fields }
  return new TerminalRecording({ recorder, share, clock, timers, gatherMs }, { ...start, fields })
}

/** What a list of recordings shows of a session; the session itself tells the rest. */
function whoAndWhere({ identity, access, decisionId }: Authorized): AuditFields {
  return {
    user: identity.name,
    login: access.principal,
    server_hostname: access.target.name,
    decision_id: decisionId,
  }
}

export interface TerminalRecordingParts {
  readonly recorder: SessionRecorder
  readonly share: RecordingShare
  readonly clock: Clock
  readonly timers: Timers
  readonly gatherMs: number
}

const BUFFER_BYTES_MIN = 4 * 1024

type Resize = Extract<TerminalEvent, { kind: 'resize' }>

/** What was shown and is no event yet. */
interface Gathered {
  readonly atMs: number
  readonly bytes: Buffer
  length: number
}

export class TerminalRecording implements TerminalRecorder {
  readonly #parts: TerminalRecordingParts
  #gathered: Gathered | undefined
  /** What was full a moment ago: a busy terminal fills one buffer again and again. */
  #spare: Buffer | undefined
  #size: Omit<Resize, 'kind'> | undefined
  #cancel: (() => void) | undefined
  /** Of the next buffer: large where much is shown. */
  #room = BUFFER_BYTES_MIN

  constructor(parts: TerminalRecordingParts, { columns, rows, term, fields }: TerminalStart) {
    this.#parts = parts
    const atMs = parts.clock.now()
    parts.recorder.beforeClose = () => this.#tell()
    parts.recorder.add({ kind: 'start', atMs, fields: { ...fields, term } })
    parts.recorder.add({ kind: 'resize', atMs, columns, rows })
  }

  get full(): boolean {
    return this.#parts.recorder.full
  }

  ready(): Promise<void> {
    return this.#parts.recorder.ready()
  }

  print(bytes: Uint8Array): void {
    this.#tellSize()
    for (let at = 0; at < bytes.length; ) {
      const gathered = (this.#gathered ??= this.#begin())
      const count = Math.min(bytes.length - at, gathered.bytes.length - gathered.length)
      gathered.bytes.set(bytes.subarray(at, at + count), gathered.length)
      gathered.length += count
      at += count
      if (gathered.length === gathered.bytes.length) this.#tellGathered(gathered)
    }
    if (this.#parts.gatherMs === 0) this.#tell()
    else this.#soon()
  }

  resize(columns: number, rows: number): void {
    if (this.#gathered !== undefined) this.#tellGathered(this.#gathered)
    this.#size = { atMs: this.#parts.clock.now(), columns, rows }
    this.#soon()
  }

  seal(reason: string): Promise<void> {
    this.#tell()
    const { recorder, clock } = this.#parts
    recorder.add({ kind: 'end', atMs: clock.now(), reason })
    return recorder.seal()
  }

  #begin(): Gathered {
    const { share, clock } = this.#parts
    const spare = this.#spare
    this.#spare = undefined
    if (spare !== undefined) return { atMs: clock.now(), bytes: spare, length: 0 }
    share.take(this.#room)
    return { atMs: clock.now(), bytes: Buffer.allocUnsafeSlow(this.#room), length: 0 }
  }

  #soon(): void {
    const { timers } = this.#parts
    this.#cancel ??= timers.after(max('recordingPrintMs'), () => this.#tell())
  }

  #tell(): void {
    this.#cancel?.()
    this.#cancel = undefined
    if (this.#gathered !== undefined) this.#tellGathered(this.#gathered)
    this.#drop(this.#spare)
    this.#spare = undefined
    this.#tellSize()
  }

  #tellGathered({ atMs, bytes, length }: Gathered): void {
    this.#gathered = undefined
    this.#parts.recorder.add({ kind: 'print', atMs, bytes: bytes.subarray(0, length) })
    const full = length === bytes.length
    if (full) this.#room = Math.min(this.#room * 2, max('recordingPrintBytesMax'))
    else if (length * 2 < bytes.length) this.#room = Math.max(this.#room / 2, BUFFER_BYTES_MIN)
    if (full && this.#room === bytes.length) this.#spare = bytes
    else this.#drop(bytes)
  }

  #drop(bytes: Buffer | undefined): void {
    if (bytes === undefined) return
    this.#parts.share.give(bytes.length)
    freeBytes(bytes)
  }

  #tellSize(): void {
    const size = this.#size
    if (size === undefined) return
    this.#size = undefined
    this.#parts.recorder.add({ kind: 'resize', ...size })
  }
}
