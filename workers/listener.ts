// The public port (design section 3.1–3.3): accepts, takes off a PROXY header, recognises the first bytes, and gives the connection
// on with the bytes read so far. Bounded before anybody has shown who he is, and never waits for a peer. It writes single answer
// bytes and a redirect, decides about no identity, and sees no byte behind a ClientHello other than those that came with it.

import net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { Hello } from '../core/hello.ts'
import { max } from '../core/limits.ts'
import type { SocketHandle, Source } from '../core/messages.ts'
import { readProxyHeader } from '../core/proxy-header.ts'
import type { Arrival } from './arrival.ts'
import { farewell, release } from './handover.ts'
import { Held } from './held.ts'
import type { Ledger } from './ledger.ts'
import { protocolOfAlpn, recognise } from './recognise.ts'
import type { Found, Recogniser } from './recognise.ts'
import { Networks, plainAddress, sourceKey } from './source.ts'
import { Strangers } from './strangers.ts'
import type { StrangerSummary } from './strangers.ts'
import { Unfinished } from './unfinished.ts'
import type { DropReason, UnfinishedBounds } from './unfinished.ts'

/** `on`: every connection brings a header. `off`: none does. `unset`: one may come from the trusted networks. */
export interface ProxyProtocol {
  readonly mode: 'on' | 'off' | 'unset'
  readonly trusted: readonly string[]
}

export interface ListenerOptions {
  readonly recognisers: readonly Recogniser[]
  /** `host[:port]` that plain HTTP is sent to; never taken from a request. */
  readonly publicAddress: string
  readonly proxyProtocol: ProxyProtocol
  readonly bounds: UnfinishedBounds
  readonly clock: Clock
  readonly ledger: Ledger
  readonly onArrival: (arrival: Arrival) => void
  readonly onStrangers?: (summary: StrangerSummary) => void
}

export interface ListenerCounters {
  accepted: number
  tls: number
  protocol: number
  signal: number
  spare: number
  http: number
  /** Neither of these, or a PROXY header where none may be or a missing one. */
  unknown: number
  /** Closed by the peer before it said what it is. */
  left: number
  readonly dropped: Record<DropReason, number>
}

interface Pending {
  readonly socket: net.Socket
  readonly held: Held
  readonly peer: string
  /** A header may, or must, come first. */
  header: 'never' | 'may' | 'must' | 'done'
  source: Source
  readonly stages: string[]
  /** The protocol that was answered. */
  protocol: string | undefined
}

interface Taken {
  readonly handle: SocketHandle
  readonly first: Uint8Array
}

