// Machines for tests. `FakeMachine` runs nothing: the test holds the other end of everything that is started, connected or awaited.
// `LocalMachine` runs commands as whoever runs the tests, for real clients; its terminals are pipes. Neither polices anything.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'

import type {
  Connected,
  Exit,
  Listening,
  Machine,
  Place,
  Program,
  ProgramRequest,
  WindowSize,
} from '../../core/ssh/machine.ts'
import type { ByteStream } from '../../core/stream.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { duplexStream } from './duplex.fixture.ts'

/** A program that the test plays. */
export class FakeProgram implements Program {
  readonly request: ProgramRequest
  readonly io: ByteStream
  readonly stderr?: ByteStream
  readonly exit: Promise<Exit>
  /** The test's ends. */
  readonly inside: ByteStream
  readonly errors: ByteStream
  readonly sizes: WindowSize[] = []
  readonly signals: string[] = []
  readonly hungUp: Promise<void>
  readonly #resolve: (exit: Exit) => void
  readonly #hangUp: () => void

  constructor(request: ProgramRequest) {
    this.request = request
    ;[this.io, this.inside] = streamPair()
    const [stderr, errors] = streamPair()
    this.errors = errors
    if (request.pty === undefined) this.stderr = stderr
    const { promise, resolve } = Promise.withResolvers<Exit>()
    this.exit = promise
    this.#resolve = resolve
    const hungUp = Promise.withResolvers<void>()
    this.hungUp = hungUp.promise
    this.#hangUp = hungUp.resolve
  }

  resize(size: WindowSize): void {
    this.sizes.push(size)
  }

  signal(name: string): void {
    this.signals.push(name)
  }

  end(): void {
    this.#hangUp()
    this.#resolve({ kind: 'signal', name: 'HUP', core: false, text: '' })
    this.inside.abort(new Error('hung up'))
  }

  /** Its output ends, then it does. */
  async finish(exit: Exit | number): Promise<void> {
    this.#resolve(typeof exit === 'number' ? { kind: 'status', code: exit } : exit)
    await this.inside.end()
    await this.errors.end()
  }
}

export interface FakeListener extends Listening {
  readonly at: Place | 'agent' | 'x11'
  readonly connected: Connected
  closed: boolean
}

export class FakeMachine implements Machine {
  readonly listeners: FakeListener[] = []
  readonly connections: { readonly to: Place; readonly far: ByteStream }[] = []
  /** What the next call rejects with. */
  failure: Error | undefined
  ended = false
  readonly #programs: FakeProgram[] = []
  #wanted: ((program: FakeProgram) => void)[] = []

  async start(request: ProgramRequest): Promise<Program> {
    this.#fail()
    const program = new FakeProgram(request)
    const wanted = this.#wanted.shift()
    if (wanted === undefined) this.#programs.push(program)
    else wanted(program)
    return await Promise.resolve(program)
  }

  /** The next program that is started. */
  program(): Promise<FakeProgram> {
    const program = this.#programs.shift()
    if (program !== undefined) return Promise.resolve(program)
    return new Promise((resolve) => this.#wanted.push(resolve))
  }

  async connect(to: Place): Promise<ByteStream> {
    this.#fail()
    const [near, far] = streamPair()
    this.connections.push({ to, far })
    return await Promise.resolve(near)
  }

  listen(at: Place, connected: Connected): Promise<Listening> {
    return this.#listen(at, connected)
  }

  async agentSocket(connected: Connected): Promise<FakeListener & { readonly path: string }> {
    return Object.assign(await this.#listen('agent', connected), { path: '/run/agent.sock' })
  }

  async x11(_request: object, connected: Connected): Promise<FakeListener & { display: string }> {
    return Object.assign(await this.#listen('x11', connected), { display: 'localhost:10.0' })
  }

  end(): void {
    this.ended = true
    for (const { far } of this.connections) far.abort(new Error('the machine ended'))
  }

  async #listen(at: FakeListener['at'], connected: Connected): Promise<FakeListener> {
    this.#fail()
    const port = typeof at === 'object' && at.kind === 'tcp' ? at.port || 4321 : 0
    const listener: FakeListener = {
      at,
      connected,
      port,
      closed: false,
      close: () => {
        listener.closed = true
      },
    }
    this.listeners.push(listener)
    return await Promise.resolve(listener)
  }

  #fail(): void {
    const { failure } = this
    this.failure = undefined
    if (failure !== undefined) throw failure
  }
}

/** Runs with /bin/sh; its sockets lie in `folder`. */
export class LocalMachine implements Machine {
  readonly #folder: string
  readonly #undo: (() => void)[] = []
  readonly requests: ProgramRequest[] = []
  #sockets = 0

