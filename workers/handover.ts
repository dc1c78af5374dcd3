// Moves accepted sockets between threads: the one module that knows the handle under a socket. Node transfers TCP handles since
// 26.6 but documents it for unread sockets alone, so Node is pinned exactly and a self-test runs at start-up (handover-check.ts).
// It never lets two owners have one handle, and never clears a handle's `onread`: that aborts the process.

import net from 'node:net'
import type { Transferable } from 'node:worker_threads'

import { max } from '../core/limits.ts'
import type { SocketHandle } from '../core/messages.ts'

/** What lies under a net.Socket, as far as it is needed here. */
interface TcpHandle {
  reading: boolean
  readStop(): number
  close(): void
  getpeername(into: object): number
}

export interface Released {
  readonly handle: SocketHandle
  /** Bytes that were read ahead of what the caller has seen; they belong to whoever gets the handle. */
  readonly rest: Uint8Array
}

/** Where the bytes of an adopted relay socket go: `buffer` is asked for the next one, `callback` returns false to stop reading. */
export interface Reader {
  buffer(): Uint8Array
  callback(bytes: number, buffer: Uint8Array): boolean
}

const NOTHING: Uint8Array = new Uint8Array(0)

/**
 * Takes the handle out of a socket, which is empty and silent afterwards. Call it in the socket's `data` callback, or pass `rest`
 * on: bytes may have come in between. Undefined when the connection is gone already. Bytes still to be written would be lost
 * without an error, so they are a mistake of the caller's.
 */
export function release(socket: net.Socket): Released | undefined {
  const handle = handleOf(socket)
  if (handle === undefined) {
    socket.destroy()
    return undefined
  }
  if (socket.writableLength > 0) throw new RangeError('a socket with unsent bytes cannot move')
  // First of all: `read` below would hand what it finds to a `data` listener as well.
  socket.removeAllListeners()
  socket.on('error', ignore)
  const rest = readAll(socket)
  // After `read`, which starts the handle again.
  handle.readStop()
  handle.reading = false
  ;(socket as unknown as { _handle: TcpHandle | null })._handle = null
  socket.destroy()
  return { handle, rest }
}

/** A socket around a handle, with the bytes that were read before in front. Half-open: a FIN does not end our side. */
export function adopt(handle: SocketHandle, first: Uint8Array = NOTHING): net.Socket {
  const socket = new net.Socket(asOptions(handle, { allowHalfOpen: true }))
  // Not as an option: that only takes effect on sockets that connect.
  socket.setNoDelay(true)
  if (first.length > 0) socket.unshift(first)
  return socket
}

/**
 * Takes the listeners of whoever read first. By their names: `removeAllListeners()` without one lets a socket flow in the next tick,
 * also one that was paused meanwhile, and what comes before its next owner listens would be nobody's.
 */
export function unhear(socket: net.Socket): void {
  for (const event of ['data', 'end', 'close', 'error']) socket.removeAllListeners(event)
}

/** A socket whose bytes go to `reader` in buffers of its own choice. Reads nothing before `resume()`. */
export function adoptForRelay(handle: SocketHandle, reader: Reader): net.Socket {
  const socket = new net.Socket(
    asOptions(handle, { allowHalfOpen: true, manualStart: true, onread: reader }),
  )
  socket.setNoDelay(true)
  return socket
}

/** Closes a handle that nobody will adopt. */
export function discard(handle: SocketHandle): void {
  if (isTcpHandle(handle)) handle.close()
}

/** Says a last word and closes, whatever the peer does: for answers to connections that go no further. */
export function farewell(handle: SocketHandle, word: Uint8Array): void {
  lastWord(adopt(handle), word)
}

/** The same on a socket nobody reads any more. */
export function lastWord(socket: net.Socket, word: Uint8Array): void {
  const deadline = setTimeout(() => socket.destroy(), max('farewellMs'))
  socket.on('error', ignore)
  socket.on('close', () => clearTimeout(deadline))
  // Unread bytes would turn the close into a reset, which may overtake the word.
  socket.resume()
  socket.end(word)
}

/** The handle as an entry of a transfer list; Node moves it, its types do not know that. */
export function transferable(handle: SocketHandle): Transferable {
  return handle as Transferable
}

/** In one piece; a flowing socket yields a chunk per call. */
function readAll(socket: net.Socket): Uint8Array {
  const chunks: Uint8Array[] = []
  while (true) {
    const chunk: unknown = socket.read()
    if (!(chunk instanceof Uint8Array)) break
    chunks.push(chunk)
  }
  const [only = NOTHING] = chunks
  return chunks.length > 1 ? Buffer.concat(chunks) : only
}

function handleOf(socket: net.Socket): TcpHandle | undefined {
  if (socket.destroyed) return undefined
  const handle = (socket as unknown as { readonly _handle: unknown })._handle
  return isTcpHandle(handle) ? handle : undefined
}

function isTcpHandle(value: unknown): value is TcpHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    'readStop' in value &&
    'close' in value &&
    'getpeername' in value
  )
}

function asOptions(handle: SocketHandle, options: object): net.SocketConstructorOpts {
  return { ...options, handle, readable: true, writable: true } as net.SocketConstructorOpts
}

function ignore(): void {}
