import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import fc from 'fast-check'
import { pack, Packr } from 'msgpackr'
import { errorCode } from '../errors.ts'
import { max } from '../limits.ts'
import { deriveLinkKey, LinkReader, SignedCollector, splitSigned, writeLinkFrame } from './link.ts'
import type { LinkFrame, Signed } from './link-frame.ts'
import { plainMsgpack } from './msgpack-scan.ts'

const order = { spareId: 's1', preface: new Uint8Array([0xd5, 1, 2]) }
const FRAMES: readonly LinkFrame[] = [
  {
    type: 'hello',
    version: 1,
    agentId: 'a',
    software: '0.1.0',
    services: ['db', 'node'],
    nowMs: 1_795_176_000_000.25,
  },
  { type: 'welcome', proxyId: 'p', nowMs: 0 },
  {
    type: 'heartbeat',
    sessions: 1,
    idleSpares: 2,
    snapshotRevision: 3,
    lockRevision: 2 ** 40,
    unhealthy: ['db/orders'],
  },
  { type: 'ping', id: 1, sentMs: 2 },
  { type: 'pong', id: 1, sentMs: 2, nowMs: 3 },
  { type: 'want', spares: 2 },
  { type: 'tickets', tickets: [order, order] },
  { type: 'dial-now', ticket: order },
  { type: 'drain', reason: 'stop', deadlineMs: 5 },
  { type: 'signal', id: 4, key: new Uint8Array(36), address: '2001:db8::7', port: 4711 },
  { type: 'signal-answer', id: 4, hit: true },
  { type: 'refused', code: 'login.locked', text: 'gesperrt – locked' },
  {
    type: 'signed',
    kind: 'locks',
    part: 0,
    parts: 1,
    body: new Uint8Array([1, 2]),
    signature: new Uint8Array(64),
  },
]

function read(bytes: Uint8Array): LinkFrame[] {
  return [...new LinkReader().push(bytes)]
}

