// The SQLite store as control's main thread sees it: a client of control/store/thread.ts that never blocks on the disk.
// What waits for the thread is bounded by count and bytes; a caller beyond is refused at once with `limit.exceeded`.
// When the thread ends unasked every call fails with `store.unavailable`; nothing is retried here.

import { Worker } from 'node:worker_threads'
import type { Clock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { silentLogger, type Logger } from '../../core/log.ts'
import type {
  RangePage,
  RangeRequest,
  Store,
  StoreEvent,
  StoreItem,
  StoreOp,
  WatchRequest,
  WriteOptions,
} from './contract.ts'
import type { FromStoreThread, StoreRequest, StoreResult, ToStoreThread } from './messages.ts'
import { Watcher } from './watch.ts'

export interface SqliteOptions {
  /** Its folder must exist, and belong to control alone. */
  readonly file: string
  readonly clock: Clock
  readonly logger?: Logger
}

interface Waiting {
  readonly resolve: (result: StoreResult) => void
  readonly reject: (error: ProxyError) => void
  readonly bytes: number
}

// A timer further away than this is armed again when it fires: the wall clock may have moved.
const SWEEP_MS_MAX = 60_000

/** Opens (and makes, and migrates) the store. Rejects with `store.unavailable` when another process owns the file. */
export async function openSqliteStore(options: SqliteOptions): Promise<Store> {
  // Released sources are JavaScript; a URL is not rewritten on emit.
  const entry = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js'
  const worker = new Worker(new URL(entry, import.meta.url), {
    workerData: { file: options.file },
    name: 'store',
  })
  const first = await new Promise<FromStoreThread>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  if (first.kind === 'ready') return new SqliteStore(worker, options)
  const reason = first.kind === 'refused' ? first.message : first.kind
  throw new ProxyError('store.unavailable', `The state store cannot be opened: ${reason}`, {
    detail: options.file,
    next: 'Check that no other control runs on this data folder, and that it can be written.',
  })
}

class SqliteStore implements Store {
  readonly #worker: Worker
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #waiting = new Map<number, Waiting>()
  readonly #watchers = new Set<Watcher>()
  #waitingBytes = 0
  #lastId = 0
  #down: ProxyError | undefined
  #sweepTimer: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  constructor(worker: Worker, options: SqliteOptions) {
    this.#worker = worker
    this.#clock = options.clock
    this.#logger = options.logger ?? silentLogger
    worker.on('message', (message: FromStoreThread) => this.#receive(message))
    worker.on('error', (error) => this.#fail(`The store thread failed: ${String(error)}`))
    worker.on('exit', () => this.#fail('The store is closed.'))
  }

  async get(key: string): Promise<StoreItem | undefined> {
    const result = await this.#ask({ kind: 'get', key })
    return result.kind === 'item' ? result.item : undefined
  }

  async range(request: RangeRequest): Promise<RangePage> {
    const result = await this.#ask({ kind: 'range', request })
    return result.kind === 'page' ? result.page : unexpected(result)
  }

  async put(key: string, value: string, options: WriteOptions = {}): Promise<number> {
    const [revision = 0] = await this.batch([{ op: 'put', key, value, ...options }])
    return revision
  }

  async create(
    key: string,
    value: string,
    options: { readonly ttlMs?: number } = {},
  ): Promise<number> {
    const [revision = 0] = await this.batch([{ op: 'create', key, value, ...options }])
    return revision
  }

  async delete(key: string, revision?: number): Promise<boolean> {
    const condition = revision === undefined ? {} : { revision }
    const [deleted = 0] = await this.batch([{ op: 'delete', key, ...condition }])
    return deleted !== 0
  }

  async batch(ops: readonly StoreOp[]): Promise<readonly number[]> {
    const result = await this.#ask({ kind: 'batch', ops }, bytesOf(ops))
    return result.kind === 'written' ? result.revisions : unexpected(result)
  }

  watch(request: WatchRequest): AsyncIterable<StoreEvent, undefined> {
    const { prefix, from, signal } = request
    const abort = (): void => watcher.end()
    const watcher = new Watcher(prefix, () => {
      this.#watchers.delete(watcher)
      signal?.removeEventListener('abort', abort)
    })
    if (signal?.aborted === true) {
      watcher.end()
      return watcher
    }
    signal?.addEventListener('abort', abort)
    this.#watchers.add(watcher)
    // The thread answers in the order of the mailbox, so every write asked for after this call is seen.
    this.#post({ kind: 'watch', prefix, ...(from === undefined ? {} : { from }) }, 0, {
      resolve: (result) => {
        if (result.kind === 'watching') watcher.begin(result.revision, result.backlog)
      },
      reject: (error) => watcher.end(error),
    })
    return watcher
  }

  close(): Promise<void> {
    this.#closing ??= new Promise<void>((resolve) => {
      clearTimeout(this.#sweepTimer)
      this.#worker.once('exit', () => resolve())
      if (this.#down === undefined) this.#send({ kind: 'close' }, 0)
      else resolve()
    })
    return this.#closing
  }

  #ask(request: StoreRequest, bytes: number = 0): Promise<StoreResult> {
    return new Promise((resolve, reject) => this.#post(request, bytes, { resolve, reject }))
  }

  #post(request: StoreRequest, bytes: number, answer: Omit<Waiting, 'bytes'>): void {
    const refusal = this.#refusal(bytes)
    if (refusal !== undefined) {
      answer.reject(refusal)
      return
    }
    this.#lastId += 1
    this.#waiting.set(this.#lastId, { ...answer, bytes })
    this.#waitingBytes += bytes
    this.#send(request, this.#lastId)
  }

  #refusal(bytes: number): ProxyError | undefined {
    if (this.#down !== undefined) return this.#down
    if (this.#closing !== undefined) return unavailable('The store is closing.')
    const tooMany = this.#waiting.size >= max('storeQueueMax')
    if (!tooMany && this.#waitingBytes + bytes <= max('storeQueueBytesMax')) return undefined
    const name = tooMany ? 'storeQueueMax' : 'storeQueueBytesMax'
    return new ProxyError('limit.exceeded', `The state store is too slow (${name}).`, {
      retry: true,
      next: 'Try again in a moment.',
    })
  }

  #send(request: ToStoreThread['request'], id: number): void {
    const message: ToStoreThread = { id, nowMs: this.#clock.now(), request }
    this.#worker.postMessage(message)
  }

  #receive(message: FromStoreThread): void {
    if (message.kind !== 'reply') return
    for (const { id, result } of message.results) this.#settle(id, result)
    for (const event of message.events) {
      for (const watcher of this.#watchers) watcher.offer(event)
    }
    this.#armSweep(message.nextExpiryMs)
  }

  #settle(id: number, result: StoreResult): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    this.#waitingBytes -= waiting.bytes
    if (result.kind !== 'failed') {
      waiting.resolve(result)
      return
    }
    waiting.reject(new ProxyError(result.code, result.message, { retry: result.retry }))
  }

  /** Expiry is told to watchers when it happens, not when somebody next asks. */
  #armSweep(nextExpiryMs: number | undefined): void {
    clearTimeout(this.#sweepTimer)
    if (nextExpiryMs === undefined || this.#closing !== undefined) return
    const delay = Math.max(1, Math.min(nextExpiryMs - this.#clock.now(), SWEEP_MS_MAX))
    this.#sweepTimer = setTimeout(() => {
      this.#ask({ kind: 'sweep' }).catch((error: unknown) => {
        this.#logger.warn('store: expired keys were not swept', { error: String(error) })
      })
    }, delay)
    this.#sweepTimer.unref()
  }

  #fail(message: string): void {
    clearTimeout(this.#sweepTimer)
    if (this.#down !== undefined) return
    this.#down = unavailable(message)
    if (this.#closing === undefined) this.#logger.error('store: thread ended', { reason: message })
    for (const waiting of this.#waiting.values()) waiting.reject(this.#down)
    this.#waiting.clear()
    const error = this.#closing === undefined ? this.#down : undefined
    for (const watcher of this.#watchers) watcher.end(error)
  }
}

function bytesOf(ops: readonly StoreOp[]): number {
  return ops.reduce((sum, op) => sum + ('value' in op ? op.value.length : 0), 0)
}

function unavailable(message: string): ProxyError {
  return new ProxyError('store.unavailable', message)
}

function unexpected(result: StoreResult): never {
  throw unavailable(`The store thread answered with ${result.kind}.`)
}
