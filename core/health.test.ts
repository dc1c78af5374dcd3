import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { DEFAULT_HEALTH_CHECK, HealthRecord } from './health.ts'

const CHECK = { ...DEFAULT_HEALTH_CHECK, healthyThreshold: 2, unhealthyThreshold: 3 }

describe('The health of a target', () => {
  it('is unknown until the first result, which counts at once', () => {
    const good = new HealthRecord(5)
    assert.deepEqual(good.health, { status: 'unknown', reason: 'not checked yet', sinceMs: 5 })
    assert.equal(good.note(undefined, CHECK, 7), true)
    assert.deepEqual(good.health, { status: 'healthy', reason: '', sinceMs: 7 })
    const bad = new HealthRecord(5)
    assert.equal(bad.note('refused', CHECK, 8), true)
    assert.deepEqual(bad.health, { status: 'unhealthy', reason: 'refused', sinceMs: 8 })
  })

  it('turns only after enough results of one kind in a row', () => {
    const record = new HealthRecord(0)
    record.note(undefined, CHECK, 0)
    const results = ['x', 'x', undefined, 'x', 'x', 'y'].map((each) => record.note(each, CHECK, 1))
    assert.deepEqual(results, [false, false, false, false, false, true])
    assert.equal(record.health.reason, 'y')
    assert.deepEqual(
      [undefined, 'z', undefined, undefined].map((each) => record.note(each, CHECK, 2)),
      [false, false, false, true],
    )
    assert.deepEqual(record.health, { status: 'healthy', reason: '', sinceMs: 2 })
  })

  it('keeps the newest reason, and the time since when it is so', () => {
    const record = new HealthRecord(0)
    record.note('refused', CHECK, 1)
    for (let i = 0; i < 4; i++) assert.equal(record.note('no route', CHECK, 9), false)
    assert.deepEqual(record.health, { status: 'unhealthy', reason: 'no route', sinceMs: 1 })
  })
})
