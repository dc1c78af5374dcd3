// SQLite keeps the store contract; and what only it can do wrong: files, schema, queue, history.

import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, describe, it } from 'node:test'
import { FakeClock, systemClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Store, StoreEvent } from './contract.ts'
import { storeContract, type StoreFixture } from './contract.suite.ts'
import { StoreDatabase } from './database.ts'
import { openSqliteStore } from './sqlite.ts'
import { Watcher } from './watch.ts'

const folders: string[] = []
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

storeContract('SQLite', sqliteFixture)

describe('the SQLite store', () => {
  it('makes its files for their owner alone', async () => {
    const file = await newFile()
    const store = await openSqliteStore({ file, clock: systemClock })
    await store.put('a', '1')
    for (const name of [file, `${file}-wal`]) assert.equal((await stat(name)).mode & 0o777, 0o600)
    await store.close()
  })

  it('refuses a second process on its file, and a schema newer than it knows', async () => {
    const file = await newFile()
    const store = await openSqliteStore({ file, clock: systemClock })
    const other = new DatabaseSync(file)
    assert.throws(() => other.exec('SELECT * FROM item'), /locked/)
    other.close()
    await store.close()
    const newer = new DatabaseSync(file)
    newer.exec('PRAGMA user_version = 99')
    newer.close()
    await assert.rejects(openSqliteStore({ file, clock: systemClock }), /schema 99/)
  })

  it('deletes what expires without being asked', async () => {
    const store = await openSqliteStore({ file: await newFile(), clock: systemClock })
    const events = store.watch({ prefix: '' })[Symbol.asyncIterator]()
    await store.put('lease', '1', { ttlMs: 5 })
    assert.equal((await events.next()).value?.type, 'put')
    assert.equal((await events.next()).value?.type, 'delete')
    await store.close()
  })

  it('refuses at once what does not fit its queue, and serves what does', async () => {
    const store = await openSqliteStore({ file: await newFile(), clock: systemClock })
    const count = max('storeQueueMax')
    const puts = Array.from({ length: count + 10 }, (_, index) => store.put(`k/${index}`, '1'))
    const outcomes = await Promise.allSettled(puts)
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    assert.equal(refused.length, 10)
    assert.ok(refused.every((outcome) => errorCode(outcome.reason) === 'limit.exceeded'))
    await store.put('later', '1')
    await store.close()
  })

  it('asks a watcher whose token is older than the tombstones kept to read again', async () => {
    const database = new StoreDatabase(await newFile(), 2)
    const write = (key: string): number =>
      database.transaction(0, () => {
        database.batch([{ op: 'put', key, value: '1' }])
        return database.batch([{ op: 'delete', key }])[0] ?? 0
      }).result
    const token = write('a')
    write('b')
    write('c')
    assert.equal(database.since('', token).backlog.length, 2)
    write('d')
    assert.equal(database.since('', token + 2).backlog.length, 2)
    assert.throws(() => database.since('', token), { code: 'store.resync' })
    database.close()
  })

  it('leaves nothing of a transaction whose work throws', async () => {
    const database = new StoreDatabase(await newFile())
    assert.throws(() =>
      database.transaction(0, () => {
        database.batch([{ op: 'put', key: 'a', value: '1' }])
        throw new Error('disk full')
      }),
    )
    assert.equal(database.get('a'), undefined)
    const { result, events } = database.transaction(0, () =>
      database.batch([{ op: 'put', key: 'b', value: '1' }]),
    )
    assert.deepEqual(result, [1])
    assert.equal(events.length, 1)
    database.close()
  })
})

describe('a watcher', () => {
  const event = (revision: number): StoreEvent => ({ type: 'delete', key: 'a', revision })

  it('that falls behind is cut with a limit, after it has seen what was queued', async () => {
    const watcher = new Watcher('', () => {})
    watcher.begin(0, [])
    const count = max('storeWatchQueueMax')
    for (let revision = 1; revision <= count + 1; revision += 1) watcher.offer(event(revision))
    for (let revision = 1; revision <= count; revision += 1) {
      assert.equal((await watcher.next()).value?.revision, revision)
    }
    await assert.rejects(watcher.next(), { code: 'limit.exceeded' })
    assert.equal((await watcher.next()).done, true)
  })

  it('ignores live events its backlog already told', async () => {
    const watcher = new Watcher('', () => {})
    watcher.offer(event(4))
    watcher.begin(5, [event(5)])
    watcher.offer(event(5))
    watcher.offer(event(6))
    assert.equal((await watcher.next()).value?.revision, 5)
    assert.equal((await watcher.next()).value?.revision, 6)
  })
})

async function newFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-store-'))
  folders.push(folder)
  return join(folder, 'state.db')
}

async function sqliteFixture(): Promise<StoreFixture> {
  const file = await newFile()
  const clock = new FakeClock()
  let store: Store = await openSqliteStore({ file, clock })
  return {
    store,
    advance: (ms) => clock.advance(ms),
    reopen: async () => {
      await store.close()
      store = await openSqliteStore({ file, clock })
      return store
    },
    dispose: () => store.close(),
  }
}
