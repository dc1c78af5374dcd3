// The algorithms that are offered and taken, best first (RFC 9142; OpenSSH's PROTOCOL). No SHA-1, no DSA, no CBC, no compression, no
// finite-field groups (each costs a stranger nothing and us milliseconds), no chacha20-poly1305 (slow here, and Terrapin's aim).

import { CERTIFICATE_SUFFIX } from '../../../core/cert/ssh.ts'
import { keyTypeOf, SIGNATURE_ALGORITHMS } from '../../../core/ssh/key.ts'
import { HYBRID_KEX } from './hybrid.ts'

/** Those that ssh2 has, in the order of preference behind `HYBRID_KEX`. */
export const CLASSIC_KEX: readonly string[] = [
  'curve25519-sha256',
  'curve25519-sha256@libssh.org',
  'ecdh-sha2-nistp256',
  'ecdh-sha2-nistp384',
  'ecdh-sha2-nistp521',
]
export const KEX: readonly string[] = [HYBRID_KEX, ...CLASSIC_KEX]

export const CIPHERS: readonly string[] = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
]

/** Of the counter modes alone: GCM has its own. */
export const MACS: readonly string[] = [
  'hmac-sha2-256-etm@openssh.com',
  'hmac-sha2-512-etm@openssh.com',
]

/** `ssh-ed25519-cert-v01@openssh.com`, … and both names under which an RSA certificate may sign. */
export const CERTIFICATE_ALGORITHMS: readonly string[] = SIGNATURE_ALGORITHMS.map(
  (algorithm) => `${algorithm}${CERTIFICATE_SUFFIX}`,
)

/** What a server says in `server-sig-algs` (RFC 8308): certificates, and the plain names that clients look for beside them. */
export const SERVER_SIGNATURES: readonly string[] = [
  ...SIGNATURE_ALGORITHMS,
  ...CERTIFICATE_ALGORITHMS,
]

/** The algorithm a certificate's key signs with, or undefined for the name of no certificate algorithm of ours. */
export function signatureOf(algorithm: string): string | undefined {
  if (!CERTIFICATE_ALGORITHMS.includes(algorithm)) return undefined
  return algorithm.slice(0, -CERTIFICATE_SUFFIX.length)
}

/** The type in the blob of a certificate that is used under this algorithm's name. */
export function blobTypeOf(algorithm: string): string | undefined {
  const signature = signatureOf(algorithm)
  return signature === undefined ? undefined : `${keyTypeOf(signature)}${CERTIFICATE_SUFFIX}`
}
