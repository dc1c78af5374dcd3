// What a streaming session tells of while it runs, on its way to the thread's queue: rendered, counted until the disk has it, and by
// the one rule of everything that must not be lost (statement-tap.ts): a sync mode waits for the disk, else a full queue slows the
// session, and only a full or broken disk ends it (`strict`) or is counted (`best_effort`).

import { randomUUID } from 'node:crypto'

import { SessionEvents } from '../core/audit/session-events.ts'
import type { Clock } from '../core/clock.ts'
import type { AuditFields } from '../core/protocol.ts'
import type { AuditQueue, AuditSender } from './audit-queue.ts'
import type { RecordingRule } from './statement-tap.ts'

export interface StreamEventsOptions {
  readonly cluster: string
  readonly clock: Clock
  readonly queue: AuditQueue
  readonly rule: RecordingRule
  /** Fields of every event of this session. */
  readonly fields: Readonly<Record<string, unknown>>
  /** Ends the session for this reason. Called in a turn of its own. */
  readonly end: (reason: string, next: string) => void
}

const NOT_KEPT =
  'what it does could not be kept for the audit log, and record_session is strict for SSH'
const ASK_OPERATOR = 'Ask whoever runs Sluice to look at the disk of the agent or proxy.'

export class StreamEvents implements AuditSender {
  readonly #options: StreamEventsOptions
  readonly #events: SessionEvents
  /** The connection's own; a terminal is told of under another. */
  readonly #sid: string | undefined
  readonly #sync: boolean
  #unkept = 0
  #told = 0
  #ended = false
  #waiting: (() => void)[] = []

  constructor(options: StreamEventsOptions) {
    const { sid, ...fields } = options.fields
    this.#options = options
    this.#sid = typeof sid === 'string' ? sid : undefined
    this.#sync = options.rule === 'sync'
    this.#events = new SessionEvents(fields, options.cluster)
  }

  /** `code` is a row of the catalogue. */
  tell(code: string, fields: AuditFields): void {
    const { clock, queue } = this.#options
    const instance = { uid: randomUUID(), timeMs: Math.round(clock.now()), ei: ++this.#told }
    const body = this.#events.body(code, { sid: this.#sid, ...fields }, instance)
    this.#unkept++
    // What a session channel tells of is rare: nothing is gained by rendering it when its batch leaves.
    queue.add({ bytes: Buffer.byteLength(body), render: () => body }, this, this.#sync)
  }

  /** Undefined: there is room for more. */
  room(): Promise<void> | undefined {
    return this.#waits() ? this.#whenRoom() : undefined
  }

  /** Before the event that says that the session ended. */
  flush(): void {
    this.#options.queue.flush()
  }

  kept(count: number): void {
    this.#unkept -= count
    this.#wake()
  }

  lost(count: number): void {
    this.#unkept -= count
    this.#wake()
    if (this.#options.rule !== 'strict' || this.#ended) return
    this.#ended = true
    queueMicrotask(() => this.#options.end(NOT_KEPT, ASK_OPERATOR))
  }

  async #whenRoom(): Promise<void> {
    while (this.#waits()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.push(resolve)
      if (this.#options.queue.blocks(this.#sync)) this.#options.queue.whenRoom(resolve)
      await promise
    }
  }

  #waits(): boolean {
    return (this.#sync && this.#unkept > 0) || this.#options.queue.blocks(this.#sync)
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
