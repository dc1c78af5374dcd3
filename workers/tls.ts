// The only module that ends TLS for peers: one `tls.Server` per purpose, fed with sockets whose first bytes were read. A
// TLSSocket made by hand as a server lets strangers in, so nothing else may make one. Everything that shapes a context is set
// here: TLS 1.3, hybrid groups first, one session id context per purpose and trust revision.
// It proves nobody: who a peer is says core/cert/verify.ts, from `chain`, on full and on resumed handshakes alike.

import { hash } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'

import { writePem } from '../core/cert/pem.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { pause } from './pause.ts'

/**
 * `user`: relayed sessions at the agent, terminated ones at the proxy; `session`: proxies at the agent; `link`: agents at the proxy;
 * `ssh`: people on their way to nodes; `front`: browsers.
 */
export type TlsPurpose = 'user' | 'session' | 'link' | 'ssh' | 'front'

/** What may change while the server lives. */
export interface TlsServerState {
  /** PEM chain and key this process proves itself with. */
  readonly certificate: string
  readonly key: string
  /** CAs of the clients (DER), exactly one purpose's. Empty: nobody is let in, except browsers, who show none. */
  readonly clientCas: readonly Uint8Array[]
  /** Moves with every change of trust: no session resumes over it. */
  readonly trustRevision: number
  /** 48 random bytes of this process and purpose; replaced hourly, and when locks or trust change. */
  readonly ticketKeys: Uint8Array
}

export interface TlsServerOptions {
  readonly purpose: TlsPurpose
  readonly alpn: readonly string[]
  readonly deadlineMs?: number
}

/** What one connection must be, known from elsewhere: the frame of a spare, the kind of port. */
export interface AcceptOptions {
  /** The name the client must ask for. Absent: any, or none. */
  readonly serverName?: string
  /** Whether a client that offers no ALPN is let in (it said its protocol before TLS, or is a browser). */
  readonly alpnOptional?: boolean
}

/** A connection whose TLS ended here. */
export interface Secured {
  readonly socket: tls.TLSSocket
  /** The peer's certificate, DER, leaf first; empty when it showed none. Resumed connections carry it too. */
  readonly chain: readonly Uint8Array[]
  /** OpenSSL's own verdict. Necessary, never sufficient: it stays true on resumption after expiry or CA removal. */
  readonly authorized: boolean
  readonly alpn: string | undefined
  readonly serverName: string | undefined
  readonly resumed: boolean
}

interface Pending {
  readonly options: AcceptOptions
  resolve(secured: Secured): void
  reject(error: ProxyError): void
}

const GROUPS = 'X25519MLKEM768:X25519:P-256'
const TICKET_KEYS_BYTES = 48

/** One purpose's server of one thread. It listens nowhere: `accept` is the only way in. */
export class TlsServer {
  readonly #server: tls.Server
  readonly #purpose: TlsPurpose
  readonly #pending = new Map<net.Socket, Pending>()
  /** Connections whose TLS ended here and that are not closed. */
  readonly #open = new Set<tls.TLSSocket>()

  constructor(options: TlsServerOptions, state: TlsServerState) {
    this.#purpose = options.purpose
    this.#server = tls.createServer({
      ...contextOf(options.purpose, state),
      // Fixed for the server's life: an agent may come before the first snapshot named its CAs, and is refused with words then.
      requestCert: options.purpose !== 'front',
      // The refusal is said in the client's own protocol, after the handshake, by whoever judges the chain.
      rejectUnauthorized: false,
      ALPNProtocols: [...options.alpn],
      handshakeTimeout: options.deadlineMs ?? max('handshakeDeadlineMs'),
    })
    this.#server.on('secureConnection', (socket) => this.#secured(socket))
    this.#server.on('tlsClientError', (error, socket) => this.#failed(error, socket))
  }

  /** Handshakes in flight. */
  get pending(): number {
    return this.#pending.size
  }

  /** Takes trust, identity and ticket keys that changed. Connections that stand stay; their owner judges them again. */
  replace(state: TlsServerState): void {
    this.#server.setSecureContext(contextOf(this.#purpose, state))
  }

  /** Ends all resumption from now on: a lock must not be outlived by a ticket. */
  replaceTicketKeys(keys: Uint8Array): void {
    this.#server.setTicketKeys(ticketKeysOf(keys))
  }

  /**
   * Runs the handshake on a socket nobody else reads. `first` are the bytes read from it already. Rejects with a ProxyError
   * when there is no handshake in time, and destroys the socket then.
   */
  accept(raw: net.Socket, first: Uint8Array, options: AcceptOptions = {}): Promise<Secured> {
    if (!this.#hasRoom(options.serverName)) {
      raw.destroy()
      const text = 'Too many TLS handshakes at once (unfinishedHandshakesPerWorkerMax).'
      return Promise.reject(new ProxyError('limit.exceeded', text, { retry: true }))
    }
    return new Promise((resolve, reject) => {
      this.#pending.set(raw, { options, resolve, reject })
      // Reported by tlsClientError or close; without a listener a reset would end the thread.
      raw.on('error', () => {})
      raw.once('close', () => this.#reject(raw, 'the connection closed'))
      if (first.length > 0) raw.unshift(first)
      // The TLS socket takes this over: a client that leaves must not hold its place until the deadline.
      raw.allowHalfOpen = false
      this.#server.emit('connection', raw)
    })
  }

  /**
   * Cuts every connection and resolves when all are closed. A thread calls it before it ends: Node's own clean-up waits for ever
   * for a TLS connection that is ending when its thread is terminated (seen with 26.10).
   */
  async destroyAll(): Promise<void> {
    const sockets = [...this.#open, ...this.#pending.keys()]
    const closed = sockets.map(
      (socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())),
    )
    for (const socket of sockets) socket.destroy()
    await Promise.race([Promise.all(closed), pause(max('socketsCloseMs'))])
  }

  /**
   * At the bound the name with the most handshakes gives up its oldest: a name is sent in clear, and whoever saw one and presents it
   * ten thousand times must not keep the others out. Who comes with that name, or with none, is refused.
   */
  #hasRoom(name: string | undefined): boolean {
    if (this.#pending.size < max('unfinishedHandshakesPerWorkerMax')) return true
    const counts = new Map<string | undefined, number>()
    for (const { options } of this.#pending.values())
      counts.set(options.serverName, (counts.get(options.serverName) ?? 0) + 1)
    const [crowded, most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a))
    if (most <= (counts.get(name) ?? 0) + 1) return false
    for (const [raw, { options }] of this.#pending) {
      if (options.serverName !== crowded) continue
      this.#reject(raw, 'too many handshakes of this name are unfinished')
      raw.destroy()
      return true
    }
    return false
  }

  #secured(socket: tls.TLSSocket): void {
    this.#open.add(socket)
    socket.once('close', () => this.#open.delete(socket))
    const raw = rawOf(socket)
    const pending = raw === undefined ? undefined : this.#pending.get(raw)
    if (raw === undefined || pending === undefined) {
      socket.destroy()
      return
    }
    const secured = describe(socket)
    const wrong = mismatch(secured, pending.options)
    if (wrong !== undefined) {
      socket.destroy()
      this.#reject(raw, wrong)
      return
    }
    this.#pending.delete(raw)
    // From here on a half-close is the session's to keep.
    socket.allowHalfOpen = true
    pending.resolve(secured)
  }

  #failed(error: Error, socket: tls.TLSSocket): void {
    const raw = rawOf(socket)
    socket.destroy()
    if (raw === undefined) return
    raw.destroy()
    this.#reject(raw, error.message)
  }

  #reject(raw: net.Socket, detail: string): void {
    const pending = this.#pending.get(raw)
    this.#pending.delete(raw)
    pending?.reject(
      new ProxyError('protocol.violation', 'The TLS handshake failed.', { side: 'client', detail }),
    )
  }
}

