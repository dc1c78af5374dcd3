// The X.509 extensions Sluice writes and reads (RFC 5280 section 4.2.1), and one of ours: the identity. Written in one fixed
// order and form, so that a certificate of ours can be written again from what was read and compared byte for byte.
// Extensions nobody here knows are only listed: whoever trusts a certificate decides that they mean no.

import {
  bitString,
  boolean,
  contextPrimitive,
  type DerReader,
  integer,
  malformed,
  octetString,
  element,
  oid,
  sequence,
} from './der.ts'
import { type AlternativeNames, encodeAlternativeNames, readAlternativeNames } from './name.ts'
import { OID } from './oid.ts'

/** Bit n of the KeyUsage BIT STRING is the n-th name. */
export const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const
export type KeyUsage = (typeof KEY_USAGES)[number]

export interface BasicConstraints {
  readonly ca: boolean
  readonly pathLength?: number
}

export interface Extensions extends AlternativeNames {
  readonly basicConstraints?: BasicConstraints
  /** In the order of `KEY_USAGES`. */
  readonly keyUsage?: readonly KeyUsage[]
  /** Dotted object identifiers, in the order they stand. */
  readonly extendedKeyUsage?: readonly string[]
  readonly subjectKeyId?: Uint8Array
  readonly authorityKeyId?: Uint8Array
  /** Content of our identity extension, still to be decoded. */
  readonly identity?: Uint8Array
  /** Extensions not read here. */
  readonly others: readonly { readonly type: string; readonly critical: boolean }[]
}

/** `Extensions ::= SEQUENCE OF SEQUENCE { extnID OID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }` */
export function encodeExtensions(extensions: Extensions): Uint8Array {
  const { basicConstraints, keyUsage, extendedKeyUsage, subjectKeyId, authorityKeyId, identity } =
    extensions
  const parts: Uint8Array[] = []
  const add = (type: string, critical: boolean, value: Uint8Array): void => {
    parts.push(sequence(oid(type), ...(critical ? [boolean(true)] : []), octetString(value)))
  }
  if (basicConstraints !== undefined)
    add(OID.basicConstraints, true, encodeBasicConstraints(basicConstraints))
  if (keyUsage !== undefined) add(OID.keyUsage, true, encodeKeyUsage(keyUsage))
  if (extendedKeyUsage !== undefined)
    add(OID.extendedKeyUsage, false, sequence(...extendedKeyUsage.map(oid)))
  if (subjectKeyId !== undefined) add(OID.subjectKeyId, false, octetString(subjectKeyId))
  if (authorityKeyId !== undefined)
    add(OID.authorityKeyId, false, sequence(element(KEY_IDENTIFIER, authorityKeyId)))
  if (extensions.dnsNames.length + extensions.ipAddresses.length > 0)
    add(OID.subjectAltName, false, encodeAlternativeNames(extensions))
  // Not critical: OpenSSL, and so Node, refuses a critical extension it does not know.
  if (identity !== undefined) add(OID.identity, false, identity)
  return sequence(...parts)
}

/** Reads the content of `Extensions`. An extension that comes twice is refused. */
export function readExtensions(reader: DerReader): Extensions {
  const found = new Map<string, { critical: boolean; value: Uint8Array }>()
  while (!reader.done) {
    const entry = reader.enter()
    const type = entry.oid()
    const explicit = entry.tag === 0x01
    const critical = explicit && entry.boolean()
    if (explicit && !critical) throw malformed('a default value that is written out')
    const value = entry.content(0x04)
    entry.end()
    if (found.has(type)) throw malformed('an extension that comes twice')
    found.set(type, { critical, value })
  }
  return gather(reader, found)
}

type Found = ReadonlyMap<string, { readonly critical: boolean; readonly value: Uint8Array }>

const KNOWN: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectKeyId,
  OID.authorityKeyId,
  OID.subjectAltName,
  OID.identity,
])

