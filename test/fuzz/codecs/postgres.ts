// PostgreSQL's codecs and both its halves, driven through the performer in memory (test/fake/rig.ts), which asserts the contract
// at every call. The trace of a session must not depend on where its chunks end; nothing reaches a target before it may.

import assert from 'node:assert/strict'

import { errorCode } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import type { Side } from '../../../core/protocol.ts'
import { PacketReader, readStartup } from '../../../protocols/postgres/codec.ts'
import { postgres } from '../../../protocols/postgres/index.ts'
import { Rig } from '../../fake/rig.ts'
import { allowed, loginOf, secured, start, vector, VECTORS } from '../../scripts/postgres.ts'
import { beginnings, type Codec, pieces } from '../engine.ts'

const LOGINS = [...VECTORS, 'psql15-pg15-scram'] as const

function said(name: (typeof LOGINS)[number], from: Side): Buffer {
  return Buffer.concat(vector(name).flatMap((each) => (each.from === from ? [each.bytes] : [])))
}

function startupOf(name: (typeof LOGINS)[number]): Uint8Array {
  return vector(name)[0]?.bytes ?? new Uint8Array(0)
}

const STARTUP = startupOf('psql15-pg15-simple')

/** Why a session ended, without the numbers in it. */
function ending(rig: Rig): string {
  const [last] = rig.decisions.slice(-1)
  if (last === undefined || !('act' in last)) return 'goes on'
  const { act } = last
  if (act.kind !== 'end') return `waits after ${act.kind}`
  return act.reason.replaceAll(/0x[0-9a-f]+|\d+/g, '#').slice(0, 120)
}

const startup: Codec = {
  name: 'postgres-startup',
  seeds: () => LOGINS.map(startupOf),
  check(bytes) {
    const read = readStartup(bytes)
    if (read.kind !== 'startup') return read.kind === 'bad' ? read.reason : read.kind
    for (const name of [read.user, read.database]) {
      assert.ok(Buffer.byteLength(name) <= max('pgNameBytesMax') && name !== '')
      assert.ok(Buffer.from(bytes).includes(name), 'a name that was not sent')
    }
    return `startup${read.replication ? ' of replication' : ''}`
  },
}

const packets: Codec = {
  name: 'postgres-packet',
  seeds: () => [...LOGINS.map(startupOf), said('psql15-pg15-simple', 'target')],
  check(bytes, cuts) {
    const whole = packetsOf([bytes])
    const split = packetsOf(pieces(bytes, cuts))
    assert.deepEqual(split, whole)
    return whole.at(-1) === 'bad' ? 'bad length' : `${Math.min(whole.length, 3)} packets`
  },
}

/** Whole packets in hexadecimal, then `bad` when the next announces what it may not. */
function packetsOf(chunks: readonly Uint8Array[]): string[] {
  const reader = new PacketReader(0, max('pgStartupBytesMax'))
  const found: string[] = []
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      at = reader.add(chunk, at)
      if (reader.bad) return [...found, 'bad']
      const packet = reader.take()
      if (packet === undefined) break
      assert.ok(packet.length <= max('pgStartupBytesMax'))
      found.push(Buffer.from(packet).toString('hex'))
    }
  }
  return found
}

/** Everything a client says behind TLS. The performer's events come as soon as they are asked for. */
const client: Codec = {
  name: 'postgres-client',
  seeds: () => VECTORS.map((name) => said(name, 'client')),
  check(bytes, cuts) {
    const whole = clientSession([bytes])
    const split = clientSession(pieces(bytes, cuts))
    assert.deepEqual(split.trace, whole.trace)
    const asked = whole.decisions.some((each) => 'act' in each && each.act.kind === 'authorize')
    if (!asked) assert.equal(whole.written('target').length, 0, 'reaches the target unasked')
    return ending(whole)
  },
}

function clientSession(chunks: readonly Uint8Array[]): Rig {
  const rig = new Rig(postgres.session()).run([start, secured])
  let connected = false
  for (const chunk of chunks) {
    rig.give('client', chunk)
    const last = rig.decisions.at(-1)
    const asks = last !== undefined && 'act' in last && last.act.kind === 'authorize'
    if (!asks || connected) continue
    connected = true
    rig.run(allowed)
  }
  if (!rig.ended) rig.event({ kind: 'ended', side: 'client' })
  return rig
}

