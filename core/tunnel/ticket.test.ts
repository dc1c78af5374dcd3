import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import {
  checkTicket,
  mintTicket,
  readTicket,
  serverName,
  splitServerName,
  subjectTag,
  TICKET_LENGTH,
  ticketRest,
} from './ticket.ts'
import type { TicketKey } from './ticket.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const KEY: TicketKey = { id: 3, key: randomBytes(32), notAfterMs: NOW_MS + 86_400_000 }
const REST = ticketRest('orders', 'db', 'sluice.test')

function mint(over: Partial<Parameters<typeof mintTicket>[1]> = {}): string {
  return mintTicket(KEY.key, {
    keyId: KEY.id,
    expiresAtMs: NOW_MS + 600_000,
    issuer: 'local',
    user: 'alice',
    rest: REST,
    ...over,
  })
}

const check = (ticket: string, rest = REST, nowMs = NOW_MS, keys = [KEY]): string =>
  checkTicket(keys, ticket, rest, nowMs).verdict

test('a ticket is one DNS label of 47 characters and names nobody', () => {
  const ticket = mint()
  assert.match(ticket, /^[a-z2-7]{47}$/)
  assert.equal(ticket.length, TICKET_LENGTH)
  assert.ok(!Buffer.from(readTicket(ticket)?.bytes ?? '').includes('alice'))
})

test('a ticket is good for its own name in any case', () => {
  const ticket = mint()
  const good = checkTicket([KEY], ticket.toUpperCase(), REST.toUpperCase(), NOW_MS)
  assert.equal(good.verdict, 'good')
  assert.ok(good.verdict === 'good')
  assert.equal(good.subjectTag, subjectTag(KEY.key, 'local', 'alice'))
  assert.equal(good.expiresAtMs, NOW_MS + 600_000)
  assert.notEqual(good.subjectTag, subjectTag(KEY.key, 'local', 'bob'))
  assert.notEqual(good.subjectTag, subjectTag(KEY.key, 'sso', 'alice'))
})

test('a ticket id is stable, and does not hold the ticket', () => {
  const ticket = mint()
  const [a, b] = [
    checkTicket([KEY], ticket, REST, NOW_MS),
    checkTicket([KEY], ticket, REST, NOW_MS),
  ]
  assert.deepEqual(a, b)
  assert.ok(a.verdict === 'good')
  const bytes = Buffer.from(readTicket(ticket)?.bytes ?? '')
  assert.ok(!bytes.toString('hex').includes(a.ticketId))
})

test('a ticket is bad for another target, kind or cluster', () => {
  for (const other of [
    'payments.db.sluice.test',
    'orders.node.sluice.test',
    'orders.db.other.test',
  ])
    assert.equal(check(mint(), other), 'bad')
})

test('a ticket past its minute is expired, not bad, so that the agent can say why', () => {
  assert.equal(check(mint(), REST, NOW_MS + 599_999), 'good')
  assert.equal(check(mint(), REST, NOW_MS + 600_000), 'expired')
})

test('an expiry inside a minute rounds up: the certificate itself ends the session', () => {
  assert.equal(check(mint({ expiresAtMs: NOW_MS + 1 }), REST, NOW_MS + 59_999), 'good')
})

test('a changed character anywhere makes a ticket bad', () => {
  const ticket = mint()
  for (let at = 0; at < ticket.length; at++) {
    const other = ticket[at] === 'a' ? 'b' : 'a'
    assert.equal(check(ticket.slice(0, at) + other + ticket.slice(at + 1)), 'bad', `at ${at}`)
  }
})

test('a ticket has one spelling: spare bits of its last character are zero', () => {
  const ticket = mint()
  const spellings = Array.from('abcdefghijklmnopqrstuvwxyz234567').filter(
    (last) => readTicket(ticket.slice(0, -1) + last) !== undefined,
  )
  assert.deepEqual(spellings.length, 4)
})

test('no ticket, a short one, a foreign character and an unknown key are bad', () => {
  for (const label of ['', mint().slice(1), `${mint()}a`, mint().replace(/./, '1'), 'é'.repeat(47)])
    assert.equal(check(label), 'bad')
  assert.equal(check(mint({ keyId: 4 })), 'bad')
  assert.equal(check(mint(), REST, NOW_MS, []), 'bad')
})

test('a key past its end makes no ticket good, and two keys are good at a time', () => {
  assert.equal(check(mint(), REST, NOW_MS, [{ ...KEY, notAfterMs: NOW_MS }]), 'bad')
  const next = { id: 4, key: randomBytes(32), notAfterMs: NOW_MS + 1 }
  const ticket = mintTicket(next.key, {
    keyId: 4,
    expiresAtMs: NOW_MS + 60_000,
    issuer: 'local',
    user: 'alice',
    rest: REST,
  })
  assert.equal(check(ticket, REST, NOW_MS, [KEY, next]), 'good')
  assert.equal(check(mint(), REST, NOW_MS, [KEY, next]), 'good')
})

test('a server name splits into ticket, label and kind, and only in its own cluster', () => {
  const ticket = mint()
  const name = serverName(ticket, 'Orders', 'db', 'Sluice.test')
  assert.deepEqual(splitServerName(name.toUpperCase(), 'sluice.TEST'), {
    ticket,
    label: 'orders',
    kind: 'db',
    rest: REST,
  })
  for (const other of [
    'orders.db.sluice.test',
    `${ticket}.orders.db.evil.test`,
    `${ticket}.orders.disk.sluice.test`,
    `${ticket}.a.orders.db.sluice.test`,
    `${ticket}.orders.db.more.sluice.test`,
    `${ticket}..db.sluice.test`,
    `${ticket}.-x.db.sluice.test`,
    `${ticket}.orders.db.sluice.test.`,
    `${ticket.slice(1)}.orders.db.sluice.test`,
  ])
    assert.equal(splitServerName(other, 'sluice.test'), undefined, other)
})

test('a server name that DNS could not carry is refused, and one that long is not read', () => {
  const long = 'c'.repeat(180)
  assert.throws(() => serverName(mint(), 'x'.repeat(63), 'db', long), { code: 'limit.exceeded' })
  assert.equal(splitServerName(`${mint()}.${'x'.repeat(63)}.db.${long}`, long), undefined)
})
