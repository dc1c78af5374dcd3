// Read buffers follow the traffic: small when quiet, large in bulk, all of them given back.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import { BufferPool, ReadBuffer } from './buffers.ts'

const SMALL = max('relayBufferSmallBytes')
const MIDDLE = max('relayBufferMiddleBytes')
const LARGE = max('relayBufferBytes')

describe('ReadBuffer', () => {
  it('grows by one step on each full read', () => {
    const read = new ReadBuffer(new BufferPool())
    assert.equal(read.current.length, SMALL)
    read.noted(SMALL)
    assert.equal(read.current.length, MIDDLE)
    read.noted(MIDDLE)
    assert.equal(read.current.length, LARGE)
    read.noted(LARGE)
    assert.equal(read.current.length, LARGE)
  })

  it('shrinks after two reads in a row that fit a smaller one', () => {
    const read = new ReadBuffer(new BufferPool())
    read.noted(SMALL)
    read.noted(10)
    assert.equal(read.current.length, MIDDLE)
    read.noted(SMALL + 1)
    read.noted(10)
    assert.equal(read.current.length, MIDDLE)
    read.noted(10)
    assert.equal(read.current.length, SMALL)
  })

  it('keeps its buffer as long as it does not change size', () => {
    const read = new ReadBuffer(new BufferPool())
    const { current } = read
    read.noted(100)
    assert.equal(read.current, current)
  })
})

describe('BufferPool', () => {
  it('has nothing lent when all readers have closed, and keeps no more than its bound', () => {
    const pool = new BufferPool(3)
    const readers = Array.from({ length: 10 }, () => new ReadBuffer(pool))
    const buffers = new Set(readers.map((reader) => reader.current))
    assert.equal(buffers.size, 10)
    assert.equal(pool.lent, 10)
    for (const reader of readers) reader.close()
    for (const reader of readers) reader.close()
    assert.equal(pool.lent, 0)
    assert.equal(pool.kept, 3)
    assert.ok(buffers.has(new ReadBuffer(pool).current))
  })
})
