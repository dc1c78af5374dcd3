// Names in certificates: X.501 subjects (RFC 5280 section 4.1.2.4), DNS names and addresses (4.2.1.6), cluster names.
// Subjects are for people and for databases that match a CN; nothing of ours is decided by one. Never resolves anything.

import { contextPrimitive, DerReader, element, malformed, oid, sequence, TAG, text } from './der.ts'
import { max } from '../limits.ts'
import { OID } from './oid.ts'

/** One attribute per RDN, in order. */
export interface Attribute {
  /** Dotted object identifier. */
  readonly type: string
  readonly value: string
}

export interface Name {
  /** The whole Name, DER: names are equal when these bytes are. */
  readonly raw: Uint8Array
  readonly attributes: readonly Attribute[]
}

export interface Subject {
  readonly commonName: string
  readonly organizationalUnit?: string
  readonly organization?: string
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** The attributes of a subject, in the order they are written: O, OU, CN. */
export function subjectAttributes(subject: Subject): readonly Attribute[] {
  const { commonName, organizationalUnit, organization } = subject
  return [
    ...(organization === undefined ? [] : [{ type: OID.organization, value: organization }]),
    ...(organizationalUnit === undefined
      ? []
      : [{ type: OID.organizationalUnit, value: organizationalUnit }]),
    { type: OID.commonName, value: commonName },
  ]
}

/** `Name ::= SEQUENCE OF SET OF SEQUENCE { type OID, value }`, every value a UTF8String. */
export function encodeName(attributes: readonly Attribute[]): Uint8Array {
  return sequence(
    ...attributes.map(({ type, value }) =>
      element(TAG.set, sequence(oid(type), text(TAG.utf8String, value))),
    ),
  )
}

/** Reads the next Name. RDNs of several attributes are refused: readers disagree about them. */
export function readName(reader: DerReader): Name {
  const raw = reader.element()
  const rdns = new DerReader(raw).enter()
  const attributes: Attribute[] = []
  while (!rdns.done) {
    const rdn = rdns.enter(TAG.set)
    const attribute = rdn.enter()
    const type = attribute.oid()
    attributes.push({ type, value: readText(attribute) })
    attribute.end()
    rdn.end()
  }
  return { raw, attributes }
}

/** The values of one attribute type, in order. */
export function attributeValues(name: Name, type: string): readonly string[] {
  return name.attributes.filter((attribute) => attribute.type === type).map(({ value }) => value)
}

/** One label: letters, digits, hyphens inside, lower case, at most 63. */
export function isLabel(label: string): boolean {
  return LABEL.test(label)
}

/** A DNS name of LDH labels, lower case, without a trailing dot and without a wildcard. */
export function isDnsName(name: string): boolean {
  return name.length <= max('dnsNameLengthMax') && name.split('.').every(isLabel)
}

/** A cluster's name: a DNS name that leaves room for ticket, target and kind in front. */
export function isClusterName(name: string): boolean {
  return name.length <= max('clusterLengthMax') && isDnsName(name)
}

// GeneralName ::= CHOICE { … dNSName [2] IA5String, … iPAddress [7] OCTET STRING, … }
const DNS = contextPrimitive(2)
const IP = contextPrimitive(7)

export interface AlternativeNames {
  readonly dnsNames: readonly string[]
  /** Text form: dotted IPv4, or IPv6 as eight groups without shortening. */
  readonly ipAddresses: readonly string[]
}

export function encodeAlternativeNames(names: AlternativeNames): Uint8Array {
  const dns = names.dnsNames.map((name) => text(DNS, name))
  const ips = names.ipAddresses.map((address) => element(IP, ipBytes(address)))
  return sequence(...dns, ...ips)
}

/** Other forms of GeneralName are refused: nothing of ours has them. */
export function readAlternativeNames(reader: DerReader): AlternativeNames {
  const dnsNames: string[] = []
  const ipAddresses: string[] = []
  while (!reader.done) {
    if (reader.tag === DNS) dnsNames.push(ascii(reader.content(DNS)))
    else ipAddresses.push(ipText(reader.content(IP)))
  }
  return { dnsNames, ipAddresses }
}

/** Whether the text is an address that `ipBytes` takes. */
export function isIpAddress(address: string): boolean {
  return parseIp(address) !== undefined
}

export function ipBytes(address: string): Uint8Array {
  const bytes = parseIp(address)
  if (bytes === undefined) throw malformed('an IP address')
  return bytes
}

export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) throw malformed('an IP address')
  const view = Buffer.from(bytes)
  return Array.from({ length: 8 }, (_, i) => view.readUInt16BE(i * 2).toString(16)).join(':')
}

function parseIp(address: string): Uint8Array | undefined {
  if (!address.includes(':')) return parseIpv4(address)
  const [head = '', tail, ...more] = address.split('::')
  const before = groups(head)
  const after = groups(tail ?? '')
  if (before === undefined || after === undefined || more.length > 0) return undefined
  const gap = 8 - before.length - after.length
  if (tail === undefined ? gap !== 0 : gap < 1) return undefined
  const all = [...before, ...Array.from({ length: gap }, () => 0), ...after]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

function parseIpv4(address: string): Uint8Array | undefined {
  const parts = address.split('.')
  // No leading zeros: some readers take them for octal.
  const plain = parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)
  return parts.length === 4 && plain ? Uint8Array.from(parts.map(Number)) : undefined
}

function groups(part: string): number[] | undefined {
  if (part === '') return []
  const texts = part.split(':')
  if (!texts.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined
  return texts.map((group) => Number.parseInt(group, 16))
}

function readText(reader: DerReader): string {
  const { tag } = reader
  if (tag === TAG.utf8String) return utf8(reader.content(TAG.utf8String))
  if (tag === TAG.ia5String) return ascii(reader.content(TAG.ia5String))
  return ascii(reader.content(TAG.printableString))
}

function utf8(bytes: Uint8Array): string {
  const value = Buffer.from(bytes).toString('utf8')
  if (!Buffer.from(value).equals(bytes)) throw malformed('text that is not UTF-8')
  return value
}

function ascii(bytes: Uint8Array): string {
  // A NUL ends a name for readers in C and not for others.
  if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) throw malformed('text that is not ASCII')
  return Buffer.from(bytes).toString('latin1')
}
