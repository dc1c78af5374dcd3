// The clauses of control/store/contract.ts as tests, for every backend. A backend's own test file calls `storeContract` with a
// way to open an empty store and to let its clock advance; nothing here knows which backend it runs against.

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { keySegments, storeKey, storePrefix, type Store, type StoreEvent } from './contract.ts'

export interface StoreFixture {
  readonly store: Store
  /** Moves the store's clock. */
  advance(ms: number): void
  /** Closes the store and opens the same state again. */
  reopen(): Promise<Store>
  dispose(): Promise<void>
}

export function storeContract(backend: string, open: () => Promise<StoreFixture>): void {
  describe(`${backend} keeps the store contract`, () => {
    let fixture: StoreFixture
    let store: Store
    beforeEach(async () => {
      fixture = await open()
      store = fixture.store
    })
    afterEach(() => fixture.dispose())

    const advance = (ms: number): void => fixture.advance(ms)
    const current = (): Store => store
    writes(current)
    conditions(current)
    batches(current)
    ranges(current)
    expiry(current, advance)
    watches(current, advance)
    resumes(current)
    keysAndValues(current)

    it('holds everything acknowledged when it is opened again, and goes on counting', async () => {
      const revision = await store.put('a/b', '{"x":1}')
      store = await fixture.reopen()
      assert.deepEqual(await store.get('a/b'), { key: 'a/b', value: '{"x":1}', revision })
      assert.ok((await store.put('a/c', '2')) > revision)
    })

    it('refuses every call after close, and ends its watchers', async () => {
      const events = store.watch({ prefix: '' })[Symbol.asyncIterator]()
      await store.close()
      assert.equal((await events.next()).done, true)
      await rejects(store.get('a'), 'store.unavailable')
      await rejects(store.put('a', '1'), 'store.unavailable')
    })
  })
}

function writes(store: () => Store): void {
  it('returns what was put, with a revision that rises on each change', async () => {
    const first = await store().put('a', '1')
    const second = await store().put('b', '2')
    const third = await store().put('a', '3')
    assert.ok(first > 0 && second > first && third > second)
    assert.deepEqual(await store().get('a'), { key: 'a', value: '3', revision: third })
    assert.equal(await store().get('absent'), undefined)
  })

  it('creates a key once', async () => {
    const revision = await store().create('a', '1')
    await rejects(store().create('a', '2'), 'resource.conflict')
    assert.deepEqual(await store().get('a'), { key: 'a', value: '1', revision })
  })

  it('tells whether a deletion found something', async () => {
    await store().put('a', '1')
    assert.equal(await store().delete('a'), true)
    assert.equal(await store().delete('a'), false)
    assert.equal(await store().get('a'), undefined)
  })
}

function conditions(store: () => Store): void {
  it('writes only at the expected revision, and 0 expects absence', async () => {
    const first = await store().put('a', '1', { revision: 0 })
    await rejects(store().put('a', '2', { revision: 0 }), 'resource.conflict')
    await rejects(store().put('a', '2', { revision: first + 1 }), 'resource.conflict')
    const second = await store().put('a', '2', { revision: first })
    await rejects(store().put('a', '3', { revision: first }), 'resource.conflict')
    assert.deepEqual(await store().get('a'), { key: 'a', value: '2', revision: second })
  })

  it('deletes only at the expected revision', async () => {
    const first = await store().put('a', '1')
    await rejects(store().delete('a', first + 1), 'resource.conflict')
    assert.equal(await store().delete('a', first), true)
    await rejects(store().delete('a', first), 'resource.conflict')
  })

  it('lets exactly one of many concurrent writers at one revision win', async () => {
    const revision = await store().put('token', '"free"')
    const takers = Array.from({ length: 100 }, (_, index) =>
      store().put('token', `"taken by ${index}"`, { revision }),
    )
    const outcomes = await Promise.allSettled(takers)
    assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1)
  })

  it('fails a conflicting write alone among writes made at the same moment', async () => {
    await store().put('b', '1')
    const outcomes = await Promise.allSettled([
      store().put('a', '1'),
      store().create('b', '2'),
      store().put('c', '3'),
    ])
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    assert.equal((await store().get('c'))?.value, '3')
  })
}

