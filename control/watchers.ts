// Who listens to signed messages, each with a bounded queue: a watcher that reads too slowly is cut and resumes by its revisions.
// An unsent beacon is replaced by the next one, since only the newest says anything.

import { max } from '../core/limits.ts'
import type { SnapshotClass } from '../core/snapshot.ts'
import type { WatchItem } from './api/messages.ts'

/** A signed message with the class it is for; undefined: for both. */
export interface Published {
  readonly item: WatchItem
  readonly class?: SnapshotClass
  readonly bytes: number
}

export function publish(item: WatchItem, only?: SnapshotClass): Published {
  const bytes = item.body.length + (item.payload?.length ?? 0)
  return { item, bytes, ...(only === undefined ? {} : { class: only }) }
}

export class Watcher {
  readonly #class: SnapshotClass
  #queue: Published[] = []
  #bytes = 0
  #cut = false
  #wake: (() => void) | undefined

  constructor(only: SnapshotClass) {
    this.#class = only
  }

  /** True once it fell behind; it delivers what it has and ends. */
  get cut(): boolean {
    return this.#cut
  }

  /** What the watcher begins with: not counted, as it asked for it. */
  begin(messages: readonly Published[]): void {
    this.#queue.push(...messages.filter((message) => this.#wants(message)))
    this.#wake?.()
  }

  push(message: Published): void {
    if (this.#cut || !this.#wants(message)) return
    const last = this.#queue.at(-1)
    if (message.item.type === 'beacon' && last?.item.type === 'beacon') {
      this.#queue[this.#queue.length - 1] = message
      return
    }
    this.#bytes += message.bytes
    if (this.#bytes > max('watchQueueBytesMax')) this.#cut = true
    else this.#queue.push(message)
    this.#wake?.()
  }

  /** The next message; undefined when it was cut or `signal` ended it. */
  async next(signal: AbortSignal): Promise<WatchItem | undefined> {
    while (this.#queue.length === 0 && !this.#cut && !signal.aborted) await this.#change(signal)
    const first = signal.aborted ? undefined : this.#queue.shift()
    if (first !== undefined) this.#bytes = Math.max(0, this.#bytes - first.bytes)
    return first?.item
  }

  /** An agent takes its own class; a proxy takes both, and passes the other on. */
  #wants(message: Published): boolean {
    return this.#class === 'proxy' || message.class !== 'proxy'
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      this.#wake = done
      signal.addEventListener('abort', done, { once: true })
    })
  }
}
