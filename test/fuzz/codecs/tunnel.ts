// Codecs of the tunnel: open and answer frames (also sealed under the right key, so that their inside is tried), frames of a
// link, and what control signs. A frame whose MAC is good was made by the other end, which may be hostile all the same.

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'

import { ProxyError } from '../../../core/errors.ts'
import { buildInventory, Inventory } from '../../../core/inventory.ts'
import { max } from '../../../core/limits.ts'
import {
  decodeBeacon,
  decodeInventory,
  decodeLocks,
  decodeSnapshot,
  encodeBeacon,
  encodeInventory,
  encodeLocks,
  encodeSnapshot,
} from '../../../core/snapshot-codec.ts'
import type { Role } from '../../../core/policy/role.ts'
import type { LightSnapshot, Target } from '../../../core/snapshot.ts'
import { LinkReader, SignedCollector, writeLinkFrame } from '../../../core/tunnel/link.ts'
import type { LinkFrame } from '../../../core/tunnel/link-frame.ts'
import {
  type Answer,
  type OpenFrame,
  readAnswer,
  readOpen,
  writeAnswer,
  writeOpen,
} from '../../../core/tunnel/open.ts'
import { ORDERS, testSnapshot } from '../../fixtures/rights.ts'
import { beginnings, type Codec, pieces } from '../engine.ts'
import { declared } from './postgres.ts'

const KEY = Buffer.alloc(32, 5)
const NOW_MS = Date.UTC(2026, 10, 20, 12)
const SPARE = { key: KEY, spareId: 'spare-1', nowMs: NOW_MS }
const TO = { spareId: 'spare-1', sessionId: 'session-1' }
const HEAD_BYTES = 8
const MAC_BYTES = 32

const RELAY: OpenFrame = {
  sessionId: TO.sessionId,
  decisionId: '01JD4Z0000000000000000000B',
  mode: 'relay',
  protocol: 'postgres',
  stage: 'ssl',
  target: { kind: 'db', name: 'Bestellungen – orders' },
  serverName: 'ticket.orders.db.sluice.test',
  client: { address: '2001:db8::1', port: 65_535, trusted: true },
  cancelHandle: 0xffff_ffff,
  spareId: TO.spareId,
  expiresAtMs: NOW_MS + 30_000,
}
const DENY: OpenFrame = {
  ...RELAY,
  mode: 'deny',
  denial: { kind: 'expired', reason: 'the ticket has expired', next: 'Run tsh db login.' },
}
// A byte order mark is part of a name, not a remark about it.
const MARKED: OpenFrame = { ...RELAY, target: { kind: 'db', name: '\ufefforders' } }
const OPENS = [RELAY, MARKED, { ...RELAY, mode: 'terminate' }, DENY] as const
const ANSWERS: readonly Answer[] = [
  { kind: 'accept' },
  { kind: 'refuse', reason: 'no-target', text: 'this agent does not serve it' },
]

/** A body under a good MAC, made by a second writer (core/tunnel/open.ts says the form). */
function sealed(kind: number, body: Uint8Array): Buffer {
  const length = body.length + MAC_BYTES
  const head = Uint8Array.of(0xd5, 0x53, 0x4c, 0x4f, 1, kind, length >> 8, length & 255)
  const about = [`sluice open v1 ${kind === 1 ? 'to agent' : 'to proxy'}`, TO.spareId]
  const mac = createHmac('sha256', KEY)
  for (const text of about) mac.update(Uint8Array.of(0, text.length)).update(text)
  return Buffer.concat([head, body, mac.update(head).update(body).digest()])
}

const bodyOf = (frame: Uint8Array): Uint8Array =>
  frame.subarray(HEAD_BYTES, frame.length - MAC_BYTES)

interface Reading {
  readonly verdict: string
  readonly code?: string
  readonly end?: number
}

function incremental(
  name: string,
  seeds: () => readonly Uint8Array[],
  read: (bytes: Uint8Array) => Reading,
  bytesMax: number,
): Codec {
  return {
    name,
    seeds,
    check(bytes, cuts) {
      const whole = read(bytes)
      for (const part of beginnings(bytes, cuts)) {
        const reading = read(part)
        if (reading.verdict !== 'more') assert.deepEqual(reading, whole)
        else assert.ok(part.length < bytesMax, 'waits past its bound')
      }
      return whole.code ?? whole.verdict
    },
  }
}

