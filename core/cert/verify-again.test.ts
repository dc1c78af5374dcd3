// A certificate that was verified once is not read again; everything that may have changed since is judged again all the same.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { CLUSTER, testCa, testLeaf, userIdentity } from '../../test/fixtures/certificates.ts'
import { max } from '../limits.ts'
import { type Expectation, verifyPeer } from './verify.ts'

const NOW_MS = Date.UTC(2026, 10, 20)
const HOUR_MS = 3_600_000
const ca = testCa('user CA', NOW_MS)
const want: Expectation = { cas: [ca.der], purpose: 'client', type: 'user', cluster: CLUSTER }

function verified(
  der: Uint8Array,
  over: Partial<Expectation> = {},
  nowMs: number = NOW_MS,
): string {
  const outcome = verifyPeer([der], { ...want, ...over }, nowMs)
  return outcome.ok ? 'verified' : outcome.code
}

describe('a certificate that comes again', () => {
  it('is verified again, with the same identity and facts', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    const [first, again] = [
      verifyPeer([der], want, NOW_MS),
      verifyPeer([Buffer.from(der)], want, NOW_MS),
    ]
    assert.ok(first.ok && again.ok)
    assert.deepEqual(again.identity, first.identity)
    assert.deepEqual(again.facts, first.facts)
    assert.equal(again.keySha256, first.keySha256)
  })

  it('is refused once it has expired', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    assert.equal(verified(der), 'verified')
    assert.equal(verified(der, {}, NOW_MS + 2 * HOUR_MS), 'cert.expired')
  })

  it('is refused once its CA has left the trust set', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    assert.equal(verified(der), 'verified')
    assert.equal(verified(der, { cas: [testCa('user CA', NOW_MS).der] }), 'cert.chain')
    assert.equal(verified(der, { cas: [] }), 'cert.chain')
    assert.equal(verified(der), 'verified')
  })

  it('is refused where another kind, cluster or purpose is wanted', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    assert.equal(verified(der), 'verified')
    assert.equal(verified(der, { type: 'system' }), 'cert.purpose')
    assert.equal(verified(der, { cluster: 'other.test' }), 'cert.purpose')
    assert.equal(verified(der, { purpose: 'server' }), 'cert.purpose')
  })

  it('does not vouch for other bytes', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    assert.equal(verified(der), 'verified')
    for (const at of [der.length - 1, der.length >> 1]) {
      const changed = Buffer.from(der)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.notEqual(verified(changed), 'verified')
    }
  })

  it('does not change with the buffer it came in', () => {
    const { der } = testLeaf(ca, userIdentity(), NOW_MS)
    const buffer = Buffer.from(der)
    const first = verifyPeer([buffer], want, NOW_MS)
    buffer.fill(0)
    const again = verifyPeer([der], want, NOW_MS)
    assert.ok(first.ok && again.ok)
    assert.deepEqual(again.identity, first.identity)
    assert.equal(verified(buffer), 'cert.malformed')
  })

  it('is verified although more certificates came than are kept', () => {
    const key = testLeaf(ca, userIdentity(), NOW_MS).key
    const first = testLeaf(ca, userIdentity(), NOW_MS, { key })
    assert.equal(verified(first.der), 'verified')
    for (let i = 0; i <= max('signedCertificatesMax'); i++)
      assert.equal(verified(testLeaf(ca, userIdentity(), NOW_MS, { key }).der), 'verified')
    assert.equal(verified(first.der), 'verified')
  })
})
