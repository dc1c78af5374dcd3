// The tap of a session whose protocol has statements: makes events of its notes, renders them and hands them to the thread's queue.
// Holds the one rule of design section 9: a sync mode passes no answer on before the disk has its event; else a full queue slows
// the session, and only a full or broken spool ends it (`strict`) or is counted (`best_effort`).

import { randomUUID } from 'node:crypto'

import { SessionEvents } from '../core/audit/session-events.ts'
import type { Clock } from '../core/clock.ts'
import type { Grant, Observation, Observer, Tap } from '../core/protocol.ts'
import { entryOf, type Recorder } from '../core/recording/timeline.ts'
import type { RecordingMode } from '../core/snapshot.ts'
import type { AuditQueue, AuditSender, QueuedEvent } from './audit-queue.ts'

/** What becomes of the session when an event cannot be kept. `sync`: every answer waits until it is. */
export type RecordingRule = 'sync' | 'strict' | 'best_effort'

export interface StatementTapOptions {
  readonly observer: (report: (observation: Observation) => void) => Observer
  /** Fields of every event of this session. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly cluster: string
  readonly clock: Clock
  readonly queue: AuditQueue
  readonly rule: RecordingRule
  /** Hears the same as the log. */
  readonly recorder?: Recorder
  /** Ends the session for this reason, in its protocol's words. Called in a turn of its own. */
  readonly end: (reason: string, next: string) => void
}

/** What the cluster's recording mode and the grant come to. */
export function recordingRule(mode: RecordingMode, grant: Grant): RecordingRule {
  return mode === 'node-sync' || mode === 'proxy-sync' ? 'sync' : grant.recordingMode
}

const NOT_KEPT =
  'its statements could not be kept for the audit log, and record_session.default is strict'
const ASK_OPERATOR = 'Ask whoever runs Sluice to look at the disk of the agent or proxy.'
const NO_STATEMENT = 'what the database sent cannot be attributed to a statement'

export class StatementTap implements Tap, AuditSender {
  readonly #options: StatementTapOptions
  readonly #observer: Observer
  readonly #events: SessionEvents
  readonly #sync: boolean
  readonly #uidPrefix = newUidPrefix()
  /** Events that the disk does not hold yet; a sync mode waits for zero. */
  #unkept = 0
  /** Notes that were heard and whose bytes wait for the disk: offered again, they pass. */
  readonly #owed = new Set<number>()
  #statements = 0
  #ended = false
  #waiting: (() => void)[] = []

  constructor(options: StatementTapOptions) {
    this.#options = options
    this.#sync = options.rule === 'sync'
    this.#events = new SessionEvents(options.fields, options.cluster)
    this.#observer = options.observer((observation) => this.#heard(observation))
    options.recorder?.add({ kind: 'start', atMs: options.clock.now(), fields: options.fields })
  }

  /** Events so far. */
  get statements(): number {
    return this.#statements
  }

  put(code: number, bytes: Uint8Array, from: number, to: number, rest: number): boolean {
    if (this.#ended || this.#waits()) return false
    if (this.#owed.delete(code)) return true
    const atMs = this.#options.clock.monotonic()
    const taken = this.#observer.note(code, bytes, from, to, rest, atMs)
    if (this.#observer.fault !== undefined) this.#end(NO_STATEMENT, 'Connect again.')
    if (!taken || this.#ended) return false
    // Whoever was refused may be heard now.
    this.#wake()
    if (!this.#sync || this.#unkept === 0) return true
    this.#owed.add(code)
    return false
  }

  ready(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  seal(reason: string): Promise<void> {
    const { clock, queue, recorder } = this.#options
    this.#observer.end(clock.monotonic())
    this.#ended = true
    // Before the event that says that the session ended.
    queue.flush()
    this.#wake()
    recorder?.add({ kind: 'end', atMs: clock.now(), reason })
    return recorder?.seal() ?? Promise.resolve()
  }

  kept(count: number): void {
    this.#unkept -= count
    if (this.#unkept === 0) this.#wake()
  }

  lost(count: number): void {
    this.#unkept -= count
    if (this.#options.rule === 'strict') this.#end(NOT_KEPT, ASK_OPERATOR)
    else if (this.#unkept === 0) this.#wake()
  }

  /** Ends the session, unless it is ending: its recording cannot go on. */
  giveUp(reason: string, next: string): void {
    this.#end(reason, next)
  }

  /** True when nothing may be taken now; whoever asked is woken when that changes. */
  #waits(): boolean {
    const { queue, recorder } = this.#options
    if (this.#sync && this.#unkept > 0) return true
    if (queue.blocks(this.#sync)) {
      queue.whenRoom(() => this.#wake())
      return true
    }
    if (recorder?.full !== true) return false
    void recorder.ready().then(() => this.#wake())
    return true
  }

  #heard(observation: Observation): void {
    const { clock, queue, recorder } = this.#options
    const agoMs = Math.max(0, clock.monotonic() - observation.askedAtMs)
    const timeMs = Math.round(clock.now() - agoMs)
    const instance = { timeMs, ei: ++this.#statements, uidPrefix: this.#uidPrefix }
    const event = new HeardEvent(this.#events, observation, instance)
    recorder?.add(entryOf(observation, timeMs))
    this.#unkept++
    queue.add(event, this, this.#sync)
  }

  /** Not from within: the session is being asked about a chunk. */
  #end(reason: string, next: string): void {
    if (this.#ended) return
    this.#ended = true
    queueMicrotask(() => this.#options.end(reason, next))
  }

  #wake(): void {
    if (this.#waiting.length === 0) return
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

const UID_NUMBER_LENGTH = 12

/**
 * Ids of a session's events: UUIDs of version 8 (RFC 9562), 74 random bits of the session and then the event's number in it. Random ones
 * for each would cost as much as a tenth of all that is done for a statement.
 */
function newUidPrefix(): string {
  const random = randomUUID()
  return `${random.slice(0, 14)}8${random.slice(15, -UID_NUMBER_LENGTH)}`
}

/** What was heard, until it is written. */
class HeardEvent implements QueuedEvent {
  readonly bytes: number
  readonly #events: SessionEvents
  readonly #heard: Observation
  readonly #timeMs: number
  readonly #ei: number
  readonly #uidPrefix: string

  constructor(
    events: SessionEvents,
    heard: Observation,
    instance: { readonly timeMs: number; readonly ei: number; readonly uidPrefix: string },
  ) {
    this.bytes = events.lengthOf(heard.code, heard.fields)
    this.#events = events
    this.#heard = heard
    this.#timeMs = instance.timeMs
    this.#ei = instance.ei
    this.#uidPrefix = instance.uidPrefix
  }

  render(): string {
    const { code, fields } = this.#heard
    const uid = this.#uidPrefix + this.#ei.toString(16).padStart(UID_NUMBER_LENGTH, '0')
    return this.#events.body(code, fields, { uid, timeMs: this.#timeMs, ei: this.#ei })
  }
}
