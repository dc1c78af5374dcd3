// The main thread's side of its worker threads: starts them, gives connections to the least loaded, replaces one that crashed,
// drains and stops them. A message leaves for a thread through `post` alone, because a handle that is posted to a thread that has
// ended leaks. A crash costs the connections of that thread and no others. It knows nothing of what the messages mean.

import { MessageChannel, Worker } from 'node:worker_threads'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { SocketHandle } from '../core/messages.ts'
import { discard, transferable } from './handover.ts'
import { pause } from './pause.ts'
import type { Ledger } from './ledger.ts'
import type { PoolOrder, PoolReport, ThreadStart } from './thread-port.ts'

export interface PoolOptions<In, Out> {
  /** The thread's entry file; it calls `threadPort()` and `ready()`. */
  readonly entry: URL
  readonly count: number
  /** Cloned into each thread at its start, and at each replacement: what is new by then is in it. */
  readonly data: (slot: number) => unknown
  readonly clock: Clock
  readonly log: Logger
  readonly onMessage: (thread: PoolThread<In>, message: Out) => void
  /** A thread is ready; first ones and replacements alike. */
  readonly onReady?: (thread: PoolThread<In>) => void
  /** A thread is gone with all its connections. */
  readonly onLost?: (thread: PoolThread<In>) => void
  readonly ledger?: Ledger
  readonly restartDelayMs?: number
}

/** One running thread, as its pool's owner sees it. */
export interface PoolThread<In> {
  /** Never used again: a replacement has another. */
  readonly id: number
  readonly slot: number
  /** Connections it has, counted by the owner through `enter` and `leave`. */
  readonly load: number
  /** Event-loop delay it reported last, or how long its report is overdue. */
  readonly delayMs: number
  enter(): void
  leave(): void
  /** False when the thread is gone; the handles are closed then. */
  post(message: In, handles?: readonly SocketHandle[]): boolean
}

export class Pool<In, Out> {
  readonly #options: PoolOptions<In, Out>
  readonly #threads = new Map<number, Thread<In>>()
  readonly #restarts = new Set<NodeJS.Timeout>()
  #ids = 0
  #turn = 0
  #started = false
  #stopped = false

