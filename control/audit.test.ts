// The log on a real folder: durability, files by day, checkpoints, recovery, queries.

import assert from 'node:assert/strict'
import {
  appendFile,
  type FileHandle,
  open,
  readdir,
  readFile,
  stat,
  truncate,
} from 'node:fs/promises'
import { describe, it, mock } from 'node:test'
import { readLine } from '../core/audit/chain.ts'
import { max } from '../core/limits.ts'
import {
  DAY_MS,
  emitMany,
  type LogFixture,
  newLogFolder,
  signer,
  TODAY,
} from './audit/log.fixture.ts'
import type { AuditLog, CheckpointSigner } from './audit.ts'

describe('the audit log', () => {
  it('holds an event on disk, chained, before the append resolves', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await log.emit('user.login', 'T1000I', { user: 'alice' })
    const [line = ''] = await fixture.lines()
    assert.equal(readLine(line)?.event['user'], 'alice')
    assert.deepEqual(log.status(), { count: 1, head: readLine(line)?.hash })
    assert.equal((await stat(fixture.path(TODAY))).mode & 0o777, 0o600)
    await emitMany(log, 100)
    assert.deepEqual(await problemOf(log), undefined)
    assert.equal((await log.verify()).records, 101)
  })

  it('begins a file each day, and stays on it when the clock goes back', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 3)
    fixture.clock.advance(DAY_MS)
    await emitMany(log, 3)
    fixture.clock.jump(-DAY_MS)
    await emitMany(log, 3)
    assert.equal((await fixture.lines()).length, 3)
    assert.equal((await fixture.lines('events-2026-11-21.jsonl')).length, 6)
    const again = await fixture.open()
    await emitMany(again, 1)
    assert.equal((await again.verify()).records, 10)
  })

  it('goes on where it stood when it is opened again', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 5)
    await log.close()
    const again = await fixture.open()
    assert.deepEqual(again.status(), log.status())
    await emitMany(again, 5)
    const report = await again.verify()
    assert.deepEqual({ ok: report.ok, records: report.records }, { ok: true, records: 10 })
    assert.equal(report.checkpoints, 1)
  })

  it('exports every record as it stands in the files', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 3)
    fixture.clock.advance(DAY_MS)
    await emitMany(log, 3)
    const parts: Uint8Array[] = []
    for await (const part of log.export()) parts.push(part)
    const lines = Buffer.concat(parts).toString().split('\n').slice(0, -1)
    assert.deepEqual(
      lines.map((line) => readLine(line)?.seq),
      [1, 2, 3, 4, 5, 6],
    )
  })
})

type WriteArguments = readonly [bytes: Uint8Array, at: number, length: number, position: number]

describe('a disk that fails', () => {
  it('fails the events it did not take, and leaves nothing of them in front of the next', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 2)
    const handle = await open(fixture.path(TODAY))
    const prototype = Object.getPrototypeOf(handle) as FileHandle
    await handle.close()
    // The file is opened with O_DSYNC: what the disk does not take fails the write, and may be in the file all the same.
    const write: unknown = Reflect.get(prototype, 'write')
    assert.ok(typeof write === 'function')
    const failure = mock.method(
      prototype,
      'write',
      async function failing(this: FileHandle, ...args: WriteArguments) {
        await Reflect.apply(write, this, args)
        throw new Error('EIO')
      },
    )
    const long = { user: 'x'.repeat(5000) }
    await assert.rejects(log.emit('user.login', 'T1000I', long), { code: 'audit.unavailable' })
    failure.mock.restore()
    await emitMany(log, 1)
    assert.deepEqual((await log.verify()).problem, undefined)
    assert.equal((await fixture.lines()).length, 3)
    assert.equal(log.status().count, 3)
  })
})

