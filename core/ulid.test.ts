// Decision ids: form, order by time, and what they are made of.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { isUlid, newDecisionId } from './ulid.ts'

describe('a decision id', () => {
  it('is the ULID of its time and its ten random bytes', () => {
    // 1469918176385 ms is the example of the specification; its random part is all ones here.
    assert.equal(
      newDecisionId(1469918176385, new Uint8Array(10).fill(255)),
      '01ARYZ6S41ZZZZZZZZZZZZZZZZ',
    )
    assert.equal(newDecisionId(0, new Uint8Array(10)), '0'.repeat(26))
    assert.equal(newDecisionId(2 ** 48 - 1, new Uint8Array(10).fill(255)), `7${'Z'.repeat(25)}`)
  })

  it('sorts by time', () => {
    const late = newDecisionId(2, new Uint8Array(10))
    assert.ok(newDecisionId(1, new Uint8Array(10).fill(255)) < late)
  })

  it('is not made of too little chance or an impossible time', () => {
    assert.throws(() => newDecisionId(1, new Uint8Array(9)), RangeError)
    for (const time of [-1, 2 ** 48, Number.NaN, 1.5])
      assert.throws(() => newDecisionId(time, new Uint8Array(10)), RangeError)
  })

  it('is recognised, and nothing else is', () => {
    assert.equal(isUlid('01ARYZ6S41ZZZZZZZZZZZZZZZZ'), true)
    for (const text of [
      '',
      '01ARYZ6S41ZZZZZZZZZZZZZZZ',
      '81ARYZ6S41ZZZZZZZZZZZZZZZZ',
      '../RYZ6S41ZZZZZZZZZZZZZZZZ',
      '01arYZ6S41ZZZZZZZZZZZZZZZZ',
    ])
      assert.equal(isUlid(text), false)
  })
})
