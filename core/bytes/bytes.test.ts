// What the three byte tools promise: no read past the end, no growth past a bound, no length believed.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Chunks } from './chunks.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

const MALFORMED = { code: 'protocol.violation' }
const TOO_MUCH = { code: 'limit.exceeded' }

test('a reader returns numbers big-endian, strings as views, and knows what is left', () => {
  const bytes = Uint8Array.from([0xff, 1, 2, 0xfe, 0, 0, 1, 0x61, 0x62, 0, 9])
  const reader = new Reader(bytes)
  assert.equal(reader.u8(), 0xff)
  assert.equal(reader.u16(), 0x0102)
  assert.equal(reader.u32(), 0xfe000001)
  const text = reader.cstring()
  assert.deepEqual([...text], [0x61, 0x62])
  assert.equal(text.buffer, bytes.buffer)
  assert.equal(reader.left, 1)
  assert.equal(reader.at, 10)
})

test('a reader never reads past its end, also where the bytes go on behind it', () => {
  const bytes = Uint8Array.from([1, 2, 3, 0])
  assert.throws(() => new Reader(bytes, 0, 3).u32(), MALFORMED)
  assert.throws(() => new Reader(bytes, 0, 3).cstring(), MALFORMED)
  assert.throws(() => new Reader(bytes, 2).bytes(3), MALFORMED)
  assert.throws(() => new Reader(bytes).bytes(-1), MALFORMED)
  assert.throws(() => new Reader(bytes).bytes(Number.NaN), MALFORMED)
  assert.throws(() => new Reader(bytes, 3, 2), MALFORMED)
  assert.throws(() => new Reader(bytes, 0, 5), MALFORMED)
})

test('a writer grows as needed and fills in a length that counts itself', () => {
  const writer = new Writer(1000).u8(0x45)
  const at = writer.length
  writer.u32(0).u16(0x0102).cstring('é').bytes(new Uint8Array(300)).lengthAt(at)
  const bytes = writer.done()
  assert.equal(bytes.length, 1 + 4 + 2 + 3 + 300)
  assert.deepEqual([...bytes.subarray(0, 10)], [0x45, 0, 0, 1, 0x35, 1, 2, 0xc3, 0xa9, 0])
})

test('a writer refuses to pass its bound, and a zero byte inside a string', () => {
  assert.throws(() => new Writer(8).bytes(new Uint8Array(9)), TOO_MUCH)
  assert.throws(() => new Writer(1000).cstring('a\0b'), MALFORMED)
})

test('chunks keep copies, in order, and give them up when taken', () => {
  const chunks = new Chunks(10)
  const chunk = Uint8Array.from([1, 2, 3, 4])
  chunks.add(chunk, 1, 3)
  chunk.fill(0)
  chunks.add(Uint8Array.from([5]))
  assert.deepEqual([...chunks.view()], [2, 3, 5])
  assert.deepEqual([...chunks.take()], [2, 3, 5])
  assert.equal(chunks.length, 0)
  assert.equal(chunks.held, 0)
})

test('chunks refuse what passes their bound and never hold more memory than it', () => {
  const chunks = new Chunks(100)
  for (let i = 0; i < 100; i++) chunks.add(Uint8Array.of(i))
  assert.equal(chunks.held, 100)
  assert.deepEqual([...chunks.view()], [...Array(100).keys()])
  assert.throws(() => chunks.add(Uint8Array.of(1)), TOO_MUCH)
  assert.equal(chunks.length, 100)
})
