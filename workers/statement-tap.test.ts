// The rule of full queues, with a spool that does what the test says: who waits, who ends, what is counted, and that memory stays
// bounded while the disk stands still.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { max } from '../core/limits.ts'
import type { FromAuditQueue } from '../core/messages.ts'
import type { Observation, Observer } from '../core/protocol.ts'
import type { Recorder, TimelineEntry } from '../core/recording/timeline.ts'
import { AuditQueue } from './audit-queue.ts'
import {
  type RecordingRule,
  recordingRule,
  StatementTap,
  type StatementTapOptions,
} from './statement-tap.ts'
import { FakeTimers } from './timers.ts'

type Batch = Extract<FromAuditQueue, { kind: 'statements' }>

const ASK = 1
const ANSWER = 0x101
const BYTES_MAX = 20_000
const NOTHING = new Uint8Array(0)

/** Each answer completes a query of so many characters; a second one without a question is a fault. */
class FakeObserver implements Observer {
  open = 0
  fault: string | undefined
  readonly #report: (observation: Observation) => void
  readonly #textLength: number

  constructor(report: (observation: Observation) => void, textLength: number) {
    this.#report = report
    this.#textLength = textLength
  }

  note(
    code: number,
    _bytes: Uint8Array,
    _from: number,
    _to: number,
    _rest: number,
    atMs: number,
  ): boolean {
    if (code === ASK) {
      if (this.open === 3) return false
      this.open++
      return true
    }
    this.open--
    if (this.open < 0) this.fault = 'nobody asked'
    this.#tell(this.fault === undefined ? 'TDB02I' : 'TDB06I', atMs)
    return true
  }

  end(atMs: number): void {
    for (; this.open > 0; this.open--) this.#tell('TDB02I', atMs)
  }

  #tell(code: string, askedAtMs: number): void {
    this.#report({ code, fields: { db_query: 'x'.repeat(this.#textLength), rows: 7 }, askedAtMs })
  }
}

class Rig {
  readonly timers = new FakeTimers()
  readonly sent: FromAuditQueue[] = []
  readonly ends: string[] = []
  readonly queue: AuditQueue
  readonly tap: StatementTap
  #answered = 0

  constructor(
    rule: RecordingRule,
    options: Partial<StatementTapOptions> & { textLength?: number } = {},
  ) {
    const { timers } = this
    this.queue = new AuditQueue({
      clock: timers.clock,
      timers,
      send: (message) => this.sent.push(message),
      bytesMax: BYTES_MAX,
    })
    this.tap = this.session(rule, options)
  }

  session(
    rule: RecordingRule,
    options: Partial<StatementTapOptions> & { textLength?: number } = {},
  ): StatementTap {
    return new StatementTap({
      observer: (report) => new FakeObserver(report, options.textLength ?? 10),
      fields: { user: 'alice', sid: 'S', db_service: 'orders' },
      cluster: 'c',
      clock: this.timers.clock,
      queue: this.queue,
      rule,
      end: (reason) => this.ends.push(reason),
      ...options,
    })
  }

  get batches(): Batch[] {
    return this.sent.filter((message): message is Batch => message.kind === 'statements')
  }

  get events(): Record<string, unknown>[] {
    return this.batches.flatMap(({ bodies }) =>
      bodies.split('\n').map((body) => JSON.parse(body) as Record<string, unknown>),
    )
  }

