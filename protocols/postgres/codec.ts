// Bytes to messages, as far as a judge needs it: whole packets of a handshake (a client's start-up, a target's login) and the
// frames of a running session, which are skipped by length and of which a few are handed to audit. Incremental and bounded:
// it decodes no statement and never believes a length. Formats: see wire.ts. What we say ourselves is in refusal.ts.

import { Chunks } from '../../core/bytes/chunks.ts'
import { Reader } from '../../core/bytes/reader.ts'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Out, Side } from '../../core/protocol.ts'
import {
  CANCEL_HEAD_BYTES,
  CANCEL_KEY_BYTES,
  HEAD_BYTES,
  LENGTH_BYTES,
  MAJOR_VERSION,
  PHYSICAL_REPLICATION,
  REQUEST,
  REQUEST_BYTES,
} from './wire.ts'

/** What a client's first packet says. `bad` carries the reason in words. */
export type Startup =
  | {
      readonly kind: 'startup'
      readonly user: string
      /** For physical replication the word the server's own access rules have for it: such a session reads every database. */
      readonly database: string
      readonly replication: boolean
    }
  /** SSLRequest and GSSENCRequest. */
  | { readonly kind: 'request'; readonly code: number }
  /** `key`: process id and secret as they stand in the message. */
  | { readonly kind: 'cancel'; readonly key: Uint8Array }
  | { readonly kind: 'version'; readonly major: number; readonly minor: number }
  | { readonly kind: 'bad'; readonly reason: string }

/** Collects one packet: `typeBytes` (0 or 1), Int32 length that counts itself, body. What follows it is not taken. */
export class PacketReader {
  readonly #typeBytes: number
  readonly #bytesMax: number
  readonly #kept: Chunks
  /** Bytes of the whole packet; undefined until its length has come. Zero is a length a stranger may announce. */
  #whole: number | undefined

  constructor(typeBytes: 0 | 1, bytesMax: number) {
    this.#typeBytes = typeBytes
    this.#bytesMax = bytesMax
    this.#kept = new Chunks(bytesMax)
  }

