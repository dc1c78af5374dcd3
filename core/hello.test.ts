// What the hello reader makes of real clients' bytes, of bytes in pieces, and of bytes that were meant to hurt.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import fc from 'fast-check'

import { type HelloReading, readHello } from './hello.ts'
import { max } from './limits.ts'

/** A recorded hello: hex, with comment lines. */
function vector(name: string): Buffer {
  const text = readFileSync(new URL(`./vectors/hello-${name}.txt`, import.meta.url), 'utf8')
  return Buffer.from(text.replace(/^#.*$/gm, '').replace(/\s/g, ''), 'hex')
}

const CLIENTS = ['openssl-s_client', 'node-26', 'psql-15', 'psql-15-hostaddr', 'libpq-18-direct']

// A second writer of hellos, so that the reader is not tested against itself.
function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255])
}

function prefixed(body: Buffer, bytes: 1 | 2 | 3 = 2): Buffer {
  const length = Buffer.from([body.length >> 16, (body.length >> 8) & 255, body.length & 255])
  return Buffer.concat([length.subarray(3 - bytes), body])
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([u16(type), prefixed(body)])
}

function serverName(...names: string[]): Buffer {
  const list = names.map((name) => Buffer.concat([Buffer.from([0]), prefixed(Buffer.from(name))]))
  return extension(0, prefixed(Buffer.concat(list)))
}

function alpn(...names: string[]): Buffer {
  return extension(16, prefixed(Buffer.concat(names.map((name) => prefixed(Buffer.from(name), 1)))))
}

function message(extensions: readonly Buffer[], tail = Buffer.alloc(0)): Buffer {
  const body = Buffer.concat([
    u16(0x0303), // legacy_version
    Buffer.alloc(32, 7), // random
    prefixed(Buffer.alloc(32, 9), 1), // legacy_session_id
    prefixed(u16(0x1301)), // cipher_suites
    prefixed(Buffer.from([0]), 1), // legacy_compression_methods
    prefixed(Buffer.concat(extensions)),
    tail,
  ])
  return Buffer.concat([Buffer.from([1]), prefixed(body, 3)])
}

/** One handshake message in records of at most `bytes`. */
function records(whole: Buffer, bytes: number): Buffer {
  const out: Buffer[] = []
  for (let at = 0; at < whole.length; at += bytes)
    out.push(Buffer.from([22, 3, 1]), prefixed(whole.subarray(at, at + bytes)))
  return Buffer.concat(out)
}

function record(...extensions: Buffer[]): Buffer {
  return records(message(extensions), 16_384)
}

function nameOf(reading: HelloReading): string | undefined {
  assert.equal(reading.verdict, 'hello')
  return reading.verdict === 'hello' ? reading.hello.serverName : undefined
}

describe('readHello on recorded clients', () => {
  it('reads name and ALPN of openssl s_client, and keeps the name as written', () => {
    const reading = readHello(vector('openssl-s_client'))
    assert.deepEqual(reading, {
      verdict: 'hello',
      hello: {
        serverName: 'orders.example.com',
        originalName: 'Orders.example.com',
        alpn: ['postgresql', 'h2'],
        end: 344,
      },
    })
  })

  it('reads the post-quantum hello of Node 26', () => {
    const reading = readHello(vector('node-26'))
    assert.equal(nameOf(reading), 'orders.db.example.com')
    assert.deepEqual(reading.verdict === 'hello' && reading.hello.alpn, ['sluice-link'])
  })

  it('reads psql 15 and the direct TLS of libpq 18', () => {
    assert.equal(nameOf(readHello(vector('psql-15'))), 'ticket.orders.db.example.com')
    const direct = readHello(vector('libpq-18-direct'))
    assert.deepEqual(direct.verdict === 'hello' && direct.hello.alpn, ['postgresql'])
  })

  it('counts the socket path that libpq sends with hostaddr alone as no name', () => {
    assert.equal(nameOf(readHello(vector('psql-15-hostaddr'))), undefined)
  })

  it('asks for more at every shorter length, and reads the same with more behind', () => {
    for (const client of CLIENTS) {
      const whole = vector(client)
      const expected = readHello(whole)
      for (let length = 0; length < whole.length; length++) {
        const reading = readHello(whole.subarray(0, length))
        assert.equal(reading.verdict, 'more', `${client} at ${length}`)
        const need = reading.verdict === 'more' ? reading.need : 0
        assert.ok(need > length && need <= whole.length, `${client}: need ${need} at ${length}`)
      }
      assert.deepEqual(readHello(Buffer.concat([whole, Buffer.from('more')])), expected)
    }
  })
})

