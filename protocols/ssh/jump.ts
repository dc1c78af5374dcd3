// The outer SSH of `ssh -J user@proxy login@node`: a login certificate lets somebody in under any user name, and a connection to a node's
// name is what is done for them. What passes in it is another SSH, of theirs and the node's, and is not read. Whoever wants a shell
// is shown the nodes they may reach (node-list.ts); every other command, kind of channel and request is refused.

import type { JumpServices } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'
import { listText, readListCommand } from './node-list.ts'
import { feed, pour } from './pump.ts'
import { failed, forbidden, onStderr } from './refusal.ts'
import { beginAccepting, LoginRefused } from './transport/accept.ts'
import type { SshChannel } from './transport/channel.ts'
import type { ChannelOpening, ConnectionHandlers } from './transport/connection.ts'
import { certificateKey } from './transport/host-key.ts'
import type { ChannelRequest } from './transport/requests.ts'

const NO_COMMAND =
  'this is the way to nodes, and no node: "ls" lists those you may reach, "ssh -J" with this address leads to one'
const NO_LIST = 'your nodes cannot be listed'
const ONE_LIST = 'one list at a time: wait for the other one'

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
  /** One list is held at a time, until its reader has it. */
  #listing = false

  constructor(services: JumpServices) {
    this.#services = services
  }

  readonly open = (opening: ChannelOpening): void => {
    const { kind } = opening
    if (kind.kind === 'direct-tcpip') void this.#carry(opening, kind.to.host)
    else if (kind.kind === 'session') this.#answer(opening)
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

  /** A terminal and variables are taken note of; one command, or a shell in place of it, is answered. */
  #answer(opening: ChannelOpening): void {
    const asked = { terminal: false, begun: false }
    const channel = opening.accept((request) => {
      const { kind } = request
      if (kind === 'pty') asked.terminal = true
      if (kind !== 'shell' && kind !== 'exec') return kind === 'pty' || kind === 'env'
      if (asked.begun) return false
      asked.begun = true
      return () => void this.#run(channel, commandOf(request), asked.terminal)
    })
  }

  async #run(channel: SshChannel, command: string | undefined, terminal: boolean): Promise<void> {
    try {
      const code = await this.#print(channel, command, terminal)
      await channel.finish({ kind: 'status', code })
    } catch {
      // Its reader has left before the end.
      channel.close()
    }
  }

  /** The status of the command. Rejects when the channel takes no more. */
  async #print(
    channel: SshChannel,
    command: string | undefined,
    terminal: boolean,
  ): Promise<number> {
    const format = readListCommand(command)
    if (format === undefined) return await complain(channel, forbidden(NO_COMMAND))
    if (this.#listing) return await complain(channel, forbidden(ONE_LIST))
    this.#listing = true
    try {
      const list = await this.#services.list().catch((error: unknown) => failed(NO_LIST, error))
      if (typeof list === 'string') return await complain(channel, list)
      const text = listText(list, format)
      await channel.write(Buffer.from(terminal ? text.replaceAll('\n', '\r\n') : text))
      return 0
    } finally {
      this.#listing = false
    }
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

function commandOf(request: ChannelRequest): string | undefined {
  return request.kind === 'exec' ? Buffer.from(request.command).toString() : undefined
}

async function complain(channel: SshChannel, sentence: string): Promise<number> {
  await channel.write(Buffer.from(onStderr(sentence)), true)
  return 1
}