const openFrames = incremental(
  'open-frame',
  () => OPENS.map((frame) => writeOpen(KEY, frame)),
  (bytes) => readOpen(bytes, SPARE),
  max('openFrameBytesMax'),
)

const answerFrames = incremental(
  'answer-frame',
  () => ANSWERS.map((answer) => writeAnswer(KEY, TO, answer)),
  (bytes) => readAnswer(bytes, KEY, TO),
  max('acceptFrameBytesMax'),
)

/** What a hostile proxy says under the key it holds: read, then written again, it is the same bytes. */
const openBody: Codec = {
  name: 'open-body',
  seeds: () => OPENS.map((frame) => bodyOf(writeOpen(KEY, frame))),
  check(bytes) {
    const frame = sealed(1, bytes)
    const reading = readOpen(frame, SPARE)
    if (reading.verdict !== 'frame') return reading.verdict === 'bad' ? reading.code : 'more'
    assert.deepEqual(Buffer.from(writeOpen(KEY, reading.frame)), frame)
    return reading.frame.mode
  },
}

const answerBody: Codec = {
  name: 'answer-body',
  seeds: () => ANSWERS.map((answer) => bodyOf(writeAnswer(KEY, TO, answer))),
  check(bytes) {
    const words = [2, 3].map((kind) => {
      const frame = sealed(kind, bytes)
      const reading = readAnswer(frame, KEY, TO)
      if (reading.verdict !== 'frame') return reading.verdict === 'bad' ? reading.code : 'more'
      assert.deepEqual(Buffer.from(writeAnswer(KEY, TO, reading.frame)), frame)
      return reading.frame.kind
    })
    return words.join(', ')
  },
}

const order = { spareId: 's1', preface: Uint8Array.of(0xd5, 1, 2) }
const signature = new Uint8Array(64)
const FRAMES: readonly LinkFrame[] = [
  { type: 'hello', version: 1, agentId: 'a', software: '0', services: ['db'], nowMs: 1.25 },
  { type: 'welcome', proxyId: 'p', nowMs: 0 },
  {
    type: 'heartbeat',
    unhealthy: ['orders'],
    sessions: 1,
    idleSpares: 2,
    snapshotRevision: 3,
    lockRevision: 2 ** 40,
  },
  { type: 'ping', id: 1, sentMs: 2 },
  { type: 'want', spares: 2 },
  { type: 'tickets', tickets: [order, order] },
  { type: 'dial-now', ticket: order },
  { type: 'drain', reason: 'stop', deadlineMs: 5 },
  { type: 'refused', code: 'login.locked', text: 'locked' },
  { type: 'signed', kind: 'locks', part: 0, parts: 2, body: Uint8Array.of(1, 2), signature },
  { type: 'signed', kind: 'locks', part: 1, parts: 2, body: Uint8Array.of(3), signature },
]

/** A stream of frames, as a worker reads it: what is held is never more than the one unfinished frame. */
const linkFrames: Codec = {
  name: 'link-frames',
  seeds: () => [...FRAMES.map(writeLinkFrame), Buffer.concat(FRAMES.map(writeLinkFrame))],
  check(bytes, cuts) {
    const whole = framesOf([bytes])
    assert.deepEqual(framesOf(pieces(bytes, cuts)), whole)
    return whole.at(-1)?.slice(0, 60) ?? 'nothing'
  },
}

function framesOf(chunks: readonly Uint8Array[]): string[] {
  const reader = new LinkReader()
  const collector = new SignedCollector()
  const found: string[] = []
  let given = 0
  try {
    for (const chunk of chunks) {
      given += chunk.length
      for (const frame of reader.push(chunk)) {
        const whole = frame.type === 'signed' && collector.add(frame) !== undefined
        found.push(`${frame.type}${whole ? ', whole' : ''}`)
      }
      assert.ok(reader.heldBytes <= given)
    }
  } catch (error) {
    return [...found, declared(error, 'frame.malformed')]
  }
  return [...found, reader.heldBytes > 0 ? 'waits' : 'between']
}