/** Everything a target says once the session is relayed. */
const target: Codec = {
  name: 'postgres-target',
  seeds: () => VECTORS.map((name) => said(name, 'target')),
  check(bytes, cuts) {
    const whole = targetSession([bytes])
    const split = targetSession(pieces(bytes, cuts))
    assert.deepEqual(split.trace, whole.trace)
    assert.equal(whole.written('target').length, 0, 'a target hears itself')
    return ending(whole)
  },
}

function targetSession(chunks: readonly Uint8Array[]): Rig {
  const rig = new Rig(postgres.session()).run([start, secured])
  rig.give('client', STARTUP)
  rig.run(allowed)
  for (const chunk of chunks) rig.give('target', chunk)
  if (!rig.ended) rig.event({ kind: 'ended', side: 'target' })
  return rig
}

/** What a target says to the agent half, behind TLS. */
const agent: Codec = {
  name: 'postgres-agent',
  seeds: () => LOGINS.map((name) => said(name, 'target')),
  check(bytes, cuts) {
    const whole = agentSession([bytes])
    const split = agentSession(pieces(bytes, cuts))
    assert.deepEqual(split.trace, whole.trace)
    const sent = whole.written('target').length
    assert.ok(sent < 8 + STARTUP.length + max('pgLoginBytesMax'), `${sent} bytes to a target`)
    return ending(whole)
  },
}

function agentSession(chunks: readonly Uint8Array[]): Rig {
  const rig = new Rig(postgres.agent(loginOf(STARTUP))).run([start])
  rig.give('target', Buffer.from('S'))
  rig.event({ kind: 'tls', side: 'target' })
  for (const chunk of chunks) rig.give('target', chunk)
  return rig
}

/** What a target answers to the request for TLS: the start-up message follows TLS or nothing. */
const agentAnswer: Codec = {
  name: 'postgres-agent-answer',
  seeds: () => [Buffer.from('S'), Buffer.from('N'), said('psql15-pg15-no-such-role', 'target')],
  check(bytes) {
    const rig = new Rig(postgres.agent(loginOf(STARTUP))).run([start])
    rig.give('target', bytes)
    const upgrades = rig.decisions.some((each) => 'act' in each && each.act.kind === 'upgrade-tls')
    assert.equal(upgrades, Buffer.from(bytes).toString('latin1') === 'S')
    assert.equal(rig.written('target').length, 8, 'says more than its request before TLS')
    return ending(rig)
  },
}

/** A cancel's key is as long as it says, and its bytes are its own. */
const cancel: Codec = {
  name: 'postgres-recognise',
  seeds: () => [
    Buffer.from('0000001004d2162e0000000701020304', 'hex'),
    Buffer.concat([Buffer.from('0000002c04d2162e', 'hex'), Buffer.alloc(36, 1)]),
    Buffer.concat([Buffer.from('0000010c04d2162e', 'hex'), Buffer.alloc(260, 2)]),
    Buffer.from('0000000804d2162f', 'hex'),
  ],
  check(bytes, cuts) {
    const whole = postgres.recognise(bytes)
    for (const part of beginnings(bytes, cuts)) {
      const { verdict } = postgres.recognise(part)
      if (verdict === 'no') assert.equal(whole.verdict, 'no', 'a no is final')
    }
    if (whole.verdict !== 'signal') return whole.verdict
    assert.equal(whole.key.length, bytes.length - 8)
    assert.ok(whole.key.length <= 4 + max('pgCancelKeyBytesMax'))
    assert.notEqual(whole.key.buffer, bytes.buffer)
    return 'signal'
  },
}

/** The one kind of error that may come out of a codec. */
export function declared(error: unknown, code: string): string {
  assert.equal(errorCode(error), code, String(error))
  return error instanceof Error ? error.message.replaceAll(/\d+/g, '#').slice(0, 80) : ''
}

export const postgresCodecs: readonly Codec[] = [
  startup,
  packets,
  client,
  target,
  agent,
  agentAnswer,
  cancel,
]
