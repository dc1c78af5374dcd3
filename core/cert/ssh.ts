// OpenSSH certificates (OpenSSH's PROTOCOL.certkeys): built, read and judged. Reading proves the CA's signature; judging asks what
// the caller states: kind, trusted CAs, time, principal, and that every critical option is one the caller carries out.
// A nested certificate, a certificate where a CA key belongs, doubled options and an empty list of principals are refused.

import { timingSafeEqual } from 'node:crypto'

import type { ErrorCode } from '../errors.ts'
import { max } from '../limits.ts'
import { malformed, SshReader, string, u32, u64 } from '../ssh/bytes.ts'
import { KEY_TYPES, readPublicBlob, verifyBlob } from '../ssh/key.ts'

/** `ssh-ed25519` → `ssh-ed25519-cert-v01@openssh.com`. */
export const CERTIFICATE_SUFFIX = '-cert-v01@openssh.com'

const KINDS = ['user', 'host'] as const
export type SshCertificateKind = (typeof KINDS)[number]

/** Options by name. The value of an option is itself a string, or absent (''). */
export type SshOptions = Readonly<Record<string, string>>

export interface SshCertificateFields {
  /** Blob of the certified public key. */
  readonly key: Uint8Array
  readonly serial: bigint
  readonly kind: SshCertificateKind
  readonly keyId: string
  readonly principals: readonly string[]
  /** Seconds since the epoch; the end is not included. */
  readonly validAfter: bigint
  readonly validBefore: bigint
  readonly critical: SshOptions
  readonly extensions: SshOptions
}

export interface SshCertificate extends SshCertificateFields {
  /** Blob of the CA's key, whose signature holds. */
  readonly caKey: Uint8Array
  readonly raw: Uint8Array
}

/** What signs certificates: a CA's key. */
export interface SshCa {
  readonly blob: Uint8Array
  /** A whole signature blob over the bytes. */
  sign(bytes: Uint8Array): Uint8Array
}

/** Strings between the nonce and the serial, by plain key type. */
const KEY_FIELDS: Readonly<Record<string, number>> = { 'ssh-ed25519': 1 }
const OTHER_KEY_FIELDS = 2
const NONCE_BYTES = 32

/** Builds a certificate. `nonce`: 32 random bytes. */
export function buildSshCertificate(
  ca: SshCa,
  fields: SshCertificateFields,
  nonce: Uint8Array,
): Uint8Array {
  readPublicBlob(fields.key)
  if (nonce.length !== NONCE_BYTES) throw new RangeError('a certificate’s nonce has 32 bytes')
  const reader = new SshReader(fields.key)
  const type = reader.text()
  const signed = Buffer.concat([
    string(`${type}${CERTIFICATE_SUFFIX}`),
    string(nonce),
    fields.key.subarray(reader.at),
    u64(fields.serial),
    u32(KINDS.indexOf(fields.kind) + 1),
    string(fields.keyId),
    string(Buffer.concat(fields.principals.map(string))),
    u64(fields.validAfter),
    u64(fields.validBefore),
    string(packOptions(fields.critical)),
    string(packOptions(fields.extensions)),
    string(''),
    string(ca.blob),
  ])
  return Buffer.concat([signed, string(ca.sign(signed))])
}

/** Whether a key blob is a certificate by its type's name. Says nothing more. */
export function isSshCertificate(blob: Uint8Array): boolean {
  try {
    return new SshReader(blob).text().endsWith(CERTIFICATE_SUFFIX)
  } catch {
    return false
  }
}

