// Codecs that read the first bytes of strangers in the proxy's main thread: TLS hello, PROXY header, a spare's preface, the whole
// recognition, and the server name with its ticket. What they say must not depend on how the bytes arrived.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

import { readHello } from '../../../core/hello.ts'
import { max } from '../../../core/limits.ts'
import { readProxyHeader } from '../../../core/proxy-header.ts'
import { checkSpareTicket, mintSpareTicket, readPreface } from '../../../core/tunnel/spare.ts'
import { checkTicket, mintTicket, splitServerName } from '../../../core/tunnel/ticket.ts'
import { protocols } from '../../../protocols/registry.ts'
import { recognise } from '../../../workers/recognise.ts'
import { beginnings, type Codec } from '../engine.ts'

const KEY = Buffer.alloc(32, 7)
const CLUSTER = 'sluice.test'
const NOW_MS = Date.UTC(2026, 10, 20, 12)
const REST = `orders.db.${CLUSTER}`
const TICKET = mintTicket(KEY, {
  keyId: 1,
  expiresAtMs: NOW_MS + 3_600_000,
  issuer: 'local',
  user: 'alice',
  rest: REST,
})
const PREFACE = mintSpareTicket(KEY, {
  agentId: 'agent-1',
  proxyId: 'proxy-1',
  spareId: 'spare-1',
  issuedAtMs: NOW_MS,
  nonce: Buffer.alloc(16, 3),
})
const HELLOS = ['openssl-s_client', 'node-26', 'psql-15', 'psql-15-hostaddr', 'libpq-18-direct']
const LDH = /^[a-z0-9.-]+$/

