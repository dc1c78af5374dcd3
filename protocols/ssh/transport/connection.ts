// The connection protocol (RFC 4254) of either side over an authenticated transport: channels and what is asked of the connection.
// Whatever nobody here allows is refused: unknown kinds of channels, kinds that only the other side may open, unknown requests.
// One gate for channels of every kind: `open` of the handlers.

import { ProxyError } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import { SshChannel, type PeerEnd, type RequestHandler } from './channel.ts'
import { MESSAGE, OPEN_REFUSED } from './message.ts'
import {
  readChannelKind,
  readGlobalRequest,
  wireName,
  writeChannelKind,
  writeGlobalRequest,
  type ChannelKind,
  type GlobalRequest,
} from './requests.ts'
import type { SshTimers, SshTransport } from './transport.ts'
import { violation } from './violation.ts'
import { InboundWindow, WindowBudget } from './window.ts'

/** A channel that the peer wants. Exactly one of the two is called, now or later; further calls do nothing. */
export interface ChannelOpening {
  readonly kind: ChannelKind
  accept(onRequest?: RequestHandler): SshChannel
  refuse(reason: keyof typeof OPEN_REFUSED, text: string): void
}

export interface GlobalAnswer {
  readonly granted: boolean
  /** The port that was chosen, when port 0 was asked for. */
  readonly port?: number
}

/** What this side does with what the peer wants. Whatever is left out is refused. */
export interface ConnectionHandlers {
  open?(opening: ChannelOpening): void
  global?(request: GlobalRequest): Promise<GlobalAnswer>
  /** A kind of channel that this side does not know, or that the peer may not open. It is refused; this only tells of it. */
  unknown?(name: string): void
}

/** A channel we asked for. */
interface Pending {
  readonly kind: ChannelKind
  readonly window: InboundWindow
  readonly onRequest: RequestHandler | undefined
}

type Opening = (channel: SshChannel | ProxyError) => void

const CLIENTS_OPEN: readonly ChannelKind['kind'][] = [
  'session',
  'direct-tcpip',
  'direct-streamlocal',
]
const KEEPALIVE = 'keepalive@openssh.com'
const UNANSWERED_MAX = 3

export class SshConnection {
  /** Resolves when the connection is over; with the error that ended it, if one did. */
  readonly closed: Promise<ProxyError | undefined>
  readonly #transport: SshTransport
  readonly #server: boolean
  #handlers: ConnectionHandlers = {}
  readonly #timers: SshTimers
  readonly #budget = new WindowBudget()
  readonly #resolveClosed: (error: ProxyError | undefined) => void
  /** A channel, one we asked for, or one the peer asked for and that nobody has decided yet. */
  readonly #channels = new Map<number, SshChannel | Opening | 'asked'>()
  readonly #pending = new Map<number, Pending>()
  #asked: ((answer: Uint8Array | undefined) => void)[] = []
  #answering: Promise<void> = Promise.resolve()
  #unanswered = 0
  #noMoreSessions = false
  #silent = 0
  #dropKeepalive: () => void = () => undefined

  constructor(transport: SshTransport, server: boolean, timers: SshTimers) {
    this.#transport = transport
    this.#server = server
    this.#timers = timers
    const { promise, resolve } = Promise.withResolvers<ProxyError | undefined>()
    this.closed = promise
    this.#resolveClosed = resolve
    this.#keepalive()
  }

  /** What is done from now on with what the peer wants. */
  serve(handlers: ConnectionHandlers): void {
    this.#handlers = handlers
  }

  /** Channels there are, those that are being opened included. */
  get channels(): number {
    return this.#channels.size
  }

