// Whom the next session goes to, one reason after the other.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Candidate, chooseAgent } from './choose-agent.ts'

const ORDERS = { kind: 'db', name: 'orders' } as const

function agent(agentId: string, over: Partial<Candidate> = {}): Candidate {
  const unhealthy = new Set<string>()
  return { agentId, draining: false, suspect: false, unhealthy, sessions: 0, chosenAt: 0, ...over }
}

function choose(parked: readonly string[], ...agents: readonly Candidate[]): string | undefined {
  return chooseAgent(agents, (id) => (parked.includes(id) ? 1 : 0), ORDERS)?.agentId
}

describe('The agent of the next session', () => {
  it('is never one that drains, even alone', () => {
    assert.equal(choose(['a'], agent('a', { draining: true }), agent('b', { sessions: 9 })), 'b')
    assert.equal(choose(['a'], agent('a', { draining: true })), undefined)
  })

  it('is one that has not just been silent, whatever else speaks for the silent one', () => {
    const busy = agent('b', { sessions: 9, unhealthy: new Set(['db/orders']) })
    assert.equal(choose(['a'], agent('a', { suspect: true }), busy), 'b')
    assert.equal(choose([], agent('a', { suspect: true })), 'a')
  })

  it('is one that the target answers', () => {
    const sick = agent('a', { unhealthy: new Set(['db/orders']) })
    assert.equal(choose(['a'], sick, agent('b', { sessions: 9 })), 'b')
    const elsewhere = agent('a', { unhealthy: new Set(['db/stock']) })
    assert.equal(choose(['a'], elsewhere, agent('b')), 'a')
    assert.equal(choose([], sick), 'a')
  })

  it('is one with a parked spare, then the least busy, then the one that waited longest', () => {
    assert.equal(choose(['b'], agent('a'), agent('b', { sessions: 5 })), 'b')
    assert.equal(choose([], agent('a', { sessions: 2 }), agent('b', { sessions: 1 })), 'b')
    assert.equal(choose([], agent('a', { chosenAt: 7 }), agent('b', { chosenAt: 6 })), 'b')
  })
})