describe('readHello', () => {
  it('puts a hello together that spans records of any size', () => {
    const whole = message([serverName('a.example'), alpn('x')])
    for (let bytes = 1; bytes <= whole.length; bytes++) {
      const wire = records(whole, bytes)
      const reading = readHello(wire)
      assert.equal(nameOf(reading), 'a.example')
      assert.equal(reading.verdict === 'hello' && reading.hello.end, wire.length)
      assert.equal(readHello(wire.subarray(0, -1)).verdict, 'more')
    }
  })

  it('counts two names as none, in one extension or in two', () => {
    assert.equal(nameOf(readHello(record(serverName('a.example', 'b.example')))), undefined)
    const twice = record(serverName('a.example'), serverName('a.example'))
    assert.equal(nameOf(readHello(twice)), undefined)
  })

  it('counts a name that is not letters, digits and hyphens as none', () => {
    const bad = ['a_b.example', '-a.example', 'a-.example', 'a..b', 'a.', '', 'ä.example', 'a\0.b']
    const long = [`${'a'.repeat(64)}.example`, `${'a.'.repeat(126)}ab`]
    for (const name of [...bad, ...long])
      assert.equal(nameOf(readHello(record(serverName(name)))), undefined, name)
    assert.equal(nameOf(readHello(record(serverName('A-1.Example')))), 'a-1.example')
  })

  it('says no to two ALPN lists, which could be read differently by two readers', () => {
    assert.equal(readHello(record(alpn('a'), alpn('b'))).verdict, 'no')
  })

  it('says no to empty or overlong ALPN names and to bytes behind the extensions', () => {
    assert.equal(readHello(record(alpn(''))).verdict, 'no')
    const short = extension(16, prefixed(Buffer.from([5, 120])))
    assert.equal(readHello(record(short)).verdict, 'no')
    assert.equal(readHello(records(message([], Buffer.from([0])), 16_384)).verdict, 'no')
  })

  it('reads a hello without extensions as one without a name', () => {
    const body = message([]).subarray(4, -2)
    const whole = Buffer.concat([Buffer.from([1]), prefixed(body, 3)])
    assert.equal(nameOf(readHello(records(whole, 999))), undefined)
  })

  it('says no to an announced length over the bound before the bytes arrive', () => {
    const head = Buffer.from([22, 3, 1, 0x40, 0, 1, 0, 0x40, 0])
    assert.equal(readHello(head).verdict, 'no')
    // One record, whose message fits a record but not the bound with its head.
    assert.equal(readHello(Buffer.from('160301400001003ffc', 'hex')).verdict, 'no')
    const inPieces = records(message([extension(99, Buffer.alloc(16_000))]), 1000)
    assert.equal(inPieces.length < max('helloBytesMax'), true)
    assert.equal(readHello(inPieces).verdict, 'hello')
    const tooLong = records(message([extension(99, Buffer.alloc(16_300))]), 1000)
    assert.equal(readHello(tooLong.subarray(0, max('helloBytesMax'))).verdict, 'no')
    // A message within the bound, in records of one byte that are six on the wire.
    const wasteful = records(message([extension(99, Buffer.alloc(8000))]), 1)
    assert.equal(readHello(wasteful.subarray(0, max('helloBytesMax'))).verdict, 'no')
  })

  it('says no to other records, empty fragments and other handshake messages', () => {
    const other = ['15030300020102', '1602000005', '160301000001', '16030100050200000101']
    for (const hex of other) assert.equal(readHello(Buffer.from(hex, 'hex')).verdict, 'no', hex)
    for (const text of ['SSH-2.0', 'GET / HTTP/1.1', '\0\0\0\x08'])
      assert.equal(readHello(Buffer.from(text)).verdict, 'no', text)
  })

  it('gives a verdict on any mutation of a real hello, and never a name that was not sent', () => {
    const real = CLIENTS.map(vector)
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 })
    fc.assert(
      fc.property(fc.nat(real.length - 1), edits, fc.nat(), (which, changes, cut) => {
        const bytes = Buffer.from(real[which] ?? [])
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        const reading = readHello(bytes.subarray(0, cut % (bytes.length + 1)))
        if (reading.verdict !== 'hello' || reading.hello.originalName === undefined) return
        assert.ok(bytes.includes(reading.hello.originalName))
      }),
      { numRuns: 2000 },
    )
  })

  it('is total on any bytes', () => {
    const start = fc.constantFrom(Buffer.alloc(0), Buffer.from([22, 3, 1, 0, 40, 1, 0, 0, 36]))
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (head, tail) => {
        readHello(Buffer.concat([head, tail]))
      }),
      { numRuns: 2000 },
    )
  })
})
