// What ssh2's key exchange lacks, added to one connection at a time: the hybrid exchange, host keys that are certificates, and that
// a host keeps its key for the life of the connection. ssh2 negotiates on a list in which the hybrid is called curve25519; the
// payloads that go into the exchange hash stay those that were sent.

import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import { blobTypeOf, KEX, SERVER_SIGNATURES, signatureOf } from './algorithms.ts'
import { HYBRID_KEX, HybridExchange } from './hybrid.ts'
import { MESSAGE } from './message.ts'
import { ssh2, type Ssh2Exchange, type Ssh2Protocol } from './ssh2.ts'

const KEXINIT = 20
const LISTS = 10
/** Type and cookie. */
const LISTS_AT = 17
const STAND_IN = 'curve25519-sha256'

type Next = (payload: Buffer) => unknown

export class Exchanges {
  readonly #protocol: Ssh2Protocol
  readonly #server: boolean
  #current: Ssh2Exchange | undefined
  /** The peer's KEXINIT as it came, between negotiation and the exchange that it began. */
  #hybrid: Buffer | undefined
  /** The peer wants extension information (RFC 8308). */
  wantsExtensions = false
  /** The negotiated certificate algorithm; ssh2 is told the plain one once the exchange signs. */
  hostKeyAlgorithm = ''

  constructor(protocol: Ssh2Protocol, server: boolean) {
    this.#protocol = protocol
    this.#server = server
    // ssh2 makes the exchange in a closure, and starts it right after this assignment.
    Object.defineProperty(protocol, '_kex', {
      get: () => this.#current,
      set: (exchange: Ssh2Exchange) => {
        this.#adapt(exchange)
        this.#current = exchange
      },
    })
  }

  /** Call when the peer's identification was read: what comes first is its KEXINIT. */
  first(): void {
    const decipher = this.#protocol._decipher
    if (decipher === undefined) return
    const next: Next = decipher._onPayload
    decipher._onPayload = (payload) =>
      payload[0] === KEXINIT ? this.#negotiate(payload, next) : next(payload)
  }

  /** A KEXINIT of the peer under keys that stand: of a further exchange, whoever began it. */
  again(payload: Buffer): unknown {
    return this.#negotiate(payload, (each) => ssh2.handleKexInit(this.#protocol, each))
  }

  #negotiate(payload: Buffer, next: Next): unknown {
    const { lists, rest } = readLists(payload)
    const theirs = lists[0] ?? []
    const [client, server] = this.#server ? [theirs, KEX] : [KEX, theirs]
    if (client.find((name) => server.includes(name)) !== HYBRID_KEX) return next(payload)
    const shown = writeLists(payload, [standIn(theirs), ...lists.slice(1)], rest)
    const offer = this.#protocol._offer
    const kex = { array: standIn(offer.lists.kex.array) }
    this.#hybrid = Buffer.from(payload)
    this.#protocol._offer = Object.create(offer, {
      lists: { value: { ...offer.lists, kex } },
    }) as typeof offer
    try {
      const result = next(shown)
      // A guess that follows was for the peer's first choice; ssh2 has seen another first choice.
      if (rest[0] === 1) this.#protocol._skipNextInboundPacket = theirs[0] !== HYBRID_KEX
      return result
    } finally {
      this.#protocol._offer = offer
    }
  }

  #adapt(exchange: Ssh2Exchange): void {
    const { negotiated } = exchange
    const algorithm = negotiated.serverHostKey
    this.hostKeyAlgorithm = algorithm
    // ssh2's own extension information lacks a comma and names SHA-1.
    Object.defineProperty(exchange, 'remoteExtInfoEnabled', {
      get: () => false,
      set: (value: boolean) => {
        this.wantsExtensions = value
      },
    })
    const parse = exchange.parse.bind(exchange)
    const finish = exchange.finish.bind(exchange)
    exchange.parse = (payload) => {
      // The client compares with the type in the blob, which for RSA is neither of its two algorithms.
      if (this.#server || exchange._step !== 1) return parse(payload)
      negotiated.serverHostKey = blobTypeOf(algorithm) ?? algorithm
      try {
        return parse(payload)
      } finally {
        negotiated.serverHostKey = algorithm
      }
    }
    exchange.finish = (partial) => {
      negotiated.serverHostKey = signatureOf(algorithm) ?? algorithm
      return finish(partial)
    }
    if (this.#hybrid !== undefined) beHybrid(exchange, this.#server, this.#hybrid)
    this.#hybrid = undefined
  }
}

function beHybrid(exchange: Ssh2Exchange, server: boolean, theirs: Buffer): void {
  const hybrid = new HybridExchange(server)
  exchange.negotiated.kex = HYBRID_KEX
  exchange._remoteKexinit = theirs
  exchange.generateKeys = () => undefined
  exchange.getPublicKey = () => hybrid.share()
  exchange.convertPublicKey = (share) => share
  exchange.computeSecret = (share) => {
    try {
      return hybrid.secret(share)
    } catch (error) {
      return error instanceof Error ? error : new TypeError('no error was thrown')
    }
  }
}

/** Markers (strict exchange, extension information) stay: they are no exchanges. */
function standIn(names: readonly string[]): readonly string[] {
  return [STAND_IN, ...names.filter((name) => /^(kex-strict|ext-info)-/.test(name))]
}

function readLists(payload: Buffer): { lists: readonly string[][]; rest: Buffer } {
  const reader = new SshReader(payload.subarray(LISTS_AT))
  const lists = Array.from({ length: LISTS }, () => reader.text().split(','))
  return { lists, rest: payload.subarray(LISTS_AT + reader.at) }
}

function writeLists(payload: Buffer, lists: readonly (readonly string[])[], rest: Buffer): Buffer {
  const head = payload.subarray(0, LISTS_AT)
  return Buffer.concat([head, ...lists.map((names) => string(names.join(','))), rest])
}

/** What a server says in its first message after the exchange (RFC 8308). */
export function extensions(): Uint8Array {
  const value = string(SERVER_SIGNATURES.join(','))
  return Buffer.concat([
    Uint8Array.of(MESSAGE.extensions),
    u32(1),
    string('server-sig-algs'),
    value,
  ])
}
