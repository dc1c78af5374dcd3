// One end of a session as the performer sees it: a socket that may be swapped (TLS), bytes the session has not consumed yet,
// reasons not to read, and writes merged into one. It judges nothing. Data that arrives is the performer's to keep: Node never
// writes into a chunk it has delivered, so views of it may be written on without a copy.

import type net from 'node:net'
import tls from 'node:tls'

export interface SideHandlers {
  readonly data: (chunk: Uint8Array) => void
  /** The peer's last byte was delivered. */
  readonly ended: () => void
  /** The socket is gone: reset, closed, destroyed. */
  readonly gone: (error: Error | undefined) => void
  /** Everything written was taken. */
  readonly drained: () => void
}

const NOTHING = new Uint8Array(0)
/** Below this, pieces are copied into one write: a system call costs more than the copy. */
const MERGE_BYTES_MAX = 16 * 1024

export class SideStream {
  /** Bytes offered to the session and not consumed. While there are any, nothing more is read. */
  held: Uint8Array = NOTHING
  /** Bytes received, as the session sees them. */
  receivedBytes = 0
  readonly #handlers: SideHandlers
  #socket: net.Socket | undefined
  #lingering: net.Socket | undefined
  #error: Error | undefined
  #blocked = false
  /** Whether what is written stays together until the end of this tick. */
  #merges = false
  #corked = false

  constructor(handlers: SideHandlers) {
    this.#handlers = handlers
  }

  get attached(): boolean {
    return this.#socket !== undefined
  }

  get bufferedBytes(): number {
    return (this.#socket ?? this.#lingering)?.writableLength ?? 0
  }

  attach(socket: net.Socket): void {
    this.#socket = socket
    this.#error = undefined
    this.#merges = socket instanceof tls.TLSSocket
    socket.setNoDelay(true)
    socket.on('data', this.#data)
    socket.on('end', this.#ended)
    socket.on('error', this.#failed)
    socket.on('close', this.#closed)
    socket.on('drain', this.#drained)
    if (this.#blocked) socket.pause()
    else socket.resume()
    // It may have ended or died between two owners: its events are over then.
    if (socket.destroyed) process.nextTick(this.#closed)
    else if (socket.readableEnded) process.nextTick(this.#ended)
  }

  /** Gives the socket away with all bytes that arrived and were not consumed. Our listeners are gone afterwards. */
  detach(): { readonly socket: net.Socket; readonly rest: Uint8Array } | undefined {
    const socket = this.#socket
    if (socket === undefined) return undefined
    this.#socket = undefined
    socket.pause()
    this.#unlisten(socket)
    const parts = [this.held]
    for (let chunk = takeChunk(socket); chunk.length > 0; chunk = takeChunk(socket))
      parts.push(chunk)
    this.held = NOTHING
    return { socket, rest: joined(parts) }
  }

  /** Whether to read. Idempotent and cheap. */
  flow(reading: boolean): void {
    if (this.#blocked === !reading) return
    this.#blocked = !reading
    if (reading) this.#socket?.resume()
    else this.#socket?.pause()
  }

  /** Keep what the session has not consumed; it may come in several chunks. */
  hold(bytes: Uint8Array): void {
    this.held = joined([this.held, bytes])
  }

  takeHeld(): Uint8Array {
    const held = this.held
    this.held = NOTHING
    return held
  }

  /** One system call for what one chunk gave. */
  write(pieces: readonly Uint8Array[]): void {
    const socket = this.#socket
    const [first] = pieces
    if (socket === undefined || first === undefined || !socket.writable) return
    if (this.#merges) this.#corkTick(socket)
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    if (pieces.length === 1) socket.write(first)
    else if (bytes <= MERGE_BYTES_MAX) socket.write(Buffer.concat(pieces, bytes))
    else {
      socket.cork()
      for (const piece of pieces) socket.write(piece)
      socket.uncork()
    }
  }

  /** TLS is read record by record: what the records of one read give leaves in one write, as one piece to encrypt. */
  #corkTick(socket: net.Socket): void {
    if (this.#corked) return
    this.#corked = true
    socket.cork()
    process.nextTick(() => {
      this.#corked = false
      socket.uncork()
    })
  }

  /** No more writes; reading goes on. */
  end(): void {
    this.#socket?.end()
  }

  /**
   * The last bytes leave, whatever the peer still sends is thrown away: a close with unread bytes would be a reset that can
   * overtake them.
   */
  linger(done: () => void): void {
    const socket = this.#socket
    if (socket === undefined || socket.destroyed) return done()
    this.#unlisten(socket)
    this.#socket = undefined
    this.held = NOTHING
    socket.on('error', () => {})
    socket.once('close', done)
    socket.on('data', () => {})
    socket.resume()
    socket.end()
    this.#lingering = socket
  }

  destroy(): void {
    this.#lingering?.destroy()
    const socket = this.#socket
    if (socket === undefined) return
    this.#unlisten(socket)
    this.#socket = undefined
    this.held = NOTHING
    socket.on('error', () => {})
    socket.destroy()
  }

  #unlisten(socket: net.Socket): void {
    socket.off('data', this.#data)
    socket.off('end', this.#ended)
    socket.off('error', this.#failed)
    socket.off('close', this.#closed)
    socket.off('drain', this.#drained)
  }

  readonly #data = (chunk: Buffer): void => {
    this.receivedBytes += chunk.length
    // A paused socket may still deliver what it had read.
    if (this.held.length > 0) this.hold(chunk)
    else this.#handlers.data(chunk)
  }

  readonly #ended = (): void => this.#handlers.ended()

  readonly #failed = (error: Error): void => {
    this.#error = error
  }

  readonly #closed = (): void => {
    if (this.#socket !== undefined) this.#handlers.gone(this.#error)
  }

  readonly #drained = (): void => this.#handlers.drained()
}

function takeChunk(socket: net.Socket): Uint8Array {
  const chunk: unknown = socket.read()
  return chunk instanceof Uint8Array ? chunk : NOTHING
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first, ...more] = parts.filter((part) => part.length > 0)
  if (first === undefined) return NOTHING
  return more.length === 0 ? first : Buffer.concat([first, ...more])
}
