// Packs the events of one chunk as they come: each becomes bytes at once, in one buffer, so that a recording holds no object for each
// statement until its chunk leaves; a busy session has thousands of them, and a collector walks over every one. The bytes are a msgpack
// list (github.com/msgpack/msgpack/blob/master/spec.md) of what `packEvents` makes of the same events.

import { freeBytes } from '../bytes/free.ts'
import { max } from '../limits.ts'
import { eventBytes, packEvent, type RecordingEvent } from './events.ts'
import { packChunk } from './format.ts'

type Statement = Extract<RecordingEvent, { kind: 'statement' }>

const NIL = 0xc0
const BIN_32 = 0xc6
const FLOAT_64 = 0xcb
const UINT_32 = 0xce
const INT_32 = 0xd2
const STR_32 = 0xdb
const ARRAY_32 = 0xdd
const FIXED_ARRAY = 0x90
const FIXED_TEXT = 0xa0
const FIXED_TEXT_MAX = 31
const SMALL_MAX = 0x7f
const UINT_32_MAX = 0xffffffff
const INT_32_MIN = -0x80000000

/** Of a list's or a text's head, or of a number. */
const HEAD_BYTES = 5
const NUMBER_BYTES = 9
/** UTF-8 takes at most so many bytes for what counts as one in a string. */
const UNIT_BYTES_MAX = 3
const STATEMENT_ITEMS = 8
const TAG = 'sql'
/** Of everything in a statement but its texts: its head and tag, code, three numbers, the heads of texts. */
const STATEMENT_BYTES = 96
const FIRST_BYTES = 1024
/** Of everything in a print but its bytes. */
const PRINT_BYTES = 32
/** What grows beyond this becomes a whole chunk. */
const GROWING_BYTES_MAX = 32 * 1024
/** In front of the events, for the head of their list and a gap. */
const FRONT_BYTES = 32

export class EventPacker {
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  #used = FRONT_BYTES
  #count = 0
  #startMs = 0
  #beforeMs = 0
  /** The text that was written last, and where: one statement runs many times. */
  #text = ''
  #textAt = 0
  #textEnd = 0

  get bytes(): number {
    return this.#used - FRONT_BYTES
  }

  get count(): number {
    return this.#count
  }

  get startMs(): number {
    return this.#startMs
  }

