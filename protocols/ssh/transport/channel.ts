// One SSH channel (RFC 4254, section 5): data in order with what is written to stderr, windows both ways, requests answered in order,
// the end of each direction on its own. An end that comes early stays behind the data before it, whenever the reader begins.

import { ProxyError } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import { string, u32, type SshReader } from '../../../core/ssh/bytes.ts'
import { MESSAGE, STDERR } from './message.ts'
import {
  readChannelRequest,
  readExit,
  writeChannelRequest,
  writeExit,
  type ChannelKind,
  type ChannelRequest,
  type Exit,
} from './requests.ts'
import type { SshTransport } from './transport.ts'
import { Unread, type ChannelData } from './unread.ts'
import { violation } from './violation.ts'
import type { InboundWindow } from './window.ts'

/** Yes or no; a function is yes, and what is done once the peer was told so. */
export type RequestAnswer = boolean | (() => void)

/** Answers a request of the peer. Without it every request is refused. */
export type RequestHandler = (request: ChannelRequest) => RequestAnswer | Promise<RequestAnswer>

/** The peer's end of a channel, as it was agreed. */
export interface PeerEnd {
  readonly id: number
  window: number
  readonly packet: number
}

const WINDOW_MAX = 0xffff_ffff

export class SshChannel {
  readonly kind: ChannelKind
  /** Resolves when both sides have closed it, or the connection is over. */
  readonly closed: Promise<void>
  readonly #transport: SshTransport
  readonly #peer: PeerEnd
  readonly #window: InboundWindow
  readonly #onRequest: RequestHandler | undefined
  readonly #resolveClosed: () => void
  readonly #unread = new Unread()
  #ended = false
  #sentEof = false
  #sentClose = false
  #gotClose = false
  #over = false
  #exit: Exit | undefined
  #wake: (() => void)[] = []
  #writing: Promise<void> = Promise.resolve()
  #answering: Promise<void> = Promise.resolve()
  #unanswered = 0
  #asked: ((granted: boolean) => void)[] = []

  constructor(
    transport: SshTransport,
    kind: ChannelKind,
    peer: PeerEnd,
    window: InboundWindow,
    onRequest?: RequestHandler,
  ) {
    this.kind = kind
    this.#transport = transport
    this.#peer = peer
    this.#window = window
    this.#onRequest = onRequest
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#resolveClosed = resolve
  }

  /** How the peer's program ended, once it has said so; complete when `read` has given undefined and the channel is closed. */
  get exit(): Exit | undefined {
    return this.#exit
  }

  /** Both sides have closed it. */
  get over(): boolean {
    return this.#over
  }

