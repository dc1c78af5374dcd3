// The connections that have not said yet what they are, and what they may cost together (design section 3.1, threats 16): how many
// in all and per source, how many bytes, and for how long. Who is over a bound costs the oldest its place, so that slow strangers
// cannot keep everybody else out. It closes nothing itself: `onDrop` does.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

export type DropReason = 'deadline' | 'total' | 'source' | 'bytes'

export interface UnfinishedBounds {
  readonly countMax: number
  readonly perSourceMax: number
  readonly bytesMax: number
  readonly deadlineMs: number
}

/** The bounds of the design; `descriptorsMax` is the process's own limit of open files. */
export function unfinishedBounds(descriptorsMax: number): UnfinishedBounds {
  return {
    // The other half is for what these connections lead to.
    countMax: Math.floor(descriptorsMax / 2),
    perSourceMax: max('unfinishedPerSourceMax'),
    bytesMax: max('helloBytesTotalMax'),
    deadlineMs: max('handshakeDeadlineMs'),
  }
}

interface Record {
  readonly untilMs: number
  source: string | undefined
  bytes: number
}

/** Entries in the order of their arrival, which is the order of their deadlines too. */
export class Unfinished<T> {
  readonly #bounds: UnfinishedBounds
  readonly #clock: Clock
  readonly #onDrop: (entry: T, reason: DropReason) => void
  readonly #records = new Map<T, Record>()
  readonly #sources = new Map<string, Set<T>>()
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    bounds: UnfinishedBounds,
    clock: Clock,
    onDrop: (entry: T, reason: DropReason) => void,
  ) {
    this.#bounds = bounds
    this.#clock = clock
    this.#onDrop = onDrop
  }

  get size(): number {
    return this.#records.size
  }

  /** Sources with at least one entry. */
  get sources(): number {
    return this.#sources.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** `source` is undefined while a balancer's header is awaited that will tell it. */
  add(entry: T, source: string | undefined): void {
    const untilMs = this.#clock.monotonic() + this.#bounds.deadlineMs
    this.#records.set(entry, { untilMs, source: undefined, bytes: 0 })
    if (source !== undefined) this.place(entry, source)
    if (this.#records.size > this.#bounds.countMax) this.#dropOldest('total')
    this.#timer ??= setTimeout(() => this.#expire(), this.#bounds.deadlineMs)
  }

  /** Counts the entry against its source, once that is known. */
  place(entry: T, source: string): void {
    const record = this.#records.get(entry)
    if (record === undefined || record.source !== undefined) return
    record.source = source
    const entries = this.#sources.get(source) ?? new Set()
    entries.add(entry)
    this.#sources.set(source, entries)
    const [oldest] = entries
    if (entries.size > this.#bounds.perSourceMax && oldest !== undefined)
      this.#drop(oldest, 'source')
  }

  /** Says how many bytes are kept for an entry now. */
  keep(entry: T, bytes: number): void {
    const record = this.#records.get(entry)
    if (record === undefined) return
    this.#bytes += bytes - record.bytes
    record.bytes = bytes
    while (this.#bytes > this.#bounds.bytesMax && this.#dropOldest('bytes'));
  }

  has(entry: T): boolean {
    return this.#records.has(entry)
  }

  /** The entry is finished, one way or another. False when it was already. */
  remove(entry: T): boolean {
    const record = this.#records.get(entry)
    if (record === undefined) return false
    this.#records.delete(entry)
    this.#bytes -= record.bytes
    if (record.source !== undefined) this.#unplace(entry, record.source)
    if (this.#records.size === 0) {
      clearTimeout(this.#timer)
      this.#timer = undefined
    }
    return true
  }

  entries(): readonly T[] {
    return [...this.#records.keys()]
  }

  #unplace(entry: T, source: string): void {
    const entries = this.#sources.get(source)
    entries?.delete(entry)
    if (entries?.size === 0) this.#sources.delete(source)
  }

  #dropOldest(reason: DropReason): boolean {
    const [oldest] = this.#records.keys()
    if (oldest === undefined) return false
    this.#drop(oldest, reason)
    return true
  }

  #drop(entry: T, reason: DropReason): void {
    this.remove(entry)
    this.#onDrop(entry, reason)
  }

  /** One timer for all: it goes off for the oldest, which is the first to be late. */
  #expire(): void {
    this.#timer = undefined
    const nowMs = this.#clock.monotonic()
    for (const [entry, record] of this.#records) {
      if (record.untilMs > nowMs) {
        this.#timer = setTimeout(() => this.#expire(), record.untilMs - nowMs)
        return
      }
      this.#drop(entry, 'deadline')
    }
  }
}
