// What a terminal shows, on its way into a recording: gathered, in order, copied; who waits and who ends by the cluster's rule; and that
// neither a busy program nor a busy client fills memory.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { it } from 'node:test'

import { max } from '../core/limits.ts'
import type { FromRecorder, RecordingOutcome } from '../core/messages.ts'
import type { Refusal } from '../core/protocol.ts'
import { type RecordingEvent, unpackEvents } from '../core/recording/events.ts'
import { compressPacked } from '../core/recording/format.ts'
import { RecordingVerifier } from '../core/recording/verify.ts'
import type { RecordingMode } from '../core/snapshot.ts'
import type { TerminalRecorder } from '../core/ssh/services.ts'
import { testRight, testSnapshot } from '../test/fixtures/rights.ts'
import { Recorders } from './recorders.ts'
import { recordTerminal } from './terminal-recorder.ts'
import { FakeTimers } from './timers.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
const START = {
  sid: SID,
  columns: 80,
  rows: 24,
  term: 'xterm',
  fields: { initial_command: ['vim'] },
}
/** Of test/fixtures/rights.ts. */
const WHO = {
  user: 'alice',
  login: 'app',
  server_hostname: 'orders',
  decision_id: '01JALLOW',
}

class Rig {
  readonly timers = new FakeTimers()
  readonly sent: FromRecorder[] = []
  readonly refusals: Refusal[] = []
  readonly verifier = new RecordingVerifier()
  readonly events: RecordingEvent[] = []
  readonly recorders = new Recorders({
    clock: this.timers.clock,
    timers: this.timers,
    send: (message) => this.sent.push(message),
    compress: (packed, done) => done(compressPacked(packed)),
  })

  open(mode: RecordingMode | undefined): TerminalRecorder | Refusal | undefined {
    const { clock } = this.timers
    const world = { nowMs: clock.now() }
    const snapshot = testSnapshot(world)
    return recordTerminal({
      recorders: this.recorders,
      clock,
      timers: this.timers,
      cluster: 'c',
      host: 'agent-1',
      right: testRight(world),
      snapshot:
        mode === undefined
          ? undefined
          : { ...snapshot, config: { ...snapshot.config, recording: mode } },
      start: START,
      evict: (refusal) => this.refusals.push(refusal),
    })
  }

  terminal(mode: RecordingMode | undefined): TerminalRecorder {
    const terminal = this.open(mode)
    assert.ok(terminal !== undefined && 'print' in terminal)
    return terminal
  }

  /** The disk answers everything it was given. */
  disk(outcome: RecordingOutcome = 'kept'): void {
    for (let message = this.sent.shift(); message !== undefined; message = this.sent.shift()) {
      const { sid, seq } = message
      if (outcome === 'kept')
        for (const { chunk } of this.verifier.push(message.bytes))
          this.events.push(...unpackEvents(chunk))
      this.recorders.kept({ kind: 'recording-kept', sid, seq, outcome })
    }
  }

  async sealed(terminal: TerminalRecorder): Promise<readonly RecordingEvent[]> {
    const sealed = terminal.seal('closed')
    this.disk()
    await sealed
    assert.deepEqual(this.verifier.damages, [])
    assert.deepEqual([this.recorders.size, this.recorders.share.bytes, this.timers.size], [0, 0, 0])
    return this.events
  }
}

function shown(events: readonly RecordingEvent[]): readonly Buffer[] {
  return events.flatMap((event) => (event.kind === 'print' ? [Buffer.from(event.bytes)] : []))
}

it('begins with who it is and its size, and gathers what is shown in one moment', async () => {
  const rig = new Rig()
  const { clock } = rig.timers
  const beganMs = clock.now()
  const terminal = rig.terminal('node')
  const bytes = Buffer.from('one ')
  terminal.print(bytes)
  bytes.fill(0)
  rig.timers.advance(max('recordingPrintMs') - 1)
  terminal.print(Buffer.from('two '))
  rig.timers.advance(1)
  terminal.print(Buffer.from('three'))
  const printMs = max('recordingPrintMs')
  assert.deepEqual(await rig.sealed(terminal), [
    { kind: 'start', atMs: beganMs, fields: { ...WHO, initial_command: ['vim'], term: 'xterm' } },
    { kind: 'resize', atMs: beganMs, columns: 80, rows: 24 },
    { kind: 'print', atMs: beganMs, bytes: Buffer.from('one two ') },
    { kind: 'print', atMs: beganMs + printMs, bytes: Buffer.from('three') },
    { kind: 'end', atMs: beganMs + printMs, reason: 'closed' },
  ])
  assert.equal(rig.verifier.header?.kind, 'ssh')
})