/** Reads a certificate and checks its CA's signature. Throws `cert.malformed`. Whom to trust says `judgeSshCertificate`. */
export function readSshCertificate(raw: Uint8Array): SshCertificate {
  if (raw.length > max('certificateBytesMax'))
    throw malformed('it is longer than certificateBytesMax')
  const reader = new SshReader(raw)
  const type = reader.text()
  const plain = type.endsWith(CERTIFICATE_SUFFIX) ? type.slice(0, -CERTIFICATE_SUFFIX.length) : ''
  if (!KEY_TYPES.includes(plain)) throw malformed('it is no certificate of a known key type')
  reader.string()
  const key = readKey(reader, raw, plain)
  const serial = reader.u64()
  const kind = KINDS[reader.u32() - 1]
  if (kind === undefined) throw malformed('it is neither a user’s nor a host’s')
  const keyId = reader.text()
  const principals = readTexts(reader.string())
  const [validAfter, validBefore] = [reader.u64(), reader.u64()]
  const [critical, extensions] = [readOptions(reader.string()), readOptions(reader.string())]
  reader.string()
  const caKey = reader.string()
  const signed = raw.subarray(0, reader.at)
  const signature = reader.string()
  if (!reader.done) throw malformed('bytes follow the signature')
  // CVE-2025-49825: a CA is a plain key; one that is a certificate itself must not be unwrapped to who it names.
  readPublicBlob(caKey)
  if (!verifyBlob(caKey, signed, signature)) throw malformed('its signature does not hold')
  const times = { validAfter, validBefore }
  return { key, serial, kind, keyId, principals, ...times, critical, extensions, caKey, raw }
}

export interface SshExpectation {
  readonly kind: SshCertificateKind
  /** Blobs of the trusted CAs. */
  readonly cas: readonly Uint8Array[]
  /** Who the certificate must be for: a login, a host name. */
  readonly principal?: string
  /** Critical options that the caller carries out itself. Any other refuses. */
  readonly critical: readonly string[]
}

export interface SshRefusal {
  readonly code: ErrorCode
  readonly reason: string
}

/** Why the certificate is not what is wanted, or undefined when it is. Total. */
export function judgeSshCertificate(
  certificate: SshCertificate,
  wanted: SshExpectation,
  nowMs: number,
): SshRefusal | undefined {
  const { kind, caKey, validAfter, validBefore, principals, critical } = certificate
  if (kind !== wanted.kind) return no('cert.purpose', `it is a ${kind} certificate`)
  if (!wanted.cas.some((ca) => sameKey(ca, caKey))) return no('cert.chain', 'its CA is not trusted')
  const now = BigInt(Math.floor(nowMs / 1000))
  if (now < validAfter) return no('cert.expired', 'it is not valid yet')
  if (now >= validBefore) return no('cert.expired', 'it has expired')
  const unknown = Object.keys(critical).find((name) => !wanted.critical.includes(name))
  if (unknown !== undefined)
    return no('cert.purpose', 'it has a critical option nobody here enforces')
  if (principals.length === 0) return no('cert.identity', 'it names no principal')
  if (wanted.principal !== undefined && !principals.includes(wanted.principal))
    return no('cert.identity', 'it is for other principals')
  return undefined
}

function readKey(reader: SshReader, raw: Uint8Array, plain: string): Uint8Array {
  const from = reader.at
  const fields = KEY_FIELDS[plain] ?? OTHER_KEY_FIELDS
  for (let field = 0; field < fields; field++) reader.string()
  const key = Buffer.concat([string(plain), raw.subarray(from, reader.at)])
  readPublicBlob(key)
  return key
}

function readTexts(bytes: Uint8Array): readonly string[] {
  const reader = new SshReader(bytes)
  const texts: string[] = []
  while (!reader.done) texts.push(reader.text())
  return texts
}

/** Pairs of string name and string data; data is empty or one string. */
function readOptions(bytes: Uint8Array): SshOptions {
  const reader = new SshReader(bytes)
  const options = new Map<string, string>()
  while (!reader.done) {
    const name = reader.text()
    if (options.has(name)) throw malformed('an option comes twice')
    const data = new SshReader(reader.string())
    options.set(name, data.done ? '' : data.text())
    if (!data.done) throw malformed('bytes follow an option’s value')
  }
  return Object.fromEntries(options)
}

/** Sorted by name, as verifiers demand of signers. */
function packOptions(options: SshOptions): Uint8Array {
  const entries = Object.entries(options).map(
    ([name, value]) => [Buffer.from(name), value] as const,
  )
  entries.sort(([a], [b]) => Buffer.compare(a, b))
  return Buffer.concat(
    entries.flatMap(([name, value]) => [string(name), string(value === '' ? '' : string(value))]),
  )
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

function no(code: ErrorCode, reason: string): SshRefusal {
  return { code, reason }
}
