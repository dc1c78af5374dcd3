// Who may have how many sessions, who may keep and give back a lease, and what a restart of control leaves.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { Leases } from './leases.ts'

const ALICE = { issuer: 'local', user: 'alice' }

function codeOf(action: () => unknown): string {
  try {
    action()
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

describe('Leases', () => {
  it('that a new control does not know are taken anew for their holder, over the limit too', () => {
    const leases = new Leases(new FakeClock())
    const ids = ['a', 'b', 'c'].map((letter) => letter.repeat(32))
    for (const id of ids) leases.keep(id, 'agent', ALICE)
    assert.equal(leases.size, 3)
    const wish = { ...ALICE, owner: 'agent', max: 3 }
    assert.equal(
      codeOf(() => leases.take(wish)),
      'limit.exceeded',
    )
    leases.release(ids[0] ?? '', 'agent')
    assert.equal(
      codeOf(() => leases.take(wish)),
      'done',
    )
  })

  it('are kept and given back by whoever took them alone, whatever is said of their holder', () => {
    const clock = new FakeClock()
    const leases = new Leases(clock)
    const id = leases.take({ ...ALICE, owner: 'agent', max: 1 })
    assert.equal(
      codeOf(() => leases.keep(id, 'other', ALICE)),
      'resource.not-found',
    )
    leases.release(id, 'other')
    assert.equal(leases.size, 1)
    clock.advance(max('leaseTtlMs'))
    assert.equal(
      codeOf(() => leases.keep(id, 'agent')),
      'resource.not-found',
    )
  })

  it('of one member are bounded, and what ends makes room', () => {
    const clock = new FakeClock()
    const leases = new Leases(clock)
    const id = (at: number): string => at.toString(16).padStart(32, '0')
    for (let at = 0; at < max('leasesPerMemberMax'); at++)
      leases.keep(id(at), 'agent', { issuer: 'local', user: `user${at}` })
    const wish = { ...ALICE, owner: 'agent', max: 3 }
    assert.equal(
      codeOf(() => leases.take(wish)),
      'limit.exceeded',
    )
    assert.equal(
      codeOf(() => leases.take({ ...wish, owner: 'other' })),
      'done',
    )
    leases.release(id(0), 'agent')
    assert.equal(
      codeOf(() => leases.take(wish)),
      'done',
    )
    clock.advance(max('leaseTtlMs'))
    leases.sweep()
    assert.equal(leases.size, 0)
    assert.equal(
      codeOf(() => leases.take(wish)),
      'done',
    )
  })
})