  add(event: RecordingEvent): void {
    const atMs = Math.round(event.atMs)
    if (this.#count === 0) this.#startMs = Math.max(0, atMs)
    const deltaMs = atMs - (this.#count === 0 ? this.#startMs : this.#beforeMs)
    this.#beforeMs = atMs
    this.#count++
    if (event.kind === 'statement') this.#statement(event, deltaMs)
    else if (event.kind === 'print') this.#print(event.bytes, deltaMs)
    else this.#append(packChunk(packEvent(event, deltaMs)))
  }

  /** What the chunk compresses: the list of all events, behind a gap of so many that are not among them. A view: nothing is added behind it. */
  chunk(lost: number): Uint8Array {
    const count = this.#count + (lost > 0 ? 1 : 0)
    const gap =
      lost > 0 ? packChunk(packEvent({ kind: 'gap', atMs: this.#startMs, lost }, 0)) : undefined
    const gapAt = FRONT_BYTES - (gap?.length ?? 0)
    const headAt = gapAt - HEAD_BYTES
    if (gap !== undefined) this.#buffer.set(gap, gapAt)
    this.#buffer[headAt] = ARRAY_32
    this.#buffer.writeUInt32BE(count, headAt + 1)
    return this.#buffer.subarray(headAt, this.#used)
  }

  /** By hand: the library would copy what a terminal shows once more. */
  #print(bytes: Uint8Array, deltaMs: number): void {
    this.#reserve(PRINT_BYTES + bytes.length)
    this.#byte(FIXED_ARRAY | 3)
    this.#string('print')
    this.#number(deltaMs)
    this.#word(BIN_32, bytes.length)
    this.#buffer.set(bytes, this.#used)
    this.#used += bytes.length
  }

  /** The field list is that of `packEvent`. */
  #statement(event: Statement, deltaMs: number): void {
    const { code, statement, parameters, rows, durationUs, error } = event
    this.#reserve(boundOf(event))
    this.#byte(FIXED_ARRAY | STATEMENT_ITEMS)
    this.#string(TAG)
    this.#number(deltaMs)
    this.#string(code)
    this.#statementText(statement)
    this.#list(parameters.length)
    for (const parameter of parameters) this.#string(parameter)
    this.#optional(rows)
    this.#optional(durationUs)
    if (error === undefined) this.#byte(NIL)
    else this.#string(error)
  }

  #statementText(text: string): void {
    const length = this.#textEnd - this.#textAt
    if (length > 0 && text === this.#text) {
      this.#buffer.copyWithin(this.#used, this.#textAt, this.#textEnd)
      this.#used += length
      return
    }
    this.#text = text
    this.#textAt = this.#used
    this.#string(text)
    this.#textEnd = this.#used
  }

  #string(text: string): void {
    if (text.length <= FIXED_TEXT_MAX && this.#plain(text)) return
    const bytes = this.#buffer.write(text, this.#used + HEAD_BYTES)
    this.#word(STR_32, bytes)
    this.#used += bytes
  }

  /** Short texts of ASCII, without the way into the library. False: it is none. */
  #plain(text: string): boolean {
    const buffer = this.#buffer
    const start = this.#used + 1
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at)
      if (unit > SMALL_MAX) return false
      buffer[start + at] = unit
    }
    buffer[this.#used] = FIXED_TEXT | text.length
    this.#used = start + text.length
    return true
  }

  #list(length: number): void {
    if (length <= 0x0f) this.#byte(FIXED_ARRAY | length)
    else this.#word(ARRAY_32, length)
  }

  #optional(value: number | undefined): void {
    if (value === undefined) this.#byte(NIL)
    else this.#number(value)
  }

  #number(value: number): void {
    if (!Number.isInteger(value) || value > UINT_32_MAX || value < INT_32_MIN) {
      this.#byte(FLOAT_64)
      this.#used = this.#buffer.writeDoubleBE(value, this.#used)
    } else if (value < 0) {
      this.#byte(INT_32)
      this.#used = this.#buffer.writeInt32BE(value, this.#used)
    } else if (value <= SMALL_MAX) this.#byte(value)
    else this.#word(UINT_32, value)
  }

  #word(code: number, value: number): void {
    this.#byte(code)
    this.#used = this.#buffer.writeUInt32BE(value, this.#used)
  }

  #byte(value: number): void {
    this.#buffer[this.#used++] = value
  }

  #append(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#buffer.set(bytes, this.#used)
    this.#used += bytes.length
  }

  #reserve(bytes: number): void {
    if (this.#used + bytes <= this.#buffer.length) return
    const needed = Math.max(this.#buffer.length * 2, this.#used + bytes)
    const whole = max('recordingBatchBytesMax') + FRONT_BYTES
    const before = this.#buffer
    const room = needed > GROWING_BYTES_MAX ? Math.max(needed, whole) : needed
    this.#buffer = Buffer.allocUnsafeSlow(room)
    this.#buffer.set(before.subarray(0, this.#used))
    freeBytes(before)
  }
}

/** Whether it takes no more than this. Most statements are told by their lengths, without counting bytes. */
export function fitsIn(event: RecordingEvent, bytes: number): boolean {
  return (event.kind === 'statement' && boundOf(event) <= bytes) || eventBytes(event) <= bytes
}

/** What a statement takes at most. */
function boundOf({ statement, parameters, error = '' }: Statement): number {
  let units = statement.length + error.length
  for (const parameter of parameters) units += parameter.length
  return STATEMENT_BYTES + parameters.length * NUMBER_BYTES + units * UNIT_BYTES_MAX
}
