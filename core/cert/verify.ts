// The one place where a certificate becomes somebody. From the DER of the peer's chain and a statement of what is wanted
// (which CAs, which purpose, which kind of identity) to a Verified, or a refusal that says why. Same work on full and on
// resumed handshakes. Locks, generations and policy come after it (core/login.ts); revocation is no part of it.

import { hash } from 'node:crypto'

import { type ErrorCode, errorCode, ProxyError } from '../errors.ts'
import type { CertificateFacts, Identity, SystemRole } from '../identity.ts'
import { max } from '../limits.ts'
import { decodeIdentity } from './identity.ts'
import { keyAlgorithm, keySha256, sameBytes } from './key.ts'
import { OID } from './oid.ts'
import {
  type Certificate,
  isCanonical,
  type Issuer,
  readCertificate,
  readIssuer,
  serialText,
  verifyCertificate,
} from './x509.ts'

/** What the verifier demands. Every field is stated by the caller; nothing is inferred from the certificate. */
export interface Expectation {
  /** The trust set of one purpose, DER. Ordered; all are trusted. */
  readonly cas: readonly Uint8Array[]
  /** What the peer uses the certificate as: a TLS client or a TLS server. */
  readonly purpose: 'client' | 'server'
  readonly type: 'user' | 'system'
  /** Of a system identity: the role it must have. */
  readonly role?: SystemRole
  readonly cluster: string
  /** The DNS name a server must be certified for. */
  readonly serverName?: string
}

export interface CertificateRefusal {
  readonly ok: false
  readonly code: ErrorCode
  /** For the person; names no secret. */
  readonly reason: string
  /** Whom a CA of this purpose vouched for, however wrongly the certificate is used: for the audit log, never for a decision. */
  readonly identity?: Identity
}

/** Known to this module alone, so that nothing else can make a Verified. */
const MINT: unique symbol = Symbol('verified')

/** An identity whose certificate was verified. Cannot be made elsewhere, copied between threads or parsed from anything. */
export class Verified {
  readonly ok = true
  readonly identity: Identity
  readonly facts: CertificateFacts
  /** SHA-256 of the certificate's key (SPKI), hexadecimal: what locks name. */
  readonly keySha256: string
  readonly #proof = true

  constructor(mint: typeof MINT, identity: Identity, facts: CertificateFacts, keyHash: string) {
    if (mint !== MINT) throw new TypeError('only verifyPeer makes a Verified')
    this.identity = identity
    this.facts = facts
    this.keySha256 = keyHash
  }

  /** True for values that verifyPeer made, in this thread. */
  static holds(value: unknown): value is Verified {
    return typeof value === 'object' && value !== null && #proof in value && value.#proof
  }
}

/** `chain`: leaf first, as the peer sent it; on resumption the leaf alone. The CA may follow, nothing else. */
export function verifyPeer(
  chain: readonly Uint8Array[],
  want: Expectation,
  nowMs: number,
): Verified | CertificateRefusal {
  const [leafDer, caDer, ...more] = chain
  if (leafDer === undefined) return refuse('cert.chain', 'no certificate was presented')
  if (more.length > 0) return refuse('cert.chain', 'the chain is longer than a leaf and its CA')
  try {
    const signed = signedBy(leafDer, want.cas)
    if (signed === undefined)
      return refuse('cert.chain', 'the certificate is not from the CA this purpose demands')
    if (caDer !== undefined && !sameBytes(caDer, signed.ca.certificate.der))
      return refuse('cert.chain', 'the chain holds a certificate besides the leaf and its CA')
    return judge(signed, want, nowMs)
  } catch (error) {
    // Only the readers' own refusals are verdicts; anything else is a defect and must be seen.
    if (errorCode(error) !== 'cert.malformed' || !(error instanceof Error)) throw error
    return refuse('cert.malformed', error.message)
  }
}

/** The signature is good: whether this is the certificate that was asked for. */
function judge(
  { leaf, ca, canonical, identity, facts, keyHash }: Signed,
  want: Expectation,
  nowMs: number,
): Verified | CertificateRefusal {
  if (!canonical) return refuse('cert.malformed', 'the certificate is not in our own form')
  const wrong = wrongForm(leaf, ca)
  if (wrong !== undefined) return refuse('cert.purpose', wrong)
  if (identity === undefined) return refuse('cert.identity', 'it carries no identity we can read')
  const stranger = wrongIdentity(leaf, identity, want)
  if (stranger !== undefined) return refuse('cert.purpose', stranger, identity)
  const late = outsideDates(leaf, nowMs) ?? outsideDates(ca.certificate, nowMs)
  if (late !== undefined) return refuse('cert.expired', late, identity)
  return new Verified(MINT, identity, facts, keyHash)
}

/** What every identity certificate is, whoever it is for. */
function wrongForm(leaf: Certificate, ca: Issuer): string | undefined {
  const { basicConstraints, keyUsage } = leaf.extensions
  if (basicConstraints === undefined || basicConstraints.ca) return 'it is a CA certificate'
  if (keyUsage?.length !== 1 || keyUsage[0] !== 'digitalSignature')
    return 'its key usage is another'
  if (keyAlgorithm(leaf.spki) === undefined) return 'its key is of a kind we do not accept'
  if (sameBytes(leaf.spki, ca.certificate.spki)) return 'it holds the key of its CA'
  return undefined
}

const CLIENT: readonly string[] = [OID.clientAuth]
const CLIENT_AND_SERVER: readonly string[] = [OID.clientAuth, OID.serverAuth]

/** The extended key usages an identity's certificate has, exactly: more would be as wrong as less. */
export function usagesOf(identity: Identity): readonly string[] {
  const serves = identity.type === 'system' && identity.role !== 'agent'
  return serves ? CLIENT_AND_SERVER : CLIENT
}

