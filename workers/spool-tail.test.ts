// The end of a spool in memory is the file byte for byte, or is not there.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import { SpoolTail } from './spool-tail.ts'

function bytes(text: string): Uint8Array {
  return Buffer.from(text)
}

describe('the end of a spool in memory', () => {
  it('gives what was written from any byte on, over several writes', () => {
    for (let offset = 10; offset < 18; offset++) {
      for (let length = 1; offset + length <= 18; length++) {
        const tail = new SpoolTail()
        tail.wrote(1, 10, bytes('abc'))
        tail.wrote(1, 13, bytes('defgh'))
        const whole = 'abcdefgh'.slice(offset - 10, offset - 10 + length)
        assert.equal(tail.read(1, offset, length)?.toString(), whole)
      }
    }
  })

  it('has nothing of what came before it, of what comes after, and of other segments', () => {
    const tail = new SpoolTail()
    tail.wrote(7, 10, bytes('abc'))
    assert.equal(tail.read(7, 9, 2), undefined)
    assert.equal(tail.read(7, 11, 3), undefined)
    assert.equal(tail.read(1, 10, 3), undefined)
    tail.wrote(9, 0, bytes('next'))
    assert.equal(tail.read(7, 10, 4), undefined)
    assert.equal(tail.read(9, 0, 4)?.toString(), 'next')
  })

  it('lets go what was read past, and the oldest beyond its bound', () => {
    const tail = new SpoolTail()
    tail.wrote(1, 0, bytes('abc'))
    tail.wrote(1, 3, bytes('def'))
    assert.equal(tail.read(1, 3, 3)?.toString(), 'def')
    assert.equal(tail.bytes, 3)
    assert.equal(tail.read(1, 0, 3), undefined)
    const half = new Uint8Array(max('auditTailBytesMax') / 2)
    tail.wrote(1, 6, half)
    tail.wrote(1, 6 + half.length, half)
    assert.equal(tail.bytes, max('auditTailBytesMax'))
    assert.equal(tail.read(1, 3, 3), undefined)
  })
})
