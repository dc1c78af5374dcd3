// The TLS settings of control's API server, in one place. TLS 1.3 alone, post-quantum groups first; a session ticket is void when
// trust changes, since its context names the trust revision and its keys are drawn anew.

import { hash, randomBytes } from 'node:crypto'
import type { TlsOptions } from 'node:tls'

import { CONTROL_ALPN } from './connection.ts'

export interface TlsMaterial {
  /** Leaf, then its host CA: clients check the pin of the CA. PEM. */
  readonly chain: string
  /** PEM. */
  readonly key: string
  /** Changes with the trust set. */
  readonly trustRevision: string
}

export function tlsOptions({ chain, key, trustRevision }: TlsMaterial): TlsOptions {
  return {
    cert: chain,
    key,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [CONTROL_ALPN],
    ecdhCurve: 'X25519MLKEM768:X25519:P-256',
    requestCert: true,
    // readCaller decides from the DER; a refusal is said in HTTP.
    rejectUnauthorized: false,
    sessionIdContext: hash('sha256', `control\0${trustRevision}`, 'hex').slice(0, 32),
    ticketKeys: randomBytes(48),
  }
}
