import assert from 'node:assert/strict'
import test from 'node:test'

import { max } from '../core/limits.ts'
import { Deadlines, FakeTimers, systemTimers } from './timers.ts'

test('timers run in the order of their times, those set meanwhile included', () => {
  const timers = new FakeTimers()
  const ran: string[] = []
  timers.after(20, () => ran.push('b'))
  timers.after(10, () => {
    ran.push('a')
    timers.after(5, () => ran.push('a2'))
  })
  const cancel = timers.after(15, () => ran.push('never'))
  cancel()
  timers.advance(100)
  assert.deepEqual(ran, ['a', 'a2', 'b'])
  assert.equal(timers.clock.monotonic(), 100)
  assert.equal(timers.size, 0)
})

test('a deadline set again replaces the first, and dropped ones never run', () => {
  const timers = new FakeTimers()
  const deadlines = new Deadlines<'a' | 'b'>(timers.clock, timers)
  const ran: string[] = []
  deadlines.after('a', 10, () => ran.push('first'))
  deadlines.after('a', 20, () => ran.push('second'))
  deadlines.after('b', 10, () => ran.push('b'))
  assert.equal(deadlines.has('b'), true)
  deadlines.drop('b')
  timers.advance(30)
  assert.deepEqual(ran, ['second'])
  deadlines.after('a', 1, () => ran.push('late'))
  deadlines.clear()
  assert.deepEqual([deadlines.size, timers.size], [0, 0])
})

test('a dated deadline comes at its date', () => {
  const timers = new FakeTimers()
  const deadlines = new Deadlines<'end'>(timers.clock, timers)
  let ended = false
  deadlines.at('end', timers.clock.now() + 60_000, () => (ended = true))
  timers.advance(59_999)
  assert.equal(ended, false)
  timers.advance(1)
  assert.equal(ended, true)
})

test('a dated deadline follows the wall clock when it jumps, within its check', () => {
  const timers = new FakeTimers()
  const deadlines = new Deadlines<'end'>(timers.clock, timers)
  let ended = false
  deadlines.at('end', timers.clock.now() + 3_600_000, () => (ended = true))
  timers.clock.jump(-3_600_000)
  timers.advance(3_600_000)
  assert.equal(ended, false, 'the clock went back: the date is still to come')
  timers.clock.jump(3_600_000)
  timers.advance(max('wallClockCheckMs'))
  assert.equal(ended, true)
})

test('a wait beyond what the event loop can count is not over at once', () => {
  let ran = false
  const cancel = systemTimers.after(2 ** 40, () => (ran = true))
  const { promise, resolve } = Promise.withResolvers<void>()
  setImmediate(resolve)
  return promise.then(() => {
    cancel()
    assert.equal(ran, false)
  })
})