describe('checkpoints', () => {
  /** A key that tells what it was asked to sign first. */
  function watchedSigner(): { key: CheckpointSigner; asked: Promise<string> } {
    const { promise, resolve } = Promise.withResolvers<string>()
    const sign = (body: Uint8Array): Promise<Uint8Array> => {
      resolve(Buffer.from(body).toString())
      return signer.sign(body)
    }
    return { key: { sign, keys: () => signer.keys() }, asked: promise }
  }

  it('are taken every minute when there is something new, and signed', async () => {
    mock.timers.enable({ apis: ['setInterval'] })
    const fixture = await newLogFolder()
    const { key, asked } = watchedSigner()
    const log = await fixture.open(key)
    mock.timers.tick(max('auditCheckpointMs'))
    await emitMany(log, 2)
    mock.timers.tick(max('auditCheckpointMs'))
    mock.timers.reset()
    assert.match(await asked, /"count":2/)
    await log.checkpoint()
    assert.equal(log.latestCheckpoint()?.count, 2)
    assert.equal(log.latestCheckpoint()?.head, log.status().head)
    const report = await log.verify()
    assert.deepEqual(
      { ok: report.ok, checkpoints: report.checkpoints },
      { ok: true, checkpoints: 1 },
    )
  })

  it('are taken after so many records, without waiting for the minute', async () => {
    const fixture = await newLogFolder()
    const { key, asked } = watchedSigner()
    const log = await fixture.open(key)
    await emitMany(log, max('auditCheckpointEvery'))
    assert.match(await asked, new RegExp(`"count":${max('auditCheckpointEvery')},`))
  })

  it('are not taken more often than a beacon can carry them, however many records come', async () => {
    const fixture = await newLogFolder()
    mock.timers.enable({ apis: ['setTimeout'] })
    let signed = 0
    let again = Promise.withResolvers<void>()
    const sign = (body: Uint8Array): ReturnType<typeof signer.sign> => {
      signed++
      again.resolve()
      return signer.sign(body)
    }
    const log = await fixture.open({ sign, keys: () => signer.keys() })
    await emitMany(log, max('auditCheckpointEvery'))
    await log.checkpoint()
    assert.equal(signed, 1)
    again = Promise.withResolvers<void>()
    fixture.clock.advance(max('auditCheckpointGapMs') - 1)
    await emitMany(log, max('auditCheckpointEvery'))
    await emitMany(log, max('auditCheckpointEvery'))
    assert.equal(signed, 1)
    mock.timers.tick(1)
    mock.timers.reset()
    await again.promise
    await log.checkpoint()
    assert.equal(log.latestCheckpoint()?.count, 3 * max('auditCheckpointEvery'))
    assert.equal(signed, 2)
  })

  it('that cannot be signed cost no event, and are taken later', async () => {
    const fixture = await newLogFolder()
    let away = true
    const sign = (body: Uint8Array): Promise<Uint8Array> =>
      away ? Promise.reject(new Error('the signer is away')) : signer.sign(body)
    const log = await fixture.open({ sign, keys: () => signer.keys() })
    await emitMany(log, 2)
    await assert.rejects(log.checkpoint(), /away/)
    await emitMany(log, 1)
    away = false
    await log.checkpoint()
    assert.equal(log.latestCheckpoint()?.count, 3)
  })
})

