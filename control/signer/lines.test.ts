// Lines out of chunks: however the bytes are cut, the same lines come out, and an endless line stops at its bound.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { max } from '../../core/limits.ts'
import { LineReader } from './lines.ts'

test('any cut of the same bytes gives the same lines', () => {
  const texts = fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' ')))
  fc.assert(
    fc.property(texts, fc.array(fc.nat(9)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(''))
      const reader = new LineReader('signerAnswerBytesMax')
      const read: string[] = []
      let at = 0
      for (const cut of [...cuts, bytes.length]) {
        read.push(...reader.push(bytes.subarray(at, at + cut)))
        at += cut
      }
      assert.deepEqual(
        read,
        lines.map((text) => Buffer.from(text).toString()),
      )
    }),
  )
})

test('a line over its bound is an error before it ends', () => {
  const reader = new LineReader('signerAnswerBytesMax')
  const half = Buffer.alloc(max('signerAnswerBytesMax') / 2, 'x')
  reader.push(half)
  reader.push(half)
  assert.throws(() => reader.push(Uint8Array.of(0x78)), { code: 'limit.exceeded' })
})

test('a line of exactly the bound is read, and the next one counts from zero', () => {
  const reader = new LineReader('signerAnswerBytesMax')
  const full = Buffer.alloc(max('signerAnswerBytesMax'), 'x')
  for (let round = 0; round < 2; round++) {
    reader.push(full)
    assert.equal(reader.push(Buffer.from('\n'))[0]?.length, full.length)
  }
})