function recorded(client: string): Buffer {
  const url = new URL(`../../../core/vectors/hello-${client}.txt`, import.meta.url)
  return Buffer.from(readFileSync(url, 'utf8').replace(/^#.*$|\s/gm, ''), 'hex')
}

/** The same hello in records of a few bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const out: Uint8Array[] = []
  for (let at = 5; at < hello.length; at += size) {
    const part = hello.subarray(at, at + size)
    out.push(Uint8Array.of(22, 3, 1, part.length >> 8, part.length & 255), part)
  }
  return Buffer.concat(out)
}

const hello: Codec = {
  name: 'hello',
  seeds: () => [...HELLOS.map(recorded), inRecords(recorded('psql-15'), 40)],
  check(bytes, cuts) {
    const whole = readHello(bytes)
    for (const part of beginnings(bytes, cuts)) {
      const reading = readHello(part)
      if (reading.verdict === 'more') assert.ok(reading.need > part.length, 'waits for nothing')
      // A verdict is final: more bytes do not change it.
      else assert.deepEqual(reading, whole)
    }
    if (whole.verdict !== 'hello') return whole.verdict
    const { serverName, alpn, end } = whole.hello
    assert.ok(end <= bytes.length && end <= max('helloBytesMax'))
    assert.ok(alpn.join('').length <= bytes.length)
    if (serverName === undefined) return `hello, ${alpn.length} protocols`
    assert.match(serverName, LDH)
    assert.ok(serverName.length <= max('serverNameLengthMax'))
    assert.ok(Buffer.from(bytes).toString('latin1').toLowerCase().includes(serverName.slice(0, 9)))
    return `hello with a name, ${alpn.length} protocols`
  },
}

const HEADERS = [
  'PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n',
  'PROXY TCP6 2001:db8::1 ::ffff:192.0.2.7 1 65535\r\n',
  'PROXY UNKNOWN anything\r\n',
].map((text) => Buffer.from(text))
const SIGNATURE = '0d0a0d0a000d0a515549540a'
const BINARY = [
  `${SIGNATURE}2111000cc0000207c6336401d43101bb`,
  `${SIGNATURE}21110013c0000207c6336401d43101bb0300040a0b0c0d`,
  `${SIGNATURE}20000000`,
  `${SIGNATURE}21210024${'20010db8'.padEnd(32, '0')}${'20010db8'.padEnd(32, '1')}0001ffff`,
].map((hex) => Buffer.from(hex, 'hex'))

const proxyHeader: Codec = {
  name: 'proxy-header',
  seeds: () => [...HEADERS, ...BINARY],
  check(bytes, cuts) {
    const whole = readProxyHeader(bytes)
    for (const part of beginnings(bytes, cuts)) {
      const reading = readProxyHeader(part)
      if (reading.verdict !== 'more') assert.deepEqual(reading, whole)
      else assert.ok(part.length < max('proxyHeaderBytesMax'), 'waits past its bound')
    }
    if (whole.verdict !== 'header') return whole.verdict
    assert.ok(whole.end <= bytes.length && whole.end <= max('proxyHeaderBytesMax'))
    return whole.source === undefined ? 'header of the balancer' : 'header of a client'
  },
}

const preface: Codec = {
  name: 'spare-preface',
  seeds: () => [PREFACE],
  check(bytes, cuts) {
    const whole = readPreface(bytes)
    for (const part of beginnings(bytes, cuts)) {
      const reading = readPreface(part)
      if (reading.verdict !== 'more') assert.deepEqual(reading, whole)
      else assert.ok(part.length < max('sparePrefaceBytesMax'), 'waits past its bound')
    }
    if (whole.verdict !== 'preface') return whole.verdict
    const { ok } = checkSpareTicket(KEY, whole.preface, NOW_MS)
    const genuine = Buffer.from(bytes.subarray(0, whole.end)).equals(PREFACE)
    assert.equal(ok, genuine, 'a ticket is good when it is the one that was made')
    return ok ? 'genuine' : 'forged'
  },
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

const recognition: Codec = {
  name: 'recognition',
  seeds: () => [
    hex('00000008 04d2162f'),
    hex('00000008 04d21630'),
    hex('00000010 04d2162e 00000007 01020304'),
    hex('0000002c 04d2162e 00000007').fill(9, 12),
    Buffer.concat([hex('00000028 04d2162e 00000007'), Buffer.alloc(28, 5)]),
    hex('00000037 00030000'),
    Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
    recorded('psql-15'),
    PREFACE,
  ],
  check(bytes, cuts) {
    const before = Buffer.from(bytes)
    const whole = recognise(bytes, protocols)
    for (const part of beginnings(bytes, cuts)) {
      const found = recognise(part, protocols)
      if (found.kind === 'more') assert.ok(found.need > part.length, 'waits for nothing')
      // Bytes behind a request make it nobody's; otherwise what was said stands.
      else if (whole.kind !== 'unknown') assert.equal(found.kind, whole.kind)
    }
    assert.deepEqual(Buffer.from(bytes), before)
    if (whole.kind === 'answer') assert.equal(whole.consumed, bytes.length)
    return whole.kind
  },
}

const serverNames: Codec = {
  name: 'server-name',
  seeds: () => [
    Buffer.from(`${TICKET}.${REST}`),
    Buffer.from(`${TICKET}.x-abcdefghijklmnopqrstuvwxyz.db.${CLUSTER}`.toUpperCase()),
  ],
  check(bytes) {
    const name = Buffer.from(bytes).toString('latin1')
    const split = splitServerName(name, CLUSTER)
    if (split === undefined) return 'no name of ours'
    assert.equal(`${split.ticket}.${split.rest}`, name.toLowerCase())
    const keys = [{ id: 1, key: KEY, notAfterMs: NOW_MS + 1 }]
    const { verdict } = checkTicket(keys, split.ticket, split.rest, NOW_MS)
    assert.equal(verdict === 'good', name.toLowerCase() === `${TICKET}.${REST}`)
    return verdict
  },
}

export const firstBytes: readonly Codec[] = [hello, proxyHeader, preface, recognition, serverNames]
