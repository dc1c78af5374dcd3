// Whom control believes to be there, and to hold what it sent: proxies speak for agents, and may lie.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { Presence } from './presence.ts'

const AGENT = 'agent'

describe('an agent', () => {
  const clock = new FakeClock()
  const presence = new Presence(clock)

  it('that only a proxy spoke for is online, and not known to be current', () => {
    presence.heard(AGENT, { lockRevision: 1_000_000 })
    assert.deepEqual([presence.isOnline(AGENT), presence.isCurrent(AGENT)], [true, false])
  })

  it('is current by its own word, as of when it was said', () => {
    presence.heard(AGENT, { trustedAtMs: clock.now() - max('trustLagMaxMs') })
    assert.equal(presence.isCurrent(AGENT), true)
    presence.heard(AGENT, { trustedAtMs: clock.now() - max('trustLagMaxMs') - 1 })
    assert.equal(presence.isCurrent(AGENT), false)
    presence.heard(AGENT, { trustedAtMs: 0 })
    assert.equal(presence.isCurrent(AGENT), false)
  })

  it('is steady as long as it calls itself without a break, whatever proxies say', () => {
    const id = 'steady'
    presence.heard(id, { hearsay: true })
    assert.deepEqual([presence.isOnline(id), presence.steadyMs(id)], [true, 0])
    presence.heard(id)
    clock.advance(max('presenceMaxMs') - 1)
    assert.equal(presence.steadyMs(id), max('presenceMaxMs') - 1)
    presence.heard(id)
    clock.advance(max('presenceMaxMs') - 1)
    assert.equal(presence.steadyMs(id), 2 * (max('presenceMaxMs') - 1))
    clock.advance(1)
    presence.heard(id, { hearsay: true })
    assert.equal(presence.steadyMs(id), 0)
    presence.heard(id)
    assert.equal(presence.steadyMs(id), 0)
    clock.advance(5)
    assert.equal(presence.steadyMs(id), 5)
  })

  it('is not kept current by a proxy that speaks for it after it fell silent', () => {
    presence.heard(AGENT, { trustedAtMs: clock.now() })
    clock.advance(max('presenceMaxMs'))
    presence.heard(AGENT, { lockRevision: 1_000_000 })
    assert.equal(presence.isCurrent(AGENT), true)
    clock.advance(1)
    presence.heard(AGENT, { lockRevision: 1_000_000 })
    assert.deepEqual([presence.isOnline(AGENT), presence.isCurrent(AGENT)], [true, false])
  })
})
