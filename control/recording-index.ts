// The list of sealed recordings in the store: a record by session, and an index of them by the time they ended, newest first, so that a
// page is one range and no file is read. Both are written in one batch. Where the index is missing it is made from the records, and
// records that are missing from the files, by whoever has these (control/recordings.ts).

import * as z from 'zod'

import { max } from '../core/limits.ts'
import { recordingSchema } from './api/checks/recordings.ts'
import type { Recording, RecordingQuery } from './api/recording-messages.ts'
import { type Base, parseStored, readStored } from './base.ts'
import {
  RECORDING_FLATS,
  RECORDING_INDEX,
  RECORDING_INDEX_WHOLE,
  recordingFlatKey,
  recordingIndexKey,
  recordingKey,
  RECORDINGS,
} from './records.ts'
import { keySegments, type StoreItem, type StoreOp } from './store/contract.ts'

export interface RecordingPage {
  readonly items: readonly Recording[]
  /** Continue behind it: `after` of the next query. */
  readonly next?: string
}

/** Bytes on disk: of the recording, and of its flat file. */
const sizesSchema: z.ZodType<readonly [number, number]> = z.tuple([z.int(), z.int()]).readonly()

const FAR_MS = Number.MAX_SAFE_INTEGER
/** Index entries that are looked at for one page: few of them are outside of a query. */
const LOOKED_AT_MAX = 10_000

export class RecordingIndex {
  readonly #base: Base
  #bytes = 0

  private constructor(base: Base) {
    this.#base = base
  }

  /** `fresh`: there was none; records of files that are not listed may be missing. */
  static async open(base: Base): Promise<{ index: RecordingIndex; fresh: boolean }> {
    const index = new RecordingIndex(base)
    const fresh = (await base.store.get(RECORDING_INDEX_WHOLE)) === undefined
    if (fresh) await index.#rebuild()
    for await (const items of index.#pages(RECORDING_INDEX))
      for (const item of items) index.#bytes += sizeOf(item)
    return { index, fresh }
  }

  /** Of all recordings and their flat files. */
  get bytes(): number {
    return this.#bytes
  }

  async get(sid: string): Promise<Recording | undefined> {
    return (await readStored(this.#base.store, recordingKey(sid), recordingSchema))?.value
  }

  /** Throws `resource.conflict` when there is one of this session. */
  async add(recording: Recording): Promise<void> {
    const { sid, kind } = recording
    await this.#base.store.batch([
      { op: 'create', key: recordingKey(sid), value: JSON.stringify(recording) },
      ...entryOf(recording, 0),
      // Until it was made: a crash may come before.
      ...(kind === 'ssh' ? [{ op: 'put', key: recordingFlatKey(sid), value: '1' } as const] : []),
    ])
    this.#bytes += recording.bytes
  }

  async remove(recording: Recording): Promise<void> {
    const { sid } = recording
    const key = indexKeyOf(recording)
    const entry = await this.#base.store.get(key)
    await this.#base.store.batch([
      { op: 'delete', key: recordingKey(sid) },
      { op: 'delete', key },
      { op: 'delete', key: recordingFlatKey(sid) },
    ])
    if (entry !== undefined) this.#bytes -= sizeOf(entry)
  }

  /** Sessions that wait for their flat file. */
  async flatsOwed(): Promise<readonly string[]> {
    const sids: string[] = []
    for await (const items of this.#pages(RECORDING_FLATS))
      for (const { key } of items) sids.push(keySegments(key)[1] ?? '')
    return sids
  }

  /** The flat file is there, or never will be. */
  async flattened(recording: Recording, flatBytes: number): Promise<void> {
    const { store } = this.#base
    const before = await store.get(indexKeyOf(recording))
    // It was removed meanwhile.
    if (before === undefined) return
    await store.batch([
      ...entryOf(recording, flatBytes),
      { op: 'delete', key: recordingFlatKey(recording.sid) },
    ])
    this.#bytes += recording.bytes + flatBytes - sizeOf(before)
  }

  /** Newest first, by the time they ended. */
  async list(query: RecordingQuery): Promise<RecordingPage> {
    const { fromMs = 0, toMs = FAR_MS } = query
    const limit = Math.min(query.limit ?? max('apiPageMax'), max('apiPageMax'))
    const last = indexTime(fromMs)
    const items: Recording[] = []
    let after = query.after ?? boundBefore(toMs)
    for (let looked = 0; looked < LOOKED_AT_MAX; ) {
      const page = await this.#base.store.range({ prefix: RECORDING_INDEX, after, limit })
      for (const { key } of page.items) {
        const [, time = '', sid = ''] = keySegments(key)
        if (time > last) return { items }
        const recording = await this.get(sid)
        if (recording !== undefined) items.push(recording)
        after = key
        if (items.length === limit) return { items, next: after }
      }
      if (page.next === undefined) return { items }
      looked += page.items.length
    }
    return { items, next: after }
  }

  /** Those that ended, and reached control, before this time: newest first. Whoever removes them goes on. */
  async *olderThan(beforeMs: number): AsyncGenerator<Recording, undefined> {
    for await (const items of this.#pages(RECORDING_INDEX, boundBefore(beforeMs)))
      for (const { key } of items) {
        const recording = await this.get(keySegments(key)[2] ?? '')
        // A recorder whose clock was wrong must not make its recording vanish.
        if (recording !== undefined && recording.sealedAtMs < beforeMs) yield recording
      }
  }

  /** From the records. One of another form is forgotten: it comes again from its file. */
  async #rebuild(): Promise<void> {
    const { store, log } = this.#base
    for await (const items of this.#pages(RECORDINGS))
      for (const { key, value } of items) {
        const recording = tryParse(value, key)
        if (recording === undefined) await store.delete(key)
        else await store.batch(entryOf(recording, 0))
        log.debug('a recording was put into the index', { key, known: recording !== undefined })
      }
    await store.put(RECORDING_INDEX_WHOLE, '1')
  }

  async *#pages(prefix: string, from?: string): AsyncGenerator<readonly StoreItem[], undefined> {
    let after = from
    do {
      const page = await this.#base.store.range({
        prefix,
        ...(after === undefined ? {} : { after }),
      })
      yield page.items
      after = page.next
    } while (after !== undefined)
  }
}

function entryOf(recording: Recording, flatBytes: number): readonly StoreOp[] {
  const value = JSON.stringify([recording.bytes, flatBytes])
  return [{ op: 'put', key: indexKeyOf(recording), value }]
}

/** The recorder says when it ended, and that is not after it came here. */
function indexKeyOf({ sid, endedAtMs, sealedAtMs }: Recording): string {
  return recordingIndexKey(indexTime(Math.min(endedAtMs, sealedAtMs)), sid)
}

/** Sorts the other way round. */
function indexTime(ms: number): string {
  return String(FAR_MS - Math.max(0, ms)).padStart(16, '0')
}

/** A key before all of this time and earlier. */
function boundBefore(ms: number): string {
  return `${RECORDING_INDEX}${indexTime(ms)}`
}

function sizeOf({ key, value }: StoreItem): number {
  const [bytes, flatBytes] = parseStored(value, sizesSchema, key)
  return bytes + flatBytes
}

function tryParse(value: string, key: string): Recording | undefined {
  try {
    return parseStored(value, recordingSchema, key)
  } catch {
    return undefined
  }
}
