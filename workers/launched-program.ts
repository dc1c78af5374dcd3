// One program of a session, through the launcher: a connection for orders and for its exit, and its own connections, or those of a
// terminal, for bytes. A program that ended may have left others with its output: they keep the session only until they fall silent.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Exit, Program, ProgramRequest, Pty, WindowSize } from '../core/ssh/machine.ts'
import type { ByteStream } from '../core/stream.ts'
import { readMessage, writeMessage } from './framed.ts'
import {
  type LaunchAnswer,
  type LaunchAsk,
  launchAnswer,
  type LaunchPaths,
  type TerminalOrder,
  terminalAnswer,
} from './launch-wire.ts'
import { dialLocal } from './local-socket.ts'

export interface Launched {
  readonly program: Program
  /** Resolves when nothing of it is left here. */
  readonly over: Promise<void>
}

export async function startLaunched(
  paths: LaunchPaths,
  ask: LaunchAsk,
  request: ProgramRequest,
): Promise<Launched> {
  const opened: ByteStream[] = []
  const dial = async (path: string): Promise<ByteStream> => {
    const stream = await dialLocal(path)
    opened.push(stream)
    return stream
  }
  try {
    const { pty } = request
    return pty === undefined
      ? await startPlain(paths, ask, request, dial)
      : await startOnTerminal(paths, ask, request, pty, dial)
  } catch (error) {
    for (const stream of opened) stream.abort(hungUp())
    throw error
  }
}

type Dial = (path: string) => Promise<ByteStream>

async function startPlain(
  paths: LaunchPaths,
  ask: LaunchAsk,
  { program, env }: ProgramRequest,
  dial: Dial,
): Promise<Launched> {
  const control = await dial(paths.launcher)
  await writeMessage(control, { kind: 'program', ask, program, env })
  const streams = await next(control)
  if (streams.kind !== 'streams') throw refused(streams)
  // The launcher knows them by their order, which is that of these calls: each is in its queue before the next is made.
  const dialled = [dial(streams.path), dial(streams.path), dial(streams.path)] as const
  // One that comes after another failed is closed with the rest.
  await Promise.allSettled(dialled)
  const [input, output, stderr] = await Promise.all(dialled)
  const started = await next(control)
  if (started.kind !== 'started') throw refused(started)
  const running = new LaunchedProgram({ control, input, output, stderr })
  return { program: running, over: running.over }
}

async function startOnTerminal(
  paths: LaunchPaths,
  ask: LaunchAsk,
  { program, env }: ProgramRequest,
  { term, size, modes }: Pty,
  dial: Dial,
): Promise<Launched> {
  const terminal = await dial(paths.terminal)
  await writeMessage(terminal, { kind: 'open', size, modes })
  const opened = await readMessage(terminal, terminalAnswer, 'helperMessageBytesMax')
  if (opened?.kind !== 'terminal') throw failed(opened)
  const io = await dial(paths.terminal)
  await writeMessage(io, { kind: 'take', key: opened.key })
  const taken = await readMessage(io, terminalAnswer, 'helperMessageBytesMax')
  if (taken?.kind !== 'open') throw failed(taken)
  const control = await dial(paths.launcher)
  const place = { path: opened.path, term }
  await writeMessage(control, { kind: 'program', ask, program, env, terminal: place })
  const started = await next(control)
  if (started.kind !== 'started') throw refused(started)
  await writeMessage(terminal, { kind: 'started' })
  const running = new LaunchedProgram({ control, input: io, output: io, terminal })
  return { program: running, over: running.over }
}

async function next(control: ByteStream): Promise<LaunchAnswer> {
  const answer = await readMessage(control, launchAnswer, 'launchOrderBytesMax')
  if (answer === undefined) throw refused(undefined)
  return answer
}

interface Streams {
  readonly control: ByteStream
  /** A connection of its own, where there is no terminal: whoever leaves input unread breaks it, and keeps what it said. */
  readonly input: ByteStream
  readonly output: ByteStream
  readonly stderr?: ByteStream
  readonly terminal?: ByteStream
}

class LaunchedProgram implements Program {
  readonly io: Lingering
  readonly stderr?: Lingering
  readonly exit: Promise<Exit>
  readonly over: Promise<void>
  readonly #control: ByteStream
  readonly #terminal: ByteStream | undefined
  readonly #all: readonly ByteStream[]