  /** The next bytes, or undefined at the end of the peer's. */
  async read(): Promise<ChannelData | undefined> {
    while (this.#unread.empty && !this.#ended) {
      this.#window.starve()
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
    return this.poll()
  }

  /** What `read` would give, if there is something now. */
  poll(): ChannelData | undefined {
    const data = this.#unread.shift()
    if (data === undefined || this.#ended) return data
    const grant = this.#window.read(data.bytes.length)
    if (grant > 0) this.#send(MESSAGE.windowAdjust, u32(grant))
    return data
  }

  /** Resolves when the bytes were sealed, in the order of the calls. Rejects when the channel takes no more. */
  write(bytes: Uint8Array, stderr = false): Promise<void> {
    const written = this.#writing.then(() => this.#write(bytes, stderr))
    // The next writer meets the same channel, and is told by itself what is wrong with it.
    this.#writing = written.catch(() => undefined)
    return written
  }

  /** No more data from this side, after what was written before. */
  async end(): Promise<void> {
    await this.#writing
    if (this.#sentEof || this.#sentClose) return
    this.#sentEof = true
    this.#send(MESSAGE.eof)
  }

  /** The program of this session ended: its status, the end of its output and the close follow what was written, in this order. */
  async finish(exit: Exit): Promise<void> {
    await this.#writing
    if (this.#sentClose) return
    const [name, fields] = writeExit(exit)
    this.#send(MESSAGE.channelRequest, string(name), Uint8Array.of(0), fields)
    await this.end()
    this.close()
  }

  /** Closes both directions at once; what was not read is dropped. */
  close(): void {
    if (this.#sentClose) return
    this.#sentClose = true
    this.#send(MESSAGE.close)
    this.#stop()
    this.#maybeOver()
  }

  /** Asks the peer, which answers in order. False also when the channel is closed first. */
  async request(request: ChannelRequest): Promise<boolean> {
    if (this.#sentClose || this.#over) return false
    if (this.#asked.length >= max('sshRequestsMax'))
      throw new ProxyError('limit.exceeded', 'Too many SSH requests wait: sshRequestsMax.')
    const [name, fields] = writeChannelRequest(request)
    this.#send(MESSAGE.channelRequest, string(name), Uint8Array.of(1), fields)
    return new Promise((resolve) => this.#asked.push(resolve))
  }

  /** Tells the peer, which does not answer. */
  notify(request: ChannelRequest): void {
    const [name, fields] = writeChannelRequest(request)
    if (!this.#sentClose) this.#send(MESSAGE.channelRequest, string(name), Uint8Array.of(0), fields)
  }

  /** Last words, as far as the window lets them through now; writers that still wait are refused. */
  farewell(text: string): void {
    if (this.#sentEof || this.#sentClose) return
    const bytes = Buffer.from(text).subarray(0, Math.min(this.#peer.window, this.#peer.packet))
    this.#peer.window -= bytes.length
    if (bytes.length > 0) this.#send(MESSAGE.extendedData, u32(STDERR), string(bytes))
    this.#sentEof = true
    this.#send(MESSAGE.eof)
    this.#transport.wake()
  }

  /** A message of the peer for this channel; the reader stands behind the channel's number. True: the channel is over. */
  take(type: number, reader: SshReader): boolean {
    if (this.#gotClose) throw violation('a message came for a closed channel')
    if (type === MESSAGE.data) this.#arrived(reader.string(), false)
    else if (type === MESSAGE.extendedData) {
      if (reader.u32() !== STDERR) throw violation('extended data is of an unknown type')
      this.#arrived(reader.string(), true)
    } else if (type === MESSAGE.windowAdjust) this.#widen(reader.u32())
    else if (type === MESSAGE.eof) this.#finishReading()
    else if (type === MESSAGE.channelRequest) this.#asks(reader)
    else if (type === MESSAGE.channelSuccess || type === MESSAGE.channelFailure)
      this.#answered(type === MESSAGE.channelSuccess)
    else if (type === MESSAGE.close) this.#closes()
    else throw violation(`message ${type} is none of a channel`)
    return this.#over
  }

  /** The connection is over: readers have what came before, writers are refused. */
  abandon(): void {
    this.#gotClose = true
    this.#sentClose = true
    this.#finishReading()
    this.#maybeOver()
  }

  /** The peer is told nothing more here. */
  get #deaf(): boolean {
    return this.#sentEof || this.#sentClose
  }

  #arrived(bytes: Uint8Array, stderr: boolean): void {
    if (this.#ended && !this.#sentClose) throw violation('data came after the end of it')
    if (bytes.length > max('sshPacketBytesMax')) throw violation('a packet is over its maximum')
    if (!this.#sentClose && !this.#window.arrive(bytes.length))
      throw violation('more data came than the window allows')
    if (this.#sentClose || bytes.length === 0) return
    this.#unread.push(bytes, stderr)
    this.#notify()
  }

  #widen(bytes: number): void {
    this.#peer.window += bytes
    if (this.#peer.window > WINDOW_MAX) throw violation('a window is over its maximum')
    this.#transport.wake()
  }

  #asks(reader: SshReader): void {
    const name = reader.text()
    const reply = reader.u8() !== 0
    const exit = readExit(name, reader)
    if (exit !== undefined) this.#exit ??= exit
    const request = exit === undefined ? readChannelRequest(name, reader) : undefined
    this.#unanswered += 1
    if (this.#unanswered > max('sshRequestsMax'))
      throw violation('more than sshRequestsMax requests wait for an answer')
    this.#answering = this.#answering.then(() => this.#answer(request, reply))
  }

  async #answer(request: ChannelRequest | undefined, reply: boolean): Promise<void> {
    let granted: RequestAnswer = false
    try {
      if (request !== undefined && !this.#over)
        granted = (await this.#onRequest?.(request)) ?? false
    } catch (error) {
      // A handler that fails is ours; the connection does not go on as if the peer had been told the truth.
      this.#transport.end(
        new ProxyError('protocol.violation', 'A request of an SSH channel failed here.', {
          cause: error,
        }),
      )
    }
    this.#unanswered -= 1
    if (reply && !this.#sentClose)
      this.#send(granted !== false ? MESSAGE.channelSuccess : MESSAGE.channelFailure)
    if (typeof granted === 'function') granted()
  }

  #answered(granted: boolean): void {
    const resolve = this.#asked.shift()
    if (resolve === undefined) throw violation('an answer came that nobody asked for')
    resolve(granted)
  }

  #closes(): void {
    this.#gotClose = true
    this.#finishReading()
    if (!this.#sentClose) {
      this.#sentClose = true
      this.#send(MESSAGE.close)
    }
    this.#maybeOver()
  }

  #finishReading(): void {
    this.#ended = true
    this.#notify()
  }

  /** Nothing more is read. */
  #stop(): void {
    this.#unread.clear()
    this.#finishReading()
    this.#transport.wake()
  }

  #maybeOver(): void {
    this.#transport.wake()
    if (!this.#gotClose || !this.#sentClose || this.#over) return
    this.#over = true
    for (const resolve of this.#asked.splice(0)) resolve(false)
    this.#window.release()
    this.#resolveClosed()
  }

  async #write(bytes: Uint8Array, stderr: boolean): Promise<void> {
    const type = stderr ? MESSAGE.extendedData : MESSAGE.data
    const head = Buffer.concat([
      Uint8Array.of(type),
      u32(this.#peer.id),
      ...(stderr ? [u32(STDERR)] : []),
    ])
    for (let at = 0; at < bytes.length; ) {
      while (!this.#deaf && (this.#peer.window === 0 || !this.#transport.writable))
        await this.#transport.change()
      if (this.#deaf) throw closed()
      const to = Math.min(bytes.length, at + this.#peer.window, at + this.#peer.packet)
      this.#peer.window -= to - at
      this.#transport.sendData(head, bytes.subarray(at, to))
      at = to
    }
  }

  #send(type: number, ...fields: readonly Uint8Array[]): void {
    this.#transport.send(Buffer.concat([Uint8Array.of(type), u32(this.#peer.id), ...fields]))
  }

  #notify(): void {
    for (const resolve of this.#wake.splice(0)) resolve()
  }
}

function closed(): ProxyError {
  return new ProxyError('protocol.violation', 'The SSH channel is closed.', { side: 'client' })
}
