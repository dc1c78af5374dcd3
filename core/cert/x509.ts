// X.509 certificates (RFC 5280 section 4.1): build, read, write again, check one signature. Reading decides nothing about
// trust (core/cert/verify.ts does); building enforces nothing about names (control/signer/templates.ts does).

import { randomBytes } from 'node:crypto'

import { max } from '../limits.ts'
import {
  bitString,
  contextConstructed,
  DerReader,
  element,
  integer,
  malformed,
  oid,
  readWhole,
  sequence,
  time,
} from './der.ts'
import { encodeExtensions, type Extensions, readExtensions } from './extension.ts'
import {
  type KeyAlgorithm,
  type PublicKey,
  readPublicKey,
  sameBytes,
  type Signer,
  verifySignature,
} from './key.ts'
import { type Attribute, encodeName, type Name, readName } from './name.ts'
import { OID } from './oid.ts'

export interface CertificateSpec {
  /** Big-endian, positive. */
  readonly serial: Uint8Array
  /** The issuer's whole Name, DER: the subject of the CA as it stands there. */
  readonly issuer: Uint8Array
  readonly subject: readonly Attribute[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  readonly extensions: Extensions
}

/** A certificate as read. Every byte array is a view of `der`. */
export interface Certificate {
  readonly der: Uint8Array
  readonly tbs: Uint8Array
  /** Big-endian without leading zeros. */
  readonly serial: Uint8Array
  readonly issuer: Name
  readonly subject: Name
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly spki: Uint8Array
  readonly extensions: Extensions
  /** Dotted object identifier. */
  readonly signatureAlgorithm: string
  readonly signature: Uint8Array
}

const SIGNATURE_OIDS: Readonly<Record<KeyAlgorithm, string>> = {
  'ecdsa-p256': OID.ecdsaWithSha256,
  ed25519: OID.ed25519,
}

// version [0] EXPLICIT INTEGER 2 (v3)
const VERSION = contextConstructed(0)
const VERSION_3 = element(VERSION, integer(Uint8Array.of(2)))
const EXTENSIONS = contextConstructed(3)

/** 128 random bits. */
export function newSerial(): Uint8Array {
  return randomBytes(16)
}

export function buildCertificate(spec: CertificateSpec, signer: Signer): Uint8Array {
  const algorithm = SIGNATURE_OIDS[signer.algorithm]
  const tbs = encodeTbs(spec, algorithm)
  return sequence(tbs, sequence(oid(algorithm)), bitString(signer.sign(tbs)))
}

// TBSCertificate ::= SEQUENCE { version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo,
//   issuerUniqueID [1] OPTIONAL, subjectUniqueID [2] OPTIONAL, extensions [3] EXPLICIT }
function encodeTbs(spec: CertificateSpec, algorithm: string): Uint8Array {
  return sequence(
    VERSION_3,
    integer(spec.serial),
    sequence(oid(algorithm)),
    spec.issuer,
    sequence(time(spec.notBeforeMs), time(spec.notAfterMs)),
    encodeName(spec.subject),
    spec.spki,
    element(EXTENSIONS, encodeExtensions(spec.extensions)),
  )
}

/** Throws `cert.malformed`. */
export function readCertificate(der: Uint8Array): Certificate {
  if (der.length > max('certificateBytesMax')) throw malformed('it is too long')
  const outer = readWhole(der)
  const tbs = outer.element()
  const signatureAlgorithm = readAlgorithm(outer)
  const signature = outer.bytes()
  outer.end()
  const reader = new DerReader(tbs, 1).enter()
  const version = reader.enter(VERSION)
  if (version.small() !== 2) throw malformed('a version other than 3')
  version.end()
  const serial = reader.unsigned()
  if (serial.length > 20 || serial.every((byte) => byte === 0)) throw malformed('a serial number')
  if (readAlgorithm(reader) !== signatureAlgorithm) throw malformed('two signature algorithms')
  const issuer = readName(reader)
  const validity = reader.enter()
  const notBeforeMs = validity.time()
  const notAfterMs = validity.time()
  validity.end()
  const subject = readName(reader)
  const spki = reader.element()
  const wrapped = reader.enter(EXTENSIONS)
  const extensions = readExtensions(wrapped.enter())
  wrapped.end()
  reader.end()
  return {
    der,
    tbs,
    serial,
    issuer,
    subject,
    notBeforeMs,
    notAfterMs,
    spki,
    extensions,
    signatureAlgorithm,
    signature,
  }
}

/** Whether our own writer would have made these very bytes. What differs could mean something else to another reader. */
export function isCanonical(certificate: Certificate): boolean {
  const { subject, issuer, signatureAlgorithm } = certificate
  const spec = { ...certificate, subject: subject.attributes, issuer: issuer.raw }
  return sameBytes(encodeTbs(spec, signatureAlgorithm), certificate.tbs)
}

/** A CA certificate with its key, ready to verify with. */
export interface Issuer {
  readonly certificate: Certificate
  readonly key: PublicKey
}

/** Throws `cert.malformed` when the bytes are no CA certificate with a plain key of ours. */
export function readIssuer(der: Uint8Array): Issuer {
  const certificate = readCertificate(der)
  const { basicConstraints, keyUsage, subjectKeyId } = certificate.extensions
  const signs = keyUsage?.includes('keyCertSign') === true
  if (basicConstraints?.ca !== true || !signs || subjectKeyId === undefined)
    throw malformed('it is no CA certificate')
  return { certificate, key: readPublicKey(certificate.spki) }
}

/** Whether this CA signed the certificate: same name, same key identifier, good signature. Looks at nothing else. */
export function verifyCertificate(certificate: Certificate, ca: Issuer): boolean {
  const { authorityKeyId } = certificate.extensions
  const { subjectKeyId } = ca.certificate.extensions
  if (authorityKeyId === undefined || subjectKeyId === undefined) return false
  if (!sameBytes(certificate.issuer.raw, ca.certificate.subject.raw)) return false
  if (!sameBytes(authorityKeyId, subjectKeyId)) return false
  if (certificate.signatureAlgorithm !== SIGNATURE_OIDS[ca.key.algorithm]) return false
  return verifySignature(ca.key, certificate.tbs, certificate.signature)
}

/** The serial number as logs and locks write it: lower-case hexadecimal without leading zeros. */
export function serialText(serial: Uint8Array): string {
  return Buffer.from(serial)
    .toString('hex')
    .replace(/^0+(?=.)/, '')
}

/** Names of a target certificate (`*.<label>.<kind>.<cluster>`), as it carries them. */
export function readTargetNames(der: Uint8Array): readonly string[] {
  return readCertificate(der).extensions.dnsNames
}

/** The algorithm of our keys never has parameters (RFC 5758 section 3.2, RFC 8410 section 3); others are stepped over. */
function readAlgorithm(reader: DerReader): string {
  const algorithm = reader.enter()
  const type = algorithm.oid()
  if (!algorithm.done && isOurs(type)) throw malformed('algorithm parameters')
  return type
}

function isOurs(type: string): boolean {
  return type === OID.ecdsaWithSha256 || type === OID.ed25519
}
