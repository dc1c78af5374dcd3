// The transport layer of one SSH connection (RFC 4253) over a ByteStream: payloads in and out, sealed and in order. It bounds what a
// peer may send before it is admitted, how long that and each key exchange take, and what waits unsent; it changes keys by bytes and
// by time. An own core could stand in its place: nothing above it knows ssh2. Nothing is delivered inside a write.

import { freeBytes } from '../../../core/bytes/free.ts'
import type { ProxyError } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import { u32 } from '../../../core/ssh/bytes.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { CERTIFICATE_ALGORITHMS, CIPHERS, KEX, MACS } from './algorithms.ts'
import { type Farewell, NO_FAREWELL, readDisconnect, writeDisconnect } from './disconnect.ts'
import { Exchanges, extensions } from './exchange.ts'
import { hostKeysOf, type HostKey } from './host-key.ts'
import { MESSAGE, REASON } from './message.ts'
import { ssh2, type Ssh2Protocol } from './ssh2.ts'
import { failure, gone, violation } from './violation.ts'

/** Time as an argument, as `Timers` of workers has it. */
export interface SshTimers {
  after(ms: number, action: () => void): () => void
}

/** What was agreed in the first key exchange. */
export interface Handshake {
  readonly sessionId: Uint8Array
  readonly kex: string
  readonly hostKey: string
  readonly cipher: string
  /** Sequence numbers start again with each key: nothing could have been cut out before (Terrapin). */
  readonly strict: boolean
}

export interface TransportOptions {
  readonly stream: ByteStream
  readonly timers: SshTimers
  /** A server's keys, or what judges the other side's. */
  readonly side: { readonly hostKeys: readonly HostKey[] } | { verifyHost(blob: Buffer): boolean }
}

export interface TransportEvents {
  handshake(handshake: Handshake): void
  /** A message above the transport layer; a view that is the receiver's to keep. */
  payload(payload: Buffer): void
  /** Once, and nothing after it. Without an error when either side ended it in good order. */
  closed(error: ProxyError | undefined): void
}

type Deadline = 'login' | 'exchange' | 'rekey' | 'linger'

const IDENT = 'Sluice'

export class SshTransport {
  /** Resolves when nothing more is written and the peer has heard the last of it, or has had its time. */
  readonly gone: Promise<void>
  readonly #stream: ByteStream
  readonly #timers: SshTimers
  readonly #events: TransportEvents
  readonly #protocol: Ssh2Protocol
  readonly #exchanges: Exchanges
  readonly #server: boolean
  readonly #deadlines = new Map<Deadline, () => void>()
  #out: Buffer[] = []
  /** What the network has not taken; of it, what lies in `#out`. */
  #unsent = 0
  #queued = 0
  #flushing = false
  #reading: Promise<void> | undefined
  #waiting: (() => void)[] = []
  #handshakes = 0
  #admitted = false
  #over = false
  #error: ProxyError | undefined
  #farewell: Farewell = NO_FAREWELL
  readonly #resolveGone: () => void
  /** Received before admission; both ways under one key after it. */
  #bytes = 0

