// What is packed as it comes reads back as what `packEvents` makes of the same events, whatever they say.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { plainMsgpack } from '../tunnel/msgpack-scan.ts'
import { packEvents, type RecordingEvent, unpackEvents } from './events.ts'
import { type Chunk, compressPacked, packChunk } from './format.ts'
import { EventPacker, fitsIn } from './packer.ts'

const TEXTS = [
  '',
  'SELECT 1',
  'x'.repeat(31),
  'x'.repeat(32),
  'é',
  'ж'.repeat(200),
  '\u0000\u007f\u0080',
  '😀'.repeat(20),
  'y'.repeat(70_000),
]
const NUMBERS = [0, 1, 127, 128, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]

function statement(text: string, more: object = {}, atMs = 1000): RecordingEvent {
  return { kind: 'statement', atMs, code: 'TDB02I', statement: text, parameters: [], ...more }
}

const EVENTS: readonly RecordingEvent[] = [
  { kind: 'start', atMs: 1000, fields: { user: 'alice', user_roles: ['access'] } },
  ...TEXTS.map((text) => statement(text)),
  ...TEXTS.map((text) => statement('again', { error: text, parameters: [text, 'é', text] })),
  ...NUMBERS.map((rows) => statement('SELECT 1', { rows, durationUs: rows })),
  statement('SELECT 1', { parameters: TEXTS.slice(0, 8).flatMap((text) => [text, text, text]) }),
  // Behind the one before, and before it by more than a byte, and by more than a word.
  ...[1001, 900, 1000 + 2 ** 33, 5].map((atMs) => statement('SELECT 1', {}, atMs)),
  { kind: 'print', atMs: 1000.4, bytes: Buffer.from([0, 1, 255]) },
  { kind: 'resize', atMs: 1001, columns: 80, rows: 24 },
  { kind: 'gap', atMs: 1001, lost: 7 },
  { kind: 'end', atMs: 1002, reason: 'closed' },
]

function read(startMs: number, packed: Uint8Array): readonly RecordingEvent[] {
  assert.ok(plainMsgpack(packed))
  const payload = compressPacked(packed)
  const chunk: Chunk = { seq: 1, kind: 'events', startMs, prev: '', hash: '', payload }
  return unpackEvents(chunk)
}

function packed(events: readonly RecordingEvent[]): EventPacker {
  const packer = new EventPacker()
  for (const event of events) packer.add(event)
  return packer
}

it('events packed as they come read back as those of a list', () => {
  for (const events of [EVENTS, EVENTS.toReversed(), ...EVENTS.map((event) => [event])]) {
    const list = packEvents(events)
    const packer = packed(events)
    assert.equal(packer.count, events.length)
    assert.equal(packer.startMs, list.startMs)
    assert.deepEqual(
      read(packer.startMs, packer.chunk(0)),
      read(list.startMs, packChunk(list.packed)),
    )
  }
})

it('a gap stands in front, also where nothing follows', () => {
  const gap = (atMs: number): RecordingEvent => ({ kind: 'gap', atMs, lost: 3 })
  assert.deepEqual(read(1000, packed([statement('SELECT 1')]).chunk(3)), [
    gap(1000),
    statement('SELECT 1'),
  ])
  assert.deepEqual(read(50, new EventPacker().chunk(3)), [gap(50)])
})

it('a statement takes no more than it is judged by, to the byte where that counts', () => {
  for (const event of EVENTS) {
    const { bytes } = packed([event])
    for (const room of [bytes - 1, bytes - 100]) assert.equal(fitsIn(event, room), false)
    assert.equal(fitsIn(event, bytes * 3 + 500), true)
  }
})
