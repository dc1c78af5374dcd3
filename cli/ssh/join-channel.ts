// Joins an SSH channel with a stream of this machine: a forwarded port, the ssh-agent. Each end's last byte is delivered before the
// other is let go, half-closes pass both ways, and the one that fails takes the other with it.

import type { Duplex } from 'node:stream'

import { ProxyError } from '../../core/errors.ts'
import type { SshChannel } from '../../protocols/ssh/client.ts'
import { socketStream } from '../../workers/socket-stream.ts'

/** Resolves when both are over; never rejects. The duplex must be half-open. */
export async function joinChannel(channel: SshChannel, duplex: Duplex): Promise<void> {
  const stream = socketStream(duplex)
  const cut = (): void => {
    stream.abort(new ProxyError('dial.failed', 'The forwarded connection is over.'))
    channel.close()
  }
  const toStream = async (): Promise<void> => {
    for (let data = await channel.read(); data !== undefined; data = await channel.read())
      await stream.write(data.bytes)
    await stream.end()
  }
  const toChannel = async (): Promise<void> => {
    for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read())
      await channel.write(bytes)
    await channel.end()
  }
  const delivered = toStream().catch(cut)
  const sent = toChannel().catch(cut)
  // A channel that is closed takes nothing more: whoever still sends is told by the end of the stream.
  const over = channel.closed.then(() => delivered).then(cut)
  await Promise.all([delivered, sent])
  cut()
  await over
}
