import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import fc from 'fast-check'
import { readAnswer, readOpen, writeAnswer, writeOpen } from './open.ts'
import type { Answer, OpenFrame } from './open.ts'
import { ReplayGuard } from './spare.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const KEY = randomBytes(32)
const RELAY: OpenFrame = {
  sessionId: '01JD4Z0000000000000000000A',
  decisionId: '01JD4Z0000000000000000000B',
  mode: 'relay',
  protocol: 'postgres',
  stage: 'ssl',
  target: { kind: 'db', name: 'Bestellungen – orders' },
  serverName: 'ticket.x-orders.db.sluice.test',
  client: { address: '2001:db8::1', port: 65_535, trusted: true },
  cancelHandle: 0xffff_ffff,
  spareId: 'spare-1',
  expiresAtMs: NOW_MS + 30_000,
}
const DENY: OpenFrame = {
  ...RELAY,
  mode: 'deny',
  denial: { kind: 'expired', reason: 'the ticket has expired', next: 'Run tsh db login.' },
}
const SPARE = { key: KEY, spareId: 'spare-1', nowMs: NOW_MS }
const TO = { spareId: RELAY.spareId, sessionId: RELAY.sessionId }
const ANSWERS: readonly Answer[] = [
  { kind: 'accept' },
  { kind: 'refuse', reason: 'no-target', text: 'this agent does not serve it' },
]

test('an open frame arrives as it was sent, ahead of the client’s bytes', () => {
  const terminate: OpenFrame = { ...RELAY, mode: 'terminate' }
  for (const frame of [RELAY, terminate, DENY]) {
    const bytes = writeOpen(KEY, frame)
    const reading = readOpen(Buffer.concat([bytes, Buffer.from('hello')]), SPARE)
    assert.deepEqual(reading, { verdict: 'frame', frame, end: bytes.length })
  }
})

test('answers arrive as they were sent, ahead of the target’s bytes', () => {
  for (const answer of ANSWERS) {
    const bytes = writeAnswer(KEY, TO, answer)
    const reading = readAnswer(Buffer.concat([bytes, Buffer.from('hi')]), KEY, TO)
    assert.deepEqual(reading, { verdict: 'frame', frame: answer, end: bytes.length })
  }
})

test('every cut of a frame asks for more', () => {
  const open = writeOpen(KEY, DENY)
  for (let length = 0; length < open.length; length++)
    assert.equal(readOpen(open.subarray(0, length), SPARE).verdict, 'more')
  for (const answer of ANSWERS) {
    const bytes = writeAnswer(KEY, TO, answer)
    for (let length = 0; length < bytes.length; length++)
      assert.equal(readAnswer(bytes.subarray(0, length), KEY, TO).verdict, 'more')
  }
})

test('a flipped bit in any byte never opens and never answers', () => {
  const open = writeOpen(KEY, DENY)
  for (let at = 0; at < open.length; at++)
    assert.notEqual(readOpen(flipped(open, at), SPARE).verdict, 'frame', `byte ${at}`)
  for (const answer of ANSWERS) {
    const bytes = writeAnswer(KEY, TO, answer)
    for (let at = 0; at < bytes.length; at++)
      assert.notEqual(readAnswer(flipped(bytes, at), KEY, TO).verdict, 'frame', `byte ${at}`)
  }
})

test('a frame under another link’s key is refused before it is parsed', () => {
  const other = randomBytes(32)
  assert.deepEqual(readOpen(writeOpen(other, RELAY), SPARE), {
    verdict: 'bad',
    code: 'frame.bad-mac',
  })
  assert.deepEqual(readAnswer(writeAnswer(other, TO, { kind: 'accept' }), KEY, TO), {
    verdict: 'bad',
    code: 'frame.bad-mac',
  })
})

test('a frame of one spare does not fit another', () => {
  const other = { ...SPARE, spareId: 'spare-2' }
  assert.equal(readOpen(writeOpen(KEY, RELAY), other).verdict, 'bad')
  const accept = writeAnswer(KEY, TO, { kind: 'accept' })
  assert.equal(readAnswer(accept, KEY, { ...TO, spareId: 'spare-2' }).verdict, 'bad')
})

test('an answer to one session is no answer to another, on the same spare', () => {
  const accept = writeAnswer(KEY, TO, { kind: 'accept' })
  assert.deepEqual(readAnswer(accept, KEY, { ...TO, sessionId: 'another' }), {
    verdict: 'bad',
    code: 'frame.replayed',
  })
})

test('a frame sent back to its sender says nothing', () => {
  assert.equal(readAnswer(writeOpen(KEY, RELAY), KEY, TO).verdict, 'bad')
  assert.equal(readOpen(writeAnswer(KEY, TO, { kind: 'accept' }), SPARE).verdict, 'bad')
})

test('a frame past its expiry is late, and a guard refuses it on the same spare before', () => {
  const late = { ...SPARE, nowMs: RELAY.expiresAtMs + 1 }
  assert.deepEqual(readOpen(writeOpen(KEY, RELAY), late), { verdict: 'late', frame: RELAY })
  const guard = new ReplayGuard(30_000, 10)
  assert.deepEqual([guard.admit('spare-1', NOW_MS), guard.admit('spare-1', NOW_MS)], [true, false])
})

test('another version, and a length beyond the limit, are refused at the head', () => {
  const bytes = Uint8Array.from(writeOpen(KEY, RELAY))
  bytes[4] = 2
  assert.deepEqual(readOpen(bytes.subarray(0, 5), SPARE), {
    verdict: 'bad',
    code: 'frame.malformed',
  })
  const answer = writeAnswer(KEY, TO, { kind: 'accept' })
  assert.equal(readOpen(answer.subarray(0, 6), SPARE).verdict, 'bad', 'the other direction')
  const long = Buffer.from('d5534c4f0101ffff', 'hex')
  assert.deepEqual(readOpen(long, SPARE), { verdict: 'bad', code: 'frame.malformed' })
  assert.throws(() => writeOpen(KEY, { ...RELAY, serverName: 'x'.repeat(5000) }), RangeError)
})

test('any bytes behind the magic are bad or unfinished', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
      const bytes = Buffer.concat([Buffer.from('d5534c4f01', 'hex'), tail])
      assert.notEqual(readOpen(bytes, SPARE).verdict, 'frame')
      assert.notEqual(readAnswer(bytes, KEY, TO).verdict, 'frame')
    }),
  )
})

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const changed = Uint8Array.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 0x20
  return changed
}