function contextOf(purpose: TlsPurpose, state: TlsServerState): tls.TlsOptions {
  return {
    cert: state.certificate,
    key: state.key,
    ca: state.clientCas.map((der) => writePem('CERTIFICATE', der)),
    minVersion: 'TLSv1.3',
    ecdhCurve: GROUPS,
    ticketKeys: ticketKeysOf(state.ticketKeys),
    sessionIdContext: sessionContext(purpose, state.trustRevision),
  }
}

/** A ticket of one purpose or trust revision means nothing in another (OpenSSL takes at most 32 bytes). */
function sessionContext(purpose: TlsPurpose, trustRevision: number): string {
  return hash('sha256', `sluice tls ${purpose} ${trustRevision}`, 'hex').slice(0, 32)
}

function ticketKeysOf(keys: Uint8Array): Buffer {
  if (keys.length !== TICKET_KEYS_BYTES) throw new RangeError('TLS ticket keys have 48 bytes')
  return Buffer.from(keys)
}

function describe(socket: tls.TLSSocket): Secured {
  return {
    socket,
    chain: peerChain(socket),
    authorized: socket.authorized,
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : undefined,
    serverName: nameOf(socket),
    resumed: socket.isSessionReused(),
  }
}

function mismatch(secured: Secured, options: AcceptOptions): string | undefined {
  const { serverName, alpnOptional = false } = options
  if (serverName !== undefined && secured.serverName !== serverName.toLowerCase())
    return 'the server name is not the one of the frame'
  if (secured.alpn === undefined && !alpnOptional) return 'the client offered no ALPN'
  return undefined
}

/** The peer's certificate. Our identities are signed by the CA itself, so the leaf is the whole chain. */
export function peerChain(socket: tls.TLSSocket): readonly Uint8Array[] {
  const leaf = socket.getPeerX509Certificate()
  return leaf === undefined ? [] : [leaf.raw]
}

function nameOf(socket: tls.TLSSocket): string | undefined {
  const name: unknown = 'servername' in socket ? socket.servername : undefined
  return typeof name === 'string' && name !== '' ? name.toLowerCase() : undefined
}

// Node keeps the socket under a TLSSocket in `_parent`; nothing public leads from one to the other. `tlsSelfTest` proves it.
function rawOf(socket: tls.TLSSocket): net.Socket | undefined {
  const parent: unknown = '_parent' in socket ? socket._parent : undefined
  return parent instanceof net.Socket ? parent : undefined
}

/** Whether this Node still leads from a TLSSocket to its socket. Workers refuse to start otherwise. */
export async function tlsSelfTest(): Promise<void> {
  const server = tls.createServer()
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const listener = net.createServer({ pauseOnConnect: true }, (raw) => {
    server.once('tlsClientError', (_error, socket) => {
      resolve(rawOf(socket) === raw)
      raw.destroy()
    })
    raw.on('error', () => {})
    server.emit('connection', raw)
  })
  listener.listen(0, '127.0.0.1')
  listener.once('listening', () => {
    const address = listener.address()
    if (address === null || typeof address === 'string') return
    const probe = net.connect(address.port, '127.0.0.1', () => probe.end('no hello at all\n'))
    probe.on('error', () => {})
  })
  const found = await promise
  listener.close()
  if (!found)
    throw new ProxyError('config.invalid', 'This Node hides the socket under TLS from Sluice.')
}
