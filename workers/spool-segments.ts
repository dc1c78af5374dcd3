// The files of a spool: one chain cut into segments named after their first record, in one folder per chain. Appends durably
// (the journal's sink), reads on from a record, deletes segments that are acknowledged whole. Knows nothing of events.

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChainPosition, type ChainRecord, positionOf, readLine } from '../core/audit/chain.ts'
import type { JournalSink } from '../core/audit/journal.ts'
import { type Line, LineCutter } from '../core/audit/lines.ts'
import { ChainVerifier } from '../core/audit/verify.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { SpoolTail } from './spool-tail.ts'

const NAME = /^spool-(\d{16})\.jsonl$/
const CHUNK_BYTES = 256 * 1024

interface Segment {
  readonly path: string
  /** Number of its first record. */
  readonly first: number
  /** Durable bytes. */
  bytes: number
}

/** Records as they stand in the spool, one per line, and the place of the last. */
export interface SpooledBatch {
  readonly bytes: Buffer
  readonly count: number
  readonly seq: number
  readonly hash: string
}

/** What opening cut off: a torn write, or worse when whole segments had to go. */
export interface SpoolDamage {
  readonly file: string
  readonly offset: number
  readonly dropped_bytes: number
}

export class SpoolSegments implements JournalSink {
  readonly #folder: string
  readonly #segments: Segment[] = []
  readonly #tail = new SpoolTail()
  #handle: FileHandle | undefined
  #bytes = 0
  /** Where the last batch ended, so that the next does not read a segment from its beginning. */
  #cursor = { first: 0, offset: 0, seq: 0 }

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#bytes
  }

  /** Finds the segments and where the chain stands. `acknowledged` is where it stands when there are none. */
  async open(
    acknowledged: ChainPosition,
  ): Promise<{ position: ChainPosition; damage: SpoolDamage | undefined }> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    let verifier: ChainVerifier | undefined
    for (const name of (await readdir(this.#folder)).sort()) {
      const first = Number(NAME.exec(name)?.[1] ?? Number.NaN)
      if (Number.isNaN(first)) continue
      const path = join(this.#folder, name)
      const segment: Segment = { path, first, bytes: (await stat(path)).size }
      verifier ??= new ChainVerifier(await startOf(segment, acknowledged))
      const bad = await firstBadByte(segment, verifier)
      if (bad !== undefined) {
        const damage = await this.#cutOff(segment, bad)
        return { position: verifier.position, damage }
      }
      this.#add(segment)
    }
    return { position: verifier?.position ?? acknowledged, damage: undefined }
  }

  async commit(bytes: Uint8Array, first: number): Promise<void> {
    const { segment, handle } = await this.#openLast(first)
    try {
      for (let at = 0; at < bytes.length; ) {
        const position = segment.bytes + at
        const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position)
        at += bytesWritten
      }
    } catch (error) {
      // Nothing of it was acknowledged; when even this fails, the segment is opened and cut again before the next write.
      await handle.truncate(segment.bytes).catch(() => this.close())
      throw error
    }
    this.#tail.wrote(segment.first, segment.bytes, bytes)
    segment.bytes += bytes.length
    this.#bytes += bytes.length
  }

  /** The records behind `seq`, in order, as many as fit one upload. */
  async read(seq: number): Promise<readonly ChainRecord[]> {
    const batch = await this.readBatch(seq)
    const lines = batch === undefined ? [] : Buffer.from(batch.bytes).toString().split('\n')
    return lines.flatMap((line) => readLine(line) ?? [])
  }

  /**
   * The same as bytes. They were written by this class or verified when it opened, so that only the last record's place is read;
   * what was written a moment ago is still in memory.
   */
  async readBatch(seq: number): Promise<SpooledBatch | undefined> {
    for (const [index, segment] of this.#segments.entries()) {
      const next = this.#segments[index + 1]
      if (next !== undefined && next.first <= seq + 1) continue
      const batch = await this.#readFrom(segment, await this.#offsetBehind(segment, seq))
      if (batch !== undefined) return batch
    }
    return undefined
  }

  async #offsetBehind(segment: Segment, seq: number): Promise<number> {
    if (seq < segment.first) return 0
    if (this.#cursor.first === segment.first && this.#cursor.seq === seq) return this.#cursor.offset
    for await (const { text, end } of readLines(segment, 0))
      if (readLine(text ?? '')?.seq === seq) return end
    return segment.bytes
  }

  async #readFrom(segment: Segment, offset: number): Promise<SpooledBatch | undefined> {
    const room = Math.min(segment.bytes - offset, max('apiBodyBytesMax'))
    if (room <= 0) return undefined
    const held = this.#tail.read(segment.first, offset, room)
    const whole = held ?? (await readBytes(segment, offset, room))
    let count = 0
    let end = 0
    for (let at = whole.indexOf(LINE_FEED); at >= 0 && count < max('auditBatchMax'); count++) {
      end = at
      at = whole.indexOf(LINE_FEED, at + 1)
    }
    const bytes = whole.subarray(0, end)
    const place = placeOf(bytes.toString('utf8', bytes.lastIndexOf(LINE_FEED) + 1))
    if (place === undefined) {
      const message = 'The audit spool is damaged; a restart cuts off what cannot be read.'
      throw new ProxyError('audit.unavailable', message, { detail: segment.path })
    }
    this.#cursor = { first: segment.first, offset: offset + end + 1, seq: place.seq }
    return { bytes, count, ...place }
  }

  /** Whether a segment holds nothing behind `seq`. The last one does not count: it is being written. */
  isPast(seq: number): boolean {
    const next = this.#segments[1]
    return next !== undefined && next.first <= seq + 1
  }

  /** Deletes these segments. */
  async drop(seq: number): Promise<void> {
    for (;;) {
      const [segment] = this.#segments
      if (segment === undefined || !this.isPast(seq)) return
      await rm(segment.path)
      this.#segments.shift()
      this.#bytes -= segment.bytes
    }
  }

  /** Deletes all of it. */
  async clear(): Promise<void> {
    await this.close()
    for (const segment of this.#segments.splice(0)) await rm(segment.path)
    this.#tail.clear()
    this.#bytes = 0
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async #openLast(first: number): Promise<{ segment: Segment; handle: FileHandle }> {
    const last = this.#segments.at(-1)
    const full = last === undefined || last.bytes >= max('auditSegmentBytesMax')
    if (!full && this.#handle !== undefined) return { segment: last, handle: this.#handle }
    await this.close()
    const name = `spool-${String(first).padStart(16, '0')}.jsonl`
    const segment = full ? { path: join(this.#folder, name), first, bytes: 0 } : last
    // O_DSYNC: a write returns when it is durable, which is half the ways to another thread and back that a write and a sync are.
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_DSYNC } = constants
    const handle = await open(segment.path, O_RDWR | O_CREAT | O_NOFOLLOW | O_DSYNC, 0o600)
    await handle.truncate(segment.bytes)
    if (full) {
      await syncFolder(this.#folder)
      this.#add(segment)
    }
    this.#handle = handle
    return { segment, handle }
  }

  #add(segment: Segment): void {
    this.#segments.push(segment)
    this.#bytes += segment.bytes
  }

  /** Cuts the segment and sets aside what comes behind it: after a torn write there is nothing. */
  async #cutOff(segment: Segment, offset: number): Promise<SpoolDamage> {
    let dropped = segment.bytes - offset
    for (const name of await readdir(this.#folder)) {
      const first = Number(NAME.exec(name)?.[1] ?? 0)
      if (first <= segment.first) continue
      const path = join(this.#folder, name)
      dropped += (await stat(path)).size
      await rename(path, `${path}.damaged`)
    }
    const handle = await open(segment.path, constants.O_RDWR | constants.O_NOFOLLOW)
    try {
      await handle.truncate(offset)
      await handle.sync()
    } finally {
      await handle.close()
    }
    this.#add({ ...segment, bytes: offset })
    return { file: segment.path.slice(this.#folder.length + 1), offset, dropped_bytes: dropped }
  }
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const LINE_FEED = 0x0a
const PLACE = /^\{"seq":(\d{1,16}),"writer":"/
const HASH = /,"hash":"([0-9a-f]{64})"\}$/

function placeOf(line: string): { readonly seq: number; readonly hash: string } | undefined {
  const seq = PLACE.exec(line)?.[1]
  const hash = HASH.exec(line.slice(-76))?.[1]
  return seq === undefined || hash === undefined ? undefined : { seq: Number(seq), hash }
}

async function readBytes(segment: Segment, offset: number, length: number): Promise<Buffer> {
  const handle = await open(segment.path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const bytes = Buffer.allocUnsafe(length)
    let filled = 0
    while (filled < length) {
      const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled)
      if (bytesRead === 0) break
      filled += bytesRead
    }
    return bytes.subarray(0, filled)
  } finally {
    await handle.close()
  }
}

/** What the first record says stood before it; without a readable one, what was acknowledged. */
async function startOf(segment: Segment, acknowledged: ChainPosition): Promise<ChainPosition> {
  for await (const { text } of readLines(segment, 0)) {
    const record = readLine(text ?? '')
    if (record === undefined || record.writer !== acknowledged.writer) break
    return { ...positionOf(record), seq: record.seq - 1, hash: record.prev }
  }
  return acknowledged
}

async function firstBadByte(
  segment: Segment,
  verifier: ChainVerifier,
): Promise<number | undefined> {
  for await (const { text, number, offset, end } of readLines(segment, 0)) {
    verifier.line(text, { file: segment.path, line: number, offset })
    if (verifier.fault !== undefined) return offset
    if (end === segment.bytes) return undefined
  }
  // Bytes behind the last line feed are a torn write.
  return segment.bytes === 0 ? undefined : await lastLineEnd(segment)
}

async function lastLineEnd(segment: Segment): Promise<number> {
  let last = 0
  for await (const { end } of readLines(segment, 0)) last = end
  return last
}

/** Whole lines of the durable bytes. */
async function* readLines(segment: Segment, from: number): AsyncGenerator<Line, void> {
  const until = segment.bytes
  const handle = await open(segment.path, constants.O_RDONLY | constants.O_NOFOLLOW)
  const cutter = new LineCutter(from)
  try {
    for (let at = from; at < until; ) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, until - at))
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield* cutter.push(buffer.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
}
