// What bytes mean: packets of a handshake, frames of a session, and ErrorResponse read back by other code.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import type { Out } from '../../core/protocol.ts'
import { errorFields, message, startup } from '../../test/fake/postgres-bytes.ts'
import { Frames, KIND, kinds, PacketReader, readStartup } from './codec.ts'
import { errorResponse } from './refusal.ts'

const TABLE = kinds([
  [0x51, KIND.note],
  [0x53, KIND.pass],
  [0x52, KIND.pass | KIND.last],
])
const AFTER = kinds([[0x53, KIND.pass]])

interface Seen {
  forwarded: Buffer
  notes: { code: number; body: Buffer; rest: number }[]
}

/** Feeds chunks to a scanner and keeps what came through. */
function scan(frames: Frames, chunks: readonly Uint8Array[]): Seen {
  const seen: Seen = { forwarded: Buffer.alloc(0), notes: [] }
  for (const chunk of chunks) {
    const out: Out = {
      pass: (from, to) =>
        (seen.forwarded = Buffer.concat([seen.forwarded, chunk.subarray(from, to)])),
      send: (_to, bytes) => (seen.forwarded = Buffer.concat([seen.forwarded, bytes])),
      note: (code, from, to, rest) => {
        const open = seen.notes.at(-1)
        const piece = chunk.subarray(from, to)
        if (open !== undefined && open.rest > 0) {
          open.body = Buffer.concat([open.body, piece])
          open.rest = rest
        } else seen.notes.push({ code, body: Buffer.from(piece), rest })
        return true
      },
      act: () => undefined,
    }
    frames.scan(chunk, 0, out)
    if (frames.fault !== undefined) break
  }
  return seen
}

const bytewise = (bytes: Buffer): Buffer[] => [...bytes].map((byte) => Buffer.of(byte))

const frames = (): Frames =>
  new Frames({ to: 'target', kinds: TABLE, after: AFTER, noteBase: 0x100 })

test('frames in any pieces come out as they went in, and each noted body is whole', () => {
  const frame = fc.record({
    type: fc.constantFrom('Q', 'S'),
    body: fc.uint8Array({ maxLength: 40 }),
  })
  const property = fc.property(
    fc.array(frame, { maxLength: 12 }),
    fc.array(fc.nat(600), { maxLength: 12 }),
    (list, cuts) => {
      const all = Buffer.concat(list.map(({ type, body }) => message(type, body)))
      const at = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b)
      const pieces = at.slice(1).map((to, index) => all.subarray(at[index], to))
      const scanner = frames()
      const { forwarded, notes } = scan(scanner, pieces)
      assert.deepEqual(forwarded, all)
      assert.ok(scanner.between)
      const bodies = list.filter(({ type }) => type === 'Q').map(({ body }) => Buffer.from(body))
      assert.deepEqual(
        notes.map(({ body }) => body),
        bodies,
      )
      assert.ok(notes.every(({ code, rest }) => code === 0x151 && rest === 0))
    },
  )
  fc.assert(property, { numRuns: 300 })
})

test('any bytes at all are forwarded as a beginning of themselves, or stopped with a fault', () => {
  const property = fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), (pieces) => {
    const all = Buffer.concat(pieces)
    const scanner = frames()
    const { forwarded } = scan(scanner, pieces)
    assert.deepEqual(forwarded, all.subarray(0, forwarded.length))
    if (forwarded.length + 4 < all.length) assert.ok(scanner.fault !== undefined)
  })
  fc.assert(property, { numRuns: 500 })
})

test('a type that the table does not name stops the scan where its message begins', () => {
  const scanner = frames()
  const { forwarded } = scan(scanner, [Buffer.concat([message('S'), message('p', 'secret\0')])])
  assert.deepEqual(forwarded, message('S'))
  assert.match(scanner.fault ?? '', /0x70 is not allowed/)
})

test('a type is judged before the rest of its head has come', () => {
  const scanner = frames()
  assert.equal(scan(scanner, [Buffer.from('p')]).forwarded.length, 0)
  assert.ok(scanner.fault)
})

test('behind the last message of a table the next table holds, in one chunk or in several', () => {
  const all = Buffer.concat([message('R', 'once'), message('S'), message('Q', 'no')])
  for (const pieces of [[all], [...all].map((byte) => Uint8Array.of(byte))]) {
    const scanner = frames()
    assert.deepEqual(scan(scanner, pieces).forwarded, all.subarray(0, -message('Q', 'no').length))
    assert.match(scanner.fault ?? '', /0x51 is not allowed/)
  }
})

