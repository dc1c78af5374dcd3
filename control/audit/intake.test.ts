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
import { canonicalJson } from '../../core/cert/canonical.ts'
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
    assert.equal(await log.ingest(AGENT, records), 3)
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
      await log.ingest(AGENT, records.slice(0, 3))
      assert.equal(await log.ingest(AGENT, records.slice(0, 3)), 3)
      assert.equal(await log.ingest(AGENT, records.slice(1, 4)), 4)
      if (checkpointed) await log.checkpoint()
      const again = await fixture.open()
      assert.equal(await again.ingest(AGENT, records.slice(0, 2)), 4)
      assert.equal(await again.ingest(AGENT, records.slice(2)), 6)
      assert.equal(again.status().count, 6)
    }
  })

  it('judges batches of one emitter that come at once one after the other', async () => {
    const log = await newLog()
    const records = new Emitter().records(30)
    const batches = [records.slice(0, 10), records.slice(0, 20), records]
    assert.deepEqual(
      await Promise.all(batches.map((batch) => log.ingest(AGENT, batch))),
      [10, 20, 30],
    )
    assert.equal(log.status().count, 30)
  })

  it('tells a gap, and a chain begun anew', async () => {
    const log = await newLog()
    const records = new Emitter().records(6)
    await log.ingest(AGENT, records.slice(0, 2))
    assert.equal(await log.ingest(AGENT, records.slice(4)), 6)
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
    await log.ingest(AGENT, new Emitter('agent-1/101').records(1))
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
      await log.ingest(AGENT, new Emitter().records(3))
      const batch = build()
      await assert.rejects(log.ingest(AGENT, batch), { code: 'audit.chain-broken' }, what)
      await assert.rejects(log.ingest(AGENT, batch), { code: 'audit.chain-broken' })
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
    await assert.rejects(log.ingest(AGENT, [recordObject(record)]), { code: 'audit.chain-broken' })
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
    assert.equal(await log.ingest(AGENT, [...cases, good]), cases.length + 1)
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
      await assert.rejects(log.ingest(AGENT, batch), { code: 'resource.invalid' })
    }
    const many = Array.from({ length: max('auditBatchMax') + 1 }, () => first)
    await assert.rejects(log.ingest(AGENT, many), { code: 'limit.exceeded' })
    assert.equal(await log.ingest(AGENT, []), 0)
    assert.equal(log.status().count, 0)
  })
})
