// One watcher's side of the store: a bounded queue between the thread's events and whoever iterates.
// It never slows the store: a reader that falls behind is cut with `limit.exceeded` and resumes by its token.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { StoreEvent } from './contract.ts'

type State =
  /** The thread has not said from which revision on the events count. */
  | { phase: 'asked' }
  | { phase: 'live'; after: number }
  /** Over; the queue is still handed out first when it ended without an error. */
  | { phase: 'ended'; error?: ProxyError }

export class Watcher implements AsyncIterableIterator<StoreEvent, undefined> {
  readonly prefix: string
  readonly #onEnd: (watcher: Watcher) => void
  readonly #queue: StoreEvent[] = []
  #queuedBytes = 0
  #state: State = { phase: 'asked' }
  #waiting: (() => void) | undefined

  constructor(prefix: string, onEnd: (watcher: Watcher) => void) {
    this.prefix = prefix
    this.#onEnd = onEnd
  }

  /** The thread's answer: what was missed, and the revision after which live events begin. */
  begin(revision: number, backlog: readonly StoreEvent[]): void {
    if (this.#state.phase !== 'asked') return
    this.#state = { phase: 'live', after: revision }
    for (const event of backlog) this.#push(event)
  }

  offer(event: StoreEvent): void {
    if (this.#state.phase !== 'live' || event.revision <= this.#state.after) return
    if (event.key.startsWith(this.prefix)) this.#push(event)
  }

  end(error?: ProxyError): void {
    if (this.#state.phase === 'ended') return
    this.#state = error === undefined ? { phase: 'ended' } : { phase: 'ended', error }
    this.#onEnd(this)
    this.#wake()
  }

  async next(): Promise<IteratorResult<StoreEvent, undefined>> {
    for (;;) {
      const event = this.#queue.shift()
      if (event !== undefined) {
        this.#queuedBytes -= bytesOf(event)
        return { value: event, done: false }
      }
      if (this.#state.phase === 'ended') {
        const { error } = this.#state
        this.#state = { phase: 'ended' }
        if (error !== undefined) throw error
        return { value: undefined, done: true }
      }
      await new Promise<void>((resolve) => (this.#waiting = resolve))
    }
  }

  async return(): Promise<IteratorResult<StoreEvent, undefined>> {
    this.#queue.length = 0
    this.end()
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #push(event: StoreEvent): void {
    const bytes = bytesOf(event)
    const full =
      this.#queue.length >= max('storeWatchQueueMax') ||
      this.#queuedBytes + bytes > max('storeQueueBytesMax')
    if (full) {
      const message = 'A watcher of the store fell behind storeWatchQueueMax events.'
      this.end(new ProxyError('limit.exceeded', message, { retry: true }))
      return
    }
    this.#queue.push(event)
    this.#queuedBytes += bytes
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }
}

function bytesOf(event: StoreEvent): number {
  return event.key.length + (event.type === 'put' ? event.value.length : 0)
}