  constructor(folder: string) {
    this.#folder = folder
  }

  start(request: ProgramRequest): Promise<Program> {
    this.requests.push(request)
    const { program, env, pty } = request
    const size = pty === undefined ? '' : `${pty.size.columns}x${pty.size.rows}`
    const command =
      program.kind === 'exec'
        ? Buffer.from(program.command).toString()
        : program.kind === 'shell'
          ? `echo ${size}; exec sh`
          : 'exec /usr/lib/openssh/sftp-server'
    const child = spawn('/bin/sh', ['-c', command], {
      env: { PATH: process.env['PATH'], ...env },
      detached: true,
    })
    const local = new LocalProgram(child)
    this.#undo.push(() => local.end())
    return Promise.resolve(local)
  }

  connect(to: Place): Promise<ByteStream> {
    const { promise, resolve, reject } = Promise.withResolvers<ByteStream>()
    const where = to.kind === 'tcp' ? { host: to.host, port: to.port } : { path: to.path }
    const socket = connect({ ...where, allowHalfOpen: true })
    socket.once('connect', () => resolve(socketStream(socket)))
    socket.once('error', () => reject(new Error('nobody listens there')))
    this.#undo.push(() => socket.destroy())
    return promise
  }

  listen(at: Place, connected: Connected): Promise<Listening> {
    return this.#listen(at.kind === 'tcp' ? { host: '127.0.0.1', port: at.port } : at, connected)
  }

  async agentSocket(connected: Connected): Promise<Listening & { readonly path: string }> {
    const path = join(this.#folder, `agent-${this.#sockets++}`)
    return { ...(await this.#listen({ path }, connected)), path }
  }

  async x11(_request: object, connected: Connected): Promise<Listening & { display: string }> {
    const listening = await this.#listen({ host: '127.0.0.1', port: 0 }, connected)
    return { ...listening, display: `127.0.0.1:${listening.port - 6000}` }
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo()
  }

  #listen(
    at: { readonly path: string } | { readonly host: string; readonly port: number },
    connected: Connected,
  ): Promise<Listening> {
    const { promise, resolve, reject } = Promise.withResolvers<Listening>()
    const server = createServer({ allowHalfOpen: true }, (socket: Socket) => {
      this.#undo.push(() => socket.destroy())
      const { remoteAddress = '127.0.0.1', remotePort = 0 } = socket
      connected(socketStream(socket), { host: remoteAddress, port: remotePort })
    })
    const close = (): void => void server.close()
    server.once('error', reject)
    server.listen('path' in at ? { path: at.path } : at, () => {
      const address = server.address() as AddressInfo | string
      resolve({ port: typeof address === 'string' ? 0 : address.port, close })
    })
    this.#undo.push(close)
    return promise
  }
}

class LocalProgram implements Program {
  readonly io: ByteStream
  readonly stderr: ByteStream
  readonly exit: Promise<Exit>
  readonly #child: ChildProcessWithoutNullStreams

  constructor(child: ChildProcessWithoutNullStreams) {
    this.#child = child
    this.io = duplexStream(child.stdout, child.stdin)
    this.stderr = duplexStream(child.stderr, undefined)
    this.exit = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        const name = (signal ?? '').replace(/^SIG/, '')
        if (code === null) resolve({ kind: 'signal', name, core: false, text: '' })
        else resolve({ kind: 'status', code })
      })
    })
  }

  resize(): void {}

  signal(name: string): void {
    this.#kill(`SIG${name}` as NodeJS.Signals)
  }

  end(): void {
    this.#kill('SIGHUP')
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    // The group of its own that it leads.
    process.kill(-pid, signal)
  }
}
