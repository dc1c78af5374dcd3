// Bytes between a channel and a stream, one direction at a time, with the flow control of both. Whoever must see bytes before they pass
// sees them here. No byte is copied, and what passed is freed at once.

import { freePacketOf } from '../../core/bytes/free.ts'
import type { ByteStream } from '../../core/stream.ts'
import type { SshChannel } from './transport/channel.ts'
import type { ChannelData } from './transport/unread.ts'

/** Packets of one write. */
const GATHERED_MAX = 8

/** Sees bytes before they pass, and may make them wait; it keeps no view of them. What it throws ends the channel: they do not pass. */
export type Seen = (bytes: Uint8Array) => Promise<void> | undefined

/** Until the client's end of bytes, which is passed on. A stream that takes no more is no fault: the rest is read and dropped. */
export async function feed(channel: SshChannel, into: ByteStream, seen: Seen): Promise<void> {
  let deaf = false
  for (;;) {
    const first = channel.poll() ?? (await channel.read())
    if (first === undefined) break
    const pieces = gather(channel, first)
    if (deaf) continue
    for (const bytes of pieces) {
      const wait = seen(bytes)
      if (wait !== undefined) await wait
    }
    deaf = !(await taken(into, pieces))
  }
  // It may be closed already, which is what is wanted.
  await into.end().catch(() => undefined)
}

/** Until the stream's end, which the caller passes on. Rejects when the channel takes no more. */
export async function pour(
  from: ByteStream,
  channel: SshChannel,
  seen: Seen,
  stderr = false,
): Promise<void> {
  for (;;) {
    const bytes = await from.read()
    if (bytes === undefined) return
    const wait = seen(bytes)
    if (wait !== undefined) await wait
    await channel.write(bytes, stderr)
    from.release?.(bytes)
  }
}

/** What else is there already: programs take it in one go. */
function gather(channel: SshChannel, first: ChannelData): readonly Uint8Array[] {
  const pieces: Uint8Array[] = []
  for (let data: ChannelData | undefined = first; data !== undefined; ) {
    if (!data.stderr) pieces.push(data.bytes)
    data = pieces.length < GATHERED_MAX ? channel.poll() : undefined
  }
  return pieces
}

async function taken(stream: ByteStream, pieces: readonly Uint8Array[]): Promise<boolean> {
  try {
    if (stream.writeAll === undefined) {
      for (const bytes of pieces) await stream.write(bytes)
      return true
    }
    await stream.writeAll(pieces)
    for (const bytes of pieces) freePacketOf(bytes)
    return true
  } catch {
    // A program closed its standard input and goes on (`head -1`): its client is not stopped.
    return false
  }
}
