// The local port of `tsh proxy db`. Plain: bytes are passed on as they are, and the client brings certificate and TLS. Tunnel: the
// client speaks PostgreSQL in clear on this machine, and TLS with the person's certificate begins here. Bounded by
// localProxyConnectionsMax; pipes keep backpressure, and half-closes pass both ways.

import { once } from 'node:events'
import net from 'node:net'
import type { Duplex } from 'node:stream'

import { max } from '../../core/limits.ts'
import { CommandError, errorText, EXIT } from '../exit.ts'

export interface LocalProxyOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** A connection to a proxy, in clear. */
  readonly dial: () => Promise<Duplex>
  /** A connection to the database inside TLS; absent: clients bring TLS themselves. */
  readonly secure?: () => Promise<Duplex>
  /** A connection that could not be made, in a sentence. */
  readonly failed: (text: string) => void
}

// Codes in the place of a protocol version (PostgreSQL manual, "Message Formats").
const CANCEL_REQUEST = 80_877_102
const SSL_REQUEST = 80_877_103
const GSSENC_REQUEST = 80_877_104
const HEAD_BYTES = 8
/** A client asks for SSL and GSS encryption at most once each. */
const OFFERS_MAX = 2

export class LocalProxy {
  readonly #options: LocalProxyOptions
  readonly #server: net.Server
  readonly #clients = new Set<net.Socket>()

  constructor(options: LocalProxyOptions) {
    this.#options = options
    this.#server = net.createServer(
      { allowHalfOpen: true, noDelay: true, pauseOnConnect: false },
      (client) => {
        this.#clients.add(client)
        client.on('error', () => {})
        client.once('close', () => this.#clients.delete(client))
        void this.#serve(client)
      },
    )
    this.#server.maxConnections = max('localProxyConnectionsMax')
  }

  /** Listens; resolves with the port. */
  async start(): Promise<number> {
    const { host, port } = this.#options
    this.#server.listen({ host, port })
    await once(this.#server, 'listening').catch((cause: unknown) => {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new CommandError(
        `cannot listen on ${host}:${port}: ${reason}`,
        EXIT.failure,
        'Choose another --port, or leave it out for any free one.',
      )
    })
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : port
  }

  /** Ends the port and every connection. */
  close(): void {
    this.#server.close()
    for (const client of this.#clients) client.destroy()
  }

  get connections(): number {
    return this.#clients.size
  }

  async #serve(client: net.Socket): Promise<void> {
    const { dial, secure, failed } = this.#options
    try {
      const kind = secure === undefined ? 'plain' : await readStart(client)
      if (kind === 'gone') return
      const target = secure !== undefined && kind === 'session' ? await secure() : await dial()
      if (client.destroyed) target.destroy()
      else join(client, target)
    } catch (error) {
      const text = errorText(error)
      failed(text)
      if (secure === undefined) client.destroy()
      else client.end(fatal(text))
    }
  }
}

/**
 * Reads how a client begins and puts it back. Offers of encryption are declined: on this machine it is in clear. A cancel
 * request goes on as it came, since PostgreSQL sends it outside TLS.
 */
async function readStart(client: net.Socket): Promise<'session' | 'cancel' | 'gone'> {
  const signal = AbortSignal.timeout(max('handshakeDeadlineMs'))
  for (let offers = 0; offers <= OFFERS_MAX; offers++) {
    const head = await readHead(client, signal)
    if (head === undefined) break
    const code = head.readUInt32BE(4)
    const offer =
      head.readUInt32BE(0) === HEAD_BYTES && [SSL_REQUEST, GSSENC_REQUEST].includes(code)
    if (!offer) {
      client.unshift(head)
      return code === CANCEL_REQUEST ? 'cancel' : 'session'
    }
    client.write('N')
  }
  client.destroy()
  return 'gone'
}

/** The first bytes of a client; what comes behind them stays to be read. Undefined when it leaves, or takes too long. */
function readHead(client: net.Socket, signal: AbortSignal): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let held: Buffer = Buffer.alloc(0)
    const settle = (head: Buffer | undefined): void => {
      client.pause()
      client.off('data', take)
      client.off('end', give)
      client.off('close', give)
      signal.removeEventListener('abort', give)
      resolve(head)
    }
    const give = (): void => settle(undefined)
    const take = (chunk: Buffer): void => {
      held = Buffer.concat([held, chunk])
      if (held.length < HEAD_BYTES) return
      settle(held.subarray(0, HEAD_BYTES))
      if (held.length > HEAD_BYTES) client.unshift(held.subarray(HEAD_BYTES))
    }
    client.on('data', take).once('end', give).once('close', give)
    signal.addEventListener('abort', give, { once: true })
    client.resume()
  })
}

/** Joins two ends. What one still has to deliver is delivered before the other is let go. */
export function join(client: Duplex, target: Duplex): void {
  for (const [from, to] of [
    [client, target],
    [target, client],
  ] as const) {
    from.on('error', () => to.destroy())
    from.once('close', () => {
      if (!from.readableEnded || !from.writableFinished) to.destroy()
    })
    from.pipe(to)
  }
}

/** ErrorResponse with severity, SQLSTATE 08001 (unable to establish the connection) and text. */
function fatal(text: string): Buffer {
  const fields = ['SFATAL', 'VFATAL', 'C08001', `Mtsh: ${text.replaceAll('\0', '')}`]
  const body = Buffer.from(`${fields.map((each) => `${each}\0`).join('')}\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
