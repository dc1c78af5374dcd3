// A session's events rendered from parts against the same events built whole.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import fc from 'fast-check'

import { canonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import { AUDIT_EVENTS } from './catalogue.ts'
import { auditEvent } from './event.ts'
import { type OwnFields, SessionEvents } from './session-events.ts'

const COMMON = {
  user: 'älice"\\',
  user_kind: 1,
  user_roles: ['access', 'dev'],
  db_labels: { '10': 'x', '2': 'y', env: 'prod' },
  'addr.remote': '127.0.0.1:5',
  'addr.trusted': true,
  sid: 'S1',
}
const TIME_MS = Date.UTC(2026, 10, 26, 1, 2, 3, 4)
const CODES = Object.entries(AUDIT_EVENTS).filter(([, { name }]) => name.startsWith('db.session.'))

function whole(code: string, own: OwnFields, ei: number): string {
  const origin = { uid: 'u-1', timeMs: TIME_MS, cluster: 'c' }
  const name = AUDIT_EVENTS[code]?.name ?? ''
  return canonicalJson(auditEvent(name, code, { ...own, ...COMMON, ei }, origin))
}

test('every event is the text that the whole event has, whatever its fields hold', () => {
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.array(fc.string({ unit: 'binary' }), { maxLength: 4 }),
    fc.constant(undefined),
  )
  const event = fc.constantFrom(...CODES).chain(([code, row]) => {
    const fields = row.fields.filter((field) => !Object.hasOwn(COMMON, field))
    return fc.tuple(
      fc.constant(code),
      fc.record(Object.fromEntries(fields.map((field) => [field, value]))),
    )
  })
  const events = new SessionEvents(COMMON, 'c')
  fc.assert(
    fc.property(event, fc.nat(1000), ([code, own], ei) => {
      const instance = { uid: 'u-1', timeMs: TIME_MS, ei }
      const body = events.body(code, own, instance)
      assert.equal(body, whole(code, own, ei))
      // Six bytes for an escaped character; nothing takes more.
      assert.ok(Buffer.byteLength(body) <= 6 * events.lengthOf(code, own))
    }),
    { numRuns: 100 },
  )
})

test('what an event shares with the one before it is not written again, and never taken for another', () => {
  const events = new SessionEvents(COMMON, 'c')
  const texts = [
    'a',
    'a',
    'b',
    '',
    'a',
    'x'.repeat(2000),
    'x'.repeat(2000),
    'a',
    '\ud800',
    '\ufffd',
  ]
  for (const [ei, db_query] of texts.entries()) {
    for (const rows of [0, -0, 1]) {
      const own = { db_query, rows, db_query_parameters: [db_query] }
      const instance = { uid: 'u-1', timeMs: TIME_MS, ei }
      assert.equal(events.body('TDB02I', own, instance), whole('TDB02I', own, ei))
    }
  }
})

test('an event over the bound is cut and marked like any other', () => {
  const own = { db_query: '\u0001'.repeat(max('auditEventBytesMax') / 2), rows: 1 }
  const body = new SessionEvents(COMMON, 'c').body('TDB02I', own, {
    uid: 'u-1',
    timeMs: TIME_MS,
    ei: 3,
  })
  assert.ok(Buffer.byteLength(body) <= max('auditEventBytesMax'))
  assert.equal(body, whole('TDB02I', own, 3))
  assert.match(body, /"trimmed":\["db_query"\]/)
})

test('of plain values a body is no longer than was said, and not much shorter', () => {
  const events = new SessionEvents(COMMON, 'c')
  const own = { db_query: 'SELECT 1'.repeat(200), db_query_parameters: ['1', 'two'], rows: 3 }
  const { length } = events.body('TPG02I', own, { uid: randomUUID(), timeMs: TIME_MS, ei: 12 })
  const said = events.lengthOf('TPG02I', own)
  assert.ok(length <= said && said <= length + 256, `${length} and ${said}`)
})

test('a code without a row is a defect and is said', () => {
  assert.throws(() => new SessionEvents(COMMON, 'c').lengthOf('XX', {}), /no audit event XX/)
  assert.throws(
    () => new SessionEvents(COMMON, 'c').body('XX', {}, { uid: '', timeMs: 0, ei: 0 }),
    /no audit event XX/,
  )
})
