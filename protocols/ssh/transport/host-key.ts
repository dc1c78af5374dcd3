// Host keys, which are certificates here: what a server shows and signs with, and whom a client trusts. There is no trust on first
// use: a client that has no verifier does not come to be, and one that gets a plain key refuses it.

import type { KeyObject } from 'node:crypto'

import { judgeSshCertificate, readSshCertificate } from '../../../core/cert/ssh.ts'
import type { SshCertificate, SshRefusal } from '../../../core/cert/ssh.ts'
import { SshReader } from '../../../core/ssh/bytes.ts'
import { signBlob } from '../../../core/ssh/key.ts'
import { blobTypeOf, CERTIFICATE_ALGORITHMS, signatureOf } from './algorithms.ts'
import type { Ssh2HostKey } from './ssh2.ts'

/** A key with its certificate: of a host, or of a user whose key is at hand. */
export interface CertificateKey {
  readonly blob: Uint8Array
  /** Algorithms it can be used under, best first. */
  readonly algorithms: readonly string[]
  /** A whole signature blob by the plain algorithm `signature`. */
  sign(data: Uint8Array, signature: string): Uint8Array | Promise<Uint8Array>
}

/** A host's key answers at once: the exchange cannot wait for an agent. */
export interface HostKey extends CertificateKey {
  sign(data: Uint8Array, signature: string): Uint8Array
}

/** The private key of a certificate. Throws `cert.malformed` for a certificate that is none. */
export function certificateKey(blob: Uint8Array, key: KeyObject): HostKey {
  return {
    blob,
    algorithms: algorithmsOf(blob),
    sign: (data, signature) => signBlob(key, data, signature),
  }
}

/** The algorithms under which a certificate can be used. Throws `cert.malformed`. */
export function algorithmsOf(blob: Uint8Array): readonly string[] {
  const type = new SshReader(readSshCertificate(blob).raw).text()
  return CERTIFICATE_ALGORITHMS.filter((algorithm) => blobTypeOf(algorithm) === type)
}

/** Why a host is not trusted; undefined: it is. */
export type HostVerifier = (certificate: SshCertificate) => SshRefusal | undefined

/** Trusts certificates of these CAs for this name. */
export function hostVerifier(
  cas: readonly Uint8Array[],
  name: string,
  nowMs: () => number,
): HostVerifier {
  const wanted = { kind: 'host', cas, principal: name, critical: [] } as const
  return (certificate) => judgeSshCertificate(certificate, wanted, nowMs())
}

/** Host keys as ssh2 looks them up: by the negotiated algorithm. The first key of an algorithm is taken. */
export function hostKeysOf(keys: readonly HostKey[]): Readonly<Record<string, Ssh2HostKey>> {
  const found = new Map<string, Ssh2HostKey>()
  for (const key of keys)
    for (const algorithm of key.algorithms)
      if (!found.has(algorithm)) found.set(algorithm, hostKeyOf(key, algorithm))
  return Object.fromEntries(found)
}

function hostKeyOf(key: HostKey, algorithm: string): Ssh2HostKey {
  return {
    type: 'ours',
    getPublicSSH: () => Buffer.from(key.blob),
    sign(data) {
      const reader = new SshReader(key.sign(data, signatureOf(algorithm) ?? ''))
      reader.string()
      return Buffer.from(reader.string())
    },
  }
}
