// The rule of full queues for recordings, with a disk that does what the test says: who waits, who ends, what is counted as lost, and
// that memory stays bounded while the disk stands still. What was kept is read back as a file.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { max } from '../core/limits.ts'
import type { FromRecorder, RecordingOutcome } from '../core/messages.ts'
import { type RecordingEvent, unpackEvents } from '../core/recording/events.ts'
import { compressPacked } from '../core/recording/format.ts'
import { RecordingVerifier } from '../core/recording/verify.ts'
import type { SessionRecorder } from './recorder.ts'
import { Recorders } from './recorders.ts'
import type { RecordingRule } from './statement-tap.ts'
import { FakeTimers } from './timers.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'

class Rig {
  readonly timers = new FakeTimers()
  readonly sent: FromRecorder[] = []
  readonly ends: string[] = []
  /** Instead of compressing at once: what is to be done then. */
  compressing: (() => void)[] | undefined
  readonly kept: Uint8Array[] = []
  readonly recorders: Recorders
  readonly recorder: SessionRecorder

  constructor(rule: RecordingRule) {
    const { clock } = this.timers
    this.recorders = new Recorders({
      clock,
      timers: this.timers,
      send: (message) => this.sent.push(message),
      compress: (packed, done) => {
        const run = (): void => done(compressPacked(packed))
        if (this.compressing === undefined) run()
        else this.compressing.push(run)
      },
    })
    this.recorder = this.open(rule)
  }

  open(rule: RecordingRule, sid: string = SID): SessionRecorder {
    const startedAtMs = this.timers.clock.now()
    const header = { sid, kind: 'db', cluster: 'c', serverId: 'agent-1', startedAtMs } as const
    const recorder = this.recorders.open(header, rule, (reason) => this.ends.push(reason))
    assert.ok(recorder)
    return recorder
  }

  say(text: string): void {
    const atMs = this.timers.clock.now()
    this.recorder.add({
      kind: 'statement',
      atMs,
      code: 'TDB02I',
      statement: text,
      parameters: [],
    })
  }

  seal(): Promise<void> {
    this.recorder.add({ kind: 'end', atMs: this.timers.clock.now(), reason: 'closed' })
    return this.recorder.seal()
  }

  /** The disk answers the oldest chunk it was given. */
  disk(outcome: RecordingOutcome): void {
    const message = this.sent.shift()
    assert.ok(message, 'nothing was sent')
    if (outcome === 'kept') this.kept.push(message.bytes)
    const { sid, seq } = message
    this.recorders.kept({ kind: 'recording-kept', sid, seq, outcome })
  }

  /** What is on the disk, which must be whole but for an end that is not written yet. */
  read(): readonly RecordingEvent[] {
    const verifier = new RecordingVerifier()
    const chunks = this.kept.flatMap((bytes) => [...verifier.push(bytes)])
    assert.deepEqual(verifier.damages, [])
    return chunks.flatMap(({ chunk }) => [...unpackEvents(chunk)])
  }

  words(): readonly string[] {
    return this.read().map((event) => {
      if (event.kind === 'statement') return event.statement
      return event.kind === 'gap' ? `gap ${event.lost}` : event.kind
    })
  }
}

/** Fills the queue while the disk does nothing; how many statements that took. */
function fill(rig: Rig): number {
  let count = 0
  for (; !rig.recorder.full; count++) rig.say('x'.repeat(10_000))
  return count
}

it('events are gathered, and stand in the file in order with their end', async () => {
  const rig = new Rig('best_effort')
  rig.say('one')
  rig.say('two')
  assert.equal(rig.sent.length, 0)
  rig.timers.advance(max('recordingBatchMs'))
  rig.say('three')
  const sealed = rig.seal()
  assert.equal(rig.sent.length, 1, 'one chunk is on its way at a time')
  rig.disk('kept')
  assert.equal(rig.sent.length, 1, 'what came last and the end are one chunk')
  rig.disk('kept')
  await sealed
  assert.deepEqual(rig.words(), ['one', 'two', 'three', 'end'])
  assert.equal(rig.recorders.size, 0)
  assert.equal(rig.recorders.share.bytes, 0)
  assert.equal(rig.timers.size, 0)
})

it('a short session is one chunk, which a disk that refuses is offered again whole', async () => {
  for (const rule of ['strict', 'best_effort'] as const) {
    const rig = new Rig(rule)
    rig.say('one')
    const sealed = rig.seal()
    assert.deepEqual(
      rig.sent.map(({ seq, last }) => [seq, last]),
      [[1, true]],
    )
    rig.disk('refused')
    await sealed
    rig.timers.advance(max('recordingRetryMs'))
    rig.disk('kept')
    assert.deepEqual([rig.words(), rig.ends], [['one', 'end'], []])
    assert.deepEqual([rig.recorders.size, rig.recorders.share.bytes], [0, 0])
  }
})

it('a sync mode waits for each event, also over a disk that refuses it for a while', async () => {
  const rig = new Rig('sync')
  rig.say('one')
  assert.equal(rig.recorder.full, true)
  const ready = rig.recorder.ready()
  rig.timers.advance(0)
  rig.disk('refused')
  assert.equal(rig.recorder.full, true)
  rig.timers.advance(max('recordingRetryMs'))
  rig.disk('kept')
  await ready
  assert.equal(rig.recorder.full, false)
  assert.deepEqual([rig.words(), rig.ends], [['one'], []])
})

it('a slow disk makes sessions wait; each bound is one of memory', async () => {
  const rig = new Rig('best_effort')
  const count = fill(rig)
  assert.ok(rig.recorders.share.bytes < max('recordingQueueBytesMax') + 20_000)
  const ready = rig.recorder.ready()
  rig.timers.advance(0)
  while (rig.sent.length > 0) rig.disk('kept')
  await ready
  rig.timers.advance(max('recordingBatchMs'))
  while (rig.sent.length > 0) rig.disk('kept')
  assert.equal(rig.words().length, count)
  assert.equal(rig.recorders.share.bytes, 0)
})