  /** Take what belongs to the packet from chunk[at..]; returns how far. */
  add(chunk: Uint8Array, at: number): number {
    const headBytes = this.#typeBytes + LENGTH_BYTES
    const o = this.#fill(chunk, at, headBytes)
    if (this.#kept.length < headBytes || this.bad) return o
    this.#whole ??= this.#typeBytes + word(this.#kept.view(), this.#typeBytes)
    return this.bad ? o : this.#fill(chunk, o, this.#whole)
  }

  /** True when the announced length is out of bounds; nothing more is taken. */
  get bad(): boolean {
    if (this.#whole === undefined) return false
    return this.#whole < this.#typeBytes + LENGTH_BYTES || this.#whole > this.#bytesMax
  }

  /** The packet once it is whole, as bytes of its own; the next one may follow. */
  take(): Uint8Array | undefined {
    if (this.#whole === undefined || this.bad || this.#kept.length < this.#whole) return undefined
    this.#whole = undefined
    return this.#kept.take()
  }

  #fill(chunk: Uint8Array, at: number, to: number): number {
    const end = Math.min(chunk.length, at + Math.max(0, to - this.#kept.length))
    this.#kept.add(chunk, at, end)
    return end
  }
}

/**
 * StartupMessage: Int32 length, Int32 version, then pairs of String name and String value, then a zero byte. SSLRequest,
 * GSSENCRequest and CancelRequest have a request code for a version.
 */
export function readStartup(packet: Uint8Array): Startup {
  try {
    const reader = new Reader(packet, LENGTH_BYTES)
    const version = reader.u32()
    if (version === REQUEST.ssl || version === REQUEST.gss)
      return { kind: 'request', code: version }
    if (version === REQUEST.cancel) return readCancel(packet)
    const [major, minor] = [version >>> 16, version & 0xffff]
    return major === MAJOR_VERSION ? readParameters(reader) : { kind: 'version', major, minor }
  } catch (error) {
    // A TypeError of the decoder and a violation found by the reader mean the same: these bytes are no start-up message.
    if (error instanceof TypeError || errorCode(error) === 'protocol.violation') {
      return { kind: 'bad', reason: 'the start-up message is malformed' }
    }
    throw error
  }
}

/** CancelRequest: Int32 length, Int32 code, Int32 process id, Byte[n] secret key. */
function readCancel(packet: Uint8Array): Startup {
  const keyBytes = packet.length - CANCEL_HEAD_BYTES
  return keyBytes < CANCEL_KEY_BYTES || keyBytes > max('pgCancelKeyBytesMax')
    ? { kind: 'bad', reason: 'a cancel request has a bad length' }
    : { kind: 'cancel', key: packet.subarray(REQUEST_BYTES) }
}

/**
 * A name that comes twice, a name the server would cut and bytes that are not UTF-8 are refused: the server might read them
 * in another way than policy did.
 */
function readParameters(reader: Reader): Startup {
  // The byte order mark is kept: without it we would judge another name than the one that is forwarded.
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const parameters = new Map<string, string>()
  for (;;) {
    const name = utf8.decode(reader.cstring())
    if (name === '') break
    if (parameters.has(name)) return { kind: 'bad', reason: 'a start-up parameter comes twice' }
    const value = reader.cstring()
    if ((name === 'user' || name === 'database') && value.length > max('pgNameBytesMax')) {
      return { kind: 'bad', reason: `a ${name} name ends at ${max('pgNameBytesMax')} bytes` }
    }
    parameters.set(name, utf8.decode(value))
  }
  if (reader.left > 0) return { kind: 'bad', reason: 'bytes follow the start-up parameters' }
  const user = parameters.get('user') ?? ''
  if (user === '') return { kind: 'bad', reason: 'no database user name was given' }
  const replication = readReplication(parameters.get('replication'))
  if (replication === undefined) {
    return { kind: 'bad', reason: `replication is one of ${[...REPLICATION.keys()].join(', ')}` }
  }
  // As the server does it: no database, or an empty one, means the one called like the user.
  const named = parameters.get('database') || user
  const database = replication === 'physical' ? PHYSICAL_REPLICATION : named
  return { kind: 'startup', user, database, replication: replication !== 'no' }
}

/**
 * The values of `replication` that nobody can read in two ways. The server takes beginnings of words and capitals too; those
 * are refused.
 */
const REPLICATION: ReadonlyMap<string, 'no' | 'physical' | 'logical'> = new Map([
  ...['false', 'off', 'no', '0'].map((word) => [word, 'no'] as const),
  ...['true', 'on', 'yes', '1'].map((word) => [word, 'physical'] as const),
  ['database', 'logical'],
])

function readReplication(value: string | undefined): 'no' | 'physical' | 'logical' | undefined {
  return value === undefined ? 'no' : REPLICATION.get(value)
}

/** What a table says of a message type. 0, so every type that is not named, is refused. */
export const KIND = {
  pass: 1,
  note: 2,
  /** Added to one of these: behind this message the second table holds. */
  last: 4,
  /** A small message that is not passed: collected whole and given to `FramesOptions.taken`. */
  take: 8,
} as const

/** A table by type byte. */
export function kinds(rows: readonly (readonly [code: number, kind: number])[]): Uint8Array {
  const table = new Uint8Array(256)
  for (const [code, kind] of rows) table[code] = kind
  return table
}

export interface FramesOptions {
  /** Where the bytes of this direction go. */
  readonly to: Side
  readonly kinds: Uint8Array
  /** The table behind a message of kind `last`. */
  readonly after?: Uint8Array
  /** Added to the type byte in notes. */
  readonly noteBase: number
  /** For messages of kind `take`. */
  readonly taken?: Taker
}

/** Whoever sends something of its own in place of a message. */
export interface Taker {
  /** Of the whole message, type and length included. */
  readonly bytesMax: number
  /** The message, as bytes of its own. Returns why it cannot be taken. */
  readonly whole: (message: Uint8Array, out: Out) => string | undefined
}

/**
 * The frames of one direction: Byte1 type, Int32 length, body. A chunk passes as one range and no message makes an object.
 * No byte passes before the whole head of its message was judged: a head that the end of a chunk cuts is kept and sent.
 */
export class Frames {
  readonly #to: Side
  readonly #after: Uint8Array
  readonly #noteBase: number
  readonly #taker: Taker | undefined
  readonly #bytesMax = max('pgMessageBytesMax')
  #kinds: Uint8Array
  /** Body bytes of the current message that are still to come, and the code to note them under (0: passed blind). */
  #left = 0
  #noting = 0
  /** A head that the last chunk cut. */
  readonly #head = new Uint8Array(HEAD_BYTES)
  #have = 0
  /** A message that is being collected: nothing of it has passed. */
  #taking: PacketReader | undefined
  #fault: string | undefined

  constructor(options: FramesOptions) {
    this.#to = options.to
    this.#taker = options.taken
    this.#kinds = options.kinds
    this.#after = options.after ?? options.kinds
    this.#noteBase = options.noteBase
  }

  /** True when all that was passed on ends with a whole message. */
  get between(): boolean {
    return this.#left === 0
  }

  /** Why nothing more of this direction is taken. */
  get fault(): string | undefined {
    return this.#fault
  }

  /** Judge chunk[at..]; returns how far it was taken. Less than all of it: the tap is full, or `fault` says why. */
  scan(chunk: Uint8Array, at: number, out: Out): number {
    if (this.#fault !== undefined) return at
    let start = this.#resume(chunk, at, out)
    if (this.#left > 0 || this.#have > 0 || this.#taking !== undefined) return start
    const end = chunk.length
    let o = start
    while (end - o >= HEAD_BYTES) {
      const code = chunk[o] ?? 0
      const kind = this.#kinds[code] ?? 0
      const length = word(chunk, o + 1)
      if (kind === 0 || length < LENGTH_BYTES || length > this.#bytesMax) {
        this.#blame(code, kind)
        break
      }
      const whole = o + 1 + length
      const to = whole < end ? whole : end
      if (kind === KIND.take) {
        if (o > start) out.pass(start, o)
        start = this.#take(chunk, o, out)
        o = start
        if (this.#taking !== undefined || this.#fault !== undefined) break
        continue
      }
      if (kind !== KIND.pass) {
        const noted = (kind & KIND.note) !== 0
        if (noted && !out.note(this.#noteBase + code, o + HEAD_BYTES, to, whole - to)) break
        if ((kind & KIND.last) !== 0) this.#kinds = this.#after
      }
      // Only the last message of a chunk can be cut: nothing is written down for the others.
      if (whole > end) {
        this.#left = whole - end
        this.#noting = (kind & KIND.note) === 0 ? 0 : this.#noteBase + code
      }
      o = to
    }
    if (o > start) out.pass(start, o)
    if (this.#fault !== undefined) return o
    return end - o < HEAD_BYTES && o < end ? this.#keep(chunk, o) : o
  }

  /** Go on where the last chunk ended: inside a body, or inside a head. */
  #resume(chunk: Uint8Array, at: number, out: Out): number {
    if (this.#taking !== undefined) return this.#take(chunk, at, out)
    if (this.#left > 0) return this.#body(chunk, at, out)
    if (this.#have === 0) return at
    const o = Math.min(chunk.length, at + HEAD_BYTES - this.#have)
    this.#head.set(chunk.subarray(at, o), this.#have)
    if (this.#have + o - at < HEAD_BYTES) {
      this.#have += o - at
      return o
    }
    return this.#headed(chunk, at, o, out)
  }

  #body(chunk: Uint8Array, at: number, out: Out): number {
    const to = Math.min(chunk.length, at + this.#left)
    const rest = this.#left - (to - at)
    if (this.#noting !== 0 && !out.note(this.#noting, at, to, rest)) return at
    if (to > at) out.pass(at, to)
    this.#left = rest
    return to
  }

  /** The kept head became whole at chunk[o]. When it cannot go on, what was taken of this chunk is given back. */
  #headed(chunk: Uint8Array, at: number, o: number, out: Out): number {
    const code = this.#head[0] ?? 0
    const kind = this.#kinds[code] ?? 0
    const length = word(this.#head, 1)
    if (kind === 0 || length < LENGTH_BYTES || length > this.#bytesMax) {
      this.#blame(code, kind)
      return at
    }
    if (kind === KIND.take) {
      this.#have = 0
      this.#taking = this.#collect()
      this.#taking.add(this.#head, 0)
      return this.#take(chunk, o, out)
    }
    const to = Math.min(chunk.length, o + length - LENGTH_BYTES)
    const rest = length - LENGTH_BYTES - (to - o)
    this.#noting = (kind & KIND.note) === 0 ? 0 : this.#noteBase + code
    if (this.#noting !== 0 && !out.note(this.#noting, o, to, rest)) return at
    if ((kind & KIND.last) !== 0) this.#kinds = this.#after
    // A copy: whoever writes it may keep it while the next head comes in.
    out.send(this.#to, this.#head.slice())
    if (to > o) out.pass(o, to)
    this.#have = 0
    this.#left = rest
    return to
  }

  /** Collect a message from chunk[at..]; returns how far. It is given on once it is whole. */
  #take(chunk: Uint8Array, at: number, out: Out): number {
    const reader = (this.#taking ??= this.#collect())
    const to = reader.add(chunk, at)
    if (reader.bad) {
      this.#fault = 'a message is longer than this place allows'
      return to
    }
    const message = reader.take()
    if (message === undefined) return to
    this.#taking = undefined
    this.#fault = this.#taker?.whole(message, out)
    return to
  }

  #collect(): PacketReader {
    return new PacketReader(1, this.#taker?.bytesMax ?? 0)
  }

  /** Keep a head that the chunk cuts, once its type was judged. */
  #keep(chunk: Uint8Array, at: number): number {
    const code = chunk[at] ?? 0
    if (this.#kinds[code] === 0) {
      this.#blame(code, 0)
      return at
    }
    this.#head.set(chunk.subarray(at))
    this.#have = chunk.length - at
    return chunk.length
  }

  #blame(code: number, kind: number): void {
    const type = `message type 0x${code.toString(16).padStart(2, '0')}`
    this.#fault = kind === 0 ? `${type} is not allowed here` : `${type} has a bad length`
  }
}

/** Int32 as an unsigned number; the caller checked that four bytes are there. */
function word(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16)
  return (high | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)) >>> 0
}