/** Any msgpack, in a frame of its length. */
const linkBody: Codec = {
  name: 'link-body',
  seeds: () => FRAMES.map((frame) => writeLinkFrame(frame).subarray(4)),
  check(bytes) {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(bytes.length)
    return framesOf([Buffer.concat([head, bytes])]).join(', ')
  },
}

const CHECKPOINT = {
  writer: 'control',
  count: 3,
  head: 'ab'.repeat(32),
  timeMs: NOW_MS,
  signature: 'AAAA',
}
const SNAPSHOT = testSnapshot({ nowMs: NOW_MS })
const LOCK = { name: 'l1', createdAtMs: NOW_MS, target: { user: 'alice' } }

function signedCodec<T>(
  name: string,
  seeds: () => readonly Uint8Array[],
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): Codec {
  return {
    name,
    seeds,
    check(bytes) {
      let value: T
      try {
        value = decode(bytes)
      } catch (error) {
        return declared(error, 'snapshot.forged').replace(/config\.[^)]*/, 'config')
      }
      // What was understood is written down and understood again: nothing of it gets lost on the way.
      assert.deepEqual(decode(encode(value)), value)
      return 'read'
    },
  }
}

const SSH_CAS = { user: [Buffer.from('a')], host: [Buffer.from('b')], openssh: [] }
const NODE_ROLE: Role = {
  name: 'nodes',
  version: 'v7',
  options: { ssh: { forwardAgent: true, maxSessions: 2 } },
  allow: { rules: [], node: { labels: { '*': ['*'] }, logins: ['root'] } },
  deny: { rules: [], node: { labels: {}, logins: ['admin'] } },
  unenforced: [],
}

/** A role with a part nobody knows is marked as one that refuses, each time it is read: here the marks are taken off. */
function withoutMarks(snapshot: LightSnapshot): LightSnapshot {
  const roles = snapshot.roles.map((role) => ({ ...role, unenforced: [] }))
  return { ...snapshot, roles }
}

const snapshots = signedCodec(
  'snapshot',
  () => [
    encodeSnapshot({ ...SNAPSHOT, proxies: [{ id: 'p', address: 'p.test:443' }] }),
    encodeSnapshot({ ...SNAPSHOT, ssh: SSH_CAS, roles: [NODE_ROLE] }),
  ],
  (bytes) => withoutMarks(decodeSnapshot(bytes)),
  encodeSnapshot,
)
const locks = signedCodec(
  'lock-set',
  () => [encodeLocks({ revision: 2, locks: [LOCK], generations: { alice: 3 } })],
  decodeLocks,
  encodeLocks,
)
const beacons = signedCodec(
  'beacon',
  () =>
    [{}, { checkpoint: CHECKPOINT }].map((more) =>
      encodeBeacon({ snapshotRevision: 1, lockRevision: 2, timeMs: NOW_MS, ...more }),
    ),
  decodeBeacon,
  encodeBeacon,
)
const inventories = signedCodec(
  'inventory-change',
  () => [
    encodeInventory({ kind: 'base', revision: 1, sha256: 'ab'.repeat(32), bytes: 10 }),
    encodeInventory({ kind: 'delta', revision: 2, from: 1, put: [ORDERS], remove: [ORDERS.ref] }),
  ],
  decodeInventory,
  encodeInventory,
)

const target = (name: string): Target => ({ ...ORDERS, ref: { kind: 'db', name }, label: name })

/** The base of the inventory as it lies in shared memory: damaged bytes give one error of ours, and no target of their own. */
const inventoryBase: Codec = {
  name: 'inventory-base',
  seeds: () => [buildInventory(['a', 'bb', 'orders'].map(target)), buildInventory([])],
  check(bytes) {
    try {
      const inventory = new Inventory(bytes, 1)
      const found = inventory.byLabel('db', 'orders') ?? inventory.byName('db', 'bb')
      const all = [...inventory.targets()]
      return `${Math.min(all.length, 4)} targets, ${found === undefined ? 'none found' : 'found'}`
    } catch (error) {
      assert.ok(error instanceof ProxyError, String(error))
      return error.code
    }
  },
}

export const tunnelCodecs: readonly Codec[] = [
  openFrames,
  answerFrames,
  openBody,
  answerBody,
  linkFrames,
  linkBody,
  snapshots,
  locks,
  beacons,
  inventories,
  inventoryBase,
]
