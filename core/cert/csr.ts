// Certificate requests (PKCS#10, RFC 2986): proof that the asker holds the key. Only the key is taken from one: subject and
// attributes are what a stranger wrote, and control alone builds names. Never returns a key whose proof did not verify.

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
} from './der.ts'
import { type PublicKey, readPublicKey, type Signer, verifySignature } from './key.ts'
import { encodeName, subjectAttributes } from './name.ts'
import { OID } from './oid.ts'

// attributes [0] IMPLICIT SET OF Attribute
const ATTRIBUTES = contextConstructed(0)

/** A request for the signer's key. The name is for people who look at it. */
export function buildCsr(commonName: string, signer: Signer): Uint8Array {
  const info = sequence(
    integer(Uint8Array.of(0)),
    encodeName(subjectAttributes({ commonName })),
    signer.spki,
    element(ATTRIBUTES),
  )
  return sequence(info, sequence(oid(signatureOid(signer))), bitString(signer.sign(info)))
}

// CertificationRequest ::= SEQUENCE { CertificationRequestInfo, signatureAlgorithm, signature }
// CertificationRequestInfo ::= SEQUENCE { version 0, subject, subjectPKInfo, attributes [0] }
/** The proven key. Throws `cert.malformed` for other bytes, keys that are not ours, and a proof that fails. */
export function readCsr(der: Uint8Array): PublicKey {
  if (der.length > max('certificateBytesMax')) throw malformed('it is too long')
  const outer = readWhole(der)
  const info = outer.element()
  const algorithm = outer.enter()
  const type = algorithm.oid()
  algorithm.end()
  const signature = outer.bytes()
  outer.end()
  const reader = new DerReader(info, 1).enter()
  if (reader.small() !== 0) throw malformed('a request of another version')
  reader.content(0x30)
  const key = readPublicKey(reader.element())
  reader.content(ATTRIBUTES)
  reader.end()
  if (type !== signatureOid(key) || !verifySignature(key, info, signature))
    throw malformed('the request does not prove its key')
  return key
}

function signatureOid({ algorithm }: { readonly algorithm: PublicKey['algorithm'] }): string {
  return algorithm === 'ed25519' ? OID.ed25519 : OID.ecdsaWithSha256
}
