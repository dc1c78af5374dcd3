// The store's tables and what one transaction does to them, synchronously; control/store/thread.ts is the only caller.
// Old values are never kept: a deletion leaves its key and revision, an overwritten value leaves nothing.
// Conditions are checked before the first write of an operation, so a failing one needs no rollback.

import { closeSync, openSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import {
  checkKey,
  checkPrefix,
  checkValue,
  type RangePage,
  type RangeRequest,
  type StoreEvent,
  type StoreItem,
  type StoreOp,
} from './contract.ts'
import { MIGRATIONS } from './migrations/list.ts'

// Wait for a lock holder that is just ending (a restart), not for one that stays.
const BUSY_TIMEOUT_MS = 2000
const WAL_CHECKPOINT_PAGES = 4000
const SWEEP_ROWS = 1000

export class StoreDatabase {
  readonly #database: DatabaseSync
  readonly #statements: Statements
  readonly #tombstonesMax: number
  #revision: number
  /** Highest revision of a tombstone that was dropped: older tokens cannot be resumed. */
  #forgotten: number
  #tombstones: number
  #events: StoreEvent[] = []
  #nowMs = 0

  constructor(file: string, tombstonesMax: number = max('storeTombstonesMax')) {
    // Made here with a mode, since SQLite would take it from the umask; the WAL file inherits it.
    closeSync(openSync(file, 'a', 0o600))
    this.#database = new DatabaseSync(file)
    this.#tombstonesMax = tombstonesMax
    this.#database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
    // One process owns the file: a second control on it would hand out the same revisions.
    this.#database.exec('PRAGMA locking_mode = EXCLUSIVE')
    this.#database.exec('PRAGMA journal_mode = WAL')
    this.#database.exec('PRAGMA synchronous = FULL')
    this.#database.exec(`PRAGMA wal_autocheckpoint = ${WAL_CHECKPOINT_PAGES}`)
    migrate(this.#database)
    this.#statements = prepare(this.#database)
    this.#revision = this.#counter('revision')
    this.#forgotten = this.#counter('forgotten')
    this.#tombstones = this.#counter('tombstones')
  }

  /** Runs `work` in one transaction, durable on return. What has expired by `nowMs` is deleted first. */
  transaction<T>(nowMs: number, work: () => T): { result: T; events: readonly StoreEvent[] } {
    const before = [this.#revision, this.#forgotten, this.#tombstones] as const
    this.#events = []
    this.#nowMs = nowMs
    this.#statements.begin.run()
    try {
      this.#sweep()
      const result = work()
      this.#saveCounters(before)
      this.#statements.commit.run()
      return { result, events: this.#events }
    } catch (error) {
      if (this.#database.isTransaction) this.#statements.rollback.run()
      ;[this.#revision, this.#forgotten, this.#tombstones] = before
      throw error
    }
  }

  get(key: string): StoreItem | undefined {
    checkKey(key)
    const row = this.#statements.get.get(key)
    return row === undefined ? undefined : itemOf(row)
  }

  range(request: RangeRequest): RangePage {
    checkPrefix(request.prefix)
    const limit = Math.min(request.limit ?? max('apiPageMax'), max('apiPageMax'))
    if (!Number.isInteger(limit) || limit < 1) {
      throw new ProxyError('resource.invalid', 'The limit of a range is not a positive number.')
    }
    const [low, high] = bounds(request.prefix)
    const items: StoreItem[] = []
    let bytes = 0
    for (const row of this.#statements.range.iterate(low, high, request.after ?? '', limit + 1)) {
      const item = itemOf(row)
      const last = items.at(-1)
      const full = items.length === limit || bytes + item.value.length > max('storePageBytesMax')
      if (last !== undefined && full) return { items, next: last.key, revision: this.#revision }
      items.push(item)
      bytes += item.value.length
    }
    return { items, revision: this.#revision }
  }

  /** All or nothing: every condition is checked before anything is written. */
  batch(ops: readonly StoreOp[]): readonly number[] {
    if (ops.length > max('storeBatchMax')) {
      throw new ProxyError('limit.exceeded', 'A batch has more operations than storeBatchMax.')
    }
    if (new Set(ops.map((op) => op.key)).size !== ops.length) {
      throw new ProxyError('resource.invalid', 'A batch names a key twice.')
    }
    for (const op of ops) this.#check(op)
    return ops.map((op) => this.#apply(op))
  }

  /** What a watcher that saw everything up to `from` has missed: the present state of each key changed since. */
  since(prefix: string, from: number | undefined): { revision: number; backlog: StoreEvent[] } {
    checkPrefix(prefix)
    if (from === undefined) return { revision: this.#revision, backlog: [] }
    const [low, high] = bounds(prefix)
    if (!Number.isSafeInteger(from) || from < this.#forgotten || from > this.#revision) {
      throw resync('The watch token is older than the history kept, or of another history.')
    }
    const backlog: StoreEvent[] = []
    let bytes = 0
    for (const row of this.#statements.changes.iterate(from, low, high)) {
      const event = eventOf(row)
      backlog.push(event)
      if (event.type === 'put') bytes += event.value.length
      if (backlog.length >= max('storeWatchQueueMax') || bytes > max('storeQueueBytesMax')) {
        throw resync('More has changed since the watch token than a watcher may hold.')
      }
    }
    return { revision: this.#revision, backlog }
  }

  nextExpiryMs(): number | undefined {
    const row = this.#statements.nextExpiry.get()
    return typeof row?.['at'] === 'number' ? row['at'] : undefined
  }

  close(): void {
    this.#database.close()
  }

  #check(op: StoreOp): void {
    checkKey(op.key)
    if (op.op === 'put' || op.op === 'create') {
      checkValue(op.value)
      checkTtl(op.ttlMs)
    }
    const expected = op.op === 'create' ? 0 : op.revision
    if (expected === undefined) return
    const found = Number(this.#statements.get.get(op.key)?.['revision'] ?? 0)
    if (found !== expected) throw conflict(op.key, expected, found)
  }

  #apply(op: StoreOp): number {
    switch (op.op) {
      case 'put':
      case 'create': {
        this.#revision += 1
        const expiresAtMs = op.ttlMs === undefined ? undefined : this.#nowMs + op.ttlMs
        this.#statements.put.run(op.key, op.value, this.#revision, expiresAtMs ?? null)
        const expiry = expiresAtMs === undefined ? {} : { expiresAtMs }
        const { key, value } = op
        this.#events.push({ type: 'put', key, value, revision: this.#revision, ...expiry })
        return this.#revision
      }
      case 'delete':
        return this.#delete(op.key)
      case 'check':
        return 0
    }
  }

  #delete(key: string): number {
    if (this.#statements.delete.run(key).changes === 0) return 0
    this.#revision += 1
    this.#statements.bury.run(this.#revision, key)
    this.#tombstones += 1
    if (this.#tombstones > this.#tombstonesMax) {
      this.#forgotten = Number(this.#statements.forget.get()?.['revision'] ?? this.#forgotten)
      this.#tombstones -= 1
    }
    this.#events.push({ type: 'delete', key, revision: this.#revision })
    return this.#revision
  }

  #sweep(): void {
    for (;;) {
      const rows = this.#statements.expired.all(this.#nowMs, SWEEP_ROWS)
      for (const row of rows) this.#delete(String(row['key']))
      if (rows.length < SWEEP_ROWS) return
    }
  }

  #counter(name: string): number {
    return Number(this.#statements.counter.get(name)?.['value'] ?? 0)
  }

  #saveCounters(before: readonly [number, number, number]): void {
    if (this.#revision === before[0]) return
    this.#statements.setCounter.run(this.#revision, 'revision')
    this.#statements.setCounter.run(this.#forgotten, 'forgotten')
    this.#statements.setCounter.run(this.#tombstones, 'tombstones')
  }
}

interface Statements {
  readonly begin: StatementSync
  readonly commit: StatementSync
  readonly rollback: StatementSync
  readonly get: StatementSync
  readonly range: StatementSync
  readonly put: StatementSync
  readonly delete: StatementSync
  readonly bury: StatementSync
  readonly forget: StatementSync
  readonly changes: StatementSync
  readonly expired: StatementSync
  readonly nextExpiry: StatementSync
  readonly counter: StatementSync
  readonly setCounter: StatementSync
}

function prepare(database: DatabaseSync): Statements {
  return {
    begin: database.prepare('BEGIN IMMEDIATE'),
    commit: database.prepare('COMMIT'),
    rollback: database.prepare('ROLLBACK'),
    get: database.prepare('SELECT * FROM item WHERE key = ?'),
    range: database.prepare(
      'SELECT * FROM item WHERE key >= ?1 AND key < ?2 AND key > ?3 ORDER BY key LIMIT ?4',
    ),
    put: database.prepare(
      'INSERT INTO item (key, value, revision, expires_at_ms) VALUES (?1, ?2, ?3, ?4) ' +
        'ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3, expires_at_ms = ?4',
    ),
    delete: database.prepare('DELETE FROM item WHERE key = ?'),
    bury: database.prepare('INSERT INTO tombstone (revision, key) VALUES (?, ?)'),
    forget: database.prepare(
      'DELETE FROM tombstone WHERE revision = (SELECT MIN(revision) FROM tombstone) ' +
        'RETURNING revision',
    ),
    changes: database.prepare(
      'SELECT revision, key, value, expires_at_ms FROM item ' +
        'WHERE revision > ?1 AND key >= ?2 AND key < ?3 ' +
        'UNION ALL SELECT revision, key, NULL, NULL FROM tombstone ' +
        'WHERE revision > ?1 AND key >= ?2 AND key < ?3 ORDER BY revision',
    ),
    expired: database.prepare('SELECT key FROM item WHERE expires_at_ms <= ? LIMIT ?'),
    nextExpiry: database.prepare(
      'SELECT MIN(expires_at_ms) AS at FROM item WHERE expires_at_ms IS NOT NULL',
    ),
    counter: database.prepare('SELECT value FROM counter WHERE name = ?'),
    setCounter: database.prepare('UPDATE counter SET value = ? WHERE name = ?'),
  }
}

function migrate(database: DatabaseSync): void {
  const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version'])
  const newest = MIGRATIONS.at(-1)?.number ?? 0
  if (version > newest) {
    throw new ProxyError(
      'store.unavailable',
      `The state store has schema ${version}; this version of Sluice knows ${newest}.`,
      { next: 'Start the newer version again, or restore the backup made before it.' },
    )
  }
  for (const migration of MIGRATIONS.filter((candidate) => candidate.number > version)) {
    database.exec(
      `BEGIN IMMEDIATE; ${migration.sql}; PRAGMA user_version = ${migration.number}; COMMIT`,
    )
  }
}

type Row = Record<string, unknown>

function itemOf(row: Row): StoreItem {
  const expiresAtMs = row['expires_at_ms']
  return {
    key: String(row['key']),
    value: String(row['value']),
    revision: Number(row['revision']),
    ...(typeof expiresAtMs === 'number' ? { expiresAtMs } : {}),
  }
}

function eventOf(row: Row): StoreEvent {
  if (row['value'] !== null) return { type: 'put', ...itemOf(row) }
  return { type: 'delete', key: String(row['key']), revision: Number(row['revision']) }
}

/** Keys are ASCII, so the prefix with its last slash raised to the next character ends the range. */
function bounds(prefix: string): readonly [string, string] {
  return prefix === '' ? ['', '\u007f'] : [prefix, `${prefix.slice(0, -1)}0`]
}

function checkTtl(ttlMs: number | undefined): void {
  if (ttlMs === undefined || (Number.isSafeInteger(ttlMs) && ttlMs > 0)) return
  throw new ProxyError('resource.invalid', 'A TTL is not a positive whole number of milliseconds.')
}

function conflict(key: string, expected: number, found: number): ProxyError {
  const state = found === 0 ? 'does not exist' : `stands at revision ${found}`
  const wanted = expected === 0 ? 'it must not exist' : `revision ${expected} was expected`
  return new ProxyError('resource.conflict', `${key} ${state}; ${wanted}.`, {
    next: 'Read it again and repeat the change.',
  })
}

function resync(message: string): ProxyError {
  return new ProxyError('store.resync', message, { next: 'Read the range and watch from it.' })
}
