// The target's side: another SSH server as the machine of a session, an agent of ours or a stock sshd. What the session asks of a machine is
// asked of that server over one connection, as the login; what a client lends is lent on. Whom to trust comes as an argument.

import { ProxyError } from '../../core/errors.ts'
import type {
  Connected,
  Exit,
  Listening,
  Machine,
  Place,
  Program,
  ProgramRequest,
} from '../../core/ssh/machine.ts'
import type { SshServerAccess, SshSessionTimers } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'
import { ChannelOutputs, channelStream } from './channel-stream.ts'
import type { SshChannel } from './transport/channel.ts'
import { connectSsh } from './transport/connect.ts'
import type { ChannelOpening, ConnectionHandlers, SshConnection } from './transport/connection.ts'
import { certificateKey, hostVerifier } from './transport/host-key.ts'
import type { ChannelRequest, GlobalRequest } from './transport/requests.ts'

/** Logs in to the server. Rejects with a sentence that may be shown. */
export async function connectMachine(
  access: SshServerAccess,
  login: string,
  timers: SshSessionTimers,
  nowMs: () => number,
): Promise<Machine> {
  const machine = new ServerMachine()
  const { stream, key, hostCas, hostName } = access
  const { connection } = await connectSsh({
    stream,
    timers,
    user: login,
    key: key === undefined ? undefined : certificateKey(key.certificate, key.key),
    verifyHost: hostVerifier(hostCas, hostName, nowMs),
    handlers: machine,
  })
  machine.use(connection)
  return machine
}

type X11Request = Extract<ChannelRequest, { kind: 'x11' }>
type Forward = Extract<GlobalRequest, { kind: 'tcpip-forward' | 'streamlocal-forward' }>

/** These two are no variables of that server's programs: it is asked for the thing itself. */
const AGENT_VARIABLE = 'SSH_AUTH_SOCK'
const DISPLAY_VARIABLE = 'DISPLAY'
const NOWHERE = { host: '127.0.0.1', port: 0 }

class ServerMachine implements Machine, ConnectionHandlers {
  #connection: SshConnection | undefined
  #agent: Connected | undefined
  /** By the display that the session was told. */
  readonly #displays = new Map<string, { readonly request: X11Request; connected: Connected }>()
  readonly #listeners = new Map<string, Connected>()

  use(connection: SshConnection): void {
    this.#connection = connection
  }

  async start(request: ProgramRequest): Promise<Program> {
    const connection = this.#connected
    const channel = await connection.open({ kind: 'session' })
    try {
      await this.#prepare(channel, request)
      const { program } = request
      if (await channel.request(program)) return new ServerProgram(channel, connection)
      throw new ProxyError('dial.failed', 'The server does not run it.', { side: 'target' })
    } catch (error) {
      channel.close()
      throw error
    }
  }