function batches(store: () => Store): void {
  it('applies a batch whole, with one rising revision per change', async () => {
    const gone = await store().put('gone', '0')
    const [created, put, deleted, checked] = await store().batch([
      { op: 'create', key: 'a', value: '1' },
      { op: 'put', key: 'b', value: '2' },
      { op: 'delete', key: 'gone', revision: gone },
      { op: 'check', key: 'absent', revision: 0 },
    ])
    assert.ok(created !== undefined && put !== undefined && deleted !== undefined)
    assert.ok(created > gone && put > created && deleted > put)
    assert.equal(checked, 0)
    assert.equal(await store().get('gone'), undefined)
  })

  it('applies nothing of a batch when any condition fails, wherever it stands', async () => {
    const revision = await store().put('guard', '1')
    const fails = [
      { op: 'check', key: 'guard', revision: revision + 1 },
      { op: 'create', key: 'guard', value: '2' },
      { op: 'delete', key: 'guard', revision: revision + 1 },
      { op: 'put', key: 'guard', value: '2', revision: 0 },
      { op: 'put', key: 'guard', value: 'not JSON' },
    ] as const
    for (const op of fails) {
      await assert.rejects(
        store().batch([
          { op: 'put', key: 'a', value: '1' },
          op,
          { op: 'put', key: 'b', value: '1' },
        ]),
      )
    }
    assert.deepEqual((await store().range({ prefix: '' })).items, [
      { key: 'guard', value: '1', revision },
    ])
  })

  it('refuses a batch that names a key twice or is too long', async () => {
    const twice = { op: 'put', key: 'a', value: '1' } as const
    await rejects(store().batch([twice, twice]), 'resource.invalid')
    const many = Array.from({ length: max('storeBatchMax') + 1 }, (_, index) => ({
      op: 'put' as const,
      key: `k${index}`,
      value: '1',
    }))
    await rejects(store().batch(many), 'limit.exceeded')
  })
}

function ranges(store: () => Store): void {
  it('lists a folder in key order, page by page, and nothing beside it', async () => {
    for (const key of ['roles/b', 'roles/a', 'rolesx/a', 'roles/a/deep', 'role/z', 'roles']) {
      await store().put(key, '1')
    }
    const first = await store().range({ prefix: 'roles/', limit: 2 })
    assert.deepEqual(keys(first), ['roles/a', 'roles/a/deep'])
    assert.equal(first.next, 'roles/a/deep')
    const second = await store().range({ prefix: 'roles/', limit: 2, after: first.next })
    assert.deepEqual(keys(second), ['roles/b'])
    assert.equal(second.next, undefined)
    assert.equal((await store().range({ prefix: '' })).items.length, 6)
  })

  it('ends a page of large values early and says where to go on', async () => {
    const value = JSON.stringify('x'.repeat(max('storeValueBytesMax') - 2))
    const count = Math.floor(max('storePageBytesMax') / value.length) + 2
    for (let index = 0; index < count; index += 1) await store().put(`big/${index + 10}`, value)
    const page = await store().range({ prefix: 'big/' })
    assert.ok(page.items.length < count)
    const rest = await store().range({ prefix: 'big/', after: page.next ?? '' })
    assert.equal(page.items.length + rest.items.length, count)
  })

  it('refuses a prefix that cuts through a name', async () => {
    await rejects(store().range({ prefix: 'roles/a' }), 'resource.invalid')
    await rejects(store().range({ prefix: '/' }), 'resource.invalid')
    await rejects(store().range({ prefix: 'a/', limit: 0 }), 'resource.invalid')
  })
}

function expiry(store: () => Store, advance: (ms: number) => void): void {
  it('forgets a key when its time is over, and not before', async () => {
    await store().put('lease', '1', { ttlMs: 1000 })
    advance(999)
    assert.equal((await store().get('lease'))?.value, '1')
    advance(1)
    assert.equal(await store().get('lease'), undefined)
    await store().create('lease', '2')
  })

  it('keeps a key whose TTL was renewed, and one put again without a TTL', async () => {
    const revision = await store().put('lease', '1', { ttlMs: 1000 })
    await store().put('other', '1', { ttlMs: 1000 })
    advance(600)
    await store().put('lease', '1', { ttlMs: 1000, revision })
    await store().put('other', '1')
    advance(600)
    assert.deepEqual(keys(await store().range({ prefix: '' })), ['lease', 'other'])
    await rejects(store().put('x', '1', { ttlMs: 0 }), 'resource.invalid')
  })
}