  constructor(options: TransportOptions, events: TransportEvents) {
    const { stream, timers, side } = options
    this.#stream = stream
    this.#timers = timers
    this.#events = events
    this.#server = 'hostKeys' in side
    const gone = Promise.withResolvers<void>()
    this.gone = gone.promise
    this.#resolveGone = gone.resolve
    const keys = 'hostKeys' in side ? hostKeysOf(side.hostKeys) : undefined
    const way = { cipher: CIPHERS, mac: MACS, compress: ['none'], lang: [] }
    const hosts = keys === undefined ? CERTIFICATE_ALGORITHMS : Object.keys(keys)
    this.#protocol = new ssh2.Protocol({
      server: this.#server,
      ident: IDENT,
      ...(keys === undefined ? {} : { hostKeys: keys }),
      ...('verifyHost' in side ? { hostVerifier: (blob) => side.verifyHost(blob) } : {}),
      offer: { kex: [...KEX], serverHostKey: [...hosts], cs: way, sc: way },
      onWrite: (bytes) => this.#queue(bytes),
      onError: (error) => this.#end(failure(error)),
      onHeader: () => this.#exchanges.first(),
      onHandshakeComplete: () => this.#handshake(),
    })
    this.#protocol._onPayload = (payload) => this.#payload(payload)
    this.#exchanges = new Exchanges(this.#protocol, this.#server)
  }

  /** Begins. Events come in later turns. */
  start(): void {
    this.#deadline('login', max('sshLoginMs'), 'authentication took longer than sshLoginMs')
    this.#protocol.start()
    this.#reading = this.#read()
  }

  /** The peer is authenticated: from here on it has the connection's time, and keys are changed. */
  admit(): void {
    this.#admitted = true
    this.#drop('login')
    this.#bytes = 0
    this.#renewLater()
  }

  /** Sends a message. What must be bounded waits for `writable` first. */
  send(payload: Uint8Array): void {
    this.#seal(payload.length, (packet, at) => packet.set(payload, at))
  }

  /** Sends channel data: `head` and the bytes as a string, copied once. */
  sendData(head: Uint8Array, bytes: Uint8Array): void {
    this.#seal(head.length + 4 + bytes.length, (packet, at) => {
      packet.set(head, at)
      packet.writeUInt32BE(bytes.length, at + head.length)
      packet.set(bytes, at + head.length + 4)
    })
  }

  /** Answers a message that this side has no use for. */
  unimplemented(): void {
    const sequence = ((this.#protocol._decipher?.inSeqno ?? 1) - 1) >>> 0
    this.send(Buffer.concat([Uint8Array.of(MESSAGE.unimplemented), u32(sequence)]))
  }

  /** Whether data may be sent now. */
  get writable(): boolean {
    return this.#unsent <= max('sshUnsentBytesMax') && this.#protocol._kexinit === undefined
  }

  get over(): boolean {
    return this.#over
  }

  /** Resolves when something changed that `writable` or the caller's own state depends on. Rejects when the connection is over. */
  async change(): Promise<void> {
    if (!this.#over) await this.#turn()
    if (this.#over) throw this.#error ?? gone()
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Wakes those who wait for a change: a window was opened, a channel closed. */
  wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }

  /** What the peer said when it ended the connection; of a stranger's choosing, made printable. */
  get farewell(): Farewell {
    return this.#farewell
  }

  /** Ends the connection: what was sent before goes out first, then the reason. `farewell`: a sentence instead of the error's. */
  end(error?: ProxyError, farewell?: string): void {
    if (this.#over) return
    this.#disconnect(reasonOf(error, farewell), farewell ?? error?.message ?? '')
    this.#end(error)
  }

  /** Goes out ahead of what waits for a key exchange: it may come at any time (RFC 4253, section 11.1). */
  #disconnect(reason: number, text: string): void {
    const message = writeDisconnect(reason, text)
    const { write } = this.#protocol._packetRW
    const at = write.allocStartKEX
    const packet = write.alloc(message.length, true)
    packet.set(message, at)
    ssh2.sendPacket(this.#protocol, write.finalize(packet, true), true)
  }

  #seal(bytes: number, fill: (packet: Buffer, at: number) => void): void {
    if (this.#over) return
    const { write } = this.#protocol._packetRW
    const at = write.allocStart
    const packet = write.alloc(bytes)
    fill(packet, at)
    ssh2.sendPacket(this.#protocol, write.finalize(packet))
    if ((this.#protocol._queue?.length ?? 0) > max('sshHeldPacketsMax'))
      this.end(violation('more than sshHeldPacketsMax packets wait for a key exchange'))
    if (this.#admitted) this.#count(bytes)
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        while (!this.#over && this.#unsent > max('sshRepliesBytesMax')) await this.#turn()
        const chunk = await this.#stream.read()
        if (chunk === undefined) break
        // What comes after the end is read and dropped: a reset would destroy what the peer has not read.
        if (!this.#over) this.#take(chunk)
        this.#stream.release?.(chunk)
      }
      this.#end(this.#admitted ? undefined : violation('it ended before authentication'))
    } catch (error) {
      this.#end(failure(error))
    }
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#count(chunk.length)
      // What was sealed is opened into memory of its own; what comes before the first keys would be kept as views of the chunk.
      const sealed = this.#handshakes > 0
      const bytes = sealed
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
        : Buffer.from(chunk)
      this.#protocol.parse(bytes, 0, bytes.length)
    } catch (error) {
      this.end(failure(error))
    }
  }

  /** The result tells ssh2 where to go on in its chunk: undefined for on, Infinity for no further. */
  #payload(payload: Buffer): unknown {
    if (this.#over) return Infinity
    const type = payload[0] ?? 0
    if (type === MESSAGE.disconnect) this.#dismissed(payload)
    else if (type === MESSAGE.kexInit) return this.#exchangeAgain(payload)
    else if (type === MESSAGE.serviceRequest || type === MESSAGE.serviceAccept || type >= 50)
      this.#events.payload(payload)
    else if (type === 0 || type > MESSAGE.extensions)
      this.end(violation(`message ${type} has no place here`))
    return this.#over ? Infinity : undefined
  }

  #dismissed(payload: Buffer): void {
    this.#farewell = readDisconnect(payload)
    this.#end(undefined)
  }

  /** A further key exchange, by the peer or as its answer to ours. Strangers get one. */
  #exchangeAgain(payload: Buffer): unknown {
    if (!this.#admitted) {
      this.end(violation('keys are changed before authentication'))
      return Infinity
    }
    this.#exchangeBegins()
    return this.#exchanges.again(payload)
  }

  #exchangeBegins(): void {
    this.#drop('rekey')
    this.#deadline(
      'exchange',
      max('sshExchangeMs'),
      'a key exchange took longer than sshExchangeMs',
    )
  }

  #handshake(): void {
    this.#handshakes += 1
    this.#drop('exchange')
    this.#bytes = this.#admitted ? 0 : this.#bytes
    this.#renewLater()
    this.wake()
    const exchange = this.#protocol._kex
    if (this.#handshakes > 1 || exchange === undefined) return
    if (this.#server && this.#exchanges.wantsExtensions) this.send(extensions())
    this.#events.handshake({
      sessionId: exchange.sessionID,
      kex: exchange.negotiated.kex,
      hostKey: this.#exchanges.hostKeyAlgorithm,
      cipher: exchange.negotiated.cs.cipher,
      strict: this.#protocol._strictMode === true,
    })
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    if (!this.#admitted && this.#bytes > max('sshLoginBytesMax'))
      throw violation('more than sshLoginBytesMax came before authentication')
    if (this.#admitted && this.#bytes > max('sshRekeyBytes')) this.#renew()
  }

  #renew(): void {
    if (this.#over || this.#protocol._kexinit !== undefined) return
    this.#exchangeBegins()
    this.#protocol.rekey()
  }

  #renewLater(): void {
    if (!this.#admitted || this.#over) return
    this.#drop('rekey')
    this.#deadlines.set(
      'rekey',
      this.#timers.after(max('sshRekeyMs'), () => this.#renew()),
    )
  }

  #queue(bytes: Buffer): void {
    this.#out.push(bytes)
    this.#unsent += bytes.length
    this.#queued += bytes.length
    if (this.#flushing) return
    this.#flushing = true
    // One write for all packets of this turn: each is three pieces.
    setImmediate(() => void this.#flush())
  }

  async #flush(): Promise<void> {
    try {
      while (this.#out.length > 0) {
        const pieces = this.#out
        const bytes = this.#queued
        this.#out = []
        this.#queued = 0
        await this.#write(pieces)
        this.#unsent -= bytes
        this.wake()
      }
    } catch (error) {
      this.#out = []
      this.#end(failure(error))
    } finally {
      this.#flushing = false
      this.wake()
    }
  }

  async #write(pieces: readonly Buffer[]): Promise<void> {
    if (this.#stream.writeAll === undefined) return this.#stream.write(Buffer.concat(pieces))
    await this.#stream.writeAll(pieces)
    // Sealed for this one write; nobody else has seen them.
    for (const piece of pieces) freeBytes(piece)
  }

  #deadline(name: Deadline, ms: number, what: string): void {
    this.#drop(name)
    const late = (): void => this.end(violation(what))
    this.#deadlines.set(name, this.#timers.after(ms, late))
  }

  #drop(name: Deadline): void {
    this.#deadlines.get(name)?.()
    this.#deadlines.delete(name)
  }

  #end(error: ProxyError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#error = error
    for (const name of this.#deadlines.keys()) this.#drop(name)
    this.#protocol.cleanup()
    this.wake()
    this.#events.closed(error)
    void this.#leave()
  }

  /** What was said last goes out; then the peer has a moment to close its side, since a reset would destroy what it has not read. */
  async #leave(): Promise<void> {
    const cut = (): void => this.#stream.abort(this.#error ?? gone())
    const cancel = this.#timers.after(max('sshLingerMs'), cut)
    try {
      while (this.#flushing) await this.#turn()
      await this.#stream.end()
      await this.#reading
    } catch {
      // It is gone already, which is what was wanted.
      cut()
    } finally {
      cancel()
      this.#resolveGone()
    }
  }
}

/** What the peer's program may go by: that something behind us is away is not that we refuse. */
function reasonOf(error: ProxyError | undefined, farewell: string | undefined): number {
  if (error !== undefined && farewell === undefined) return REASON.protocolError
  return error?.code === 'dial.failed' ? REASON.serviceNotAvailable : REASON.byApplication
}
