// The PROXY protocol header a load balancer puts ahead of a connection (haproxy's proxy-protocol.txt, versions 1 and 2).
// Strict, bounded and total. Who may send one is the listener's business: nothing in it is true by itself.

import { max } from './limits.ts'

// 2.1: the v1 line is at most 107 bytes with its CRLF.
const V1_BYTES_MAX = 107
const V1_WORD = Buffer.from('PROXY ')
const CR = 13
const LF = 10

// 2.2: signature (12) | version and command (1) | family and transport (1) | length of what follows (2)
const V2_SIGNATURE = Uint8Array.of(13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10)
const V2_HEAD_BYTES = 16
const COMMAND_LOCAL = 0x20
const COMMAND_PROXY = 0x21
// Addresses and ports of both ends: 2 × (4 + 2), 2 × (16 + 2).
const V2_FAMILIES: Readonly<Record<number, { readonly name: string; readonly bytes: number }>> = {
  0x00: { name: 'unspec', bytes: 0 },
  0x11: { name: 'tcp4', bytes: 12 },
  0x21: { name: 'tcp6', bytes: 36 },
}
const TLV_HEAD_BYTES = 3

const PORT = /^(?:0|[1-9]\d{0,4})$/
const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/
const IPV6_CHARACTERS = /^[0-9a-fA-F:.]+$/

export interface ProxySource {
  readonly address: string
  readonly port: number
}

export type ProxyHeaderReading =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'no' }
  /** It begins as a header and is none: the connection ends. */
  | { readonly verdict: 'bad' }
  /** `source` is absent when the balancer speaks for itself (LOCAL, UNKNOWN). */
  | { readonly verdict: 'header'; readonly source?: ProxySource; readonly end: number }

const MORE: ProxyHeaderReading = { verdict: 'more' }
const BAD: ProxyHeaderReading = { verdict: 'bad' }

/** Reads the header at the start of a connection. */
export function readProxyHeader(first: Uint8Array): ProxyHeaderReading {
  if (begins(first, V2_SIGNATURE)) return first.length < V2_HEAD_BYTES ? MORE : readV2(first)
  if (begins(first, V1_WORD)) return first.length < V1_WORD.length ? MORE : readV1(first)
  return { verdict: 'no' }
}

/** True when all bytes there are agree with the pattern. */
function begins(first: Uint8Array, pattern: Uint8Array): boolean {
  const known = Math.min(first.length, pattern.length)
  for (let at = 0; at < known; at++) if (first[at] !== pattern[at]) return false
  return true
}

// "PROXY" SP ("TCP4" | "TCP6") SP source SP destination SP source port SP destination port CRLF, or "PROXY UNKNOWN" … CRLF
function readV1(first: Uint8Array): ProxyHeaderReading {
  const lineEnd = first.indexOf(LF)
  if (lineEnd < 0) return first.length < V1_BYTES_MAX ? MORE : BAD
  if (lineEnd >= V1_BYTES_MAX || first[lineEnd - 1] !== CR) return BAD
  const end = lineEnd + 1
  const line = Buffer.from(first.subarray(0, lineEnd - 1)).toString('latin1')
  const [, family, source, destination, sourcePort, destinationPort, ...more] = line.split(' ')
  if (family === 'UNKNOWN') return { verdict: 'header', end }
  if (source === undefined || destination === undefined || more.length > 0) return BAD
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined
  if (isAddress === undefined || !isAddress(source) || !isAddress(destination)) return BAD
  const port = readPort(sourcePort)
  if (port === undefined || readPort(destinationPort) === undefined) return BAD
  return { verdict: 'header', source: { address: source, port }, end }
}

function readPort(text: string | undefined): number | undefined {
  if (text === undefined || !PORT.test(text)) return undefined
  const port = Number(text)
  return port <= 65_535 ? port : undefined
}

function readV2(first: Uint8Array): ProxyHeaderReading {
  const command = first[12]
  const family = V2_FAMILIES[first[13] ?? -1]
  const bytes = u16(first, 14)
  const end = V2_HEAD_BYTES + bytes
  if (command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return BAD
  if (end > max('proxyHeaderBytesMax')) return BAD
  // LOCAL: a health check of the balancer. Whatever follows is skipped, as the standard says.
  if (command === COMMAND_LOCAL) return first.length < end ? MORE : { verdict: 'header', end }
  // Datagrams and unix sockets never arrive here.
  if (family === undefined) return BAD
  if (first.length < end) return MORE
  if (!tlvsFit(first, V2_HEAD_BYTES + family.bytes, end)) return BAD
  if (family.name === 'unspec') return { verdict: 'header', end }
  const at = V2_HEAD_BYTES
  const half = family.name === 'tcp4' ? 4 : 16
  const raw = first.subarray(at, at + half)
  const address = family.name === 'tcp4' ? raw.join('.') : ipv6Text(raw)
  return { verdict: 'header', source: { address, port: u16(first, at + 2 * half) }, end }
}

/** type (1) | length (2) | value, repeated: skipped, but they must fill the header exactly. So must addresses without any. */
function tlvsFit(first: Uint8Array, from: number, end: number): boolean {
  let at = from
  while (at < end) {
    if (at + TLV_HEAD_BYTES > end) return false
    at += TLV_HEAD_BYTES + u16(first, at + 1)
  }
  return at === end
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function ipv6Text(raw: Uint8Array): string {
  const groups: string[] = []
  for (let at = 0; at < 16; at += 2) groups.push(u16(raw, at).toString(16))
  return groups.join(':')
}

function isIPv4(text: string): boolean {
  return IPV4.test(text)
}

function isIPv6(text: string): boolean {
  return IPV6_CHARACTERS.test(text) && text.length <= 45 && ipv6Groups(text) !== undefined
}

/** The eight groups of an IPv6 address in text (RFC 4291, section 2.2), or undefined when it is none. */
export function ipv6Groups(text: string): readonly number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = [groupsOf(halves[0] ?? ''), groupsOf(halves[1] ?? '')]
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  return [...head, ...new Array<number>(missing).fill(0), ...tail]
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(Number.parseInt(part, 16))
    else if (index === parts.length - 1 && isIPv4(part)) {
      const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number)
      groups.push((a << 8) | b, (c << 8) | d)
    } else return undefined
  }
  return groups
}
