// One file of a recording on a recorder's disk: made so that no other can be meant, appended to durably, and completed after a crash.
// A torn tail is cut off and an end is written that says so; anything else that is wrong is left as it lies, for whoever looks into it.

import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'

import { RecordingChain } from '../core/recording/chain.ts'
import { packEvents } from '../core/recording/events.ts'
import { CHUNK_MAGIC, readChunk, readHead, writeChunk } from '../core/recording/format.ts'
import { max } from '../core/limits.ts'

const { O_CREAT, O_DSYNC, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_WRONLY } = constants
const READ_BYTES = 256 * 1024

/** What a file was found to be. `empty`: its session was cut off before anything of it was kept. */
export type Completed = 'whole' | 'completed' | 'empty' | 'damaged'

/** Throws EEXIST when there is one. */
export async function createRecording(path: string): Promise<FileHandle> {
  return await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_DSYNC, 0o600)
}

export async function openRecording(path: string): Promise<FileHandle> {
  return await open(path, O_RDONLY | O_NOFOLLOW)
}

/**
 * Appends behind `length`; the file was opened with O_DSYNC, so that a write returns when it is durable. What failed is cut off again, so that the next try finds
 * the file as it was.
 */
export async function appendDurably(
  handle: FileHandle,
  bytes: Uint8Array,
  length: number,
): Promise<void> {
  try {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, length + at)
      at += bytesWritten
    }
  } catch (error) {
    await handle.truncate(length)
    throw error
  }
}

/** Makes a recording that nobody writes any more end: for files found at the start, and for those of a crashed thread. */
export async function completeRecording(
  path: string,
  reason: string,
  nowMs: number,
): Promise<Completed> {
  const handle = await open(path, O_RDWR | O_NOFOLLOW | O_DSYNC)
  try {
    const chain = new RecordingChain()
    const good = await follow(handle, chain)
    if (!good && !(await isTorn(handle, chain.bytes))) return 'damaged'
    if (chain.header === undefined || chain.position.seq === 0) return 'empty'
    if (chain.ended) return 'whole'
    await handle.truncate(chain.bytes)
    const { startMs, packed } = packEvents([{ kind: 'end', atMs: nowMs, reason }])
    const { bytes } = writeChunk(chain.position, 'end', startMs, packed)
    await appendDurably(handle, bytes, chain.bytes)
    return 'completed'
  } finally {
    await handle.close()
  }
}

/** True when everything that is there follows; the last chunk may be cut. */
async function follow(handle: FileHandle, chain: RecordingChain): Promise<boolean> {
  try {
    for await (const bytes of read(handle, 0))
      if (typeof chain.push(bytes) === 'string') return false
    return !chain.ended || chain.held.length === 0
  } catch {
    // A head that is none.
    return false
  }
}

/** Whether what lies behind `offset` is the rest of one write: short, and no whole chunk follows in it. */
async function isTorn(handle: FileHandle, offset: number): Promise<boolean> {
  const { size } = await handle.stat()
  if (offset === 0 || size - offset > 2 * max('recordingBatchBytesMax')) return false
  let rest = Buffer.alloc(0)
  for await (const bytes of read(handle, offset)) rest = Buffer.concat([rest, bytes])
  return rest.indexOf(CHUNK_MAGIC, 1) < 0
}

/** The file from `offset` on. */
async function* read(handle: FileHandle, offset: number): AsyncGenerator<Uint8Array, undefined> {
  for (let at = offset; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, at)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

/** Where the chain of a file stands behind its first `bytes`; undefined when they end in the middle of a chunk or are damaged. */
export async function hashBehind(handle: FileHandle, bytes: number): Promise<string | undefined> {
  const chain = new RecordingChain()
  for await (const piece of read(handle, 0)) {
    const left = bytes - chain.bytes - chain.held.length
    if (typeof chain.push(piece.subarray(0, left)) === 'string') return undefined
    if (piece.length >= left) break
  }
  return chain.bytes === bytes ? chain.position.hash : undefined
}

/** The next whole chunks from `offset` on to `limit`, as many as one upload takes, with the head when they begin there. Empty at the end. */
export async function readPiece(
  handle: FileHandle,
  offset: number,
  limit: number,
): Promise<Uint8Array> {
  // Behind the limit another chunk is being written, which may not stay.
  const room = Math.min(max('recordingPieceBytesMax'), limit - offset)
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(room), 0, room, offset)
  let end = offset === 0 ? (readHead(buffer.subarray(0, bytesRead))?.end ?? 0) : 0
  for (;;) {
    const reading = readChunk(buffer.subarray(end, bytesRead))
    if (reading.verdict === 'chunk') end += reading.bytes
    else return buffer.subarray(0, end)
  }
}
