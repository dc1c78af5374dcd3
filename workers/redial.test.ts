import assert from 'node:assert/strict'
import test from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { Redial } from './redial.ts'

const BURST = max('linkRedialBurstMax')

test('delays double up to their bound, and are spread over half of it', () => {
  const [low, high] = [new Redial(new FakeClock(), () => 0), new Redial(new FakeClock(), () => 1)]
  const first = Array.from({ length: 7 }, () => [low.next(), high.next()])
  assert.deepEqual(first.slice(0, 3), [
    [100, 200],
    [200, 400],
    [400, 800],
  ])
  assert.deepEqual(first.at(-1), [max('redialMaxMs') / 2, max('redialMaxMs')])
})

test('a link that falls again and again earns its dials', () => {
  const clock = new FakeClock()
  const redial = new Redial(clock, () => 0)
  for (let dial = 0; dial < BURST; dial++) {
    redial.stood(max('linkStableMs'))
    assert.equal(redial.next(), 100)
  }
  redial.stood(max('linkStableMs'))
  assert.equal(redial.next(), max('linkRedialEveryMs'))
  redial.stood(max('linkStableMs'))
  assert.equal(redial.next(), 2 * max('linkRedialEveryMs'))
  clock.advance(4 * max('linkRedialEveryMs'))
  redial.stood(max('linkStableMs'))
  assert.equal(redial.next(), 100)
})

test('a link that stood for a moment only has not succeeded', () => {
  const redial = new Redial(new FakeClock(), () => 1)
  redial.next()
  redial.stood(max('linkStableMs') - 1)
  assert.equal(redial.next(), 400)
  redial.stood(max('linkStableMs'))
  assert.equal(redial.next(), 200)
})

test('a lost link is dialled again within ten seconds, always', () => {
  const clock = new FakeClock()
  const redial = new Redial(clock, () => 1)
  for (let dial = 0; dial < 100; dial++) {
    const waitMs = redial.next()
    assert.ok(waitMs <= 10_000, `dial ${dial} after ${waitMs} ms`)
    clock.advance(waitMs)
  }
})