function gather(reader: DerReader, found: Found): Extensions {
  const read = <T>(type: string, how: (value: DerReader) => T): T | undefined => {
    const entry = found.get(type)
    if (entry === undefined) return undefined
    const inner = reader.within(entry.value)
    const value = how(inner)
    inner.end()
    return value
  }
  const basicConstraints = read(OID.basicConstraints, readBasicConstraints)
  const keyUsage = read(OID.keyUsage, readKeyUsage)
  const extendedKeyUsage = read(OID.extendedKeyUsage, readExtendedKeyUsage)
  const subjectKeyId = read(OID.subjectKeyId, (value) => value.content(0x04))
  const authorityKeyId = read(OID.authorityKeyId, readAuthorityKeyId)
  const names = read(OID.subjectAltName, (value) => readAlternativeNames(value.enter()))
  const identity = found.get(OID.identity)?.value
  return {
    ...(basicConstraints === undefined ? {} : { basicConstraints }),
    ...(keyUsage === undefined ? {} : { keyUsage }),
    ...(extendedKeyUsage === undefined ? {} : { extendedKeyUsage }),
    ...(subjectKeyId === undefined ? {} : { subjectKeyId }),
    ...(authorityKeyId === undefined ? {} : { authorityKeyId }),
    ...(identity === undefined ? {} : { identity }),
    dnsNames: names?.dnsNames ?? [],
    ipAddresses: names?.ipAddresses ?? [],
    others: [...found].flatMap(([type, { critical }]) =>
      KNOWN.has(type) ? [] : [{ type, critical }],
    ),
  }
}

// BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }
function encodeBasicConstraints({ ca, pathLength }: BasicConstraints): Uint8Array {
  const length = pathLength === undefined ? [] : [integer(Uint8Array.of(pathLength))]
  return sequence(...(ca ? [boolean(true)] : []), ...length)
}

function readBasicConstraints(value: DerReader): BasicConstraints {
  const reader = value.enter()
  const explicit = !reader.done && reader.tag === 0x01
  const ca = explicit && reader.boolean()
  if (explicit && !ca) throw malformed('a default value that is written out')
  if (reader.done) return { ca }
  const pathLength = reader.small()
  reader.end()
  return { ca, pathLength }
}

// KeyUsage ::= BIT STRING { digitalSignature(0), … }; DER drops zero bits at the end.
function encodeKeyUsage(usages: readonly KeyUsage[]): Uint8Array {
  const bits = [0, 0]
  let last = 0
  for (const usage of usages) {
    const n = KEY_USAGES.indexOf(usage)
    bits[n >> 3] = (bits[n >> 3] ?? 0) | (0x80 >> (n & 7))
    last = Math.max(last, n)
  }
  return bitString(Uint8Array.from(bits.slice(0, (last >> 3) + 1)), 7 - (last & 7))
}

function readKeyUsage(value: DerReader): readonly KeyUsage[] {
  const { bits, unused } = value.bitString()
  const last = bits[bits.length - 1] ?? 0
  if (bits.length > 2 || ((last >> unused) & 1) === 0) throw malformed('a key usage')
  return KEY_USAGES.filter((_, n) => ((bits[n >> 3] ?? 0) & (0x80 >> (n & 7))) !== 0)
}

// ExtKeyUsageSyntax ::= SEQUENCE SIZE (1..MAX) OF KeyPurposeId
function readExtendedKeyUsage(value: DerReader): readonly string[] {
  const reader = value.enter()
  const purposes = [reader.oid()]
  while (!reader.done) purposes.push(reader.oid())
  return purposes
}

// AuthorityKeyIdentifier ::= SEQUENCE { keyIdentifier [0] OPTIONAL, authorityCertIssuer [1], authorityCertSerialNumber [2] }
const KEY_IDENTIFIER = contextPrimitive(0)

/** Only the key identifier is read; issuer and serial beside it are stepped over. */
function readAuthorityKeyId(value: DerReader): Uint8Array {
  const reader = value.enter()
  const id = reader.content(KEY_IDENTIFIER)
  while (!reader.done) reader.element()
  return id
}
