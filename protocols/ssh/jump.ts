// The outer SSH of `ssh -J user@proxy login@node`: a login certificate lets somebody in under any user name, and a connection to a node's
// name is the one thing that is done for them. What passes in it is another SSH, of theirs and the node's, and is not read. Whoever
// wants a shell is told how to go on; every other kind of channel and request is refused.

import type { JumpServices } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'
import { feed, pour } from './pump.ts'
import { failed, forbidden, onStderr } from './refusal.ts'
import { beginAccepting, LoginRefused } from './transport/accept.ts'
import type { SshChannel } from './transport/channel.ts'
import type { ChannelOpening, ConnectionHandlers } from './transport/connection.ts'
import { certificateKey } from './transport/host-key.ts'

const NO_SHELL = 'this is the way to nodes, and no node: use "ssh -J" with this address, or tsh ssh'

/** Serves one client until it is gone; `signal` ends it with a sentence. Never rejects for what a client does. */
export async function serveJump(
  client: ByteStream,
  services: JumpServices,
  signal: AbortSignal,
): Promise<void> {
  const accepting = beginAccepting<true>({
    stream: client,
    timers: services.timers,
    hostKeys: services.hostKeys.map(({ certificate, key }) => certificateKey(certificate, key)),
    async authorize({ certificate }) {
      const no = await services.admit(certificate.raw)
      return no === undefined ? true : new LoginRefused(forbidden(no), false)
    },
    unproved: () => services.unproved(),
    serve: () => new Jump(services),
  })
  const end = (): void => {
    const sentence = forbidden(String(signal.reason))
    accepting.stop(sentence)
    accepting.accepted.then(
      ({ connection }) => connection.end(undefined, sentence),
      () => undefined,
    )
  }
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  try {
    const { connection } = await accepting.accepted
    await connection.closed
  } catch {
    // Not let in. Who it was and why not is the thread's to tell; the client has heard it.
  } finally {
    signal.removeEventListener('abort', end)
    await accepting.gone
  }
}

class Jump implements ConnectionHandlers {
  readonly #services: JumpServices

  constructor(services: JumpServices) {
    this.#services = services
  }

  readonly open = (opening: ChannelOpening): void => {
    const { kind } = opening
    if (kind.kind === 'direct-tcpip') void this.#carry(opening, kind.to.host)
    else if (kind.kind === 'session') explain(opening)
    else opening.refuse('prohibited', 'only connections to nodes')
  }

  async #carry(opening: ChannelOpening, node: string): Promise<void> {
    let stream: ByteStream
    try {
      stream = await this.#services.open(node)
    } catch (error) {
      return opening.refuse('connectFailed', failed('the node is not reached', error))
    }
    await join(opening.accept(), stream)
  }
}

/** Until both directions are over, whichever way. */
async function join(channel: SshChannel, stream: ByteStream): Promise<void> {
  const over = new Error('the other side is gone')
  const nothing = (): undefined => undefined
  void channel.closed.then(() => stream.abort(over))
  try {
    await Promise.all([
      feed(channel, stream, nothing),
      pour(stream, channel, nothing).then(() => channel.end()),
    ])
  } catch {
    stream.abort(over)
  }
  channel.close()
}

function explain(opening: ChannelOpening): void {
  const channel = opening.accept(({ kind }) => {
    if (kind !== 'shell' && kind !== 'exec') return kind === 'pty' || kind === 'env'
    void channel
      .write(Buffer.from(onStderr(NO_SHELL)), true)
      .then(() => channel.finish({ kind: 'status', code: 1 }))
      .catch(() => undefined)
    return true
  })
}