  async connect(to: Place): Promise<ByteStream> {
    const kind =
      to.kind === 'tcp'
        ? ({ kind: 'direct-tcpip', to, from: NOWHERE } as const)
        : ({ kind: 'direct-streamlocal', path: to.path } as const)
    return channelStream(await this.#connected.open(kind))
  }

  async listen(at: Place, connected: Connected): Promise<Listening> {
    const request: Forward =
      at.kind === 'tcp'
        ? { kind: 'tcpip-forward', at: { host: at.host, port: at.port } }
        : { kind: 'streamlocal-forward', path: at.path }
    const { granted, port } = await this.#connected.ask(request)
    if (!granted)
      throw new ProxyError('dial.failed', 'The server does not listen there.', { side: 'target' })
    const chosen = at.kind === 'tcp' ? (port ?? at.port) : 0
    const name = at.kind === 'tcp' ? String(chosen) : at.path
    this.#listeners.set(name, connected)
    return { port: chosen, close: () => this.#unlisten(name, request, chosen) }
  }

  agentSocket(connected: Connected): Promise<Listening & { readonly path: string }> {
    this.#agent = connected
    const close = (): void => {
      this.#agent = undefined
    }
    return Promise.resolve({ path: 'forwarded', port: 0, close })
  }

  x11(
    request: { readonly protocol: string; readonly cookie: string; readonly screen: number },
    connected: Connected,
  ): Promise<Listening & { readonly display: string }> {
    const display = `:${this.#displays.size}`
    this.#displays.set(display, { request: { kind: 'x11', single: false, ...request }, connected })
    return Promise.resolve({ display, port: 0, close: () => this.#displays.delete(display) })
  }

  end(): void {
    this.#connection?.end()
    this.#agent = undefined
    this.#displays.clear()
    this.#listeners.clear()
  }

  /** What the server opens towards the client. What nobody asked for is refused. */
  open(opening: ChannelOpening): void {
    const found = this.#receiverOf(opening)
    if (found === undefined) return opening.refuse('prohibited', 'nobody asked for it')
    const { receive, from } = found
    return receive(channelStream(opening.accept()), from)
  }

  #receiverOf({
    kind,
  }: ChannelOpening): { receive: Connected; from: { host: string; port: number } } | undefined {
    switch (kind.kind) {
      case 'auth-agent':
        return this.#agent && { receive: this.#agent, from: NOWHERE }
      case 'x11': {
        // Displays of one connection are one client's; a server does not say which one it means.
        const display = [...this.#displays.values()].at(-1)
        return display && { receive: display.connected, from: kind.from }
      }
      case 'forwarded-tcpip': {
        const receive = this.#listeners.get(String(kind.to.port))
        return receive && { receive, from: kind.from }
      }
      case 'forwarded-streamlocal': {
        const receive = this.#listeners.get(kind.path)
        return receive && { receive, from: NOWHERE }
      }
      case 'session':
      case 'direct-tcpip':
      case 'direct-streamlocal':
        return undefined
    }
  }

  get #connected(): SshConnection {
    if (this.#connection === undefined)
      throw new ProxyError('dial.failed', 'The connection to the server is not up.')
    return this.#connection
  }

  /** Terminal, variables and what is lent, before the program. */
  async #prepare(channel: SshChannel, { pty, env }: ProgramRequest): Promise<void> {
    if (pty !== undefined && !(await channel.request({ kind: 'pty', ...pty })))
      throw new ProxyError('dial.failed', 'The server gives no terminal.', { side: 'target' })
    for (const [name, value] of Object.entries(env))
      if (name === AGENT_VARIABLE) channel.notify({ kind: 'auth-agent' })
      else if (name === DISPLAY_VARIABLE) this.#lendDisplay(channel, value)
      else channel.notify({ kind: 'env', name, value })
  }

  #lendDisplay(channel: SshChannel, display: string): void {
    const found = this.#displays.get(display)
    if (found !== undefined) channel.notify(found.request)
  }

  #unlisten(name: string, request: Forward, port: number): void {
    if (!this.#listeners.delete(name)) return
    const cancel: GlobalRequest =
      'at' in request
        ? { kind: 'cancel-tcpip-forward', at: { host: request.at.host, port } }
        : { kind: 'cancel-streamlocal-forward', path: request.path }
    // A connection that is over listens to nothing any more.
    void this.#connection?.ask(cancel).catch(() => undefined)
  }
}

class ServerProgram implements Program {
  readonly io: ByteStream
  readonly stderr: ByteStream
  readonly exit: Promise<Exit>
  readonly #channel: SshChannel

  constructor(channel: SshChannel, connection: SshConnection) {
    const { output, stderr } = new ChannelOutputs(channel)
    this.io = output
    this.stderr = stderr
    this.#channel = channel
    this.exit = exitOf(channel, connection)
    // Whoever waits for it hears of it; nobody does while output is still read.
    this.exit.catch(() => undefined)
  }

  resize(size: Parameters<Program['resize']>[0]): void {
    this.#channel.notify({ kind: 'window-change', size })
  }

  signal(name: string): void {
    this.#channel.notify({ kind: 'signal', name })
  }

  end(): void {
    this.#channel.close()
  }
}

async function exitOf(channel: SshChannel, connection: SshConnection): Promise<Exit> {
  await channel.closed
  if (channel.exit !== undefined) return channel.exit
  const said = connection.farewell
  throw new ProxyError(
    'dial.failed',
    said === '' ? 'The program ended without a status, or the connection to its machine.' : said,
    { side: 'target' },
  )
}
