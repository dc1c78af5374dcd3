// The ledger counts what is live and notices when more is given back than was taken.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Ledger } from './ledger.ts'

describe('Ledger', () => {
  it('returns to zero when everything was given back, and gives back once only', () => {
    const ledger = new Ledger()
    const releases = [ledger.hold('sockets'), ledger.hold('sockets'), ledger.hold('timers')]
    assert.deepEqual(ledger.counts(), { sockets: 2, timers: 1 })
    assert.equal(ledger.empty, false)
    for (const release of [...releases, ...releases]) release()
    assert.deepEqual(ledger.counts(), { sockets: 0, timers: 0 })
    assert.equal(ledger.empty, true)
  })

  it('throws when more is given back than was taken', () => {
    const ledger = new Ledger()
    ledger.add('sessions', 2)
    ledger.remove('sessions', 2)
    assert.throws(() => ledger.remove('sessions'), RangeError)
  })

  it('shows sizes that others keep', () => {
    const ledger = new Ledger()
    const map = new Map([['a', 1]])
    ledger.watch('entries', () => map.size)
    assert.equal(ledger.count('entries'), 1)
    assert.equal(ledger.empty, false)
    map.clear()
    assert.equal(ledger.empty, true)
  })
})