test('lengths outside 4 and the limit are faults, whole or in pieces', () => {
  for (const head of ['5100000003', '5140000000', '51ffffffff', '5180000004']) {
    const bytes = Buffer.from(head, 'hex')
    for (const pieces of [[bytes], [bytes.subarray(0, 2), bytes.subarray(2)]]) {
      const scanner = frames()
      assert.equal(scan(scanner, pieces).forwarded.length, 0)
      assert.match(scanner.fault ?? '', /length/)
    }
  }
  const largest = frames()
  scan(largest, [Buffer.from('513fffffff00', 'hex')])
  assert.equal(largest.fault, undefined)
  assert.equal(largest.between, false)
})

test('a message that is taken is whole wherever chunks end, nothing of it passes, all else does', () => {
  const whole = message('K', 'secret')
  const all = Buffer.concat([message('S', 'a'), whole, message('S', 'b')])
  const table = kinds([
    [0x53, KIND.pass],
    [0x4b, KIND.take],
  ])
  for (let cut = 0; cut <= all.length; cut++)
    for (const pieces of [[all.subarray(0, cut), all.subarray(cut)], bytewise(all)]) {
      const taken: Buffer[] = []
      const take = (bytes: Uint8Array, out: Out): undefined => {
        taken.push(Buffer.from(bytes))
        out.send('client', Buffer.from('<K>'))
      }
      const scanner = new Frames({
        to: 'client',
        kinds: table,
        noteBase: 0,
        taken: { bytesMax: whole.length, whole: take },
      })
      const { forwarded } = scan(scanner, pieces)
      assert.deepEqual(taken, [whole])
      const expected = [message('S', 'a'), Buffer.from('<K>'), message('S', 'b')]
      assert.deepEqual(forwarded, Buffer.concat(expected), `cut at ${cut}`)
    }
})

test('a message that is longer than its taker allows, or that nobody takes, stops the scan', () => {
  const table = kinds([[0x4b, KIND.take]])
  const taker = { bytesMax: 10, whole: (): string => 'not wanted' }
  const options = { to: 'client', kinds: table, noteBase: 0, taken: taker } as const
  const long = new Frames(options)
  assert.equal(scan(long, [message('K', 'secret')]).forwarded.length, 0)
  assert.match(long.fault ?? '', /longer/)
  const unwanted = new Frames(options)
  scan(unwanted, [message('K', 'x')])
  assert.equal(unwanted.fault, 'not wanted')
})

test('a packet is taken at its end and not a byte further, however it comes', () => {
  const packet = startup('user\0alice\0')
  const all = Buffer.concat([packet, Buffer.from('more')])
  for (let cut = 0; cut <= all.length; cut++) {
    const reader = new PacketReader(0, 10_000)
    const first = reader.add(all.subarray(0, cut), 0)
    const second = reader.add(all, first)
    assert.equal(second, packet.length, `cut at ${cut}`)
    assert.deepEqual(Buffer.from(reader.take() ?? []), packet)
    assert.equal(reader.take(), undefined)
  }
})

test('a packet whose announced length is out of bounds takes nothing more', () => {
  for (const head of ['00000000', '00000003', '00002711', 'ffffffff']) {
    const reader = new PacketReader(0, 10_000)
    const bytes = Buffer.concat([Buffer.from(head, 'hex'), Buffer.alloc(100)])
    assert.equal(reader.add(bytes, 0), 4)
    assert.ok(reader.bad)
    assert.equal(reader.add(bytes, 4), 4)
    assert.equal(reader.take(), undefined)
  }
})

test('a start-up packet of any bytes is read, refused in words, or another request', () => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
    const packet = startup(body)
    const read = readStartup(packet)
    assert.ok(['startup', 'request', 'version', 'bad'].includes(read.kind))
    if (read.kind === 'startup') assert.ok(read.user.length > 0 && read.database.length > 0)
  })
  fc.assert(property, { numRuns: 500 })
})

test('an ErrorResponse holds what it was given and is bounded, also for text that is no text', () => {
  const fields = errorFields(
    Buffer.from(errorResponse({ code: '42501', message: 'no', detail: 'd', hint: '' })),
  )
  assert.deepEqual(fields, { S: 'FATAL', V: 'FATAL', C: '42501', M: 'no', D: 'd' })
  const property = fc.property(fc.string({ unit: 'binary', maxLength: 4000 }), (text) => {
    const bytes = errorResponse({ code: '28000', message: text, detail: text, hint: text })
    assert.ok(errorFields(Buffer.from(bytes)))
    assert.ok(bytes.length < 16 * 1024)
  })
  fc.assert(property, { numRuns: 100 })
})
