// One program on a node: a shell or a command, with or without a terminal. Input, output and errors are joined with ours, each with
// its own backpressure; a terminal is put into raw mode, its size followed, and given back at the end. Resolves with how it ended.

import type { Readable, Writable } from 'node:stream'

import { ProxyError } from '../../core/errors.ts'
import type { Exit, SshChannel, SshConnection, WindowSize } from '../../protocols/ssh/client.ts'
import type { Streams, Terminal } from '../streams.ts'
import { ESCAPE_HELP, Escapes, type Typed } from './escape.ts'

export interface SessionRequest {
  /** Absent: the login's shell. */
  readonly command?: Uint8Array
  /** Also without a terminal of ours. */
  readonly pty: boolean
  readonly env: Readonly<Record<string, string>>
  readonly forwardAgent: boolean
}

/** How `tsh ssh` ends: a program's status, 128 and more after a signal, as shells have it. */
export const LOST = 255

/** Runs it. Throws when the node refuses; resolves with the exit status. */
export async function runSession(
  connection: SshConnection,
  request: SessionRequest,
  streams: Streams,
): Promise<number> {
  const channel = await connection.open({ kind: 'session' })
  try {
    const terminal = request.pty ? streams.terminal : undefined
    await prepare(channel, request, terminal)
    const started = await channel.request(
      request.command === undefined
        ? { kind: 'shell' }
        : { kind: 'exec', command: request.command },
    )
    if (!started) throw refused(request.command === undefined ? 'a shell' : 'the command')
    return await attend(channel, streams, terminal)
  } finally {
    channel.close()
  }
}

async function prepare(
  channel: SshChannel,
  { pty, env, forwardAgent }: SessionRequest,
  terminal: Terminal | undefined,
): Promise<void> {
  if (forwardAgent && !(await channel.request({ kind: 'auth-agent' })))
    throw refused('agent forwarding')
  if (pty) {
    const granted = await channel.request({
      kind: 'pty',
      term: terminal?.name ?? 'xterm',
      size: sizeOf(terminal),
      modes: terminal?.modes() ?? Uint8Array.of(0),
    })
    if (!granted) throw refused('a terminal')
  }
  // A server says which it takes; the others are its business, as with OpenSSH.
  for (const [name, value] of Object.entries(env)) channel.notify({ kind: 'env', name, value })
}

async function attend(
  channel: SshChannel,
  streams: Streams,
  terminal: Terminal | undefined,
): Promise<number> {
  const input = new Input(streams, channel, terminal !== undefined)
  const undo = [
    () => input.stop(),
    ...(terminal === undefined
      ? []
      : [
          terminal.raw(),
          terminal.onResize(() =>
            channel.notify({ kind: 'window-change', size: sizeOf(terminal) }),
          ),
        ]),
  ]
  try {
    input.start()
    const told = pour(channel, streams).then(() => channel.closed)
    const ended = await Promise.race([told.then(() => false), input.ended.then(() => true)])
    return ended ? LOST : statusOf(channel.exit)
  } finally {
    for (const each of undo) each()
  }
}

/** Output to where it belongs; a reader of ours that is slow slows the node down. How the program ended may come behind it. */
async function pour(channel: SshChannel, { output, errors }: Streams): Promise<void> {
  for (let data = await channel.read(); data !== undefined; data = await channel.read())
    await write(data.stderr ? errors : output, data.bytes)
}

/** Resolves when the stream takes more. One that is gone is somebody's choice: the rest is dropped. */
export function write(stream: Writable, bytes: Uint8Array): Promise<void> {
  if (stream.destroyed || stream.write(bytes)) return Promise.resolve()
  return new Promise((resolve) => {
    const settle = (): void => {
      stream.off('drain', settle).off('close', settle).off('error', settle)
      resolve()
    }
    stream.on('drain', settle).on('close', settle).on('error', settle)
  })
}

/** What is typed or piped in, until the session is over. */
class Input {
  readonly #streams: Streams
  readonly #input: Readable
  readonly #channel: SshChannel
  readonly #escapes: Escapes | undefined
  /** Resolves when the person ends the session here: no answer of the node is waited for, there may be none. */
  readonly ended: Promise<void>
  readonly #finish: () => void

  constructor(streams: Streams, channel: SshChannel, terminal: boolean) {
    this.#streams = streams
    this.#input = streams.input
    this.#channel = channel
    this.#escapes = terminal ? new Escapes() : undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    this.#finish = resolve
  }

  start(): void {
    this.#input.on('data', this.#take).once('end', this.#end)
    this.#input.resume()
  }

  stop(): void {
    this.#input.off('data', this.#take).off('end', this.#end)
    this.#input.pause()
  }

  readonly #take = (chunk: Buffer): void => {
    this.#input.pause()
    void this.#pass(chunk)
  }

  readonly #end = (): void => void this.#channel.end()

  async #pass(chunk: Buffer): Promise<void> {
    const typed: readonly Typed[] = this.#escapes?.take(chunk) ?? [{ kind: 'bytes', bytes: chunk }]
    try {
      for (const each of typed) {
        if (each.kind === 'bytes') await this.#channel.write(each.bytes)
        else if (each.kind === 'help') await write(this.#streams.errors, Buffer.from(ESCAPE_HELP))
        else this.#finish()
      }
      this.#input.resume()
    } catch {
      // The channel takes no more: its end is told by whoever reads it.
    }
  }
}

function sizeOf(terminal: Terminal | undefined): WindowSize {
  const { columns, rows } = terminal?.size() ?? { columns: 80, rows: 24 }
  return { columns, rows, width: 0, height: 0 }
}

// Signals by the names that RFC 4254 section 6.10 gives them, with the numbers shells report.
const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  ABRT: 6,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
}

export function statusOf(exit: Exit | undefined): number {
  if (exit === undefined) return LOST
  return exit.kind === 'status' ? exit.code : 128 + (SIGNALS[exit.name] ?? 0)
}

function refused(what: string): ProxyError {
  return new ProxyError('policy.denied', `The node refuses ${what}.`, {
    side: 'target',
    next: 'Your roles, or the node, may not allow it: tsh ls shows the logins you may use.',
  })
}
