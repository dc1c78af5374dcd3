// The PROXY header reader: good headers of both versions, each cut at every byte, and headers that are almost good.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'

import { max } from './limits.ts'
import { ipv6Groups, readProxyHeader } from './proxy-header.ts'

const SIGNATURE = '0d0a0d0a000d0a515549540a'
const PAYLOAD = Buffer.from('what follows')

function hex(...parts: string[]): Buffer {
  return Buffer.from(parts.join('').replace(/\s/g, ''), 'hex')
}

// version and command | family | length | source, destination, ports | TLVs
const V2_TCP4 = hex(SIGNATURE, '21 11 000c', 'c0000207 c6336401', 'd431 01bb')
const V2_TCP6 = hex(
  SIGNATURE,
  '21 21 002b',
  '20010db8000000000000000000000007',
  '20010db8000000000000000000000001',
  'd431 01bb',
  '04 0004 00000000', // PP2_TYPE_NOOP
)
const V2_LOCAL = hex(SIGNATURE, '20 00 0000')

const GOOD = [
  { bytes: Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n'), from: '192.0.2.7' },
  { bytes: Buffer.from('PROXY TCP6 2001:db8::7 2001:db8::1 54321 443\r\n'), from: '2001:db8::7' },
  { bytes: Buffer.from('PROXY UNKNOWN\r\n'), from: undefined },
  { bytes: Buffer.from('PROXY UNKNOWN ff:: ff:: 1 2\r\n'), from: undefined },
  { bytes: V2_TCP4, from: '192.0.2.7' },
  { bytes: V2_TCP6, from: '2001:db8:0:0:0:0:0:7' },
  { bytes: V2_LOCAL, from: undefined },
]

describe('readProxyHeader', () => {
  it('reads source and length of a good header, and leaves what follows alone', () => {
    for (const { bytes, from } of GOOD) {
      const reading = readProxyHeader(Buffer.concat([bytes, PAYLOAD]))
      const source = from === undefined ? {} : { source: { address: from, port: 54321 } }
      assert.deepEqual(reading, { verdict: 'header', ...source, end: bytes.length })
    }
  })

  it('asks for more at every shorter length', () => {
    for (const { bytes } of GOOD)
      for (let length = 0; length < bytes.length; length++)
        assert.equal(readProxyHeader(bytes.subarray(0, length)).verdict, 'more', String(length))
  })

  it('says no to other protocols at their first byte that differs', () => {
    for (const text of ['\x16\x03\x01', 'SSH-2.0-x', 'POST / HTTP/1.1', 'PROXIES', '\r\n\r\r'])
      assert.equal(readProxyHeader(Buffer.from(text)).verdict, 'no', text)
  })

  it('calls a line bad that is not written exactly as the standard says', () => {
    const lines = [
      'PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\n',
      'PROXY TCP4  192.0.2.7 198.51.100.1 54321 443\r\n',
      'PROXY TCP4 192.0.2.7 198.51.100.1 54321 443 \r\n',
      'PROXY TCP4 192.0.2.256 198.51.100.1 54321 443\r\n',
      'PROXY TCP4 192.0.2.07 198.51.100.1 54321 443\r\n',
      'PROXY TCP4 192.0.2.7 198.51.100.1 054321 443\r\n',
      'PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n',
      'PROXY TCP4 192.0.2.7 198.51.100.1 54321\r\n',
      'PROXY TCP4 2001:db8::7 2001:db8::1 54321 443\r\n',
      'PROXY TCP6 192.0.2.7 198.51.100.1 54321 443\r\n',
      'PROXY TCP6 2001::db8::7 2001:db8::1 54321 443\r\n',
      'PROXY UDP4 192.0.2.7 198.51.100.1 54321 443\r\n',
      'PROXY \r\n',
      `PROXY UNKNOWN ${'x'.repeat(100)}\r\n`,
      `PROXY ${'x'.repeat(200)}`,
    ]
    for (const line of lines) assert.equal(readProxyHeader(Buffer.from(line)).verdict, 'bad', line)
  })

  it('calls a binary header bad with another version, command, family or length', () => {
    const bad = [
      hex(SIGNATURE, '11 11 000c', '00'.repeat(12)), // version 1
      hex(SIGNATURE, '22 11 000c', '00'.repeat(12)), // command 2
      hex(SIGNATURE, '21 12 000c', '00'.repeat(12)), // datagrams
      hex(SIGNATURE, '21 31 00d8', '00'.repeat(216)), // unix
      hex(SIGNATURE, '21 11 000b', '00'.repeat(11)), // too short for its family
      hex(SIGNATURE, '21 11 000e', '00'.repeat(12), '0400'), // half a TLV
      hex(SIGNATURE, '21 11 000f', '00'.repeat(12), '040001'), // a TLV that is longer than the header
      hex(SIGNATURE, '21 11 ffff'), // announced over the bound
      hex(SIGNATURE, '20 00 ffff'),
    ]
    for (const bytes of bad)
      assert.equal(readProxyHeader(bytes).verdict, 'bad', bytes.toString('hex'))
  })

  it('is total, and never takes more than the bound', () => {
    const starts = fc.constantFrom(...GOOD.map(({ bytes }) => bytes), hex(SIGNATURE, '21'))
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 })
    fc.assert(
      fc.property(starts, edits, fc.uint8Array({ maxLength: 60 }), (start, changes, tail) => {
        const bytes = Buffer.concat([start, tail])
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const reading = readProxyHeader(bytes)
        if (reading.verdict === 'header') assert.ok(reading.end <= max('proxyHeaderBytesMax'))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('ipv6Groups', () => {
  it('reads the forms of RFC 4291 and nothing else', () => {
    assert.deepEqual(ipv6Groups('::'), [0, 0, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(ipv6Groups('2001:db8::7'), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])
    assert.deepEqual(ipv6Groups('::ffff:192.0.2.1'), [0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201])
    for (const bad of ['', '1:2:3:4:5:6:7', '1::2::3', '1:2:3:4:5:6:7:8:9', '12345::', 'g::', ':'])
      assert.equal(ipv6Groups(bad), undefined, bad)
  })
})
