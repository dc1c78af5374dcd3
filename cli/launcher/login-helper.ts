// What is opened as a login, for the agent: connections, listeners, the socket of a forwarded ssh-agent, a display. Each on a
// connection of its own that the agent makes; bytes are joined here and never looked at. What a connection asked for ends with it,
// and what it may hold is bounded, for all of the login together.

import net from 'node:net'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Place } from '../../core/ssh/machine.ts'
import type { ByteStream } from '../../core/stream.ts'
import { readMessage, writeMessage } from '../../workers/framed.ts'
import {
  type HelperAnswer,
  helperRequest,
  type HelperRequest,
  type WireEnd,
} from '../../workers/launch-wire.ts'
import { sentenceOf } from '../../workers/local-socket.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { splice } from '../../workers/splice.ts'
import { openAgentSocket } from './agent-socket.ts'
import { openDisplay } from './display.ts'
import { closeServer, listenOn, newServer, type Opened } from './opened.ts'
import { Takings } from './takings.ts'

interface Accepted {
  readonly socket: net.Socket
  /** It is its listener's no more. */
  readonly taken: () => void
}

export class Helper {
  readonly #takings = new Takings<Accepted>('helperWaitingMax', 'helperTakeMs')
  /** What listens, each with its removal once that began. */
  readonly #listening = new Map<Opened, Promise<void> | undefined>()
  #open = 0

  /** Sockets of all kinds. */
  get open(): number {
    return this.#open
  }

  /** One connection of the agent, from its first word to its end. */
  async serve(stream: ByteStream): Promise<void> {
    if (this.#open >= max('helperSocketsMax'))
      return await answer(stream, failed('Too much is open for this login: helperSocketsMax.'))
    this.#open += 1
    try {
      const request = await readMessage(stream, helperRequest, 'helperMessageBytesMax')
      if (request !== undefined) await this.#do(stream, request)
    } finally {
      this.#open -= 1
    }
  }

  /** Nothing listens any more, and nothing is left in the file system. */
  async end(): Promise<void> {
    await Promise.all([...this.#listening.keys()].map((opened) => this.#remove(opened)))
  }

  async #do(stream: ByteStream, request: HelperRequest): Promise<void> {
    switch (request.kind) {
      case 'connect':
        return await this.#connect(stream, request.to)
      case 'listen':
        return await this.#listen(stream, () => openPlace(request.at))
      case 'agent':
        return await this.#listen(stream, openAgentSocket)
      case 'x11':
        return await this.#listen(stream, () => openDisplay(request))
      case 'take':
        return await this.#taken(stream, request.key)
    }
  }

  async #connect(stream: ByteStream, to: Place): Promise<void> {
    let socket: net.Socket
    try {
      socket = await dial(to)
    } catch (error) {
      return await answer(stream, failed(sentenceOf(error, 'The connection could not be made.')))
    }
    await answer(stream, { kind: 'open' })
    await splice(stream, socketStream(socket))
  }

  async #taken(stream: ByteStream, key: string): Promise<void> {
    const accepted = this.#takings.take(key)
    if (accepted === undefined) return await answer(stream, failed('No connection waits for that.'))
    const { socket, taken } = accepted
    taken()
    await answer(stream, { kind: 'open' })
    await splice(stream, socketStream(socket))
  }

  async #listen(stream: ByteStream, open: () => Promise<Opened>): Promise<void> {
    let opened: Opened
    try {
      opened = await open()
    } catch (error) {
      return await answer(stream, failed(sentenceOf(error, 'This machine does not listen there.')))
    }
    this.#listening.set(opened, undefined)
    const waiting = new Set<net.Socket>()
    opened.server.on('connection', (socket) => this.#offer(stream, socket, waiting))
    try {
      const { port, path, display } = opened
      await answer(stream, { kind: 'listening', port, path, display })
      // It says no more; its end is the listener's.
      await stream.read().catch(() => undefined)
    } finally {
      for (const socket of waiting) socket.destroy()
      await this.#remove(opened)
    }
  }

  async #remove(opened: Opened): Promise<void> {
    const removal = this.#listening.get(opened) ?? opened.remove()
    this.#listening.set(opened, removal)
    await removal.finally(() => this.#listening.delete(opened))
  }

  /** Told to the agent, which comes for it on a connection of its own, or it is closed. */
  #offer(stream: ByteStream, socket: net.Socket, waiting: Set<net.Socket>): void {
    const drop = (): void => void socket.destroy()
    const taken = (): void => void waiting.delete(socket)
    socket.on('error', drop)
    const room = this.#open < max('helperSocketsMax')
    const key = room ? this.#takings.put({ socket, taken }, drop) : undefined
    if (key === undefined) return drop()
    waiting.add(socket)
    this.#open += 1
    socket.once('close', () => {
      this.#open -= 1
      this.#takings.take(key)
      taken()
    })
    answer(stream, { kind: 'accepted', key, from: endOf(socket) }).catch(drop)
  }
}

function dial(to: Place): Promise<net.Socket> {
  const where =
    to.kind === 'unix'
      ? { path: to.path }
      : { host: to.host, port: to.port, autoSelectFamily: true }
  return new Promise((resolve, reject) => {
    const socket = net.connect({ ...where, allowHalfOpen: true })
    const timer = setTimeout(
      () => socket.destroy(new Error('helperConnectMs passed')),
      max('helperConnectMs'),
    )
    socket.once('error', (cause) => {
      clearTimeout(timer)
      reject(unreachable(cause))
    })
    socket.once('connect', () => {
      clearTimeout(timer)
      resolve(socket)
    })
  })
}

function unreachable(cause: Error): ProxyError {
  const code = 'code' in cause ? String(cause.code) : 'no answer'
  return new ProxyError('dial.failed', `The connection failed: ${code}.`, { cause })
}

async function openPlace(at: Place): Promise<Opened> {
  const server = newServer()
  await listenOn(server, at.kind === 'unix' ? { path: at.path } : { host: at.host, port: at.port })
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const path = at.kind === 'unix' ? at.path : ''
  return { server, port, path, display: '', remove: async () => closeServer(server) }
}

function endOf(socket: net.Socket): WireEnd {
  return { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
}

function failed(reason: string): HelperAnswer {
  return { kind: 'failed', reason }
}

function answer(stream: ByteStream, message: HelperAnswer): Promise<void> {
  return writeMessage(stream, message)
}