  constructor(options: PoolOptions<In, Out>) {
    this.#options = options
    options.ledger?.watch('worker threads', () => this.#threads.size)
  }

  /** Resolves when all threads are ready; rejects when one ends before. */
  async start(): Promise<void> {
    const slots = Array.from({ length: this.#options.count }, (_, slot) => slot)
    await Promise.all(slots.map((slot) => this.#startThread(slot).started))
    this.#started = true
  }

  get threads(): readonly PoolThread<In>[] {
    return [...this.#threads.values()].filter((thread) => thread.ready)
  }

  /** The thread with the fewest connections; one that is stalled only when all are. Equal ones take turns. */
  least(): PoolThread<In> | undefined {
    let best: Thread<In> | undefined
    let equals = 0
    this.#turn++
    // Once per connection: no array is made.
    for (const thread of this.#threads.values()) {
      if (!thread.ready) continue
      if (best === undefined || lighter(thread, best)) {
        best = thread
        equals = 1
      } else if (!lighter(best, thread) && this.#turn % ++equals === 0) best = thread
    }
    return best
  }

  /** The same message to every thread; one that still starts hears it behind the data it was started with. */
  broadcast(message: In): void {
    for (const thread of this.#threads.values()) thread.post(message)
  }

  /** Lets each thread finish (`onStop`), then ends it, at the latest after `deadlineMs`. */
  async stop(deadlineMs: number = max('workerStopMs')): Promise<void> {
    this.#stopped = true
    for (const timer of this.#restarts) clearTimeout(timer)
    this.#restarts.clear()
    await Promise.all([...this.#threads.values()].map((thread) => thread.stop(deadlineMs)))
  }

  #startThread(slot: number): Thread<In> {
    const { clock, onMessage, onReady } = this.#options
    const thread: Thread<In> = new Thread<In>({
      id: ++this.#ids,
      slot,
      entry: this.#options.entry,
      data: this.#options.data(slot),
      clock,
      onReady: () => onReady?.(thread),
      onMessage: (message) => onMessage(thread, message as Out),
      onGone: (error) => this.#gone(thread, clock.monotonic() - startedMs, error),
    })
    const startedMs = clock.monotonic()
    this.#threads.set(thread.id, thread)
    return thread
  }

  #gone(thread: Thread<In>, livedMs: number, error: unknown): void {
    this.#threads.delete(thread.id)
    if (thread.wasReady) this.#options.onLost?.(thread)
    // When the first start fails its caller hears of it; nothing is to be replaced yet.
    if (this.#stopped || !this.#started) return
    const { log, restartDelayMs = max('workerRestartDelayMs') } = this.#options
    log.error('worker thread ended', {
      slot: thread.slot,
      error: String(error),
      connections: thread.load,
    })
    const delayMs = livedMs < max('workerReadyMs') ? restartDelayMs : 0
    const timer = setTimeout(() => {
      this.#restarts.delete(timer)
      this.#startThread(thread.slot).started.catch(() => {})
    }, delayMs)
    this.#restarts.add(timer)
  }
}

interface ThreadOptions {
  readonly id: number
  readonly slot: number
  readonly entry: URL
  readonly data: unknown
  readonly clock: Clock
  readonly onReady: () => void
  readonly onMessage: (message: unknown) => void
  readonly onGone: (error: unknown) => void
}

class Thread<In> implements PoolThread<In> {
  readonly id: number
  readonly slot: number
  readonly started: Promise<void>
  load = 0
  wasReady = false
  readonly #clock: Clock
  readonly #worker: Worker
  readonly #order: (order: PoolOrder) => void
  readonly #exited: Promise<void>
  #alive = true
  #reportedDelayMs = 0
  #reportedAtMs = 0

  constructor(options: ThreadOptions) {
    this.id = options.id
    this.slot = options.slot
    this.#clock = options.clock
    const { port1, port2 } = new MessageChannel()
    const start: ThreadStart = { pool: port2, slot: options.slot, data: options.data }
    this.#worker = new Worker(options.entry, {
      workerData: start,
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: max('workerYoungGenerationBytes') / 2 ** 20 },
    })
    this.#order = (order) => port1.postMessage(order)
    const started = Promise.withResolvers<void>()
    const exited = Promise.withResolvers<void>()
    this.started = started.promise
    this.#exited = exited.promise
    const late = setTimeout(() => void this.#worker.terminate(), max('workerReadyMs'))
    port1.on('message', (report: PoolReport) => {
      this.#reported(report, options.onReady)
      if (report.kind !== 'ready') return
      clearTimeout(late)
      started.resolve()
    })
    let cause: unknown
    this.#worker.on('message', options.onMessage)
    // Set here as well as at `exit`: between the two a posted handle would leak.
    this.#worker.on('error', (error) => {
      this.#alive = false
      cause = error
    })
    this.#worker.on('exit', (code) => {
      this.#alive = false
      clearTimeout(late)
      port1.close()
      cause ??= new Error(`exit code ${code}`)
      const text = 'a worker thread ended before it was ready'
      started.reject(new ProxyError('runtime.unfit', text, { cause }))
      exited.resolve()
      options.onGone(cause)
    })
  }

  get ready(): boolean {
    return this.#alive && this.wasReady
  }

  get delayMs(): number {
    const overdueMs = this.#clock.monotonic() - this.#reportedAtMs - max('loopDelayReportMs')
    return Math.max(this.#reportedDelayMs, overdueMs)
  }

  enter(): void {
    this.load++
  }

  leave(): void {
    this.load--
  }

  post(message: In, handles: readonly SocketHandle[] = []): boolean {
    if (this.#alive) {
      this.#worker.postMessage(message, handles.map(transferable))
      return true
    }
    for (const handle of handles) discard(handle)
    return false
  }

  async stop(deadlineMs: number): Promise<void> {
    if (!this.#alive) return await this.#exited
    this.#alive = false
    this.#order({ kind: 'stop' })
    const late = setTimeout(() => void this.#worker.terminate(), deadlineMs)
    // A thread that cannot even be terminated must not keep its process: the process's own end takes it along.
    const waited = new AbortController()
    await Promise.race([this.#exited, pause(2 * deadlineMs, waited.signal)])
    waited.abort()
    clearTimeout(late)
    this.#worker.unref()
  }

  #reported(report: PoolReport, onReady: () => void): void {
    this.#reportedAtMs = this.#clock.monotonic()
    switch (report.kind) {
      case 'ready':
        this.wasReady = true
        return onReady()
      case 'delay':
        this.#reportedDelayMs = report.ms
        return
      case 'stopped':
        // Its sockets and timers may keep it alive; nothing of it is wanted any more.
        void this.#worker.terminate()
    }
  }
}

function lighter(one: PoolThread<unknown>, other: PoolThread<unknown>): boolean {
  const stalled = (thread: PoolThread<unknown>): boolean => thread.delayMs > max('loopDelayShedMs')
  if (stalled(one) !== stalled(other)) return stalled(other)
  return one.load < other.load
}
