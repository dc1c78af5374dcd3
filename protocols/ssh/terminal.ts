// The account of a terminal: session.start and session.end under an id of its own, and the recording of what it shows. What the terminal
// shows is recorded before it passes; what is typed is not, since a screen leaves passwords out.

import { randomUUID } from 'node:crypto'

import type { AuditFields, Refusal } from '../../core/protocol.ts'
import type { Pty } from '../../core/ssh/machine.ts'
import type { TerminalRecorder } from '../../core/ssh/services.ts'
import type { Plan } from './plan.ts'
import type { Served } from './served.ts'
import { bytesOf, exitFields, type Account, type Over } from './telling.ts'

export class TerminalAccount implements Account {
  readonly sid: string
  readonly #served: Served
  readonly #fields: AuditFields
  readonly #recorder: TerminalRecorder | undefined
  readonly #startedAtMs: number
  #begun = false

  private constructor(
    served: Served,
    sid: string,
    fields: AuditFields,
    recorder: TerminalRecorder | undefined,
  ) {
    this.sid = sid
    this.#served = served
    this.#fields = fields
    this.#recorder = recorder
    this.#startedAtMs = served.host.nowMs()
  }

  /** A refusal: it may not begin, since it cannot be recorded. */
  static open(served: Served, plan: Plan, pty: Pty): TerminalAccount | Refusal {
    const { columns, rows } = pty.size
    const sid = randomUUID()
    const terminal_size = `${columns}:${rows}`
    const fields = { sid, ...plan.fields, terminal_size, term: pty.term }
    const start = { sid, columns, rows, term: pty.term, fields }
    const recorder = served.ssh.record(served.right, start)
    if (recorder !== undefined && 'reason' in recorder) return recorder
    return new TerminalAccount(
      served,
      sid,
      { ...fields, recorded: recorder !== undefined },
      recorder,
    )
  }

  begun(): void {
    this.#begun = true
    this.#served.tell('T2000I', this.#fields)
  }

  fromClient(): undefined {
    return undefined
  }

  fromProgram(bytes: Uint8Array): Promise<void> | undefined {
    this.#recorder?.print(bytes)
    return this.#room()
  }

  resized(columns: number, rows: number): Promise<void> | undefined {
    this.#recorder?.resize(columns, rows)
    return this.#room()
  }

  async over(over: Over): Promise<void> {
    const { sid } = this
    if (this.#begun) this.#served.tell('T2003I', { sid, reason: over.reason })
    const sealed = this.#recorder?.seal(over.reason)
    this.#served.tell('T2006I', { sid, ...bytesOf(over) })
    this.#served.tell('T2004I', {
      ...this.#fields,
      ...exitFields(over.exit),
      interactive: true,
      reason: over.error ?? over.reason,
      session_start: new Date(this.#startedAtMs).toISOString(),
      session_stop: new Date(this.#served.host.nowMs()).toISOString(),
    })
    await sealed
  }

  #room(): Promise<void> | undefined {
    return this.#recorder?.full === true ? this.#recorder.ready() : undefined
  }
}