function watches(store: () => Store, advance: (ms: number) => void): void {
  it('tells every change of a folder asked for after the call, in order', async () => {
    await store().put('roles/old', '0')
    const events = store().watch({ prefix: 'roles/' })
    const first = await store().put('roles/a', '1')
    await store().put('users/a', '1')
    const second = await store().put('roles/a', '2')
    await store().delete('roles/a')
    assert.deepEqual(await take(events, 3), [
      { type: 'put', key: 'roles/a', value: '1', revision: first },
      { type: 'put', key: 'roles/a', value: '2', revision: second },
      { type: 'delete', key: 'roles/a', revision: second + 1 },
    ])
  })

  it('tells expiry as a deletion', async () => {
    const events = store().watch({ prefix: '' })
    await store().put('lease', '1', { ttlMs: 1000 })
    advance(1000)
    await store().get('anything')
    const [put, gone] = await take(events, 2)
    assert.ok(put?.type === 'put' && put.expiresAtMs !== undefined)
    assert.deepEqual({ type: gone?.type, key: gone?.key }, { type: 'delete', key: 'lease' })
  })
}

function resumes(store: () => Store): void {
  it('resumes after a token with what changed since, then goes on live', async () => {
    const token = await store().put('a', '1')
    await store().put('b', '2')
    await store().delete('a')
    const events = store().watch({ prefix: '', from: token })
    await store().put('c', '3')
    const told = await take(events, 3)
    assert.deepEqual(
      told.map((event) => `${event.type} ${event.key}`),
      ['put b', 'delete a', 'put c'],
    )
    assert.ok(told.every((event, index) => event.revision > (told[index - 1]?.revision ?? token)))
  })

  it('misses nothing and repeats nothing between a range and a watch from its revision', async () => {
    const writers = Array.from({ length: 50 }, (_, index) => store().put(`k/${index}`, '1'))
    const page = store().range({ prefix: 'k/' })
    const more = Array.from({ length: 50 }, (_, index) => store().put(`k/${index + 50}`, '1'))
    const { items, revision } = await page
    const events = await take(store().watch({ prefix: 'k/', from: revision }), 100 - items.length)
    await Promise.all([...writers, ...more])
    const seen = [...items, ...events].map((entry) => entry.key)
    assert.equal(new Set(seen).size, 100)
  })

  it('asks a watcher with a token from another history to read again', async () => {
    const revision = await store().put('a', '1')
    const events = store().watch({ prefix: '', from: revision + 1000 })
    await rejects(take(events, 1), 'store.resync')
  })

  it('ends a watch quietly when its signal aborts', async () => {
    const abort = new AbortController()
    const events = store().watch({ prefix: '', signal: abort.signal })[Symbol.asyncIterator]()
    const next = events.next()
    abort.abort()
    assert.equal((await next).done, true)
    const late = store().watch({ prefix: '', signal: abort.signal })[Symbol.asyncIterator]()
    assert.equal((await late.next()).done, true)
  })
}

function keysAndValues(store: () => Store): void {
  it('refuses malformed keys and values that are not JSON or too large', async () => {
    for (const key of ['', '/a', 'a/', 'a//b', 'a b', 'ä', 'a\n', 'x'.repeat(513)]) {
      await rejects(store().put(key, '1'), 'resource.invalid')
    }
    await rejects(store().put('a', '{'), 'resource.invalid')
    const large = JSON.stringify('x'.repeat(max('storeValueBytesMax')))
    await rejects(store().put('a', large), 'limit.exceeded')
  })

  it('escapes names, so that none reaches into another folder', async () => {
    const key = storeKey('users', 'local', '../roles/ädmin %')
    await store().put(key, '1')
    assert.deepEqual(keys(await store().range({ prefix: storePrefix('users', 'local') })), [key])
    assert.deepEqual(keySegments(key), ['users', 'local', '../roles/ädmin %'])
    assert.throws(() => storeKey('users', ''))
  })
}

async function take(events: AsyncIterable<StoreEvent>, count: number): Promise<StoreEvent[]> {
  const taken: StoreEvent[] = []
  if (count === 0) return taken
  for await (const event of events) {
    taken.push(event)
    if (taken.length === count) break
  }
  return taken
}

function keys(page: { readonly items: readonly { readonly key: string }[] }): readonly string[] {
  return page.items.map((item) => item.key)
}

async function rejects(promise: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.equal(errorCode(error), code)
    return true
  })
}