it('a disk that refuses ends a strict session and leaves a counted gap in another', async () => {
  for (const rule of ['strict', 'best_effort'] as const) {
    const rig = new Rig(rule)
    rig.say('one')
    rig.say('two')
    rig.timers.advance(max('recordingBatchMs'))
    rig.disk('refused')
    assert.equal(rig.ends.length, rule === 'strict' ? 1 : 0)
    rig.say('three')
    const sealed = rig.seal()
    rig.disk('kept')
    await sealed
    assert.deepEqual(rig.words(), ['gap 2', 'three', 'end'])
  }
})

it('a gap that is refused is counted again, with what was behind it', async () => {
  const rig = new Rig('best_effort')
  rig.say('one')
  rig.timers.advance(max('recordingBatchMs'))
  rig.disk('refused')
  rig.say('two')
  rig.timers.advance(max('recordingRetryMs'))
  rig.disk('refused')
  rig.timers.advance(max('recordingRetryMs'))
  rig.disk('kept')
  assert.deepEqual(rig.words(), ['gap 2'])
})

it('a disk that does nothing for too long: strict ends, best effort goes on, and nothing more is held', async () => {
  for (const rule of ['strict', 'best_effort'] as const) {
    const rig = new Rig(rule)
    const count = fill(rig)
    rig.timers.advance(0)
    const ready = rig.recorder.ready()
    rig.timers.advance(max('recordingStallMs'))
    await ready
    assert.equal(rig.ends.length, rule === 'strict' ? 1 : 0)
    const held = rig.recorders.share.bytes
    for (let more = 0; more < 50; more++) rig.say('more')
    assert.equal(rig.recorders.share.bytes, held)
    // A session that is over does not wait for it.
    await rig.seal()
    while (rig.sent.length > 0) rig.disk('kept')
    const words = rig.words()
    assert.equal(words.filter((word) => word.startsWith('x')).length, count)
    assert.equal(
      words.find((word) => word.startsWith('gap')),
      'gap 50',
    )
    assert.equal(words.at(-1), 'end')
    assert.equal(rig.recorders.size, 0)
  }
})

it('an end that the disk refuses is offered again, though nobody waits for it', async () => {
  const rig = new Rig('best_effort')
  const sealed = rig.seal()
  rig.disk('refused')
  await sealed
  assert.equal(rig.recorders.size, 1)
  rig.timers.advance(max('recordingRetryMs'))
  rig.disk('kept')
  assert.deepEqual([rig.words(), rig.recorders.size], [['end'], 0])
})

it('an end that is refused for ever is given up', () => {
  const rig = new Rig('sync')
  void rig.seal()
  for (let tries = 1; tries < max('recordingEndTriesMax'); tries++) {
    rig.disk('refused')
    rig.timers.advance(max('recordingRetryMs'))
  }
  assert.equal(rig.recorders.size, 1)
  rig.disk('refused')
  assert.deepEqual([rig.recorders.size, rig.timers.size], [0, 0])
})

it('a session whose id has a recording is ended, whatever its rule', () => {
  const rig = new Rig('best_effort')
  assert.equal(
    rig.recorders.open(
      { sid: SID, kind: 'db', cluster: 'c', serverId: 'agent-1', startedAtMs: 0 },
      'sync',
      () => {},
    ),
    undefined,
  )
  rig.say('one')
  rig.timers.advance(max('recordingBatchMs'))
  rig.disk('unwanted')
  assert.equal(rig.ends.length, 1)
  assert.equal(rig.recorders.size, 0)
})

it('all sessions of a thread share one bound', async () => {
  const rig = new Rig('best_effort')
  const event = { kind: 'statement', atMs: 0, code: 'TDB02I', parameters: [] } as const
  const statement = 'x'.repeat(200_000)
  for (let more = 0; !rig.recorders.share.full; more++) {
    const other = rig.open('best_effort', SID.replace(/.{4}$/, String(1000 + more)))
    for (let count = 0; count < 4; count++) other.add({ ...event, statement })
  }
  assert.equal(rig.recorder.full, true)
  const ready = rig.recorder.ready()
  rig.timers.advance(0)
  while (rig.sent.length > 0) rig.disk('kept')
  await ready
})

it('what is compressed beside the loop stays in order, and goes on its way when the thread stops', async () => {
  for (const stops of [false, true]) {
    const rig = new Rig('best_effort')
    rig.compressing = []
    rig.say('x'.repeat(200_000))
    rig.say('y'.repeat(200_000))
    rig.timers.advance(0)
    const sealed = rig.seal()
    assert.deepEqual([rig.sent.length, rig.compressing.length], [0, 1])
    if (stops) {
      rig.recorders.close()
      await sealed
      assert.equal(rig.sent.length, 1)
    }
    for (let run = rig.compressing.shift(); run !== undefined; run = rig.compressing.shift()) {
      run()
      if (!stops) rig.disk('kept')
    }
    if (stops) rig.kept.push(...rig.sent.map(({ bytes }) => bytes))
    else await sealed
    const words = rig.words().map((word) => word.slice(0, 3))
    assert.deepEqual(words, stops ? ['xxx'] : ['xxx', 'yyy', 'end'])
  }
})

it('a compression that never comes back counts as a disk that does nothing', () => {
  const rig = new Rig('strict')
  rig.compressing = []
  rig.say('x'.repeat(200_000))
  rig.timers.advance(max('recordingBatchMs') + max('recordingStallMs'))
  assert.equal(rig.ends.length, 1)
})
