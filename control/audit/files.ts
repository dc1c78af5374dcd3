// The files of the audit log: `events-YYYY-MM-DD.jsonl`, one per day on which records were written, never changed behind their
// end. Writes and makes durable (the journal's sink), reads forwards by line and backwards by line; knows nothing of chains.

import { constants } from 'node:fs'
import { type FileHandle, open, readdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { JournalSink } from '../../core/audit/journal.ts'
import { type Line, LineCutter } from '../../core/audit/lines.ts'
import type { Clock } from '../../core/clock.ts'

const NAME = /^events-(\d{4}-\d{2}-\d{2})\.jsonl$/
const CHUNK_BYTES = 256 * 1024
const DAY_MS = 24 * 60 * 60 * 1000

export interface LogFile {
  readonly name: string
  readonly path: string
  /** `YYYY-MM-DD`, UTC. */
  readonly day: string
}

/** The log's files, oldest first. */
export async function listLogFiles(folder: string): Promise<readonly LogFile[]> {
  const names = await readdir(folder)
  return names.sort().flatMap((name) => {
    const day = NAME.exec(name)?.[1]
    return day === undefined ? [] : [{ name, day, path: join(folder, name) }]
  })
}

/** Appends to the file of the day. When the clock goes back it stays on the newer file, so that files keep their order. */
export class DailyFiles implements JournalSink {
  readonly #folder: string
  readonly #clock: Clock
  #day: string
  #handle: FileHandle | undefined
  /** Durable bytes of the file of `#day`; undefined when there is none yet. */
  #size: number | undefined

  /** `last` is the newest file there is, with the bytes of whole records that recovery left in it. */
  constructor(folder: string, clock: Clock, last: LogFile | undefined, lastBytes: number) {
    this.#folder = folder
    this.#clock = clock
    this.#day = last?.day ?? ''
    this.#size = last === undefined ? undefined : lastBytes
  }

  async commit(bytes: Uint8Array): Promise<void> {
    const file = await this.#open()
    const before = this.#size ?? 0
    try {
      await writeAll(file, bytes, before)
    } catch (error) {
      // Nothing of it was acknowledged, so nothing of it may stay in front of the next group.
      await file.truncate(before).catch(() => this.close())
      throw error
    }
    this.#size = before + bytes.length
  }

  /** How much of a file is durable: what stands behind it belongs to a write that is under way. */
  durableBytes(file: LogFile): number {
    return (file.day === this.#day ? this.#size : undefined) ?? Number.POSITIVE_INFINITY
  }

  /** Where the last durable record ends. */
  end(): { readonly file: string; readonly offset: number } {
    return { file: nameOf(this.#day), offset: this.#size ?? 0 }
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async #open(): Promise<FileHandle> {
    const today = new Date(this.#clock.now()).toISOString().slice(0, 10)
    const day = today > this.#day ? today : this.#day
    if (this.#handle !== undefined && day === this.#day) return this.#handle
    await this.close()
    // O_DSYNC: a write returns when it is durable.
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_DSYNC } = constants
    const flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_DSYNC
    const handle = await open(join(this.#folder, nameOf(day)), flags, 0o600)
    // What a failed write left and could not cut off is cut off now.
    if (day === this.#day && this.#size !== undefined) await handle.truncate(this.#size)
    this.#size = (await handle.stat()).size
    this.#handle = handle
    this.#day = day
    // The new name must outlive a power cut as well as what is written under it.
    await syncFolder(this.#folder)
    return handle
  }
}

/** Replaces a small file whole: either the old or the new content is there after a crash. */
export async function replaceFile(folder: string, name: string, content: string): Promise<void> {
  const path = join(folder, name)
  const fresh = `${path}.new`
  const handle = await open(fresh, 'w', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(fresh, path)
  await syncFolder(folder)
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Lines from `start`; the last one says whether a line feed ended it. */
export async function* readLines(
  path: string,
  start: number = 0,
  until: number = Number.POSITIVE_INFINITY,
  firstNumber: number = 1,
): AsyncGenerator<Line & { readonly whole: boolean }, void> {
  const cutter = new LineCutter(start, firstNumber)
  for await (const chunk of readChunks(path, start, until)) {
    for (const line of cutter.push(chunk)) yield { ...line, whole: true }
  }
  const rest = cutter.rest()
  if (rest !== undefined) yield { ...rest, whole: false }
}

export async function* readChunks(
  path: string,
  start: number = 0,
  until: number = Number.POSITIVE_INFINITY,
): AsyncGenerator<Uint8Array, void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const end = Math.min((await handle.stat()).size, until)
    for (let at = start; at < end; ) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at))
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

/** Whole lines from the end of the file (or `until`) to its beginning, with the bytes each cost to read. */
export async function* readLinesBackwards(
  path: string,
  until: number = Number.POSITIVE_INFINITY,
): AsyncGenerator<string, void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    let end = Math.min((await handle.stat()).size, until)
    let tail: Buffer = Buffer.alloc(0)
    while (end > 0) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end))
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, end - buffer.length)
      if (bytesRead < buffer.length) return
      end -= bytesRead
      const block = Buffer.concat([buffer, tail])
      const first = end === 0 ? 0 : block.indexOf(0x0a) + 1
      // A block without a line feed is the middle of one long line; one longer than any record is not kept.
      tail = first === 0 && end > 0 ? block : block.subarray(0, first)
      if (tail.length > CHUNK_BYTES) tail = Buffer.alloc(0)
      const lines = first === 0 && end > 0 ? [] : block.toString('utf8', first).split('\n')
      for (const line of lines.reverse()) if (line !== '') yield line
    }
  } finally {
    await handle.close()
  }
}

/** The first day whose file can hold events of `timeMs`: spooled ones come later, and clocks differ by a minute. */
export function firstDayOf(timeMs: number): string {
  return new Date(Math.max(timeMs - DAY_MS, 0)).toISOString().slice(0, 10)
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at)
    at += bytesWritten
  }
}

function nameOf(day: string): string {
  return `events-${day}.jsonl`
}
