// When an agent tells of silence: at its beginning and its end, and in the audit log once it is too long.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import { testSnapshot } from '../test/fixtures/rights.ts'
import { Staleness } from './staleness.ts'

function rig(): { look: (staleMs: number) => void; said: string[]; audited: unknown[] } {
  const [said, audited]: [string[], unknown[]] = [[], []]
  let staleMs = Number.POSITIVE_INFINITY
  const staleness = new Staleness({
    feed: { staleMs: () => staleMs, snapshot: testSnapshot({ nowMs: 0 }) },
    audit: (name, code, fields) => audited.push([name, code, fields]),
    onChange: () => said.push(staleMs > max('trustLagMaxMs') ? 'stale' : 'fresh'),
  })
  const look = (ms: number): void => {
    staleMs = ms
    staleness.check()
  }
  return { look, said, audited }
}

describe('staleness', () => {
  it('is told when it begins and when it ends, once each', () => {
    const { look, said } = rig()
    for (const ms of [Number.POSITIVE_INFINITY, 900, 1800, 5001, 6000, 10, 20]) look(ms)
    assert.deepEqual(said, ['fresh', 'stale', 'fresh'])
  })

  it('is audited once it passes the bound of strict locking, and again only after it ended', () => {
    const { look, audited } = rig()
    const bound = max('stalenessMaxMs')
    for (const ms of [10, bound, bound + 1, bound + 1000]) look(ms)
    const event = [
      'snapshot.stale',
      'SLS003W',
      { silent_ms: bound + 1, locking_mode: 'best_effort' },
    ]
    assert.deepEqual(audited, [event])
    look(10)
    look(bound + 1)
    assert.deepEqual(audited, [event, event])
  })

  it('is not audited before the first beacon', () => {
    const { look, audited } = rig()
    look(Number.POSITIVE_INFINITY)
    assert.deepEqual(audited, [])
  })
})
