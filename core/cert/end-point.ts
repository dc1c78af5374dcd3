// tls-server-end-point (RFC 5929, section 4): the hash of a server's certificate that a login can be bound to. Only the outermost
// fields are read, since any CA may have made the certificate; whether it is trusted was settled by TLS.

import { createHash } from 'node:crypto'

import { errorCode } from '../errors.ts'
import { contextConstructed, type DerReader, readWhole } from './der.ts'

/** RFC 5929: MD5 and SHA-1 are replaced by SHA-256, everything else hashes as the signature does. */
const HASH_BY_SIGNATURE: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.4', 'sha256'], // md5WithRSAEncryption
  ['1.2.840.113549.1.1.5', 'sha256'], // sha1WithRSAEncryption
  ['1.2.840.113549.1.1.11', 'sha256'],
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.113549.1.1.14', 'sha224'],
  ['1.2.840.10045.4.1', 'sha256'], // ecdsa-with-SHA1
  ['1.2.840.10045.4.3.1', 'sha224'],
  ['1.2.840.10045.4.3.2', 'sha256'],
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
])

const RSA_PSS = '1.2.840.113549.1.1.10'

const HASHES: ReadonlyMap<string, string> = new Map([
  ['1.3.14.3.2.26', 'sha256'], // SHA-1
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
  ['2.16.840.1.101.3.4.2.4', 'sha224'],
])

/** Undefined where the RFC names no hash (Ed25519), and for bytes that are no certificate: nothing can be bound then. */
export function tlsServerEndPoint(der: Uint8Array): Uint8Array | undefined {
  try {
    const name = hashName(der)
    return name === undefined ? undefined : createHash(name).update(der).digest()
  } catch (error) {
    if (errorCode(error) === 'cert.malformed') return undefined
    throw error
  }
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signatureValue } */
function hashName(der: Uint8Array): string | undefined {
  const certificate = readWhole(der)
  certificate.element()
  const algorithm = certificate.enter()
  const signature = algorithm.oid()
  return signature === RSA_PSS ? pssHash(algorithm) : HASH_BY_SIGNATURE.get(signature)
}

/** RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] DEFAULT sha1, … }; RFC 4055. */
function pssHash(algorithm: DerReader): string | undefined {
  if (algorithm.done) return undefined
  const parameters = algorithm.enter()
  if (parameters.tag !== contextConstructed(0)) return 'sha256'
  return HASHES.get(parameters.enter(contextConstructed(0)).enter().oid())
}
