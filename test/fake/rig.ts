// A performer in memory: drives one framed session with steps, carries nothing out, and writes down what the session decided.
// It asserts the clauses of core/protocol.ts that hold at every call, and reuses its chunk as a real performer does, so that
// a session which keeps a view of it is found out.

import assert from 'node:assert/strict'

import { ProxyError } from '../../core/errors.ts'
import type { Action, FramedSession, Out, SessionEvent, Side } from '../../core/protocol.ts'

export type Step =
  /** `deaf`: behind these bytes the client is inside a message of the target, where nothing of ours can be said. */
  | { readonly from: Side; readonly bytes: Uint8Array; readonly deaf?: true }
  | { readonly event: SessionEvent }

/** One decision that is not a forwarded byte. `written`: how many bytes each side had been written by then. */
export type Decision =
  | { readonly note: number; readonly from: Side; readonly body: string }
  | { readonly act: Action; readonly written: Readonly<Record<Side, number>> }

/** The chunk being judged, how far its passes came, and where a note found the tap full. */
interface Judging {
  readonly from: Side
  readonly chunk: Buffer
  readonly at: number
  passed: number
  refusedNote: number
}

/** Offered in front of the bytes of a step, as bytes consumed before: a session may not look at them. */
const LEAD = Uint8Array.from([0x51, 0, 0xff])

