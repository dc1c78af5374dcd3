// A small SSH server on loopback for real clients: it lets in whom the user CA names, and runs commands with the login shell of
// whoever runs the tests. Forwardings go where they are asked to go. For tests alone: it polices nothing.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

import { judgeSshCertificate } from '../../../core/cert/ssh.ts'
import { publicBlob } from '../../../core/ssh/key.ts'
import type { Cleanup } from '../../../test/fixtures/files.ts'
import { listen } from '../../../test/fixtures/net.ts'
import { lentStream } from '../../../workers/lent-stream.ts'
import { socketStream } from '../../../workers/socket-stream.ts'
import { systemTimers } from '../../../workers/timers.ts'
import { acceptSsh, type ProvenLogin } from './accept.ts'
import type { SshChannel } from './channel.ts'
import type { ChannelOpening, ConnectionHandlers, SshConnection } from './connection.ts'
import type { HostKey } from './host-key.ts'
import { spoiled } from './openssh.fixture.ts'
import { hostKey, USER_CA } from './pair.fixture.ts'
import type { ChannelRequest, GlobalRequest, WindowSize } from './requests.ts'
import type { Handshake } from './transport.ts'

export interface TestServer {
  readonly port: number
  /** Of each client that was let in. */
  readonly handshakes: Handshake[]
  /** Why others were not. */
  readonly refusals: string[]
  /** Requests of sessions, in order. */
  readonly requests: ChannelRequest[]
}

export async function testServer(
  cleanup: Cleanup,
  keys: readonly HostKey[] = [hostKey()],
): Promise<TestServer> {
  const seen = { handshakes: [], refusals: [], requests: [] } as Omit<TestServer, 'port'>
  const { port } = await listen(cleanup, (socket) => {
    void acceptSsh<ProvenLogin>({
      stream: spoiled(lentStream(socket).stream),
      timers: systemTimers,
      hostKeys: keys,
      authorize: (login) => Promise.resolve(judge(login) ? login : undefined),
      serve: (_login, connection) => new Serving(connection, seen),
      banner: 'Welcome to the test.\r\n',
    }).then(
      ({ handshake }) => void seen.handshakes.push(handshake),
      (error: unknown) => void seen.refusals.push(error instanceof Error ? error.message : '?'),
    )
  })
  return { port, ...seen }
}

function judge({ certificate, user }: ProvenLogin): boolean {
  const cas = [publicBlob(USER_CA)]
  const wanted = { kind: 'user', cas, principal: user, critical: [] } as const
  return judgeSshCertificate(certificate, wanted, Date.now()) === undefined
}

class Serving implements ConnectionHandlers {
  readonly #connection: SshConnection
  readonly #seen: Omit<TestServer, 'port'>

  constructor(connection: SshConnection, seen: Omit<TestServer, 'port'>) {
    this.#connection = connection
    this.#seen = seen
  }

  readonly open = (opening: ChannelOpening): void => {
    const { kind } = opening
    if (kind.kind === 'session') new Session(opening, this.#seen)
    else if (kind.kind === 'direct-tcpip')
      forward(opening, connect({ host: kind.to.host, port: kind.to.port, allowHalfOpen: true }))
    else if (kind.kind === 'direct-streamlocal')
      forward(opening, connect({ path: kind.path, allowHalfOpen: true }))
    else opening.refuse('prohibited', 'not here')
  }

  /** `-R`: the answer is a port that nothing listens on; one connection comes to it at once. */
  readonly global = async (
    request: GlobalRequest,
  ): Promise<{ granted: boolean; port?: number }> => {
    if (request.kind !== 'tcpip-forward') return { granted: false }
    const to = { host: request.at.host, port: request.at.port }
    setImmediate(() => void greet(this.#connection, to).catch(() => undefined))
    await Promise.resolve()
    return { granted: true }
  }
}

async function greet(connection: SshConnection, to: { host: string; port: number }): Promise<void> {
  const from = { host: '192.0.2.1', port: 1024 }
  const channel = await connection.open({ kind: 'forwarded-tcpip', to, from })
  await channel.write(Buffer.from('hello through -R\n'))
  await channel.end()
}

class Session {
  readonly #channel: SshChannel
  readonly #env: Record<string, string> = {}
  #size: WindowSize | undefined

  constructor(opening: ChannelOpening, seen: Omit<TestServer, 'port'>) {
    this.#channel = opening.accept((request) => {
      seen.requests.push(request)
      return this.#request(request)
    })
  }

  #request(request: ChannelRequest): boolean {
    switch (request.kind) {
      case 'exec':
        this.#run(Buffer.from(request.command).toString())
        return true
      case 'env':
        this.#env[request.name] = request.value
        return request.name.startsWith('LC_')
      case 'pty':
      case 'window-change':
        this.#size = request.size
        return true
      case 'shell':
        this.#run(`echo ${this.#size?.columns ?? 0}x${this.#size?.rows ?? 0}; exec sh`)
        return true
      case 'subsystem':
        if (request.name !== 'sftp') return false
        this.#run('exec /usr/lib/openssh/sftp-server')
        return true
      case 'signal':
      case 'auth-agent':
      case 'x11':
        return false
    }
  }

  #run(command: string): void {
    const child = spawn('/bin/sh', ['-c', command], {
      env: { PATH: process.env['PATH'], ...this.#env },
    })
    child.stdin.on('error', () => undefined)
    void this.#carry(child)
  }

  async #carry(child: ChildProcessWithoutNullStreams): Promise<void> {
    const channel = this.#channel
    void channel.closed.then(() => child.kill('SIGHUP'))
    const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve) =>
      child.once('close', (code, signal) => resolve([code, signal])),
    )
    void feed(channel, child)
    await Promise.all([
      pour(child.stdout, (bytes) => channel.write(bytes)),
      pour(child.stderr, (bytes) => channel.write(bytes, true)),
    ])
    const [code, signal] = await ended
    const name = (signal ?? '').replace(/^SIG/, '')
    if (code === null) await channel.finish({ kind: 'signal', name, core: false, text: '' })
    else await channel.finish({ kind: 'status', code })
  }
}

async function feed(channel: SshChannel, child: ChildProcessWithoutNullStreams): Promise<void> {
  const gone = once(child.stdin, 'close')
  for (;;) {
    const data = await channel.read()
    if (data === undefined) break
    if (!child.stdin.writable) continue
    if (!child.stdin.write(data.bytes)) await Promise.race([once(child.stdin, 'drain'), gone])
  }
  child.stdin.end()
}

async function pour(
  from: AsyncIterable<Uint8Array>,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  try {
    for await (const bytes of from) await write(bytes)
  } catch {
    // The client has gone; its program is told by SIGHUP.
  }
}

function forward(opening: ChannelOpening, socket: Socket): void {
  socket.once('error', () => opening.refuse('connectFailed', 'no such place'))
  socket.once('connect', () => {
    const channel = opening.accept()
    const stream = socketStream(socket)
    void pour(socketBytes(stream), (bytes) => channel.write(bytes)).then(() => channel.end())
    void (async () => {
      for (let data = await channel.read(); data !== undefined; data = await channel.read())
        await stream.write(data.bytes)
      await stream.end()
      channel.close()
    })().catch(() => channel.close())
  })
}

async function* socketBytes(stream: ReturnType<typeof socketStream>): AsyncGenerator<Uint8Array> {
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read())
    yield bytes
}