it('a busy program costs few events and bounded memory, whatever its pieces', async () => {
  for (const piece of [100, 4096, 300_000]) {
    const rig = new Rig()
    const terminal = rig.terminal('node')
    const bytes = randomBytes(4 * 1024 * 1024)
    for (let at = 0; at < bytes.length; at += piece) {
      terminal.print(bytes.subarray(at, at + piece))
      // One event over the queue's bound, and one that is being gathered.
      const bound =
        max('recordingQueueBytesMax') + 2 * max('recordingPrintBytesMax') + piece + 10_000
      assert.ok(rig.recorders.share.bytes <= bound)
      if (!terminal.full) continue
      const ready = terminal.ready()
      rig.timers.advance(0)
      rig.disk()
      await ready
    }
    const prints = shown(await rig.sealed(terminal))
    assert.equal(Buffer.compare(Buffer.concat(prints), bytes), 0)
    assert.ok(prints.length < 64 + 8, `${prints.length} events of ${piece} bytes`)
  }
})

it('of sizes that come faster than anybody looks only the newest is kept, in its place', async () => {
  const rig = new Rig()
  const terminal = rig.terminal('node')
  terminal.print(Buffer.from('before'))
  for (let columns = 1; columns <= 10_000; columns++) terminal.resize(columns, 50)
  const held = rig.recorders.share.bytes
  assert.ok(held < 1000, `${held} bytes`)
  const resizedMs = rig.timers.clock.now()
  rig.timers.clock.advance(3)
  terminal.print(Buffer.from('after'))
  const events = await rig.sealed(terminal)
  const kinds = events.map((event) => (event.kind === 'resize' ? event.columns : event.kind))
  assert.deepEqual(kinds, ['start', 80, 'print', 10_000, 'print', 'end'])
  assert.deepEqual(
    events.slice(3, 5).map(({ atMs }) => atMs),
    [resizedMs, resizedMs + 3],
  )
})

it('sync modes, and threads that know no mode, wait for the disk at each piece', async () => {
  for (const mode of ['node-sync', 'proxy-sync', undefined] as const) {
    const rig = new Rig()
    const terminal = rig.terminal(mode)
    rig.timers.advance(0)
    rig.disk()
    assert.equal(terminal.full, false)
    terminal.print(Buffer.from('x'))
    assert.equal(terminal.full, true)
    const ready = terminal.ready()
    rig.timers.advance(0)
    rig.disk()
    await ready
    assert.equal(shown(rig.events).join(), 'x')
    await rig.sealed(terminal)
  }
})

it('a disk that refuses leaves a counted gap, and a session whose id is taken does not begin', async () => {
  const rig = new Rig()
  const terminal = rig.terminal('node')
  const twice = rig.open('node')
  assert.ok(twice !== undefined && 'reason' in twice)
  terminal.print(Buffer.from('lost'))
  rig.timers.advance(max('recordingBatchMs') + max('recordingPrintMs'))
  rig.disk('refused')
  terminal.print(Buffer.from('kept'))
  const events = await rig.sealed(terminal)
  assert.deepEqual(
    events.map((event) => (event.kind === 'gap' ? event.lost : event.kind)),
    [3, 'print', 'end'],
  )
  assert.deepEqual(rig.refusals, [])
  assert.equal(rig.open('off'), undefined)
})

it('what is gathered when the thread stops goes on its way, and no timer is left', () => {
  const rig = new Rig()
  rig.terminal('node').print(Buffer.from('last words'))
  rig.recorders.close()
  const [message] = rig.sent
  for (const { chunk } of rig.verifier.push(message?.bytes ?? Buffer.alloc(0)))
    rig.events.push(...unpackEvents(chunk))
  assert.equal(shown(rig.events).join(), 'last words')
  assert.equal(rig.timers.size, 0)
})
