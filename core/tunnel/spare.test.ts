import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import fc from 'fast-check'
import { checkSpareTicket, mintSpareTicket, readPreface, ReplayGuard } from './spare.ts'
import type { SparePreface } from './spare.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const KEY = randomBytes(32)
const CLAIMS = {
  agentId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  proxyId: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
  spareId: 'b3b0c442-98fc-4c14-9afb-f4c8996fb924',
  issuedAtMs: NOW_MS,
  nonce: randomBytes(16),
}
const TICKET = mintSpareTicket(KEY, CLAIMS)

function read(bytes: Uint8Array): SparePreface {
  const reading = readPreface(bytes)
  assert.ok(reading.verdict === 'preface')
  return reading.preface
}

test('a preface says which agent, proxy and spare, and ends where the agent falls silent', () => {
  const reading = readPreface(Buffer.concat([TICKET, Buffer.from('junk')]))
  assert.ok(reading.verdict === 'preface')
  assert.equal(reading.end, TICKET.length)
  const { agentId, proxyId, spareId, issuedAtMs, nonce } = reading.preface
  const read = { agentId, proxyId, spareId, issuedAtMs, nonce: Buffer.from(nonce) }
  assert.deepEqual(read, CLAIMS)
  assert.deepEqual(checkSpareTicket(KEY, reading.preface, NOW_MS), { ok: true })
})

test('every cut of a preface asks for more and keeps nothing', () => {
  for (let length = 0; length < TICKET.length; length++)
    assert.equal(readPreface(TICKET.subarray(0, length)).verdict, 'more', `${length} bytes`)
})

test('no other protocol begins like a preface', () => {
  for (const first of [
    Buffer.from('1603010200', 'hex'), // TLS
    Buffer.from('SSH-2.0-x\r\n'),
    Buffer.from('GET / HTTP/1.1\r\n'),
    Buffer.from('0000000804d2162f', 'hex'), // PostgreSQL SSLRequest
    Buffer.from('0300001302e00000', 'hex'), // RDP
    Buffer.from('0d0a0d0a000d0a51', 'hex'), // PROXY v2
    Buffer.from('d5534c5002', 'hex'), // another version of ours
  ])
    assert.equal(readPreface(first).verdict, 'no', first.toString('hex'))
})

test('a flipped bit in any byte is no preface, or not ours', () => {
  for (let at = 0; at < TICKET.length; at++) {
    const bytes = Uint8Array.from(TICKET)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    const reading = readPreface(bytes)
    const good = reading.verdict === 'preface' && checkSpareTicket(KEY, reading.preface, NOW_MS).ok
    assert.equal(good, false, `byte ${at}`)
  }
})

test('another process, and another time, make a ticket no good', () => {
  const preface = read(TICKET)
  assert.deepEqual(checkSpareTicket(randomBytes(32), preface, NOW_MS), {
    ok: false,
    code: 'frame.bad-mac',
  })
  for (const nowMs of [NOW_MS + 30_001, NOW_MS - 30_001])
    assert.deepEqual(checkSpareTicket(KEY, preface, nowMs), { ok: false, code: 'frame.replayed' })
  assert.equal(checkSpareTicket(KEY, preface, NOW_MS + 30_000).ok, true)
})

test('an announced length beyond the limit is refused before anything is kept', () => {
  assert.equal(readPreface(Buffer.from('d5534c5001ffff', 'hex')).verdict, 'no')
  assert.throws(() => mintSpareTicket(KEY, { ...CLAIMS, agentId: 'x'.repeat(200) }), RangeError)
})

test('any bytes are recognised or not, without a throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (tail) => {
      const bytes = Buffer.concat([Buffer.from('d5534c5001', 'hex'), tail])
      const reading = readPreface(bytes)
      assert.ok(reading.verdict !== 'preface' || !checkSpareTicket(KEY, reading.preface, NOW_MS).ok)
    }),
  )
})

test('a guard admits once, forgets after the window, and refuses when full', () => {
  const guard = new ReplayGuard(30_000, 2)
  assert.equal(guard.admit('a', NOW_MS), true)
  assert.equal(guard.admit('a', NOW_MS + 60_000), false)
  assert.equal(guard.admit('b', NOW_MS + 1), true)
  assert.equal(guard.admit('c', NOW_MS + 2), false, 'full: forgetting would admit a replay')
  assert.equal(guard.admit('c', NOW_MS + 60_001), true)
  assert.equal(guard.size, 2)
})

test('a guard keeps what could be used again after the clock went back', () => {
  const guard = new ReplayGuard(30_000, 10)
  assert.equal(guard.admit('a', NOW_MS), true)
  assert.equal(guard.admit('b', NOW_MS - 3_600_000), true)
  assert.equal(guard.admit('a', NOW_MS), false)
})
