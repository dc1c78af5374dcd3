// From a user's OpenSSH certificate to who they are: the certificate is judged (core/cert/ssh.ts), then the canonical identity in its
// extension is read, which must be of this cluster and of the person whom the key id names. Says nothing of what they may do: that is
// core/login.ts. Nor does it prove possession of the key: whoever calls has seen a signature, or trusts who showed the certificate.

import { hash } from 'node:crypto'

import type { ErrorCode } from '../errors.ts'
import { ProxyError } from '../errors.ts'
import type { CertificateFacts, UserIdentity } from '../identity.ts'
import { readPublicBlob } from '../ssh/key.ts'
import { decodeIdentity, encodeIdentity } from './identity.ts'
import { keySha256 } from './key.ts'
import { judgeSshCertificate, readSshCertificate, type SshCertificate } from './ssh.ts'

/** The extension with the canonical identity (core/cert/identity.ts), base64. */
export const IDENTITY_EXTENSION = 'identity@sluice'

export interface SshPeerWanted {
  /** Blobs of the CAs that certify people (`SshCaSets.user`). */
  readonly cas: readonly Uint8Array[]
  readonly cluster: string
  readonly nowMs: number
}

export type SshPeerReading =
  | {
      readonly ok: true
      readonly identity: UserIdentity
      readonly facts: CertificateFacts
      /** As core/cert/verify.ts gives it: of the SPKI, so that a lock on a key holds in both kinds of certificate. */
      readonly keySha256: string
      /** Logins it is good for; whoever lets somebody in as another has not read it. */
      readonly principals: readonly string[]
      /** Blob of the certified key. */
      readonly key: Uint8Array
    }
  | { readonly ok: false; readonly code: ErrorCode; readonly reason: string }

/** `raw`: the certificate's wire bytes. Total: any bytes give a person or a refusal. */
export function readSshPeer(raw: Uint8Array, wanted: SshPeerWanted): SshPeerReading {
  const certificate = readTotal(raw)
  if ('ok' in certificate) return certificate
  // No critical option is carried out here, so none is taken: an unknown restriction must not become none.
  const expected = { kind: 'user', cas: wanted.cas, critical: [] } as const
  const refusal = judgeSshCertificate(certificate, expected, wanted.nowMs)
  if (refusal !== undefined) return { ok: false, ...refusal }
  const identity = identityOf(certificate)
  if (identity === undefined) return no('it carries no identity of a person')
  if (identity.cluster !== wanted.cluster) return no('it is of another cluster')
  if (identity.name !== certificate.keyId) return no('its key id is not the person it identifies')
  const { principals, key } = certificate
  const facts = sshFactsOf(certificate)
  return { ok: true, identity, facts, keySha256: keySha256(spkiOfBlob(key)), principals, key }
}

/** What is told of an SSH certificate, in the terms of X.509 ones: locks and audit name both alike. */
export function sshFactsOf(certificate: SshCertificate): CertificateFacts {
  const { serial, raw, validAfter, validBefore } = certificate
  return {
    serial: serial.toString(16),
    fingerprint: hash('sha256', raw, 'hex'),
    notBeforeMs: milliseconds(validAfter),
    notAfterMs: milliseconds(validBefore),
  }
}

/** The value of the identity extension. */
export function identityText(identity: UserIdentity): string {
  return Buffer.from(encodeIdentity(identity)).toString('base64')
}

/** SPKI (DER) of a public key blob. Throws `cert.malformed`. */
export function spkiOfBlob(blob: Uint8Array): Uint8Array {
  return readPublicBlob(blob).export({ format: 'der', type: 'spki' })
}

function readTotal(raw: Uint8Array): SshCertificate | Extract<SshPeerReading, { ok: false }> {
  try {
    return readSshCertificate(raw)
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    return { ok: false, code: error.code, reason: error.message }
  }
}

function identityOf({ extensions }: SshCertificate): UserIdentity | undefined {
  const text = Object.hasOwn(extensions, IDENTITY_EXTENSION) ? extensions[IDENTITY_EXTENSION] : ''
  const bytes = Buffer.from(text ?? '', 'base64')
  // One spelling: base64 is read leniently, and what is written again must be the same.
  if (bytes.toString('base64') !== text) return undefined
  const identity = decodeIdentity(bytes)
  return identity?.type === 'user' ? identity : undefined
}

/** Certificates without an end exist; their moment is the last that a number holds. */
function milliseconds(seconds: bigint): number {
  const ms = seconds * 1000n
  return ms > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(ms)
}

function no(reason: string): SshPeerReading {
  return { ok: false, code: 'cert.identity', reason }
}
