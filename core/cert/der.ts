// DER (ITU-T X.690): a bounded reader over a view, and a writer. The reader knows one form of everything: definite and
// minimal lengths, single-byte tags, minimal integers, TRUE as FF. Whatever else a BER reader would accept is refused, so
// that no two readers see different things in the same bytes. It never copies and never allocates by an announced length.

import { ProxyError } from '../errors.ts'
import { max } from '../limits.ts'

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const

/** Context-specific tags: `[n] EXPLICIT` and constructed `[n] IMPLICIT`; and primitive `[n] IMPLICIT`. */
export const contextConstructed = (n: number): number => 0xa0 | n
export const contextPrimitive = (n: number): number => 0x80 | n

export function malformed(what: string): ProxyError {
  return new ProxyError('cert.malformed', `The certificate data is malformed: ${what}.`, {
    side: 'client',
  })
}

/** A cursor over the elements of one constructed value. Every method throws `cert.malformed` instead of guessing. */
export class DerReader {
  readonly #bytes: Uint8Array
  readonly #depth: number
  #at = 0

  constructor(bytes: Uint8Array, depth = 0) {
    if (depth > max('derDepthMax')) throw malformed('nested too deep')
    this.#bytes = bytes
    this.#depth = depth
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  /** The tag of the next element; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at]
  }

  /** The next element, header included, whatever its tag. */
  element(): Uint8Array {
    const from = this.#at
    this.#content(undefined)
    return this.#bytes.subarray(from, this.#at)
  }

  /** The content of the next element, which must have this tag. */
  content(tag: number): Uint8Array {
    return this.#content(tag)
  }

  enter(tag: number = TAG.sequence): DerReader {
    return new DerReader(this.#content(tag), this.#depth + 1)
  }

  /** A reader inside an OCTET STRING that holds DER: an extension's value. Depth goes on counting. */
  within(bytes: Uint8Array): DerReader {
    return new DerReader(bytes, this.#depth + 1)
  }

  /** Nothing may follow. */
  end(): void {
    if (!this.done) throw malformed('bytes after the end')
  }

  /** A non-negative INTEGER: its bytes without the sign octet. Zero is one zero byte. */
  unsigned(): Uint8Array {
    const bytes = this.#content(TAG.integer)
    const [first, second] = bytes
    if (first === undefined || first >= 0x80) throw malformed('a negative or empty integer')
    if (first !== 0 || second === undefined) return bytes
    if (second < 0x80) throw malformed('an integer that is not minimal')
    return bytes.subarray(1)
  }

  /** A small non-negative INTEGER: versions, path lengths. */
  small(): number {
    const [value = 0, ...more] = this.unsigned()
    if (more.length > 0) throw malformed('an integer out of range')
    return value
  }

  boolean(): boolean {
    const [value, ...more] = this.#content(TAG.boolean)
    if ((value !== 0 && value !== 0xff) || more.length > 0) throw malformed('a boolean')
    return value === 0xff
  }

  /** A BIT STRING of whole bytes: keys and signatures. */
  bytes(): Uint8Array {
    const { bits, unused } = this.bitString()
    if (unused !== 0) throw malformed('a bit string of broken bytes')
    return bits
  }

  bitString(): { readonly bits: Uint8Array; readonly unused: number } {
    const content = this.#content(TAG.bitString)
    const [unused] = content
    const last = content[content.length - 1] ?? 0
    if (unused === undefined || unused > 7 || (unused > 0 && content.length === 1))
      throw malformed('a bit string')
    if ((last & ((1 << unused) - 1)) !== 0 && unused > 0) throw malformed('bits beyond the end')
    return { bits: content.subarray(1), unused }
  }

  oid(): string {
    return readOid(this.#content(TAG.oid))
  }

  /** UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5), as milliseconds since the epoch. */
  time(): number {
    const { tag } = this
    const text = Buffer.from(this.#content(tag)).toString('latin1')
    const full = tag === TAG.utcTime ? century(text) : text
    const ms = parseTime(full)
    // Writing it again finds month 13, 30 February, second 60 and a year in the wrong form at once.
    if (ms === undefined || tag !== timeTag(ms) || timeText(ms) !== full) throw malformed('a date')
    return ms
  }

  #content(tag: number | undefined): Uint8Array {
    const bytes = this.#bytes
    const found = bytes[this.#at]
    if (found === undefined) throw malformed('it ends too soon')
    if (tag !== undefined && found !== tag) throw malformed(`tag ${found} where ${tag} belongs`)
    if ((found & 0x1f) === 0x1f) throw malformed('a tag of several bytes')
    const { length, header } = readLength(bytes, this.#at + 1)
    const from = this.#at + 1 + header
    if (length > bytes.length - from) throw malformed('a length beyond the end')
    this.#at = from + length
    return bytes.subarray(from, from + length)
  }
}

/** Reads one element with this tag that fills `bytes` to the last byte. */
export function readWhole(bytes: Uint8Array, tag: number = TAG.sequence): DerReader {
  const outer = new DerReader(bytes)
  const inner = outer.enter(tag)
  outer.end()
  return inner
}

function readLength(bytes: Uint8Array, at: number): { length: number; header: number } {
  const first = bytes[at]
  if (first === undefined) throw malformed('it ends too soon')
  if (first < 0x80) return { length: first, header: 1 }
  const count = first & 0x7f
  // Four bytes announce up to 4 GB, which the caller then compares with what is there.
  if (count === 0 || count > 4) throw malformed('an indefinite or oversized length')
  let length = 0
  for (let i = 1; i <= count; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) throw malformed('it ends too soon')
    length = length * 256 + byte
  }
  if (length < 0x80 || length < 256 ** (count - 1)) throw malformed('a length that is not minimal')
  return { length, header: 1 + count }
}

function readOid(content: Uint8Array): string {
  if (content.length === 0 || content.length > max('derOidBytesMax'))
    throw malformed('an object identifier')
  const arcs: (number | bigint)[] = []
  let from = 0
  for (let at = 0; at < content.length; at++) {
    if (((content[at] ?? 0) & 0x80) !== 0) continue
    arcs.push(readArc(content.subarray(from, at + 1)))
    from = at + 1
  }
  if (from < content.length) throw malformed('an object identifier that ends too soon')
  const [first = 0, ...rest] = arcs
  if (typeof first === 'bigint') return [2, first - 80n, ...rest].join('.')
  const top = Math.min(2, Math.floor(first / 40))
  return [top, first - top * 40, ...rest].join('.')
}

/** Arcs are small but for UUIDs: BigInt only where a number would lose bits. */
function readArc(bytes: Uint8Array): number | bigint {
  if (bytes[0] === 0x80) throw malformed('an object identifier that is not minimal')
  if (bytes.length <= 7) return bytes.reduce((value, byte) => value * 128 + (byte & 0x7f), 0)
  return bytes.reduce((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n)
}

/** One element. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const header = headerOf(tag, length)
  return Buffer.concat([header, ...parts], header.length + length)
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return element(TAG.sequence, ...parts)
}

/** A non-negative INTEGER from big-endian bytes of any length. */
export function integer(bytes: Uint8Array): Uint8Array {
  let from = 0
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1
  const minimal = bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(from)
  const sign = (minimal[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : []
  return element(TAG.integer, ...sign, minimal)
}

export function boolean(value: boolean): Uint8Array {
  return element(TAG.boolean, Uint8Array.of(value ? 0xff : 0))
}

export function octetString(bytes: Uint8Array): Uint8Array {
  return element(TAG.octetString, bytes)
}

export function bitString(bits: Uint8Array, unused = 0): Uint8Array {
  return element(TAG.bitString, Uint8Array.of(unused), bits)
}

export function text(tag: number, value: string): Uint8Array {
  return element(tag, Buffer.from(value, 'utf8'))
}

export function time(ms: number): Uint8Array {
  const tag = timeTag(ms)
  return text(tag, tag === TAG.utcTime ? timeText(ms).slice(2) : timeText(ms))
}

const oids = new Map<string, Uint8Array>()

/** Encoded once per identifier: all callers pass constants. */
export function oid(dotted: string): Uint8Array {
  const known = oids.get(dotted)
  if (known !== undefined) return known
  const [top = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt)
  const arcs = [top * 40n + second, ...rest]
  const encoded = element(TAG.oid, Uint8Array.from(arcs.flatMap(base128)))
  oids.set(dotted, encoded)
  return encoded
}

function base128(arc: bigint): number[] {
  const bytes = [Number(arc & 0x7fn)]
  for (let left = arc >> 7n; left > 0n; left >>= 7n) bytes.unshift(Number(left & 0x7fn) | 0x80)
  return bytes
}

function headerOf(tag: number, length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(tag, length)
  if (length < 0x100) return Uint8Array.of(tag, 0x81, length)
  if (length < 0x10000) return Uint8Array.of(tag, 0x82, length >> 8, length & 0xff)
  return Uint8Array.of(tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff)
}

const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/

function parseTime(full: string): number | undefined {
  const [, year, month, day, hour, minute, second] = TIME.exec(full)?.map(Number) ?? []
  if (year === undefined || month === undefined) return undefined
  // Date.UTC reads years below 100 as 19xx; the caller's comparison refuses what comes out.
  return Date.UTC(year, month - 1, day, hour, minute, second)
}

function century(utc: string): string {
  return `${Number(utc.slice(0, 2)) < 50 ? '20' : '19'}${utc}`
}

function timeTag(ms: number): number {
  const year = new Date(ms).getUTCFullYear()
  return year >= 1950 && year < 2050 ? TAG.utcTime : TAG.generalizedTime
}

/** `YYYYMMDDHHMMSSZ`. Parts of a second are dropped: X.509 has none. */
function timeText(ms: number): string {
  return `${new Date(ms).toISOString().replace(/[-:T]|\.\d+Z$/g, '')}Z`
}
