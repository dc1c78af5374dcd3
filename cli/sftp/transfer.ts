// One file there or back. Pieces are asked for many at a time, so that a long way costs its bandwidth and not its delay, and each is
// kept at its own place; what arrived is counted against what there is. Memory: sftpRequestsMax pieces.

import type { FileHandle } from 'node:fs/promises'

import { max } from '../../core/limits.ts'
import { CommandError } from '../exit.ts'
import { printable } from '../render.ts'
import type { SftpClient } from './client.ts'

export interface RemoteFile {
  readonly client: SftpClient
  readonly path: string
  readonly handle: Uint8Array
}

/** Told of each piece that arrived. */
export type Moved = (bytes: number) => void

/** Copies what is there to `local`; resolves with the count of bytes. `size`: as the server told it; it may say 0 of what has more. */
export async function download(
  { client, path, handle }: RemoteFile,
  local: FileHandle,
  size: number,
  moved: Moved,
): Promise<number> {
  const piece = max('sftpPieceBytes')
  const fetch = async (at: number, to: number): Promise<number> => {
    for (let from = at; from < to; ) {
      const bytes = await client.read(path, handle, from, to - from)
      if (bytes === undefined) return from
      if (bytes.length === 0) throw short(path)
      await writeAll(local, bytes, from)
      from += bytes.length
      moved(bytes.length)
    }
    return to
  }
  await inLanes(Math.ceil(size / piece), async (index) => {
    const to = Math.min(size, (index + 1) * piece)
    if ((await fetch(index * piece, to)) < to) throw short(path)
  })
  // What grew meanwhile, and files of the kernel, whose size is told as 0.
  for (let at = size; ; ) {
    const to = await fetch(at, at + piece)
    if (to < at + piece) return to
    at = to
  }
}

/** Copies `local` to the server, and asks it how much it has then; resolves with the count of bytes. */
export async function upload(
  local: FileHandle,
  { client, path, handle }: RemoteFile,
  size: number,
  moved: Moved,
): Promise<number> {
  const piece = max('sftpPieceBytes')
  let total = 0
  const send = async (at: number): Promise<number> => {
    const { buffer, bytesRead } = await local.read(Buffer.alloc(piece), 0, piece, at)
    if (bytesRead === 0) return 0
    await client.write(path, handle, at, buffer.subarray(0, bytesRead))
    total += bytesRead
    moved(bytesRead)
    return bytesRead
  }
  await inLanes(Math.ceil(size / piece), async (index) => {
    const length = Math.min(piece, size - index * piece)
    if ((await send(index * piece)) < length) throw short(path)
  })
  for (let at = total; ; ) {
    const sent = await send(at)
    if (sent === 0) break
    at += sent
  }
  const { size: kept } = await client.attributesOf(path, handle)
  if (kept !== undefined && kept !== BigInt(total))
    throw new CommandError(`${printable(path)}: ${kept} of ${total} bytes arrived`)
  return total
}

/** Runs `work` for each index, a bounded number at once. The first failure stops those that have not begun. */
async function inLanes(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      const index = next
      next += 1
      try {
        await work(index)
      } catch (error) {
        next = count
        throw error
      }
    }
  }
  const lanes = Array.from({ length: Math.min(count, max('sftpRequestsMax')) }, lane)
  // All of them, so that none writes to a file that is closed.
  const ended = await Promise.allSettled(lanes)
  const failure = ended.find((each) => each.status === 'rejected')
  if (failure !== undefined) throw failure.reason
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let from = 0; from < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, from, bytes.length - from, at + from)
    from += bytesWritten
  }
}

function short(path: string): CommandError {
  return new CommandError(`${printable(path)}: it became shorter while it was copied`)
}
