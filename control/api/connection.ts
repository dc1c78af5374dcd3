// TLS towards control, end to end: over TCP to control's own port, or through a proxy that relays ALPN `sluice-control` unread.
// The connection is handed out only after control proved itself; a request byte written earlier could reach anybody.

import type { Duplex } from 'node:stream'
import tls from 'node:tls'

import type { Clock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { type ControlTrust, verifyControl } from './trust.ts'

/** ALPN of connections to control; proxies relay it unread. */
export const CONTROL_ALPN = 'sluice-control'

/** The server name control's certificate carries, and what a proxy sees. */
export function controlServerName(cluster: string): string {
  return `control.${cluster}`.toLowerCase()
}

/** This process's or person's certificate and key, PEM. */
export interface ClientIdentity {
  readonly certificate: string
  readonly key: string
}

export interface SecureOptions {
  /** A connected byte stream: TCP to control, or to a proxy. Its own errors pass unchanged. */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>
  readonly trust: () => ControlTrust
  /** Absent: anonymous (login, join, invites). Asked for each connection, so that a renewed certificate is used. */
  readonly identity?: () => ClientIdentity | undefined
  readonly clock: Clock
}

/** A verified connection to control. */
export async function secureControl(options: SecureOptions): Promise<tls.TLSSocket> {
  const signal = AbortSignal.timeout(max('handshakeDeadlineMs'))
  const raw = await options.connect(signal)
  const trust = options.trust()
  const identity = options.identity?.()
  const socket = tls.connect({
    socket: raw,
    ALPNProtocols: [CONTROL_ALPN],
    minVersion: 'TLSv1.3',
    // verifyControl decides, from the DER; Node's own chain check knows neither pins nor roles.
    rejectUnauthorized: false,
    ...('cluster' in trust ? { servername: controlServerName(trust.cluster) } : {}),
    ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
  })
  try {
    await secured(socket, signal)
    if (socket.alpnProtocol !== CONTROL_ALPN)
      throw new ProxyError(
        'trust.unproven',
        'The other end is no Sluice proxy: it does not speak `sluice-control`.',
      )
    verifyControl(peerChain(socket), trust, options.clock.now())
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** The certificates the peer presented, DER, leaf first. */
export function peerChain(socket: tls.TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = []
  let next = socket.getPeerX509Certificate()
  // Node links a self-signed certificate to itself.
  while (next !== undefined && chain.length < 4) {
    chain.push(next.raw)
    next = next.issuerCertificate
    if (next !== undefined && chain.some((der) => Buffer.compare(der, next?.raw ?? der) === 0))
      break
  }
  return chain
}

function secured(socket: tls.TLSSocket, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: unknown): void => {
      reject(
        new ProxyError('control.unavailable', 'The proxy answers, but control does not.', {
          retry: true,
          cause,
          next: 'Ask the operator whether control runs; open sessions are not affected.',
        }),
      )
    }
    const expired = (): void => fail(signal.reason)
    signal.addEventListener('abort', expired, { once: true })
    socket.once('error', fail)
    socket.once('close', () => fail(new Error('closed during the handshake')))
    socket.once('secureConnect', () => {
      signal.removeEventListener('abort', expired)
      // Later errors belong to whoever uses the socket; without a listener they would end the process.
      socket.on('error', () => {})
      resolve()
    })
  })
}
