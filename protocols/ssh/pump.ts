// Bytes between a channel and a stream, one direction at a time, with the flow control of both. Whoever must see bytes before they pass
// sees them here. No byte is copied.

import type { ByteStream } from '../../core/stream.ts'
import type { SshChannel } from './transport/channel.ts'

/** Sees bytes before they pass, and may make them wait. What it throws ends the channel: they do not pass. */
export type Seen = (bytes: Uint8Array) => Promise<void> | undefined

/** Until the client's end of bytes, which is passed on. A stream that takes no more is no fault: the rest is read and dropped. */
export async function feed(channel: SshChannel, into: ByteStream, seen: Seen): Promise<void> {
  let deaf = false
  for (;;) {
    const data = channel.poll() ?? (await channel.read())
    if (data === undefined) break
    if (data.stderr || deaf) continue
    const wait = seen(data.bytes)
    if (wait !== undefined) await wait
    deaf = !(await taken(into, data.bytes))
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
  }
}

async function taken(stream: ByteStream, bytes: Uint8Array): Promise<boolean> {
  try {
    await stream.write(bytes)
    return true
  } catch {
    // A program closed its standard input and goes on (`head -1`): its client is not stopped.
    return false
  }
}