export class Listener {
  readonly counters: ListenerCounters = {
    accepted: 0,
    tls: 0,
    protocol: 0,
    signal: 0,
    spare: 0,
    http: 0,
    unknown: 0,
    left: 0,
    dropped: { deadline: 0, total: 0, source: 0, bytes: 0 },
  }
  readonly #options: ListenerOptions
  readonly #server: net.Server
  readonly #trusted: Networks
  readonly #unfinished: Unfinished<Pending>
  readonly #strangers: Strangers
  readonly #redirect: Uint8Array

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#trusted = new Networks(options.proxyProtocol.trusted)
    if (options.proxyProtocol.mode === 'on' && this.#trusted.empty)
      throw new ProxyError('config.invalid', '`proxy_protocol: on` needs `proxy_protocol_trusted`')
    this.#unfinished = new Unfinished(options.bounds, options.clock, (pending, reason) => {
      this.counters.dropped[reason]++
      pending.socket.destroy()
    })
    options.ledger.watch('unfinished connections', () => this.#unfinished.size)
    this.#strangers = new Strangers(options.onStrangers ?? (() => {}))
    this.#redirect = redirect(options.publicAddress)
    this.#server = net.createServer(
      {
        allowHalfOpen: true,
        pauseOnConnect: true,
        // No noDelay: `adopt` sets it, and a single answer byte waits for nothing.
        keepAlive: true,
        keepAliveInitialDelay: max('clientKeepAliveMs'),
      },
      (socket) => this.#accept(socket),
    )
  }

  /** Connections that have not said what they are. */
  get unfinished(): number {
    return this.#unfinished.size
  }

  /** Listens on an address, or on a socket the supervisor has bound. Resolves with the port. */
  listen(where: { readonly host: string; readonly port: number } | SocketHandle): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#server.once('error', reject)
    this.#server.once('listening', () => {
      this.#server.removeListener('error', reject)
      // EMFILE and the like: the connection is gone, the port is not.
      this.#server.on('error', () => {})
      const address = this.#server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
    const backlog = max('listenBacklogMax')
    if ('host' in where) this.#server.listen({ host: where.host, port: where.port, backlog })
    else this.#server.listen(where, backlog)
    return promise
  }

  /** Accepts no more and lets go of everybody unfinished. What was given on is not touched. */
  close(): void {
    this.#server.close()
    for (const pending of this.#unfinished.entries()) {
      this.#unfinished.remove(pending)
      pending.socket.destroy()
    }
    this.#strangers.flush()
  }

  #accept(socket: net.Socket): void {
    this.counters.accepted++
    const peer = plainAddress(socket.remoteAddress ?? '')
    const header = this.#headerFrom(peer)
    const source = { address: peer, port: socket.remotePort ?? 0, trusted: header === 'never' }
    const pending: Pending = {
      socket,
      held: new Held(),
      peer,
      header: header ?? 'never',
      source,
      stages: [],
      protocol: undefined,
    }
    socket.on('error', () => this.#left(pending))
    socket.on('end', () => this.#left(pending))
    socket.on('close', () => this.#left(pending))
    // A balancer speaks for many: whom, its header tells.
    this.#unfinished.add(pending, header === 'never' ? sourceKey(peer) : undefined)
    if (header === undefined) return this.#stranger(pending)
    socket.on('data', (chunk: Buffer) => this.#data(pending, chunk))
    socket.resume()
  }

  /** Undefined: a peer that cannot be served, because it must bring a header and may not. */
  #headerFrom(peer: string): Pending['header'] | undefined {
    const { mode } = this.#options.proxyProtocol
    const trusted = mode !== 'off' && this.#trusted.has(peer)
    if (mode === 'on') return trusted ? 'must' : undefined
    return trusted ? 'may' : 'never'
  }

  #data(pending: Pending, chunk: Uint8Array): void {
    if (!this.#unfinished.has(pending)) return
    pending.held.push(chunk)
    if (pending.held.length > max('helloBytesMax')) return this.#stranger(pending)
    this.#unfinished.keep(pending, pending.held.length)
    if (!this.#unfinished.has(pending) || !pending.held.enough) return
    if (pending.header !== 'done' && !this.#takeHeader(pending)) return
    if (pending.held.length === 0) return
    const first = pending.held.bytes()
    this.#act(pending, first, recognise(first, this.#options.recognisers, pending.protocol))
  }

  /** True when the header is off, or there is none and none is due. */
  #takeHeader(pending: Pending): boolean {
    const reading = readProxyHeader(pending.held.bytes())
    const { header } = pending
    switch (reading.verdict) {
      case 'more':
        return false
      case 'bad':
        this.#stranger(pending)
        return false
      case 'no':
        if (header === 'must') this.#stranger(pending)
        else this.#known(pending, pending.source)
        return this.#unfinished.has(pending)
      case 'header':
        if (header === 'never') {
          this.#stranger(pending)
          return false
        }
        pending.held.take(reading.end)
        // LOCAL and UNKNOWN: the balancer itself, whose address says nothing about a client.
        this.#known(
          pending,
          reading.source === undefined ? pending.source : { ...reading.source, trusted: true },
        )
        return this.#unfinished.has(pending)
    }
  }

  #known(pending: Pending, source: Source): void {
    pending.header = 'done'
    pending.source = source
    this.#unfinished.keep(pending, pending.held.length)
    this.#unfinished.place(pending, sourceKey(source.address))
  }

  #act(pending: Pending, first: Uint8Array, found: Found): void {
    const { source } = pending
    switch (found.kind) {
      case 'more':
        return pending.held.await(found.need)
      case 'tls':
        return this.#tls(pending, first, found.hello)
      case 'answer':
        return this.#answer(pending, first, found)
      case 'protocol': {
        const taken = this.#finish(pending, first)
        if (taken === undefined) return
        this.counters.protocol++
        const stage = pending.stages.at(-1) ?? ''
        const { protocol } = found
        return this.#options.onArrival({ kind: 'protocol', protocol, stage, source, ...taken })
      }
      case 'signal': {
        const { protocol, key } = found
        this.#unfinished.remove(pending)
        pending.socket.destroy()
        this.counters.signal++
        return this.#options.onArrival({ kind: 'signal', protocol, key, source })
      }
      case 'spare': {
        const { preface, end } = found
        // An agent that goes on talking before it was opened is none of ours.
        if (first.length > end) return this.#stranger(pending)
        const { socket } = pending
        this.#unfinished.remove(pending)
        for (const event of ['data', 'end', 'error', 'close']) socket.removeAllListeners(event)
        this.counters.spare++
        return this.#options.onArrival({ kind: 'spare', preface, source, socket })
      }
      case 'http': {
        const taken = this.#finish(pending, first)
        if (taken === undefined) return
        this.counters.http++
        return farewell(taken.handle, this.#redirect)
      }
      case 'unknown':
        return this.#stranger(pending)
    }
  }

  #tls(pending: Pending, first: Uint8Array, hello: Hello): void {
    const taken = this.#finish(pending, first)
    if (taken === undefined) return
    this.counters.tls++
    const { serverName, originalName, alpn } = hello
    const protocol = pending.protocol ?? protocolOfAlpn(alpn, this.#options.recognisers)
    this.#options.onArrival({
      kind: 'tls',
      ...(serverName === undefined ? {} : { serverName }),
      ...(originalName === undefined ? {} : { originalName }),
      alpn,
      stage: pending.stages.at(-1) ?? '',
      ...(protocol === undefined ? {} : { protocol }),
      source: pending.source,
      ...taken,
    })
  }

  #answer(pending: Pending, first: Uint8Array, found: Found & { kind: 'answer' }): void {
    const { stages, socket, held } = pending
    const known = stages.includes(found.stage) || stages.length >= max('answersPerConnectionMax')
    // Bytes behind a request for TLS came before our answer: whoever put them there wants them taken for encrypted ones.
    if (known || found.bytes.length !== 1 || found.consumed !== first.length)
      return this.#stranger(pending)
    stages.push(found.stage)
    pending.protocol = found.protocol
    held.take(first.length)
    this.#unfinished.keep(pending, 0)
    socket.write(found.bytes)
  }

  /** Takes the handle; the connection is the receiver's from here on. Undefined when it is gone or does not take our byte. */
  #finish(pending: Pending, first: Uint8Array): Taken | undefined {
    const { socket } = pending
    if (socket.writableLength > 0) {
      this.#stranger(pending)
      return undefined
    }
    this.#unfinished.remove(pending)
    const released = release(socket)
    if (released === undefined) {
      this.counters.left++
      return undefined
    }
    const { handle, rest } = released
    return { handle, first: tight(rest.length === 0 ? first : Buffer.concat([first, rest])) }
  }

  #stranger(pending: Pending): void {
    if (!this.#unfinished.remove(pending)) return
    this.counters.unknown++
    this.#strangers.note(sourceKey(pending.source.address))
    pending.socket.destroy()
  }

  #left(pending: Pending): void {
    if (!this.#unfinished.remove(pending)) return
    this.counters.left++
    pending.socket.destroy()
  }
}

/** In memory of its own: a view that is sent to a thread takes all the memory under it along. */
function tight(bytes: Uint8Array): Uint8Array {
  return bytes.length === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}

function redirect(publicAddress: string): Uint8Array {
  const lines = [
    'HTTP/1.1 308 Permanent Redirect',
    `Location: https://${publicAddress}/`,
    'Content-Length: 0',
    'Connection: close',
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
}
