// Pseudo terminals, held by a process of the agent's uid: opened, given their modes and size, their bytes copied both ways and never
// looked at. The launcher gives the other end to the login and starts the program on it; this process starts no program of a login.
// A terminal lives as long as the connection it was asked for on: its end hangs it up.

import { execFile } from 'node:child_process'
import { closeSync } from 'node:fs'
import { ReadStream } from 'node:tty'
import { promisify } from 'node:util'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { WindowSize } from '../../core/ssh/machine.ts'
import { sttyArguments } from '../../core/ssh/terminal-modes.ts'
import type { ByteStream } from '../../core/stream.ts'
import { readMessage, writeMessage } from '../../workers/framed.ts'
import {
  type TerminalAnswer,
  type TerminalOrder,
  terminalOrder,
  terminalRequest,
} from '../../workers/launch-wire.ts'
import { sentenceOf } from '../../workers/local-socket.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { Gathered } from './gathered.ts'
import type { PtyAddon } from './pty-addon.ts'
import { Takings } from './takings.ts'

const run = promisify(execFile)
const STTY = '/bin/stty'

export class Terminals {
  readonly #addon: PtyAddon
  readonly #takings = new Takings<Terminal>('terminalsMax', 'helperTakeMs')
  #open = 0

  constructor(addon: PtyAddon) {
    this.#addon = addon
  }

  get open(): number {
    return this.#open
  }

  /** One connection, from its first word to its end. */
  async serve(stream: ByteStream): Promise<void> {
    const request = await readMessage(stream, terminalRequest, 'helperMessageBytesMax')
    if (request === undefined) return
    if (request.kind === 'take') return await this.#taken(stream, request.key)
    if (this.#open >= max('terminalsMax'))
      return await answer(stream, failed('There are as many terminals as terminalsMax allows.'))
    this.#open += 1
    try {
      await this.#hold(stream, request.size, request.modes)
    } finally {
      this.#open -= 1
    }
  }

  async #taken(stream: ByteStream, key: string): Promise<void> {
    const terminal = this.#takings.take(key)
    if (terminal === undefined) return await answer(stream, failed('No terminal waits for that.'))
    await answer(stream, { kind: 'open' })
    await terminal.speakWith(stream)
  }

  async #hold(stream: ByteStream, size: WindowSize, modes: Uint8Array): Promise<void> {
    const terminal = new Terminal(this.#addon, size)
    let key: string | undefined
    try {
      await setModes(terminal.path, modes)
      key = this.#takings.put(terminal, () => terminal.hangUp())
      if (key === undefined) throw new ProxyError('limit.exceeded', 'Too many terminals wait.')
      await answer(stream, { kind: 'terminal', path: terminal.path, key })
      await obey(terminal, stream)
    } catch (error) {
      await answer(stream, failed(sentenceOf(error, 'The terminal could not be set up.')))
    } finally {
      if (key !== undefined) this.#takings.take(key)
      terminal.hangUp()
    }
  }
}

async function obey(terminal: Terminal, stream: ByteStream): Promise<void> {
  for (;;) {
    const order = await readMessage<TerminalOrder>(stream, terminalOrder, 'launchOrderBytesMax')
    if (order === undefined) return
    switch (order.kind) {
      case 'started':
        terminal.begin()
        break
      case 'resize':
        terminal.resize(order.size)
        break
      case 'ended':
        return await terminal.drained()
    }
  }
}

class Terminal {
  readonly path: string
  readonly #addon: PtyAddon
  readonly #master: ByteStream
  readonly #descriptor: number
  readonly #began = Promise.withResolvers<void>()
  readonly #finished = Promise.withResolvers<void>()
  #slave: number | undefined
  #open = true
  /** Bytes taken since the program ended; undefined before. */
  #last: number | undefined
  #silence: NodeJS.Timeout | undefined

  constructor(addon: PtyAddon, size: WindowSize) {
    this.#addon = addon
    const { master, slave, pty } = addon.open(size.columns, size.rows)
    this.path = pty
    this.#descriptor = master
    this.#slave = slave
    this.#master = socketStream(new ReadStream(master))
  }

  /** The program has its end. Until now ours keeps the terminal alive; from now on it is over when the program's last end is closed. */
  begin(): void {
    this.#closeSlave()
    this.#began.resolve()
  }

  resize({ columns, rows }: WindowSize): void {
    if (this.#open) this.#addon.resize(this.#descriptor, columns, rows)
  }

  /** Copies until the terminal is over. The client's end of input is none of a terminal's: it is said with a character. */
  async speakWith(client: ByteStream): Promise<void> {
    await this.#began.promise
    this.#hear(client).catch(() => this.hangUp())
    const gathered = new Gathered(client)
    try {
      for (let chunk = await this.#output(); chunk !== undefined; chunk = await this.#output()) {
        clearTimeout(this.#silence)
        await gathered.add(chunk)
        this.#awaitSilence(chunk.length)
      }
      await gathered.flush()
      await client.end()
    } finally {
      // Said, or nobody is there to hear it: either way nothing comes any more.
      this.hangUp()
    }
  }

  /** The program ended: resolves when what it said was passed on. */
  async drained(): Promise<void> {
    this.#last ??= 0
    this.#awaitSilence(0)
    await this.#finished.promise
  }

  hangUp(): void {
    if (!this.#open) return
    this.#open = false
    clearTimeout(this.#silence)
    this.#closeSlave()
    this.#master.abort(new ProxyError('dial.failed', 'The terminal was hung up.'))
    this.#began.resolve()
    this.#finished.resolve()
  }

  async #hear(client: ByteStream): Promise<void> {
    for (let chunk = await client.read(); chunk !== undefined; chunk = await client.read())
      await this.#master.write(chunk)
  }

  /** Reading fails with EIO once no process has the other end, which is this stream's way of ending. */
  async #output(): Promise<Uint8Array | undefined> {
    if (this.#last !== undefined && this.#last > max('terminalDrainBytesMax')) return undefined
    return await this.#master.read().catch(() => undefined)
  }

  /** Something may hold the terminal after its program: it is not waited for longer than it is silent. */
  #awaitSilence(bytes: number): void {
    if (this.#last === undefined || !this.#open) return
    this.#last += bytes
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => this.hangUp(), max('terminalDrainMs'))
  }

  #closeSlave(): void {
    if (this.#slave !== undefined) closeSync(this.#slave)
    this.#slave = undefined
  }
}

async function setModes(path: string, modes: Uint8Array): Promise<void> {
  if (modes.length > max('launchModesBytesMax'))
    throw new ProxyError('limit.exceeded', 'The terminal modes exceed launchModesBytesMax.')
  const settings = sttyArguments(modes)
  if (settings.length > 0) await run(STTY, ['-F', path, ...settings])
}

function failed(reason: string): TerminalAnswer {
  return { kind: 'failed', reason }
}

function answer(stream: ByteStream, message: TerminalAnswer): Promise<void> {
  return writeMessage(stream, message)
}