describe('opening after a crash', () => {
  it('cuts off a torn record and says so, whatever byte it was torn at', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 3)
    const whole = await readFile(fixture.path(TODAY))
    const lastLine = whole.lastIndexOf('\n', whole.length - 2) + 1
    for (const torn of [1, 40, whole.length - lastLine - 2, whole.length - lastLine - 1]) {
      const again = await newLogFolder()
      await again.write([])
      await appendFile(again.path(TODAY), whole.subarray(0, lastLine + torn))
      // The next day: what was torn would stay in the middle of the log.
      again.clock.advance(DAY_MS)
      const opened = await again.open()
      const [event] = (await opened.query()).items
      assert.equal(event?.['event'], 'audit.recovered')
      assert.equal(event?.['dropped_bytes'], torn)
      assert.equal(event?.['offset'], lastLine)
      assert.equal((await opened.verify()).records, 3)
    }
  })

  it('sets aside, and does not delete, bytes that were no torn write', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 4)
    const lines = await fixture.lines()
    await fixture.write(lines.with(1, (lines[1] ?? '').replace('user-1', 'user-X')))
    const again = await fixture.open()
    const [event] = (await again.query()).items
    assert.equal(event?.['whole_records'], 2)
    const kept = (await readdir(fixture.folder)).filter((name) => name.startsWith('damaged-'))
    assert.deepEqual(kept, [event?.['kept_as']])
    assert.match(await readFile(fixture.path(kept[0] ?? ''), 'utf8'), /user-X/)
    assert.equal((await again.verify()).records, 2)
  })

  it('says that records a checkpoint knew are gone, and verifies as broken from then on', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 4)
    await log.close()
    await truncate(fixture.path(TODAY), (await fixture.lines()).slice(0, 2).join('\n').length + 1)
    const again = await fixture.open()
    const [event] = (await again.query()).items
    assert.equal(event?.['event'], 'audit.fork')
    await emitMany(again, 4)
    assert.match((await problemOf(again)) ?? '', /^record 4 is forked/)
  })

  it('reads only what was written since the last checkpoint, and knows its emitters from there', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    await emitMany(log, 4)
    await log.close()
    // A record before the checkpoint is damaged: opening does not see it, verifying does.
    const lines = await fixture.lines()
    await fixture.write(lines.with(1, (lines[1] ?? '').replace('user-1', 'user-X')))
    const again = await fixture.open()
    assert.equal(again.status().count, 4)
    assert.match((await problemOf(again)) ?? '', /^record 2 is changed/)
  })
})

describe('a query', () => {
  async function filled(): Promise<{ fixture: LogFixture; log: AuditLog }> {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    for (const user of ['alice', 'bob']) {
      for (let day = 0; day < 3; day += 1) {
        await log.emit('user.login', 'T1000I', { user })
        await log.emit('decision.deny', 'SLP001W', { user, decision_id: `${user}-${day}` })
        fixture.clock.advance(DAY_MS)
      }
    }
    return { fixture, log }
  }

  it('gives the newest first, page by page, each record once', async () => {
    const { log } = await filled()
    const seen: unknown[] = []
    let cursor: string | undefined
    do {
      const page = await log.query({ limit: 5, ...(cursor === undefined ? {} : { cursor }) })
      seen.push(...page.items.map((item) => item['seq']))
      cursor = page.next
    } while (cursor !== undefined)
    assert.deepEqual(seen, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1])
  })

  it('filters by name, code, time, user and decision', async () => {
    const { fixture, log } = await filled()
    const count = async (query: Parameters<AuditLog['query']>[0]): Promise<number> =>
      (await log.query(query)).items.length
    assert.equal(await count({ types: ['user.login'] }), 6)
    assert.equal(await count({ types: ['SLP001W', 'T1000I'] }), 12)
    assert.equal(await count({ types: ['user.create'] }), 0)
    assert.equal(await count({ user: 'bob' }), 6)
    assert.equal(await count({ decisionId: 'alice-2' }), 1)
    await log.emit('session.upload', 'T2005I', { sid: 'one', user: 'alice' })
    await log.emit('session.upload', 'T2005I', { sid: 'two', user: 'alice' })
    assert.equal(await count({ sid: 'one' }), 1)
    assert.equal(await count({ sid: 'one', user: 'bob' }), 0)
    const start = fixture.clock.now() - 6 * DAY_MS
    assert.equal(await count({ fromMs: start + DAY_MS }), 12)
    assert.equal(await count({ fromMs: start + DAY_MS, toMs: start + 2 * DAY_MS }), 4)
    await assert.rejects(count({ cursor: '-1' }), { code: 'resource.invalid' })
  })

  it('finds records longer than one read', async () => {
    const fixture = await newLogFolder()
    const log = await fixture.open()
    const long = 'é'.repeat(30_000)
    for (let index = 0; index < 20; index += 1) {
      await log.emit('user.login', 'T1000I', { user: `u${index}`, error: long })
    }
    const { items } = await log.query()
    assert.equal(items.length, 20)
    assert.ok(items.every((item) => item['error'] === long))
  })
})

async function problemOf(log: AuditLog): Promise<string | undefined> {
  return (await log.verify()).problem
}
