// What an agent or proxy may put into the log, and what it may not.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type ChainPosition,
  genesis,
  hashOf,
  nextLine,
  readLine,
  recordObject,
} from '../../core/audit/chain.ts'
import { auditEvent, type EventFields } from '../../core/audit/event.ts'
import { type Canonical, canonicalJson } from '../../core/cert/canonical.ts'
import type { SystemIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import type { AuditLog } from '../audit.ts'
import { newLogFolder } from './log.fixture.ts'

const AGENT: SystemIdentity = {
  type: 'system',
  role: 'agent',
  id: 'agent-1',
  cluster: 'c',
  services: ['db'],
  generation: 1,
}

type Uploaded = Readonly<Record<string, unknown>>

/** As the lines of the emitter's own chain. */
function ingest(log: AuditLog, records: readonly unknown[]): Promise<number> {
  return log.ingest(AGENT, records.map(lineOf))
}

function lineOf(item: unknown): string {
  if (typeof item !== 'object' || item === null) return String(item)
  const { seq, writer, prev, hash, ...event }: Record<string, unknown> = { ...item }
  const keys = Object.keys(event).sort()
  const members = keys.map((key) => `${JSON.stringify(key)}:${valueOf(event[key])}`)
  return `{"seq":${String(seq)},"writer":"${String(writer)}","prev":"${String(prev)}",${members.join()},"hash":"${String(hash)}"}`
}

/** An emitter's chain in memory. */
class Emitter {
  #position: ChainPosition

  constructor(writer: string = 'agent-1/100') {
    this.#position = genesis(writer)
  }

  record(fields: EventFields = {}, name = 'db.session.start', code = 'TDB00I'): Uploaded {
    const origin = { uid: 'u', timeMs: 0, cluster: 'c' }
    return this.raw({ ...auditEvent(name, code, fields, origin) })
  }

  raw(event: Parameters<typeof canonicalJson>[0]): Uploaded {
    const { line, position } = nextLine(this.#position, canonicalJson(event))
    this.#position = position
    const record = readLine(line)
    assert.ok(record !== undefined)
    return recordObject(record)
  }

  records(count: number, word = 'x'): Uploaded[] {
    return Array.from({ length: count }, (_, index) => this.record({ user: `${word}${index}` }))
  }
}

/** Canonical where there is such a form. */
function valueOf(value: unknown): string {
  return typeof value === 'object' ? canonicalJson(value as Canonical) : JSON.stringify(value)
}

async function newLog(): Promise<AuditLog> {
  return (await newLogFolder()).open()
}

/** Event names, oldest first. */
async function names(log: AuditLog): Promise<unknown[]> {
  return (await log.query()).items.map((item) => item['event']).reverse()
}

describe('taking over an emitter’s chain', () => {
  it('keeps each event with the emitter’s own proof, from which its chain can be computed again', async () => {
    const log = await newLog()
    const records = new Emitter().records(3)
    assert.equal(await ingest(log, records), 3)
    for (const [index, item] of (await log.query()).items.toReversed().entries()) {
      const { seq, writer, prev, hash, emitter, ...event } = item
      assert.equal(writer, 'control-1')
      assert.ok(typeof seq === 'number' && typeof prev === 'string' && typeof hash === 'string')
      const proof = emitter as { writer: string; seq: number; prev: string; hash: string }
      assert.deepEqual(emitter, { id: 'agent-1', role: 'agent', ...proof })
      assert.equal(hashOf(proof.writer, proof.seq, proof.prev, canonicalJson(event)), proof.hash)
      assert.equal(proof.hash, records[index]?.['hash'])
    }
    assert.equal((await log.verify()).ok, true)
  })

  it('takes a repeated or overlapping batch once, over restarts with and without a checkpoint', async () => {
    for (const checkpointed of [true, false]) {
      const fixture = await newLogFolder()
      const log = await fixture.open()
      const records = new Emitter().records(6)
      await ingest(log, records.slice(0, 3))
      assert.equal(await ingest(log, records.slice(0, 3)), 3)
      assert.equal(await ingest(log, records.slice(1, 4)), 4)
      if (checkpointed) await log.checkpoint()
      const again = await fixture.open()
      assert.equal(await ingest(again, records.slice(0, 2)), 4)
      assert.equal(await ingest(again, records.slice(2)), 6)
      assert.equal(again.status().count, 6)
    }
  })

  it('judges batches of one emitter that come at once one after the other', async () => {
    const log = await newLog()
    const records = new Emitter().records(30)
    const batches = [records.slice(0, 10), records.slice(0, 20), records]
    assert.deepEqual(await Promise.all(batches.map((batch) => ingest(log, batch))), [10, 20, 30])
    assert.equal(log.status().count, 30)
  })

  it('tells a gap, and a chain begun anew', async () => {
    const log = await newLog()
    const records = new Emitter().records(6)
    await ingest(log, records.slice(0, 2))
    assert.equal(await ingest(log, records.slice(4)), 6)
    assert.deepEqual(await names(log), [
      'db.session.start',
      'db.session.start',
      'audit.gap',
      'db.session.start',
      'db.session.start',
    ])
    const told = (await log.query({ types: ['audit.gap'] })).items[0]
    assert.deepEqual(
      { from: told?.['from_seq'], to: told?.['to_seq'], lost: told?.['lost'] },
      { from: 3, to: 4, lost: 2 },
    )
    await ingest(log, new Emitter('agent-1/101').records(1))
    assert.deepEqual((await names(log)).slice(-2), ['audit.gap', 'db.session.start'])
  })

  it('refuses another history, tells it once, and takes over nothing of it', async () => {
    const forks = [
      {
        what: 'another record with a known number',
        build: () => new Emitter().records(4, 'other'),
      },
      {
        what: 'a record that does not follow',
        build: () => new Emitter().records(4, 'y').slice(3),
      },
      { what: 'an older chain', build: () => new Emitter('agent-1/99').records(1) },
    ]
    for (const { what, build } of forks) {
      const log = await newLog()
      await ingest(log, new Emitter().records(3))
      const batch = build()
      await assert.rejects(ingest(log, batch), { code: 'audit.chain-broken' }, what)
      await assert.rejects(ingest(log, batch), { code: 'audit.chain-broken' })
      assert.deepEqual((await names(log)).slice(3), ['audit.fork'], what)
    }
    const log = await newLog()
    const stolen = { ...genesis('agent-1/100'), hash: 'a'.repeat(64) }
    const { line } = nextLine(
      stolen,
      canonicalJson(auditEvent('auth', 'T3007W', {}, { uid: 'u', timeMs: 0, cluster: 'c' })),
    )
    const record = readLine(line)
    assert.ok(record !== undefined)
    await assert.rejects(ingest(log, [recordObject(record)]), { code: 'audit.chain-broken' })
  })

  it('replaces what an emitter may not say by a refusal, and lets its chain go on', async () => {
    const emitter = new Emitter()
    const origin = { uid: 'u', timeMs: 0, cluster: 'c' }
    const cases = [
      emitter.record({}, 'role.created', 'T9000I'),
      emitter.record({}, 'session.relay', 'SLR001I'),
      emitter.record({ server_id: 'agent-2' }),
      emitter.raw({ ...auditEvent('auth', 'T3007W', {}, { ...origin, cluster: 'other' }) }),
      emitter.raw({ ...auditEvent('auth', 'T3007W', {}, origin), code: 'T0000I' }),
      emitter.raw({ ...auditEvent('auth', 'T3007W', {}, origin), event: 'user.login' }),
      emitter.raw({ ...auditEvent('auth', 'T3007W', {}, origin), emitter: 'control' }),
    ]
    const log = await newLog()
    const good = emitter.record({ server_id: 'agent-1' })
    assert.equal(await ingest(log, [...cases, good]), cases.length + 1)
    assert.deepEqual(await names(log), [...cases.map(() => 'audit.refused'), 'db.session.start'])
    const first = (await log.query()).items.at(-1)
    assert.equal(first?.['claimed_event'], 'role.created')
    assert.equal(first?.['reason'], 'The role agent may not emit this event.')
    assert.equal((await log.verify()).ok, true)
  })

  it('refuses what is no batch of this emitter, and changes nothing', async () => {
    const log = await newLog()
    const [first = {}, second = {}, third = {}] = new Emitter().records(3)
    const batches: readonly (readonly unknown[])[] = [
      [{ ...first, user: 'mallory' }],
      [{ ...first, extra: 1.5 }],
      [{ ...first, seq: 0 }],
      [first, third],
      [second, first],
      [first, first],
      [null],
      ['x'],
      new Emitter('agent-2/100').records(1),
      new Emitter('agent-1').records(1),
    ]
    for (const batch of batches) {
      await assert.rejects(ingest(log, batch), { code: 'resource.invalid' })
    }
    const many = Array.from({ length: max('auditBatchMax') + 1 }, () => first)
    await assert.rejects(ingest(log, many), { code: 'limit.exceeded' })
    assert.equal(await ingest(log, []), 0)
    assert.equal(log.status().count, 0)
  })

  it('takes the one text that a record has: other orders, white space and doubled keys are refused', async () => {
    const log = await newLog()
    const origin = { uid: 'u', timeMs: 0, cluster: 'c' }
    const fields = { user: 'alice', db_labels: { a: 'b', c: 'd' } }
    const body = canonicalJson(auditEvent('auth', 'T3007W', fields, origin))
    const others = [
      body.replace('"code":"T3007W",', '').replace('"ei":0,', '"ei":0,"code":"T3007W",'),
      body.replace('{"a":"b","c":"d"}', '{"c":"d","a":"b"}'),
      body.replace('"ei":0', '"ei":0.0'),
      body.replace('"ei":0', '"ei": 0'),
      body.replace('"ei":0', '"ei":0,"ei":0'),
      body.replace('alice', '\\u0061lice'),
      body.replace('alice', '\\ud800'),
      body.replace('"alice"', 'null'),
    ]
    const start = genesis('agent-1/100')
    for (const other of others) {
      assert.notEqual(other, body)
      // Chained as it stands: its hash is right.
      const { line } = nextLine(start, other)
      await assert.rejects(log.ingest(AGENT, [line]), { code: 'resource.invalid' }, other)
    }
    const { line } = nextLine(start, body)
    for (const other of [`${line} `, ` ${line}`, line.slice(0, -1)])
      await assert.rejects(log.ingest(AGENT, [other]), { code: 'resource.invalid' }, other)
    assert.equal(await log.ingest(AGENT, [line]), 1)
  })

  it('puts its proof where the order of fields has it, whatever an event holds', async () => {
    const log = await newLog()
    const emitter = new Emitter()
    const nested = { ei: 0, event: 'x', f: { ei: 0, emitter: 'y' } }
    const records = [
      emitter.record({ decision: nested }),
      emitter.record({ db_labels: { '10': 'a', '2': 'b', ei: '0' } }),
      emitter.record({ elapsed: 1, error: ',"ei":0,"event":"x"' }),
    ]
    assert.equal(await ingest(log, records), 3)
    assert.equal((await log.verify()).ok, true)
    const items = (await log.query()).items.toReversed()
    assert.deepEqual(
      items.map(({ emitter: proof }) => (proof as { seq: number }).seq),
      [1, 2, 3],
    )
    assert.deepEqual(items[0]?.['decision'], nested)
  })
})
