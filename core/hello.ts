// Reads the server name and the ALPN names of a TLS ClientHello (RFC 8446, section 4.1.2) without taking part in the handshake.
// Incremental over segments and records, bounded by `helloBytesMax`, total: any bytes give a verdict.
// It never judges the hello beyond its framing; the TLS library that gets the same bytes does.

import { max } from './limits.ts'

// ContentType handshake(22), RFC 8446 section 5.1; HandshakeType client_hello(1), section 4.
const RECORD_HANDSHAKE = 22
const CLIENT_HELLO = 1
const VERSION_MAJOR = 3
const RECORD_HEAD_BYTES = 5
const RECORD_BYTES_MAX = 16_384
const MESSAGE_HEAD_BYTES = 4
const SESSION_ID_BYTES_MAX = 32

// ExtensionType: server_name(0), RFC 6066 section 3; application_layer_protocol_negotiation(16), RFC 7301.
const EXTENSION_SERVER_NAME = 0
const EXTENSION_ALPN = 16
const NAME_TYPE_HOST = 0

const LDH_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/

export interface Hello {
  /** Lower-cased. Absent when there is none, more than one, or one that is no LDH name. */
  readonly serverName?: string
  /** As the client wrote it; present with `serverName`. */
  readonly originalName?: string
  readonly alpn: readonly string[]
  /** Index behind the last byte of the hello. */
  readonly end: number
}

export type HelloReading =
  /** `need`: with fewer bytes than this in all there can be no hello. */
  | { readonly verdict: 'more'; readonly need: number }
  | { readonly verdict: 'no' }
  | { readonly verdict: 'hello'; readonly hello: Hello }

const NO: HelloReading = { verdict: 'no' }

/** Reads the hello at the start of a connection. */
export function readHello(first: Uint8Array): HelloReading {
  if (!plausible(first)) return NO
  if (first.length < RECORD_HEAD_BYTES + MESSAGE_HEAD_BYTES) return spread(first)
  const recordBytes = u16(first, 3)
  // The message's own length lies in several records.
  if (recordBytes < MESSAGE_HEAD_BYTES) return spread(first)
  const messageBytes = MESSAGE_HEAD_BYTES + u24(first, 6)
  const end = RECORD_HEAD_BYTES + messageBytes
  if (end > max('helloBytesMax')) return NO
  if (recordBytes < messageBytes) return spread(first)
  // Something behind the hello in its own record is another handshake message: no client sends one.
  if (recordBytes > messageBytes) return NO
  if (first.length < end) return { verdict: 'more', need: end }
  return readMessage(first.subarray(RECORD_HEAD_BYTES, end), end)
}

/** True while the fixed bytes that have arrived are those of a ClientHello. */
function plausible(first: Uint8Array): boolean {
  return (
    (first.length < 1 || first[0] === RECORD_HANDSHAKE) &&
    (first.length < 2 || first[1] === VERSION_MAJOR) &&
    (first.length < 6 || first[5] === CLIENT_HELLO)
  )
}

/** A hello over several records, or one whose head is not there yet: puts the fragments together. */
function spread(first: Uint8Array): HelloReading {
  const message = new Uint8Array(max('helloBytesMax'))
  let filled = 0
  let at = 0
  while (true) {
    const from = at + RECORD_HEAD_BYTES
    if (from > max('helloBytesMax')) return NO
    if (first.length < from) return { verdict: 'more', need: from }
    const bytes = u16(first, at + 3)
    const isHandshake = first[at] === RECORD_HANDSHAKE && first[at + 1] === VERSION_MAJOR
    // Handshake fragments of no bytes are forbidden (RFC 8446, section 5.1).
    if (!isHandshake || bytes === 0 || bytes > RECORD_BYTES_MAX) return NO
    at = from + bytes
    if (at > max('helloBytesMax')) return NO
    if (first.length < at) return { verdict: 'more', need: at }
    message.set(first.subarray(from, at), filled)
    filled += bytes
    const total = MESSAGE_HEAD_BYTES + u24(message, 1)
    if (filled < MESSAGE_HEAD_BYTES) continue
    if (filled > total) return NO
    if (filled === total) return readMessage(message.subarray(0, total), at)
  }
}

