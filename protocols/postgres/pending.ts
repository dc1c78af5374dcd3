// Messages of a client that wait for their answers, in order: a queue bounded by count (the observer refuses more) and by what
// is kept of them (beyond it less is kept of each). Knows nothing of what they mean.

import { max } from '../../core/limits.ts'
import type { Parameters, Statement } from './asked.ts'
import type { Failure } from './observations.ts'

/** One message. `bytes`: what keeping it costs. */
export type Pending =
  /** The login, whose outcome and first ReadyForQuery nobody asked for by a message. */
  | { readonly kind: 'startup'; readonly bytes: 0; readonly atMs: number }
  | Query
  | {
      readonly kind: 'parse'
      readonly statement: Statement
      readonly bytes: number
      readonly atMs: number
    }
  | {
      readonly kind: 'bind'
      readonly portal: string
      readonly statement: string
      readonly parameters: Parameters
      readonly bytes: number
      readonly atMs: number
    }
  | {
      readonly kind: 'describe'
      readonly what: number
      readonly name: string
      readonly bytes: number
      readonly atMs: number
    }
  | {
      readonly kind: 'execute'
      readonly portal: string
      readonly rowsMax: number
      readonly bytes: number
      readonly atMs: number
    }
  | {
      readonly kind: 'close'
      readonly what: number
      readonly name: string
      readonly bytes: number
      readonly atMs: number
    }
  | Call
  | { readonly kind: 'sync'; readonly bytes: 0; readonly atMs: number }
  /** CopyDone or CopyFail: never answered, but a COPY that begins ends here. */
  | { readonly kind: 'copy-end'; readonly bytes: 0; readonly atMs: number }

export interface Query {
  readonly kind: 'query'
  readonly statement: Statement
  readonly bytes: number
  readonly atMs: number
  /** Answers so far. */
  readonly tags: string[]
  /** How many commands were completed; of many, not all tags are kept. */
  commands: number
  rows: number
  failure: Failure | undefined
}

export interface Call {
  readonly kind: 'function'
  readonly oid: number
  readonly parameters: Parameters
  readonly bytes: number
  readonly atMs: number
  returned: boolean
  failure: Failure | undefined
}

export class PendingQueue {
  #items: (Pending | undefined)[] = []
  #first = 0
  #bytes = 0

  get size(): number {
    return this.#items.length - this.#first
  }

  get full(): boolean {
    return this.size >= max('pgPendingMax')
  }

  /** How much to keep of what comes next. */
  room(bytesMax: number): number {
    return this.#bytes < max('pgPendingBytesMax')
      ? bytesMax
      : Math.min(bytesMax, max('pgShortBytesMax'))
  }

  push(item: Pending): void {
    this.#items.push(item)
    this.#bytes += item.bytes
  }

  /** The oldest. */
  get head(): Pending | undefined {
    return this.#items[this.#first]
  }

  get last(): Pending | undefined {
    return this.size === 0 ? undefined : this.#items.at(-1)
  }

  pop(): Pending | undefined {
    const item = this.head
    if (item === undefined) return undefined
    this.#items[this.#first++] = undefined
    this.#bytes -= item.bytes
    if (this.#first === this.#items.length) this.#clear()
    else if (this.#first > max('pgPendingMax')) this.#compact()
    return item
  }

  /** Takes the Syncs between the head and the end of its COPY away. Says how many, and whether that end was there. */
  dropCopy(): { readonly syncs: number; readonly ended: boolean } {
    let syncs = 0
    for (let at = this.#first + 1; at < this.#items.length; at++) {
      const kind = this.#items[at]?.kind
      if (kind !== 'sync' && kind !== 'copy-end') continue
      this.#items.splice(at--, 1)
      if (kind === 'copy-end') return { syncs, ended: true }
      syncs++
    }
    return { syncs, ended: false }
  }

  #clear(): void {
    this.#first = 0
    if (this.#items.length > 64) this.#items = []
    else this.#items.length = 0
  }

  #compact(): void {
    this.#items = this.#items.slice(this.#first)
    this.#first = 0
  }
}
