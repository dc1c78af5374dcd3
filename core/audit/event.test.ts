// What any event keeps to: common fields, one canonical form, its bound, and a mark on whatever was left out.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { canonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import { type AuditEvent, auditEvent, type EventFields } from './event.ts'

const ORIGIN = { uid: 'u-1', timeMs: Date.UTC(2026, 10, 20, 1, 2, 3, 4), cluster: 'c' }

function login(fields: EventFields): AuditEvent {
  return auditEvent('user.login', 'T1000I', fields, ORIGIN)
}

function textOf(value: unknown): string {
  assert.ok(typeof value === 'string')
  return value
}

describe('an audit event', () => {
  it('has the common fields, and those it was given', () => {
    assert.deepEqual(login({ user: 'alice', success: true, skipped: undefined }), {
      event: 'user.login',
      code: 'T1000I',
      uid: 'u-1',
      time: '2026-11-20T01:02:03.004Z',
      ei: 0,
      cluster_name: 'c',
      user: 'alice',
      success: true,
    })
  })

  it('takes no common or chain field from its caller', () => {
    const fields = { event: 'x', code: 'x', uid: 'x', time: 'x', cluster_name: 'x' }
    const chain = { seq: 7, prev: 'x', writer: 'x', hash: 'x', emitter: 'x' }
    assert.deepEqual(login({ ...fields, ...chain }), login({}))
    assert.equal(login({ ei: 3 }).ei, 3)
  })

  it('without a row of its own stands as a placeholder that names what was claimed', () => {
    const event = auditEvent('user.login', 'T9999X', { user: 'alice' }, ORIGIN)
    assert.equal(event.event, 'unknown')
    assert.equal(event.code, 'SLX000W')
    assert.equal(event['claimed_code'], 'T9999X')
    assert.equal(event['claimed_event'], 'user.login')
    assert.equal(event['user'], 'alice')
    assert.equal(auditEvent('user.logout', 'T1000I', {}, ORIGIN).event, 'unknown')
    assert.equal(auditEvent('x', 'toString', {}, ORIGIN).event, 'unknown')
  })

  it('writes values without a canonical form as text', () => {
    const event = login({
      fraction: 1.5,
      none: null,
      big: 10n,
      broken: 'a\ud800',
      bytes: Uint8Array.of(1, 255),
      when: new Date(0),
      error: new Error('no'),
      nested: { list: [1, Number.NaN], gone: undefined },
    })
    assert.equal(event['fraction'], '1.5')
    assert.equal(event['none'], 'null')
    assert.equal(event['big'], '10')
    assert.equal(event['broken'], 'a\ufffd')
    assert.equal(event['bytes'], '01ff')
    assert.equal(event['when'], '1970-01-01T00:00:00.000Z')
    assert.equal(event['error'], 'no')
    assert.deepEqual(event['nested'], { list: [1, 'NaN'] })
  })

  it('trims its longest field with a mark, and keeps the short ones whole', () => {
    const event = login({ user: 'alice', error: 'é'.repeat(100_000) })
    assert.deepEqual(event['trimmed'], ['error'])
    assert.equal(event['user'], 'alice')
    assert.match(textOf(event['error']), /^é+… \(200002 bytes\)$/)
    const bytes = Buffer.byteLength(canonicalJson(event))
    assert.ok(bytes <= max('auditEventBytesMax') && bytes > max('auditEventBytesMax') - 1000)
  })

  it('is within its bound for every length around it', () => {
    const whole = Buffer.byteLength(canonicalJson(login({ error: '' })))
    for (let over = -200; over < 200; over += 1) {
      const event = login({ error: 'x'.repeat(max('auditEventBytesMax') - whole + over) })
      assert.ok(Buffer.byteLength(canonicalJson(event)) <= max('auditEventBytesMax'), `${over}`)
    }
  })

  it('bounds the explanation of a decision by itself', () => {
    const roles = Array.from({ length: 4000 }, (_, index) => ({ role: `role-${index}` }))
    const event = auditEvent('decision.deny', 'SLP001W', { decision: { roles }, user: 'a' }, ORIGIN)
    assert.deepEqual(event['trimmed'], ['decision'])
    assert.ok(Buffer.byteLength(textOf(event['decision'])) <= max('auditDecisionBytesMax'))
    const small = { decision: { roles: roles.slice(0, 50) } }
    assert.deepEqual(
      auditEvent('decision.deny', 'SLP001W', small, ORIGIN)['decision'],
      small.decision,
    )
  })

  it('counts the fields it drops', () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`f${index}`, index]))
    assert.equal(login({ ...many, 'bad name': 1 })['dropped_fields'], 201 - max('auditFieldsMax'))
  })

  it('is within its bound and canonical for any fields', () => {
    const names = fc.stringMatching(/^[a-z_.]{1,70}$/)
    const values = fc.oneof(
      fc.anything({ withBigInt: true, withDate: true, withTypedArray: true }),
      fc.string({ unit: 'binary', minLength: 0, maxLength: 50_000 }),
    )
    const property = fc.property(fc.dictionary(names, values, { maxKeys: 200 }), (fields) => {
      const text = canonicalJson(login(fields))
      assert.ok(Buffer.byteLength(text) <= max('auditEventBytesMax'))
      assert.equal(canonicalJson(JSON.parse(text) as AuditEvent), text)
    })
    fc.assert(property, { numRuns: 60 })
  })
})