// struct { ProtocolVersion legacy_version; Random random; opaque legacy_session_id<0..32>; CipherSuite cipher_suites<2..2^16-2>;
//          opaque legacy_compression_methods<1..2^8-1>; Extension extensions<8..2^16-1>; } ClientHello
function readMessage(message: Uint8Array, end: number): HelloReading {
  const cursor = new Cursor(message, MESSAGE_HEAD_BYTES)
  cursor.skip(2 + 32)
  const sessionIdBytes = cursor.u8()
  if (sessionIdBytes > SESSION_ID_BYTES_MAX) return NO
  cursor.skip(sessionIdBytes)
  cursor.skip(cursor.u16())
  cursor.skip(cursor.u8())
  if (cursor.ok && cursor.left === 0) return found(undefined, [], end)
  const extensions = cursor.part(cursor.u16())
  if (!cursor.ok || cursor.left !== 0) return NO
  return readExtensions(extensions, end)
}

function readExtensions(extensions: Cursor, end: number): HelloReading {
  let names = 0
  let name: string | undefined
  let alpn: readonly string[] | undefined
  while (extensions.ok && extensions.left > 0) {
    const type = extensions.u16()
    const body = extensions.part(extensions.u16())
    if (!extensions.ok) return NO
    if (type === EXTENSION_SERVER_NAME) {
      names++
      name = readServerName(body)
    } else if (type === EXTENSION_ALPN) {
      // Two lists of protocols would let us and the TLS library choose different ones.
      if (alpn !== undefined) return NO
      alpn = readAlpn(body)
      if (alpn === undefined) return NO
    }
  }
  return extensions.ok ? found(names === 1 ? name : undefined, alpn ?? [], end) : NO
}

// struct { NameType name_type; opaque HostName<1..2^16-1>; } ServerName; ServerName server_name_list<1..2^16-1>
function readServerName(body: Cursor): string | undefined {
  const list = body.part(body.u16())
  const type = list.u8()
  const name = list.part(list.u16())
  // More than one name, or a malformed list, names nobody. libpq with hostaddr alone sends a socket path here.
  if (!list.ok || !body.ok || list.left !== 0 || body.left !== 0) return undefined
  return type === NAME_TYPE_HOST ? name.text() : undefined
}

// opaque ProtocolName<1..2^8-1>; ProtocolName protocol_name_list<2..2^16-1>
function readAlpn(body: Cursor): readonly string[] | undefined {
  const list = body.part(body.u16())
  const names: string[] = []
  while (list.ok && list.left > 0) {
    const name = list.part(list.u8())
    if (name.left === 0) return undefined
    names.push(name.text())
  }
  return list.ok && body.ok && body.left === 0 ? names : undefined
}

function found(name: string | undefined, alpn: readonly string[], end: number): HelloReading {
  const serverName = name?.toLowerCase()
  if (name === undefined || serverName === undefined || !isServerName(serverName))
    return { verdict: 'hello', hello: { alpn, end } }
  return { verdict: 'hello', hello: { serverName, originalName: name, alpn, end } }
}

function isServerName(name: string): boolean {
  return name.length <= max('serverNameLengthMax') && LDH_NAME.test(name)
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

function u24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 16) | u16(bytes, at + 1)
}

/** Reads forward and remembers having run past the end, so that a caller checks once per structure. */
class Cursor {
  ok = true
  #at: number
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes
    this.#at = at
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.skip(1) ? (this.#bytes[this.#at - 1] ?? 0) : 0
  }

  u16(): number {
    return this.skip(2) ? u16(this.#bytes, this.#at - 2) : 0
  }

  part(length: number): Cursor {
    const from = this.#at
    if (this.skip(length)) return new Cursor(this.#bytes.subarray(from, this.#at))
    const nothing = new Cursor(new Uint8Array(0))
    nothing.ok = false
    return nothing
  }

  skip(length: number): boolean {
    if (!this.ok || length > this.left) this.ok = false
    else this.#at += length
    return this.ok
  }

  /** The rest, a byte per character: what is no ASCII stays visible as such. */
  text(): string {
    return Buffer.from(this.#bytes.subarray(this.#at)).toString('latin1')
  }
}