  constructor({ control, input, output, stderr, terminal }: Streams) {
    this.#control = control
    this.#terminal = terminal
    this.io = new Lingering(output, input)
    if (stderr !== undefined) this.stderr = new Lingering(stderr, stderr)
    this.#all = [control, input, output, stderr, terminal].filter((stream) => stream !== undefined)
    this.over = Promise.all(this.#all.map(({ closed }) => closed)).then(() => {})
    this.exit = this.#awaitExit()
  }

  resize(size: WindowSize): void {
    this.#orderTerminal({ kind: 'resize', size })
  }

  signal(name: string): void {
    // A program that is gone hears nothing, and its connection is closed.
    writeMessage(this.#control, { kind: 'signal', name }).catch(() => {})
  }

  end(): void {
    for (const stream of this.#all) stream.abort(hungUp())
  }

  async #awaitExit(): Promise<Exit> {
    let exit = LAUNCHER_LOST
    try {
      const answer = await next(this.#control)
      if (answer.kind === 'exit') exit = answer.exit
    } catch {
      // The launcher is gone, and with it the knowledge how the program ends: what it says still comes.
      await this.io.readEnd
    }
    this.#endTerminal()
    this.#control.abort(hungUp())
    this.io.exited()
    this.stderr?.exited()
    return exit
  }

  /** What it still has to say is said first; then whoever holds it closes the connection, and so do we. */
  #endTerminal(): void {
    const terminal = this.#terminal
    if (terminal === undefined) return
    this.#orderTerminal({ kind: 'ended' })
    void terminal
      .read()
      .catch(() => undefined)
      .then(() => terminal.abort(hungUp()))
  }

  #orderTerminal(order: TerminalOrder): void {
    if (this.#terminal !== undefined) writeMessage(this.#terminal, order).catch(() => {})
  }
}

/** What ssh reports when it does not know. */
const LAUNCHER_LOST: Exit = { kind: 'status', code: 255 }

/**
 * A stream of a program. When the program ended, others may still hold it: then it ends for its reader after launchLingerMs without a
 * byte, and it is closed as soon as it was read to its end, for there is nobody left to write to.
 */
class Lingering implements ByteStream {
  readonly closed: Promise<void>
  /** Resolves when it was read to its end, or is closed. */
  readonly readEnd: Promise<void>
  readonly #stream: ByteStream
  readonly #input: ByteStream
  readonly #read = Promise.withResolvers<void>()
  #state: 'running' | 'exited' | 'silent' = 'running'
  #reading = false
  #timer: NodeJS.Timeout | undefined

  constructor(stream: ByteStream, input: ByteStream) {
    this.#stream = stream
    this.#input = input
    this.closed = Promise.all([stream.closed, input.closed]).then(() => {})
    this.readEnd = Promise.race([this.#read.promise, stream.closed])
  }

  /** The program ended. */
  exited(): void {
    this.#state = 'exited'
    // Nobody is left to write to, unless both are one.
    if (this.#input !== this.#stream) this.#input.abort(hungUp())
    if (this.#reading) this.#await()
    void this.#read.promise.then(() => this.#stream.abort(hungUp()))
  }

  async read(): Promise<Uint8Array | undefined> {
    this.#reading = true
    // Only while somebody reads: what waits here for a slow reader is no silence.
    if (this.#state === 'exited') this.#await()
    try {
      const chunk = await this.#stream.read()
      if (chunk === undefined) this.#read.resolve()
      return chunk
    } catch (error) {
      if (this.#state === 'silent') return undefined
      throw error
    } finally {
      this.#reading = false
      clearTimeout(this.#timer)
    }
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#input.write(bytes)
  }

  writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    return this.#input.writeAll?.(pieces) ?? this.#input.write(Buffer.concat(pieces))
  }

  release(chunk: Uint8Array): void {
    this.#stream.release?.(chunk)
  }

  unread(bytes: Uint8Array): void {
    this.#stream.unread(bytes)
  }

  end(): Promise<void> {
    return this.#input.end()
  }

  abort(cause: Error): void {
    this.#input.abort(cause)
    this.#stream.abort(cause)
  }

  #await(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#state = 'silent'
      this.#stream.abort(hungUp())
    }, max('launchLingerMs'))
  }
}

/** Why the launcher did nothing, in its own words. */
export function refused(answer: Said | undefined): ProxyError {
  if (answer?.kind === 'refused' && answer.reason !== undefined)
    return new ProxyError('policy.denied', answer.reason)
  return new ProxyError('dial.failed', 'The launcher of this machine ended the request.', {
    retry: true,
  })
}

interface Said {
  readonly kind: string
  readonly reason?: string
}

function failed(answer: Said | undefined): ProxyError {
  const reason = answer?.reason ?? 'This machine has no terminal for the session.'
  return new ProxyError('dial.failed', reason)
}

function hungUp(): ProxyError {
  return new ProxyError('dial.failed', 'The program was hung up.')
}
