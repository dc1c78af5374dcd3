import assert from 'node:assert/strict'
import test from 'node:test'

import { ChunkOut } from './chunk-out.ts'

const CHUNK = Buffer.from('0123456789')
const texts = (pieces: readonly Uint8Array[]): string[] =>
  pieces.map((piece) => Buffer.from(piece).toString())

function outOf(): ChunkOut {
  const out = new ChunkOut(() => true)
  out.begin('client', CHUNK)
  return out
}

test('neighbouring passes become one view of the chunk, not a copy', () => {
  const out = outOf()
  out.pass(0, 3)
  out.pass(3, 3)
  out.pass(3, 7)
  const [piece, ...more] = out.collect().toTarget
  assert.deepEqual(more, [])
  assert.equal(piece?.buffer, CHUNK.buffer)
  assert.deepEqual(texts([piece ?? CHUNK]), ['0123456'])
})

test('a gap makes two pieces, and sends keep their place among passes', () => {
  const out = outOf()
  out.pass(0, 2)
  out.pass(4, 6)
  out.send('target', Buffer.from('ours'))
  out.pass(6, 7)
  out.send('client', Buffer.from('hint'))
  out.pass(7, 8)
  const { toTarget, toClient } = out.collect()
  assert.deepEqual(texts(toTarget), ['01', '45', 'ours', '67'])
  assert.deepEqual(texts(toClient), ['hint'])
})

test('what was sent is copied: the session may write over it', () => {
  const out = outOf()
  const scratch = Buffer.from('one')
  out.send('client', scratch)
  scratch.write('two')
  assert.deepEqual(texts(out.collect().toClient), ['one'])
})

test('bytes of the target pass to the client', () => {
  const out = new ChunkOut(() => true)
  out.begin('target', CHUNK)
  out.pass(0, 1)
  assert.deepEqual(texts(out.collect().toClient), ['0'])
})

test('nothing is collected after the end', () => {
  const out = outOf()
  out.pass(0, 1)
  out.act({ kind: 'end', reason: 'over' })
  out.pass(1, 2)
  out.send('client', CHUNK)
  out.act({ kind: 'ready' })
  const { toTarget, toClient, actions } = out.collect()
  assert.deepEqual([texts(toTarget), texts(toClient), actions.length], [['0'], [], 1])
})

test('a range outside the chunk is a defect, also while there is none', () => {
  const out = outOf()
  assert.throws(() => out.pass(5, 11), RangeError)
  assert.throws(() => out.pass(3, 2), RangeError)
  out.begin()
  assert.throws(() => out.pass(0, 1), RangeError)
})

test('each collection stands alone', () => {
  const out = outOf()
  out.pass(0, 1)
  const first = out.collect()
  out.begin('client', CHUNK)
  out.pass(1, 2)
  assert.deepEqual(texts(out.collect().toTarget), ['1'])
  assert.deepEqual(texts(first.toTarget), ['0'])
})
