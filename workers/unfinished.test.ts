// What strangers may cost before they have said what they are: each bound alone, and nothing left behind.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { type DropReason, Unfinished, unfinishedBounds } from './unfinished.ts'

const BOUNDS = { countMax: 5, perSourceMax: 3, bytesMax: 100, deadlineMs: 1000 }

describe('Unfinished', () => {
  let clock: FakeClock
  let dropped: [string, DropReason][]
  let unfinished: Unfinished<string>

  afterEach(() => mock.timers.reset())
  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] })
    clock = new FakeClock()
    dropped = []
    unfinished = new Unfinished(BOUNDS, clock, (entry, reason) => dropped.push([entry, reason]))
  })

  function pass(ms: number): void {
    clock.advance(ms)
    mock.timers.tick(ms)
  }

  it('drops the oldest of all when there are too many', () => {
    for (const entry of ['a', 'b', 'c', 'd', 'e', 'f']) unfinished.add(entry, entry)
    assert.deepEqual(dropped, [['a', 'total']])
    assert.equal(unfinished.size, 5)
  })

  it('drops the oldest of a source that has too many, and leaves others alone', () => {
    unfinished.add('x', 'other')
    for (const entry of ['a', 'b', 'c', 'd']) unfinished.add(entry, 'one')
    assert.deepEqual(dropped, [['a', 'source']])
  })

  it('counts an entry against a source only when the source is known', () => {
    for (const entry of ['a', 'b', 'c', 'd']) unfinished.add(entry, undefined)
    assert.deepEqual(dropped, [])
    for (const entry of ['d', 'c', 'b', 'a']) unfinished.place(entry, 'one')
    assert.deepEqual(dropped, [['d', 'source']])
  })

  it('drops the oldest until the bytes fit', () => {
    for (const entry of ['a', 'b', 'c']) unfinished.add(entry, entry)
    unfinished.keep('a', 10)
    unfinished.keep('b', 80)
    unfinished.keep('b', 85)
    assert.deepEqual(dropped, [])
    unfinished.keep('c', 90)
    assert.deepEqual(dropped, [
      ['a', 'bytes'],
      ['b', 'bytes'],
    ])
    assert.equal(unfinished.bytes, 90)
  })

  it('drops each entry at its own deadline with one timer', () => {
    unfinished.add('a', 'a')
    pass(400)
    unfinished.add('b', 'b')
    pass(599)
    assert.deepEqual(dropped, [])
    pass(1)
    assert.deepEqual(dropped, [['a', 'deadline']])
    pass(400)
    assert.deepEqual(dropped, [
      ['a', 'deadline'],
      ['b', 'deadline'],
    ])
  })

  it('is empty when all entries are gone, and removes each once', () => {
    unfinished.add('a', 'a')
    unfinished.keep('a', 50)
    assert.equal(unfinished.remove('a'), true)
    assert.equal(unfinished.remove('a'), false)
    unfinished.keep('a', 70)
    assert.deepEqual([unfinished.size, unfinished.sources, unfinished.bytes], [0, 0, 0])
    pass(5000)
    assert.deepEqual(dropped, [])
  })

  it('leaves half of the descriptors for what connections lead to', () => {
    assert.equal(unfinishedBounds(1024).countMax, 512)
  })
})