  /** The spool answers everything it was sent since. */
  spool(outcome: 'kept' | 'refused' | 'lost'): void {
    const { batches } = this
    for (; this.#answered < batches.length; this.#answered++)
      this.queue.answered({
        kind: 'statements-kept',
        id: batches[this.#answered]?.id ?? 0,
        outcome,
      })
  }

  ask(tap: StatementTap = this.tap): boolean {
    return tap.put(ASK, NOTHING, 0, 0, 0)
  }

  answer(tap: StatementTap = this.tap): boolean {
    return tap.put(ANSWER, NOTHING, 0, 0, 0)
  }

  statement(tap: StatementTap = this.tap): boolean {
    return this.ask(tap) && this.answer(tap)
  }
}

async function settled(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => (done = true))
  await new Promise(setImmediate)
  return done
}

test('statements gather and go as one batch, with what they share and their number in the session', () => {
  const rig = new Rig('best_effort')
  for (let i = 0; i < 3; i++) assert.ok(rig.statement())
  assert.equal(rig.batches.length, 0)
  rig.timers.advance(max('auditQueueMs'))
  assert.deepEqual(
    rig.batches.map(({ rule }) => rule),
    ['best_effort'],
  )
  const [first] = rig.events
  assert.deepEqual(
    rig.events.map(({ ei, user, rows, event }) => [ei, user, rows, event]),
    [
      [1, 'alice', 7, 'db.session.query'],
      [2, 'alice', 7, 'db.session.query'],
      [3, 'alice', 7, 'db.session.query'],
    ],
  )
  assert.equal(first?.['cluster_name'], 'c')
  const uids = rig.events.map(({ uid }) => String(uid))
  for (const uid of uids)
    assert.match(uid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-0{11}[123]$/)
  const other = new Rig('best_effort')
  other.statement()
  other.queue.flush()
  assert.equal(new Set([...uids, ...other.events.map(({ uid }) => uid)]).size, 4)
  assert.equal(rig.tap.statements, 3)
})

test('a batch counts as what it is once it is written, and as about that before', () => {
  const rig = new Rig('best_effort')
  const report: { tell?: (observation: Observation) => void } = {}
  rig.session('best_effort', {
    observer: (tell) => {
      report.tell = tell
      return { fault: undefined, note: () => true, end: () => undefined }
    },
  })
  const fields = { db_query: '\u0001'.repeat(100) }
  report.tell?.({ code: 'TDB02I', fields, askedAtMs: 0 })
  const before = rig.queue.bytes
  assert.ok(before > 100)
  rig.timers.advance(max('auditQueueMs'))
  const [batch] = rig.batches
  assert.equal(rig.queue.bytes, Buffer.byteLength(batch?.bodies ?? ''))
  assert.ok(rig.queue.bytes > before)
  rig.spool('kept')
  assert.equal(rig.queue.bytes, 0)
})

test('an event that nobody knows fails where it is heard, and no batch', () => {
  const rig = new Rig('best_effort')
  rig.statement()
  const tap = rig.session('best_effort', {
    observer: (report) => ({
      fault: undefined,
      note: () => true,
      end: () => report({ code: 'XX', fields: {}, askedAtMs: 0 }),
    }),
  })
  assert.throws(() => void tap.seal('over'), /no audit event XX/)
  rig.queue.flush()
  assert.equal(rig.events.length, 1)
})

test('an event has the time of its question, not of its answer', () => {
  const rig = new Rig('best_effort')
  rig.ask()
  const askedAtMs = rig.timers.clock.monotonic()
  const wallMs = rig.timers.clock.now()
  rig.timers.advance(1500)
  const tap = rig.session('best_effort', {
    observer: (report) => ({
      fault: undefined,
      note: () => true,
      end: () => report({ code: 'TDB02I', fields: {}, askedAtMs }),
    }),
  })
  void tap.seal('over')
  assert.equal(rig.events[0]?.['time'], new Date(wallMs).toISOString())
})

test('the end of a session sends what gathered, unanswered statements too', () => {
  const rig = new Rig('best_effort')
  rig.ask()
  void rig.tap.seal('over')
  assert.equal(rig.events.length, 1)
  assert.equal(rig.ask(), false)
})

test('in a sync mode an answer passes once the disk has its event, and is heard once', async () => {
  const rig = new Rig('sync')
  assert.ok(rig.ask())
  assert.equal(rig.answer(), false)
  const ready = rig.tap.ready()
  assert.equal(rig.answer(), false)
  assert.equal(rig.ask(), false, 'nothing overtakes it')
  rig.timers.advance(0)
  assert.deepEqual(
    rig.batches.map(({ rule }) => rule),
    ['strict'],
  )
  assert.equal(await settled(ready), false)
  rig.spool('kept')
  assert.equal(await settled(ready), true)
  assert.ok(rig.ask(), 'the client may come first')
  assert.ok(rig.answer())
  assert.equal(rig.events.length, 1)
})

test('a sync mode waits out a full or broken spool, however long, and loses nothing', () => {
  const rig = new Rig('sync')
  rig.ask()
  rig.answer()
  for (let i = 0; i < 50; i++) {
    rig.timers.advance(max('auditRetryMs'))
    assert.equal(rig.answer(), false)
    rig.spool('refused')
  }
  assert.equal(rig.queue.bytes > 0 && rig.queue.bytes < 1000, true)
  rig.timers.advance(max('auditRetryMs'))
  rig.spool('kept')
  assert.ok(rig.answer())
  assert.equal(new Set(rig.events.map(({ uid }) => uid)).size, 1)
  assert.deepEqual(rig.ends, [])
  assert.equal(rig.queue.bytes, 0)
})

test('a slow disk slows the session and ends nobody', async () => {
  for (const rule of ['strict', 'best_effort'] as const) {
    const rig = new Rig(rule, { textLength: 1000 })
    let count = 0
    while (rig.statement()) count++
    assert.ok(count > 10 && rig.queue.bytes < BYTES_MAX + 2000, String(rig.queue.bytes))
    const ready = rig.tap.ready()
    rig.timers.advance(max('auditStallMs') - 1)
    assert.equal(rig.ask(), false)
    rig.spool('kept')
    assert.equal(await settled(ready), true)
    assert.ok(rig.statement())
    rig.timers.advance(max('auditQueueMs'))
    assert.equal(rig.events.length, count + 1)
    assert.deepEqual(rig.ends, [])
  }
})

test('with a disk that stands still best_effort goes on, counts, and keeps no more in memory', () => {
  const rig = new Rig('best_effort', { textLength: 1000 })
  let kept = 0
  while (rig.statement()) kept++
  rig.timers.advance(max('auditStallMs'))
  const { bytes } = rig.queue
  for (let i = 0; i < 10_000; i++) assert.ok(rig.statement())
  assert.equal(rig.queue.bytes, bytes)
  assert.deepEqual(
    rig.sent.filter(({ kind }) => kind === 'statements-lost'),
    [],
  )
  rig.spool('kept')
  const lost = rig.sent.filter((message) => message.kind === 'statements-lost')
  assert.deepEqual(
    lost.map(({ count }) => count),
    [10_000],
  )
  assert.ok(rig.statement())
  rig.timers.advance(max('auditQueueMs'))
  assert.equal(rig.events.length, kept + 1)
  // Numbers inside the session show the gap.
  assert.equal(rig.events.at(-1)?.['ei'], kept + 10_001)
})

test('with a disk that stands still strict ends the session with the first event that is lost', async () => {
  const rig = new Rig('strict', { textLength: 1000 })
  while (rig.statement());
  rig.timers.advance(max('auditStallMs'))
  assert.equal(rig.statement(), false)
  await Promise.resolve()
  assert.match(rig.ends.join(), /record_session.default is strict/)
  assert.equal(rig.ask(), false)
})

test('a full spool ends a strict session and not its best-effort neighbour', async () => {
  const rig = new Rig('strict')
  const neighbour = rig.session('best_effort')
  rig.statement()
  rig.statement(neighbour)
  rig.timers.advance(max('auditQueueMs'))
  rig.spool('lost')
  await Promise.resolve()
  assert.equal(rig.ends.length, 1)
  assert.equal(rig.ask(), false)
  assert.ok(rig.ask(neighbour))
})

test('a protocol that can take no more is asked again when an answer made room', async () => {
  const rig = new Rig('best_effort')
  while (rig.ask());
  const ready = rig.tap.ready()
  assert.equal(await settled(ready), false)
  assert.ok(rig.answer())
  assert.equal(await settled(ready), true)
  assert.ok(rig.ask())
})

test('what cannot be attributed is told and ends the session, in a turn of its own', async () => {
  const rig = new Rig('best_effort')
  assert.equal(rig.answer(), false)
  assert.deepEqual(rig.ends, [])
  await Promise.resolve()
  assert.match(rig.ends.join(), /cannot be attributed/)
  void rig.tap.seal('over')
  assert.equal(rig.events[0]?.['event'], 'db.session.malformed_packet')
})

test('a recorder hears start, statements and end, and slows the session when it is full', async () => {
  const entries: TimelineEntry[] = []
  let [full, wake] = [false, (): void => {}]
  const recorder: Recorder = {
    add: (entry) => void entries.push(entry),
    get full() {
      return full
    },
    ready: () => new Promise((resolve) => (wake = resolve)),
    seal: () => Promise.resolve(),
  }
  const rig = new Rig('best_effort', { recorder })
  assert.ok(rig.statement())
  full = true
  assert.equal(rig.ask(), false)
  const ready = rig.tap.ready()
  full = false
  wake()
  assert.equal(await settled(ready), true)
  assert.ok(rig.ask())
  await rig.tap.seal('the client left')
  assert.deepEqual(
    entries.map(({ kind }) => kind),
    ['start', 'statement', 'statement', 'end'],
  )
  assert.deepEqual(entries[1], {
    kind: 'statement',
    atMs: rig.timers.clock.now(),
    code: 'TDB02I',
    statement: 'xxxxxxxxxx',
    parameters: [],
    rows: 7,
  })
})

test('the cluster’s sync modes win over the grant', () => {
  const grant = {
    roles: [],
    idleMsMax: 0,
    connectionsMax: 0,
    lockMode: 'best_effort',
    recordingMode: 'strict',
  } as const
  assert.equal(recordingRule('node-sync', grant), 'sync')
  assert.equal(recordingRule('proxy-sync', grant), 'sync')
  assert.equal(recordingRule('proxy', grant), 'strict')
  assert.equal(recordingRule('off', { ...grant, recordingMode: 'best_effort' }), 'best_effort')
})