function wrongIdentity(
  leaf: Certificate,
  identity: Identity,
  want: Expectation,
): string | undefined {
  const { dnsNames, ipAddresses, extendedKeyUsage = [] } = leaf.extensions
  const usages = usagesOf(identity)
  if (identity.type !== want.type) return `it is for a ${identity.type}, not for a ${want.type}`
  if (identity.cluster !== want.cluster) return 'it is for another cluster'
  if (usages.join() !== extendedKeyUsage.join()) return 'its extended key usage is another'
  if (want.purpose === 'server' && !usages.includes(OID.serverAuth)) return 'it is not for a server'
  // A proxy's public address may be one; nobody else is reached by an address.
  const faces = identity.type === 'system' && identity.role === 'proxy'
  if (ipAddresses.length > 0 && !faces) return 'it names addresses'
  if (identity.type === 'user') return dnsNames.length === 0 ? undefined : 'it names hosts'
  if (want.role !== undefined && identity.role !== want.role)
    return `it is for the role ${identity.role}, not ${want.role}`
  if (!dnsNames.includes(systemName(identity))) return 'it does not name its own identity'
  const named = want.serverName === undefined || dnsNames.includes(want.serverName.toLowerCase())
  return named ? undefined : 'it is for another server name'
}

/** The DNS name every host certificate carries. */
export function systemName(identity: {
  readonly id: string
  readonly role: SystemRole
  readonly cluster: string
}): string {
  return `${identity.id}.${identity.role}.${identity.cluster}`
}

function outsideDates({ notBeforeMs, notAfterMs }: Certificate, nowMs: number): string | undefined {
  if (nowMs >= notBeforeMs && nowMs <= notAfterMs) return undefined
  const [from, until, now] = [notBeforeMs, notAfterMs, nowMs].map((ms) =>
    new Date(ms).toISOString(),
  )
  if (nowMs < notBeforeMs) return `it is valid from ${from}; here it is ${now}`
  return `it expired at ${until}; here it is ${now}`
}

/** Audit fields that name who was refused; none for strangers. */
export function auditedIdentity(
  identity: Identity | undefined,
): Readonly<Record<string, string | readonly string[]>> {
  if (identity === undefined) return {}
  if (identity.type === 'system') return { host_id: identity.id, role: identity.role }
  return { user: identity.name, user_roles: identity.roles }
}

export function factsOf(certificate: Certificate): CertificateFacts {
  return {
    serial: serialText(certificate.serial),
    fingerprint: hash('sha256', certificate.der, 'hex'),
    notBeforeMs: certificate.notBeforeMs,
    notAfterMs: certificate.notAfterMs,
  }
}

/** A certificate with the CA that signed it, and what its bytes alone say: the same whoever asks, whenever. */
interface Signed {
  readonly leaf: Certificate
  readonly ca: Issuer
  readonly canonical: boolean
  readonly identity: Identity | undefined
  readonly facts: CertificateFacts
  readonly keyHash: string
}

/**
 * Certificates whose signature was verified, by the hash of their bytes: who connects again shows the same one, and reading and
 * proving it costs a fifth of a handshake. A certificate no CA of ours signed is never kept, so strangers cannot fill it.
 */
const signedOnes = new Map<string, Signed>()

function signedBy(leafDer: Uint8Array, cas: readonly Uint8Array[]): Signed | undefined {
  const trusted = cas.map(knownIssuer)
  const name = hash('sha256', leafDer, 'hex')
  const known = signedOnes.get(name)
  // Trusted for this purpose, now: a CA that left the set takes its certificates along.
  if (known !== undefined && trusted.includes(known.ca)) return known
  // A copy: the caller's bytes may be reused, and what was read are views.
  const leaf = readCertificate(Uint8Array.from(leafDer))
  const ca = trusted.find((issuer) => verifyCertificate(leaf, issuer))
  if (ca === undefined) return undefined
  const signed = {
    leaf,
    ca,
    canonical: isCanonical(leaf),
    identity: decodeIdentity(leaf.extensions.identity ?? new Uint8Array()),
    facts: factsOf(leaf),
    keyHash: keySha256(leaf.spki),
  }
  const [oldest] = signedOnes.keys()
  if (signedOnes.size >= max('signedCertificatesMax') && oldest !== undefined)
    signedOnes.delete(oldest)
  signedOnes.set(name, signed)
  return signed
}

/** CA certificates already read, by their bytes: a handshake must not parse its trust set again. */
const issuers = new Map<string, Issuer>()

function knownIssuer(der: Uint8Array): Issuer {
  const key = hash('sha256', der, 'hex')
  const known = issuers.get(key)
  if (known !== undefined) return known
  // A copy: the caller's bytes may be reused, and what was read are views.
  const issuer = checkedIssuer(Uint8Array.from(der))
  if (issuers.size >= max('trustCacheMax')) issuers.clear()
  issuers.set(key, issuer)
  return issuer
}

/** A broken CA in a trust set is our own fault, so it throws: a refusal would put the blame on the peer. */
function checkedIssuer(der: Uint8Array): Issuer {
  try {
    const issuer = readIssuer(der)
    if (issuer.certificate.extensions.basicConstraints?.pathLength === 0) return issuer
  } catch (cause) {
    throw new ProxyError('trust.unproven', 'The trust set holds bytes that are no CA.', { cause })
  }
  throw new ProxyError('trust.unproven', 'A CA in the trust set may sign further CAs.')
}

function refuse(code: ErrorCode, what: string, identity?: Identity): CertificateRefusal {
  const reason = `The certificate is refused: ${what}.`
  return { ok: false, code, reason, ...(identity === undefined ? {} : { identity }) }
}