export class Rig implements Out {
  readonly decisions: Decision[] = []
  readonly #session: FramedSession
  readonly #takesNote: (count: number) => boolean
  readonly #written: Record<Side, Buffer[]> = { client: [], target: [] }
  readonly #pending: Record<Side, Buffer> = { client: Buffer.alloc(0), target: Buffer.alloc(0) }
  readonly #openNote: Record<Side, { code: number; rest: number; body: Buffer[] }> = {
    client: { code: 0, rest: 0, body: [] },
    target: { code: 0, rest: 0, body: [] },
  }
  #judging: Judging | undefined
  #notes = 0
  #waitsFor: 'nothing' | 'client' | 'target' | 'both' = 'both'
  #connected = false
  #tapFull = false
  #ended = false

  /** `takesNote`: whether the tap has room for the n-th note it is offered. */
  constructor(session: FramedSession, takesNote: (count: number) => boolean = () => true) {
    this.#session = session
    this.#takesNote = takesNote
  }

  get ended(): boolean {
    return this.#ended
  }

  /** Everything written to a side, passed or sent. */
  written(side: Side): Buffer {
    return Buffer.concat(this.#written[side])
  }

  /** Bytes of a side that the session has not consumed. */
  pending(side: Side): Buffer {
    return this.#pending[side]
  }

  /** All a session decided, for comparing two runs. Forwarded bytes are whole streams: where they were cut does not count. */
  get trace(): object {
    return {
      decisions: this.decisions.map((item) => ('act' in item ? this.#settled(item) : item)),
      client: this.written('client').toString('hex'),
      target: this.written('target').toString('hex'),
    }
  }

  /** What the session will see after an agent half is ready: where the login's chunks ended does not count either. */
  #settled(item: Decision & { act: Action }): object {
    if (item.act.kind !== 'ready') return item
    const offered = Buffer.concat([item.act.first ?? Buffer.alloc(0), this.#pending.target])
    return { ...item, act: { kind: 'ready', offered: offered.toString('hex') } }
  }

  run(steps: readonly Step[]): this {
    for (const step of steps) {
      if ('event' in step) this.event(step.event)
      else this.give(step.from, step.bytes)
      while (this.#tapFull && !this.#ended) this.event({ kind: 'tap-ready' })
    }
    return this
  }

  give(from: Side, bytes: Uint8Array): void {
    this.#pending[from] = Buffer.concat([this.#pending[from], bytes])
    this.#offer(from)
  }

  /** Offer a chunk and keep nothing of it; true when the session took all of it. */
  drip(from: Side, chunk: Uint8Array): boolean {
    const guarded: Out = {
      pass: () => undefined,
      note: () => true,
      send: () => undefined,
      act: (action) => this.act(action),
    }
    return this.#guard(() => this.#session.bytes(from, chunk, 0, guarded)) === chunk.length
  }

  event(event: SessionEvent): void {
    if (event.kind === 'connected') this.#connected = true
    if (event.kind === 'tap-ready') this.#tapFull = false
    if (event.kind !== 'time' && event.kind !== 'evict') this.#waitsFor = 'nothing'
    this.#guard(() => this.#session.event(event, this))
    this.#offer('client')
    this.#offer('target')
  }

  refuse(refusal: Parameters<FramedSession['refuse']>[0]): void {
    // Total: not even a ProxyError may come out of it.
    this.#session.refuse(refusal, this)
  }

  pass(from: number, to: number): void {
    const judging = this.#current()
    assert.ok(this.#connected, 'passes before the target is connected')
    assert.ok(!this.#ended, 'passes after the end')
    assert.ok(from >= judging.at && from >= judging.passed, 'passes bytes twice, or of before')
    assert.ok(from < to && to <= judging.chunk.length, 'passes a range outside the chunk')
    assert.ok(to <= judging.refusedNote, 'passes a message that could not be noted')
    judging.passed = to
    this.#written[judging.from === 'client' ? 'target' : 'client'].push(
      Buffer.from(judging.chunk.subarray(from, to)),
    )
  }

  send(to: Side, bytes: Uint8Array): void {
    assert.ok(!this.#ended, 'sends after the end')
    this.#written[to].push(Buffer.from(bytes))
  }

  note(code: number, from: number, to: number, rest: number): boolean {
    const judging = this.#current()
    assert.ok(!this.#ended, 'notes after the end')
    assert.ok(from >= judging.passed, 'notes bytes that already passed')
    assert.ok(from >= judging.at && from <= to && to <= judging.chunk.length, 'notes outside')
    assert.ok(rest >= 0)
    assert.ok(!this.#tapFull, 'notes while the tap is full')
    const open = this.#openNote[judging.from]
    if (open.rest > 0) {
      assert.equal(code, open.code, 'a note begins inside another')
      assert.equal(to - from + rest, open.rest, 'pieces of a note do not add up')
    }
    if (!this.#takesNote(this.#notes++)) {
      this.#tapFull = true
      judging.refusedNote = from
      return false
    }
    if (open.rest === 0) open.body = []
    open.code = code
    open.rest = rest
    open.body.push(Buffer.from(judging.chunk.subarray(from, to)))
    if (rest === 0) {
      const body = Buffer.concat(open.body).toString('hex')
      this.decisions.push({ note: code, from: judging.from, body })
    }
    return true
  }

  act(action: Action): void {
    assert.ok(!this.#ended, `acts (${action.kind}) after the end`)
    const written = {
      client: this.written('client').length,
      target: this.written('target').length,
    }
    this.decisions.push({ act: action, written })
    if (action.kind === 'end') this.#ended = true
    if (action.kind === 'upgrade-tls') this.#waitsFor = action.side
    if (action.kind === 'authorize' || action.kind === 'dial' || action.kind === 'ready') {
      this.#waitsFor = 'both'
    }
  }

  #current(): Judging {
    assert.ok(this.#judging, 'passes or notes outside of bytes()')
    return this.#judging
  }

  /** As the performer does it: offered until nothing more is taken. */
  #offer(from: Side): void {
    while (this.#pending[from].length > 0 && !this.#tapFull) {
      const pending = this.#pending[from]
      const waited = this.#waitsFor === 'both' || this.#waitsFor === from
      const chunk = Buffer.concat([LEAD, pending])
      const at = LEAD.length
      const judging: Judging = { from, chunk, at, passed: at, refusedNote: chunk.length }
      this.#judging = judging
      const to = this.#guard(() => this.#session.bytes(from, chunk, at, this)) ?? chunk.length
      this.#judging = undefined
      assert.ok(to >= at && to <= chunk.length, `consumed to ${to} of ${at}..${chunk.length}`)
      assert.ok(judging.passed <= to, 'passes bytes it did not consume')
      if (waited && !this.#ended) assert.equal(to, at, 'consumes while it waits for an event')
      if (to < chunk.length && !this.#ended && !this.#tapFull) {
        assert.notEqual(this.#waitsFor, 'nothing', 'leaves bytes though it waits for nothing')
      }
      chunk.fill(0xaa)
      this.#pending[from] = pending.subarray(to - at)
      if (to === at) return
    }
  }

  /** Only errors of ours may come out of a session; they end it. */
  #guard<T>(call: () => T): T | undefined {
    try {
      return call()
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error
      this.#ended = true
      return undefined
    }
  }
}
