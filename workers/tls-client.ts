// TLS as a client on a connected socket: towards proxies (links) and towards targets. Contexts are built here and nowhere
// else: Node ignores other options beside a ready-made context. Certificates are checked by OpenSSL; for our own hosts
// the caller checks the role from the DER as well.

import { hash } from 'node:crypto'
import net from 'node:net'
import tls from 'node:tls'

import { tlsServerEndPoint } from '../core/cert/end-point.ts'
import { writePem } from '../core/cert/pem.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'

export interface TlsClientOptions {
  /** Who the server must be. An address is checked but not sent as SNI. */
  readonly serverName: string
  /**
   * `full`: CA and name. `ca`: CA only, because the name is checked otherwise or the configuration says so.
   * `none`: anybody; audited by whoever chose it.
   */
  readonly verify: 'full' | 'ca' | 'none'
  /** PEM or DER. Absent: the system's roots. */
  readonly cas?: readonly (string | Uint8Array)[]
  /** Our own certificate and key, PEM. */
  readonly certificate?: string
  readonly key?: string
  readonly alpn?: readonly string[]
  /** Targets may be older than TLS 1.3; links are not. */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3'
  /** A session to resume; a server that does not know it any more makes a full handshake of it. */
  readonly session?: Uint8Array
  /** Called with a session worth keeping: after a full handshake, by which the server was verified. */
  readonly onSession?: (session: Uint8Array, fingerprint: string) => void
}

const GROUPS = 'X25519MLKEM768:X25519:P-256:P-384'

/**
 * Runs the handshake over `raw`, which nobody else reads; `first` are bytes of the server read from it already. The caller
 * destroys `raw` to give up.
 */
export function connectTls(
  raw: net.Socket,
  first: Uint8Array,
  options: TlsClientOptions,
): Promise<tls.TLSSocket> {
  if (first.length > 0) raw.unshift(first)
  // Its errors reach the TLS socket; without a listener of its own a reset would end the thread.
  raw.on('error', () => {})
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      socket: raw,
      secureContext: contextOf(options),
      ...peerOf(options),
    })
    if (options.onSession !== undefined) keepSession(socket, options.onSession)
    const fail = (detail: string): void => {
      socket.destroy()
      raw.destroy()
      const message = `TLS with ${options.serverName} failed: ${detail}.`
      reject(new ProxyError('trust.unproven', message, { side: 'target', detail }))
    }
    const failed = (error: Error): void => fail(error.message)
    const closed = (): void => fail('the connection closed')
    socket.once('error', failed)
    socket.once('close', closed)
    socket.once('secureConnect', () => {
      socket.off('error', failed)
      socket.off('close', closed)
      resolve(socket)
    })
  })
}

/** TLS 1.3 brings sessions after the handshake. One is enough: it resumes any number of connections. */
function keepSession(
  socket: tls.TLSSocket,
  keep: (session: Uint8Array, fingerprint: string) => void,
): void {
  socket.once('session', (session: Buffer) => {
    // A resumed connection shows no certificate: its session proves nothing that the one before it did not.
    const leaf = socket.isSessionReused() ? undefined : socket.getPeerX509Certificate()
    if (leaf !== undefined && socket.authorized) keep(session, hash('sha256', leaf.raw, 'hex'))
  })
}

/** What a login can be bound to on this connection (RFC 5929); undefined when its certificate names no hash, or none was shown. */
export function endPointOf(socket: tls.TLSSocket): Uint8Array | undefined {
  const certificate = socket.getPeerX509Certificate()
  return certificate === undefined ? undefined : tlsServerEndPoint(certificate.raw)
}

/**
 * Contexts by the hash of everything they are made of. Making one parses keys and CAs anew, an eighth of what a session costs the
 * agent, and a session that keeps its own holds 20 KB more.
 */
const contexts = new Map<string, tls.SecureContext>()

function contextOf(options: TlsClientOptions): tls.SecureContext {
  const settings: tls.SecureContextOptions = {
    minVersion: options.minVersion ?? 'TLSv1.3',
    ecdhCurve: GROUPS,
    ...(options.cas === undefined ? {} : { ca: options.cas.map(pemOf) }),
    ...(options.certificate === undefined ? {} : { cert: options.certificate }),
    ...(options.key === undefined ? {} : { key: options.key }),
  }
  const name = hash('sha256', JSON.stringify(settings), 'hex')
  const known = contexts.get(name)
  if (known !== undefined) return known
  const context = tls.createSecureContext(settings)
  const [oldest] = contexts.keys()
  if (contexts.size >= max('tlsContextsMax') && oldest !== undefined) contexts.delete(oldest)
  contexts.set(name, context)
  return context
}

function peerOf(options: TlsClientOptions): tls.ConnectionOptions {
  const named = net.isIP(options.serverName) === 0
  return {
    rejectUnauthorized: options.verify !== 'none',
    ...(options.session === undefined ? {} : { session: Buffer.from(options.session) }),
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    ...(named ? { servername: options.serverName } : { host: options.serverName }),
    ...(options.verify === 'full' ? {} : { checkServerIdentity: () => undefined }),
  }
}

function pemOf(ca: string | Uint8Array): string {
  return typeof ca === 'string' ? ca : writePem('CERTIFICATE', ca)
}