/** A frame around any msgpack. */
function framed(body: Uint8Array): Uint8Array {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

/** A value without a difference between byte arrays and Buffers. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]))
}

test('every frame arrives as it was sent, split at every byte', () => {
  for (const frame of FRAMES) {
    const bytes = writeLinkFrame(frame)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reader = new LinkReader()
      const frames = [...reader.push(bytes.subarray(0, cut)), ...reader.push(bytes.subarray(cut))]
      assert.deepEqual(frames.map(plain), [plain(frame)])
      assert.equal(reader.heldBytes, 0)
    }
  }
})

test('many frames in one chunk, and one frame in single bytes', () => {
  const bytes = Buffer.concat(FRAMES.map(writeLinkFrame))
  assert.deepEqual(read(bytes).map(plain), FRAMES.map(plain))
  const reader = new LinkReader()
  const frames = [...bytes].flatMap((byte) => [...reader.push(Uint8Array.of(byte))])
  assert.deepEqual(frames.map(plain), FRAMES.map(plain))
})

test('a length over the limit ends the link at its fourth byte', () => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(max('linkFrameBytesMax') + 1)
  assert.throws(() => read(head), { code: 'frame.malformed' })
  assert.throws(
    () =>
      writeLinkFrame({ type: 'refused', code: '', text: 'x'.repeat(max('linkFrameBytesMax') + 1) }),
    { code: 'limit.exceeded' },
  )
})

test('an unknown type, a missing, a surplus and a wrong field end the link', () => {
  for (const value of [
    null,
    7,
    [],
    {},
    { type: 'cancel' },
    { type: 'constructor' },
    { type: 'want' },
    { type: 'want', spares: -1 },
    { type: 'want', spares: 1.5 },
    { type: 'want', spares: '1' },
    { type: 'signal', id: 1, key: new Uint8Array(261), address: '', port: 0 },
    { type: 'signal-answer', id: 1, hit: 1 },
    { type: 'want', spares: 1, more: 1 },
    { type: 'drain', reason: 'x'.repeat(257), deadlineMs: 0 },
    { type: 'drain', reason: 'x', deadlineMs: Number.NaN },
    { type: 'tickets', tickets: Array(65).fill(order) },
    { type: 'tickets', tickets: [{ ...order, more: 1 }] },
    { type: 'dial-now', ticket: { spareId: 's', preface: new Uint8Array(257) } },
    {
      type: 'signed',
      kind: 'inventory',
      part: 0,
      parts: 1,
      body: order.preface,
      signature: order.preface,
    },
    {
      type: 'signed',
      kind: 'locks',
      part: 0,
      parts: 0,
      body: order.preface,
      signature: order.preface,
    },
  ])
    assert.throws(
      () => read(framed(pack(value))),
      { code: 'frame.malformed' },
      JSON.stringify(value),
    )
})

test('msgpack with records, extensions, dates or trailing bytes is not unpacked', () => {
  const records = new Packr({ useRecords: true })
  assert.equal(plainMsgpack(records.pack({ type: 'want', spares: 1 })), false)
  assert.equal(plainMsgpack(pack({ at: new Date(0) })), false)
  assert.equal(plainMsgpack(Buffer.concat([pack(1), pack(2)])), false)
  for (const hex of ['c1', 'c1c0', 'd4ff', 'd400', 'c7ff'])
    assert.equal(plainMsgpack(Buffer.from(hex, 'hex')), false, hex)
  assert.equal(plainMsgpack(new Uint8Array(0)), false)
})

test('counts and lengths that the bytes do not pay for are refused', () => {
  for (const hex of ['ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'dcffff', 'd9ff61'])
    assert.equal(plainMsgpack(Buffer.from(hex, 'hex')), false, hex)
})

test('nesting ends at its bound, keys are short strings', () => {
  const nested = (depth: number): Uint8Array =>
    Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([1])])
  assert.equal(plainMsgpack(nested(8)), true)
  assert.equal(plainMsgpack(nested(9)), false)
  assert.equal(plainMsgpack(nested(100_000)), false)
  assert.equal(plainMsgpack(Buffer.from('810101', 'hex')), false)
})

test('any bytes are frames or a malformed frame, nothing else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
      try {
        read(framed(body))
      } catch (error) {
        assert.equal(errorCode(error), 'frame.malformed')
      }
    }),
  )
})

test('any value that survives a JSON trip passes the scan and comes back the same', () => {
  const packer = new Packr({ useRecords: false, moreTypes: false })
  fc.assert(
    fc.property(
      fc.dictionary(fc.stringMatching(/^[a-z]{1,20}$/), fc.json({ maxDepth: 4 })),
      (value) => {
        const bytes = packer.pack(value)
        assert.equal(plainMsgpack(bytes), true)
        assert.deepEqual({ ...(packer.unpack(bytes) as object) }, { ...value })
      },
    ),
  )
})

const SIGNATURE = new Uint8Array(64).fill(7)

test('a signed value of any size travels in parts and is whole again', () => {
  for (const size of [0, 1, max('linkSignedPartBytes'), 3 * max('linkSignedPartBytes') + 1]) {
    const value: Signed = { kind: 'snapshot', body: randomBytes(size), signature: SIGNATURE }
    const collector = new SignedCollector()
    const parts = splitSigned(value)
    const whole = parts.map((part) => collector.add(part))
    assert.deepEqual(whole.slice(0, -1).filter(Boolean), [])
    assert.deepEqual(Buffer.from(whole.at(-1)?.body ?? '').equals(value.body), true)
    for (const part of parts) writeLinkFrame(part)
  }
})

test('a lock set arrives between the parts of a snapshot', () => {
  const collector = new SignedCollector()
  const body = randomBytes(2 * max('linkSignedPartBytes'))
  const [first, second] = splitSigned({ kind: 'snapshot', body, signature: SIGNATURE })
  const [locks] = splitSigned({ kind: 'locks', body: body.subarray(0, 9), signature: SIGNATURE })
  assert.ok(first && second && locks)
  assert.equal(collector.add(first), undefined)
  assert.equal(collector.add(locks)?.kind, 'locks')
  assert.equal(collector.add(second)?.kind, 'snapshot')
})

test('parts out of turn or of two values make nothing', () => {
  const body = randomBytes(3 * max('linkSignedPartBytes'))
  const [a, b, c] = splitSigned({ kind: 'snapshot', body, signature: SIGNATURE })
  const [, other] = splitSigned({ kind: 'snapshot', body, signature: randomBytes(64) })
  assert.ok(a && b && c && other)
  for (const parts of [
    [a, c, b],
    [b, c],
    [a, b, b, c],
    [a, other, c],
    [a, a, c],
  ]) {
    const collector = new SignedCollector()
    assert.deepEqual(parts.map((part) => collector.add(part)).filter(Boolean), [])
  }
})

test('the link key is bound to the exporter and to this use of it', () => {
  const exported = randomBytes(32)
  assert.equal(deriveLinkKey(exported).length, 32)
  assert.notDeepEqual(deriveLinkKey(exported), exported)
  assert.notDeepEqual(deriveLinkKey(exported), deriveLinkKey(randomBytes(32)))
  assert.throws(() => deriveLinkKey(new Uint8Array(31)), RangeError)
})
