// Forwarded ports of one SSH connection, and the ssh-agent behind it. Ports of this machine (-L, -D) listen here and open channels;
// ports of the node (-R) are asked for, and what arrives there is joined with what was named, nothing else. `close` ends all of it.

import { once } from 'node:events'
import net from 'node:net'

import { max } from '../../core/limits.ts'
import { CommandError, EXIT } from '../exit.ts'
import type { ChannelOpening, SshConnection } from '../../protocols/ssh/client.ts'
import type { End, Forward } from './forward-spec.ts'
import { joinChannel } from './join-channel.ts'
import { readGreeting, readRequest, type SocksReading, writeReply } from './socks.ts'

export interface ForwardOptions {
  readonly local: readonly Forward[]
  readonly remote: readonly Forward[]
  readonly dynamic: readonly End[]
  /** Socket of the person's ssh-agent; absent: the node gets none. */
  readonly agentSocket?: string
  /** What goes wrong with one connection, in a sentence. */
  readonly failed: (text: string) => void
}

export class Forwards {
  readonly #options: ForwardOptions
  readonly #servers: net.Server[] = []
  readonly #sockets = new Set<net.Socket>()
  /** What the node was asked to listen on, as it names it. */
  readonly #remote = new Map<string, End>()

  constructor(options: ForwardOptions) {
    this.#options = options
  }

  /** Listens here and asks the node. Throws when a port cannot be had: a command that needs it must not run without. */
  async start(connection: SshConnection): Promise<void> {
    for (const { from, to } of this.#options.local)
      await this.#listen(from, (socket) => this.#forward(connection, socket, to))
    for (const from of this.#options.dynamic)
      await this.#listen(from, (socket) => this.#socks(connection, socket))
    for (const { from, to } of this.#options.remote) {
      const { granted, port } = await connection.ask({ kind: 'tcpip-forward', at: from })
      if (!granted)
        throw new CommandError(
          `the node does not let you listen on its port ${from.port}`,
          EXIT.denied,
          'The port may be taken, or your roles may not allow it (ssh_port_forwarding).',
        )
      const real = from.port === 0 ? (port ?? 0) : from.port
      this.#remote.set(`${from.host}:${real}`, to)
      if (from.port === 0) this.#options.failed(`The node chose its port ${real}.`)
    }
  }

  /** The node opens a channel: only what was asked for is accepted. */
  readonly open = (opening: ChannelOpening): void => {
    const { kind } = opening
    const { agentSocket } = this.#options
    if (kind.kind === 'auth-agent' && agentSocket !== undefined)
      this.#accept(opening, net.connect({ path: agentSocket, allowHalfOpen: true }))
    else if (kind.kind === 'forwarded-tcpip') {
      const to = this.#remote.get(`${kind.to.host}:${kind.to.port}`)
      if (to === undefined) opening.refuse('prohibited', 'nobody asked for that port')
      else this.#accept(opening, net.connect({ ...to, allowHalfOpen: true, noDelay: true }))
    } else opening.refuse('prohibited', 'not asked for')
  }

  close(): void {
    for (const server of this.#servers.splice(0)) server.close()
    for (const socket of this.#sockets) socket.destroy()
    this.#remote.clear()
  }

  async #listen(at: End, serve: (socket: net.Socket) => Promise<void>): Promise<void> {
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#keep(socket)
      void serve(socket).catch((error: unknown) => {
        this.#options.failed(`A forwarded connection failed: ${reasonOf(error)}`)
        socket.destroy()
      })
    })
    server.maxConnections = max('localProxyConnectionsMax')
    this.#servers.push(server)
    server.listen({ port: at.port, ...(at.host === '' ? {} : { host: at.host }) })
    await once(server, 'listening').catch((cause: unknown) => {
      throw new CommandError(
        `cannot listen on ${at.host}:${at.port}: ${reasonOf(cause)}`,
        EXIT.failure,
        'Choose another port.',
      )
    })
  }

  async #forward(connection: SshConnection, socket: net.Socket, to: End): Promise<void> {
    const channel = await connection.open({ kind: 'direct-tcpip', to, from: originOf(socket) })
    await joinChannel(channel, socket)
  }

  async #socks(connection: SshConnection, socket: net.Socket): Promise<void> {
    const deadline = setTimeout(() => socket.destroy(), max('handshakeDeadlineMs'))
    const greeting = await next(socket, readGreeting).finally(() => clearTimeout(deadline))
    if (greeting === undefined) return
    socket.write(greeting.answer)
    const requestBy = setTimeout(() => socket.destroy(), max('handshakeDeadlineMs'))
    const request = await next(socket, readRequest).finally(() => clearTimeout(requestBy))
    if (request === undefined) return
    const wanted = { kind: 'direct-tcpip', to: request.value, from: originOf(socket) } as const
    const channel = await connection.open(wanted).catch((error: unknown) => {
      socket.end(writeReply('unreachable'))
      throw error
    })
    socket.write(request.answer)
    await joinChannel(channel, socket)
  }

  #accept(opening: ChannelOpening, socket: net.Socket): void {
    this.#keep(socket)
    const refuse = (): void => opening.refuse('connectFailed', 'it cannot be reached')
    socket.once('error', refuse)
    socket.once('connect', () => {
      socket.off('error', refuse)
      void joinChannel(opening.accept(), socket)
    })
  }

  #keep(socket: net.Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }
}

/** Reads until it is understood; what follows is put back. Undefined: bad, answered and closed, or gone. */
async function next<T>(
  socket: net.Socket,
  reader: (bytes: Uint8Array) => SocksReading<T>,
): Promise<{ value: T; answer: Uint8Array } | undefined> {
  let held: Buffer = Buffer.alloc(0)
  for (;;) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) break
      await change(socket)
      continue
    }
    held = Buffer.concat([held, chunk])
    const reading = reader(held)
    if (reading.verdict === 'more') continue
    if (reading.verdict === 'bad') {
      socket.end(reading.answer)
      return undefined
    }
    if (held.length > reading.end) socket.unshift(held.subarray(reading.end))
    return reading
  }
  socket.destroy()
  return undefined
}

function change(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      for (const name of CHANGES) socket.off(name, settle)
      resolve()
    }
    for (const name of CHANGES) socket.on(name, settle)
  })
}

const CHANGES = ['readable', 'end', 'close'] as const

function originOf(socket: net.Socket): End {
  return { host: socket.remoteAddress ?? '127.0.0.1', port: socket.remotePort ?? 0 }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