  /** Asks the peer for a channel. Rejects with the peer's refusal. */
  open(kind: ChannelKind, onRequest?: RequestHandler): Promise<SshChannel> {
    if (this.#transport.over) return Promise.reject(lost())
    const window = this.#reserve()
    if (window === undefined)
      return Promise.reject(
        new ProxyError('limit.exceeded', 'No further SSH channel can be opened.'),
      )
    const id = this.#freeId()
    const { promise, resolve, reject } = Promise.withResolvers<SshChannel>()
    this.#channels.set(id, (channel) => {
      if (channel instanceof SshChannel) resolve(channel)
      else reject(channel)
    })
    this.#pending.set(id, { kind, window, onRequest })
    const fields = [string(wireName(kind.kind)), u32(id), u32(window.size), PACKET]
    this.#send(MESSAGE.channelOpen, ...fields, writeChannelKind(kind))
    return promise
  }

  /** Asks something of the connection. Undefined: refused, or the connection is over. */
  async ask(request: GlobalRequest): Promise<GlobalAnswer> {
    const data = await this.#ask(wireName(request.kind), writeGlobalRequest(request))
    if (data === undefined) return { granted: false }
    return data.length >= 4 ? { granted: true, port: new SshReader(data).u32() } : { granted: true }
  }

  /** Ends the connection, after what was sent. The error is why, if it is not at somebody's wish; the peer is told `farewell`. */
  end(error?: ProxyError, farewell?: string): void {
    this.#transport.end(error, farewell)
  }

  /** What the peer said when it ended the connection. */
  get farewell(): string {
    return this.#transport.farewell.sentence
  }

  /** A message of the peer. */
  take(payload: Buffer): void {
    this.#silent = 0
    const type = payload[0] ?? 0
    const reader = new SshReader(payload.subarray(1))
    if (type === MESSAGE.globalRequest) this.#globalRequest(reader)
    else if (type === MESSAGE.requestSuccess) this.#answered(payload.subarray(1))
    else if (type === MESSAGE.requestFailure) this.#answered(undefined)
    else if (type === MESSAGE.channelOpen) this.#opening(reader)
    else if (type === MESSAGE.channelConfirm) this.#confirmed(reader)
    else if (type === MESSAGE.channelRefused) this.#refused(reader)
    else if (type >= MESSAGE.windowAdjust && type <= MESSAGE.channelFailure)
      this.#forChannel(type, reader)
    else if (type >= MESSAGE.globalRequest) this.#transport.unimplemented()
    // A request to authenticate after success is to be ignored (RFC 4252, section 5.3).
    else if (!this.#server || type !== MESSAGE.authRequest)
      throw violation(`message ${type} has no place here`)
  }

  /** The transport is over. */
  over(error: ProxyError | undefined): void {
    this.#dropKeepalive()
    for (const resolve of this.#asked.splice(0)) resolve(undefined)
    for (const [id, entry] of this.#channels) {
      this.#channels.delete(id)
      if (entry instanceof SshChannel) entry.abandon()
      else if (entry !== 'asked') entry(error ?? lost())
    }
    this.#pending.clear()
    this.#resolveClosed(error)
  }

  #opening(reader: SshReader): void {
    const name = reader.text()
    const peer: PeerEnd = { id: reader.u32(), window: reader.u32(), packet: packetOf(reader.u32()) }
    const kind = readChannelKind(name, reader)
    if (kind === undefined || this.#handlers.open === undefined) {
      this.#refuse(peer.id, 'unknownType', 'no such channel type here')
      return this.#handlers.unknown?.(name)
    }
    if (CLIENTS_OPEN.includes(kind.kind) !== this.#server) {
      this.#refuse(peer.id, 'prohibited', 'not by this side')
      return this.#handlers.unknown?.(name)
    }
    if (kind.kind === 'session' && this.#noMoreSessions)
      throw violation('a session is opened after the last one was announced')
    const window = this.#reserve()
    if (window === undefined) return this.#refuse(peer.id, 'shortage', 'too many channels')
    const id = this.#freeId()
    this.#channels.set(id, 'asked')
    let decided = false
    const decide = (): boolean => {
      const first = !decided
      decided = true
      return first
    }
    this.#handlers.open({
      kind,
      accept: (onRequest) => {
        if (!decide()) throw new ProxyError('protocol.violation', 'The channel was decided before.')
        return this.#accept(id, kind, peer, window, onRequest)
      },
      refuse: (reason, text) => {
        if (!decide()) return
        this.#channels.delete(id)
        window.release()
        this.#refuse(peer.id, reason, text)
      },
    })
  }

  #accept(
    id: number,
    kind: ChannelKind,
    peer: PeerEnd,
    window: InboundWindow,
    onRequest: RequestHandler | undefined,
  ): SshChannel {
    const channel = new SshChannel(this.#transport, kind, peer, window, onRequest)
    if (this.#transport.over) {
      channel.abandon()
      return channel
    }
    this.#channels.set(id, channel)
    this.#send(MESSAGE.channelConfirm, u32(peer.id), u32(id), u32(window.size), PACKET)
    return channel
  }

  #confirmed(reader: SshReader): void {
    const id = reader.u32()
    const [entry, pending] = [this.#channels.get(id), this.#pending.get(id)]
    if (typeof entry !== 'function' || pending === undefined)
      throw violation('a channel is confirmed that was not asked for')
    const peer: PeerEnd = { id: reader.u32(), window: reader.u32(), packet: packetOf(reader.u32()) }
    const { kind, window, onRequest } = pending
    const channel = new SshChannel(this.#transport, kind, peer, window, onRequest)
    this.#pending.delete(id)
    this.#channels.set(id, channel)
    entry(channel)
  }

  #refused(reader: SshReader): void {
    const id = reader.u32()
    const [entry, pending] = [this.#channels.get(id), this.#pending.get(id)]
    if (typeof entry !== 'function' || pending === undefined)
      throw violation('a channel is refused that was not asked for')
    const reason = reader.u32()
    this.#pending.delete(id)
    this.#channels.delete(id)
    pending.window.release()
    const detail = `reason ${reason}: ${printable(reader.text())}`
    const message = 'The other side refused the SSH channel.'
    entry(new ProxyError('dial.failed', message, { side: 'target', detail }))
  }

  #forChannel(type: number, reader: SshReader): void {
    const id = reader.u32()
    const channel = this.#channels.get(id)
    if (!(channel instanceof SshChannel)) throw violation('a message names no channel')
    if (channel.take(type, reader)) this.#channels.delete(id)
  }

  #refuse(id: number, reason: keyof typeof OPEN_REFUSED, text: string): void {
    const fields = [u32(id), u32(OPEN_REFUSED[reason]), string(text), string('')]
    this.#send(MESSAGE.channelRefused, ...fields)
  }

  #reserve(): InboundWindow | undefined {
    return this.#channels.size < max('sshChannelsMax') ? InboundWindow.of(this.#budget) : undefined
  }

  #freeId(): number {
    let id = 0
    while (this.#channels.has(id)) id += 1
    return id
  }

  #globalRequest(reader: SshReader): void {
    const name = reader.text()
    const reply = reader.u8() !== 0
    if (name === 'no-more-sessions@openssh.com') this.#noMoreSessions = true
    const request = this.#server ? readGlobalRequest(name, reader) : undefined
    this.#unanswered += 1
    if (this.#unanswered > max('sshRequestsMax'))
      throw violation('more than sshRequestsMax requests wait for an answer')
    this.#answering = this.#answering.then(() => this.#answer(request, reply))
  }

  async #answer(request: GlobalRequest | undefined, reply: boolean): Promise<void> {
    let answer: GlobalAnswer = { granted: false }
    try {
      if (request !== undefined && !this.#transport.over)
        answer = (await this.#handlers.global?.(request)) ?? answer
    } catch (error) {
      const message = 'A request of an SSH connection failed here.'
      this.#transport.end(new ProxyError('protocol.violation', message, { cause: error }))
    }
    this.#unanswered -= 1
    if (!reply) return
    const port = answer.port === undefined ? [] : [u32(answer.port)]
    if (answer.granted) this.#send(MESSAGE.requestSuccess, ...port)
    else this.#send(MESSAGE.requestFailure)
  }

  #answered(data: Uint8Array | undefined): void {
    const resolve = this.#asked.shift()
    if (resolve === undefined) throw violation('an answer came that nobody asked for')
    resolve(data)
  }

  #ask(name: string, fields: Uint8Array): Promise<Uint8Array | undefined> {
    if (this.#transport.over) return Promise.resolve(undefined)
    if (this.#asked.length >= max('sshRequestsMax'))
      return Promise.reject(
        new ProxyError('limit.exceeded', 'Too many SSH requests wait: sshRequestsMax.'),
      )
    this.#send(MESSAGE.globalRequest, string(name), Uint8Array.of(1), fields)
    return new Promise((resolve) => this.#asked.push(resolve))
  }

  /** Asks whether the peer is there when it was silent since the last time. */
  #keepalive(): void {
    this.#dropKeepalive = this.#timers.after(max('sshKeepaliveMs'), () => {
      if (this.#silent > UNANSWERED_MAX) {
        this.#transport.end(violation('the peer does not answer'))
        return
      }
      if (this.#silent > 0) void this.#ask(KEEPALIVE, Buffer.alloc(0)).catch(() => undefined)
      this.#silent += 1
      this.#keepalive()
    })
  }

  #send(type: number, ...fields: readonly Uint8Array[]): void {
    this.#transport.send(Buffer.concat([Uint8Array.of(type), ...fields]))
  }
}

const PACKET = u32(max('sshPacketBytesMax'))

/** The peer's maximum, of which we use no more than ours. A packet of nothing would never carry anything. */
function packetOf(bytes: number): number {
  if (bytes === 0) throw violation('a channel takes packets of no bytes')
  return Math.min(bytes, max('sshPacketBytesMax'))
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}

function lost(): ProxyError {
  return new ProxyError('dial.failed', 'The SSH connection ended before the channel was opened.')
}
