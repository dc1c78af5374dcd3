// The files of a spool: one chain cut into segments named after their first record, in one folder per chain. Appends durably
// (the journal's sink), reads on from a record, deletes segments that are acknowledged whole. Knows nothing of events.

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChainPosition, type ChainRecord, positionOf, readLine } from '../core/audit/chain.ts'
import type { JournalSink } from '../core/audit/journal.ts'
import { type Line, LineCutter } from '../core/audit/lines.ts'
import { ChainVerifier } from '../core/audit/verify.ts'
import { max } from '../core/limits.ts'

const NAME = /^spool-(\d{16})\.jsonl$/
const CHUNK_BYTES = 256 * 1024

interface Segment {
  readonly path: string
  /** Number of its first record. */
  readonly first: number
  /** Durable bytes. */
  bytes: number
}

/** A record as it stands in the spool, with its place. */
export interface SpooledLine {
  readonly text: string
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
      await handle.datasync()
    } catch (error) {
      // Nothing of it was acknowledged; when even this fails, the segment is opened and cut again before the next write.
      await handle.truncate(segment.bytes).catch(() => this.close())
      throw error
    }
    segment.bytes += bytes.length
    this.#bytes += bytes.length
  }

  /** The records behind `seq`, in order, as many as fit one upload. */
  async read(seq: number): Promise<readonly ChainRecord[]> {
    const lines = await this.readLines(seq)
    return lines.flatMap(({ text }) => readLine(text) ?? [])
  }

  /** The same as lines. They were written by this class or verified when it opened: only their places are read here. */
  async readLines(seq: number): Promise<readonly SpooledLine[]> {
    const lines: SpooledLine[] = []
    let bytes = 0
    const bytesMax = max('apiBodyBytesMax')
    for (const [index, segment] of this.#segments.entries()) {
      const next = this.#segments[index + 1]
      if (next !== undefined && next.first <= seq + 1) continue
      const from = this.#cursor.first === segment.first && this.#cursor.seq <= seq
      for await (const line of readLines(segment, from ? this.#cursor.offset : 0)) {
        const spooled = spooledLine(line.text ?? '')
        if (spooled === undefined || spooled.seq <= seq) continue
        bytes += line.end - line.offset
        if (bytes > bytesMax || lines.length === max('auditBatchMax')) return lines
        lines.push(spooled)
        this.#cursor = { first: segment.first, offset: line.end, seq: spooled.seq }
      }
    }
    return lines
  }

  /** Deletes segments that hold nothing behind `seq`. The last one stays: it is being written. */
  async drop(seq: number): Promise<void> {
    for (;;) {
      const [segment, next] = this.#segments
      if (segment === undefined || next === undefined || next.first > seq + 1) return
      await rm(segment.path)
      this.#segments.shift()
      this.#bytes -= segment.bytes
    }
  }

  /** Deletes all of it. */
  async clear(): Promise<void> {
    await this.close()
    for (const segment of this.#segments.splice(0)) await rm(segment.path)
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
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
    const handle = await open(segment.path, flags, 0o600)
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

const PLACE = /^\{"seq":(\d{1,16}),"writer":"/
const HASH = /"hash":"([0-9a-f]{64})"\}$/

function spooledLine(text: string): SpooledLine | undefined {
  const seq = PLACE.exec(text)?.[1]
  const hash = HASH.exec(text.slice(-75))?.[1]
  return seq === undefined || hash === undefined ? undefined : { text, seq: Number(seq), hash }
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
