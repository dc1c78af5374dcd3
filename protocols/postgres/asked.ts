// What a client asked, as far as the log tells it: the messages noted for audit, decoded within their limits. Lenient: a body
// that is cut or malformed gives what can be read of it, since the server is the one to refuse it. Nothing here throws.

import { max } from '../../core/limits.ts'
import { type Redacted, redact, REDACTED } from './redact.ts'

/** A statement as it is told. One object per Query or Parse, shared by all that refers to it. */
export interface Statement extends Redacted {
  /** Prepared under this name; '' when it has none. */
  readonly name: string
  /** True when `text` is not all of it. */
  readonly cut: boolean
  /** What keeping it costs. */
  readonly bytes: number
}

/** Parameters as they are told: text as it is, binary as `\x…`, NULL as `NULL` with its number in `nulls`. */
export interface Parameters {
  readonly values: readonly string[]
  /** Numbers of those that are NULL, from 1. */
  readonly nulls: readonly string[]
  /** How many there are. */
  readonly count: number
  readonly cut: boolean
  readonly bytes: number
}

export const NO_PARAMETERS: Parameters = { values: [], nulls: [], count: 0, cut: false, bytes: 0 }

/** Names are compared by the server up to this many bytes (NAMEDATALEN − 1): a longer one is the same name. */
const nameBytesMax = max('pgNameBytesMax')

/** A name ends within so many bytes as a rule: nearer than a call of the search costs. */
const NEAR_BYTES = 16

/** A cursor over a body that ends when the body does. */
export class Body {
  readonly #bytes: Buffer
  readonly #to: number
  #at: number

  constructor(bytes: Uint8Array, from: number, to: number) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#at = from
    this.#to = to
  }

  u8(): number {
    return this.#at < this.#to ? (this.#bytes[this.#at++] ?? 0) : 0
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8()
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16()
  }

  /** A name, as a key: one character per byte. */
  name(): string {
    const from = this.#at
    const end = this.#zero()
    return end === from
      ? ''
      : this.#bytes.toString('latin1', from, Math.min(end, from + nameBytesMax))
  }

  /** Text up to a zero byte, at most `bytesMax` of it. `cut` is said when there is more, or no zero byte. */
  text(bytesMax: number): { readonly text: string; readonly bytes: number; readonly cut: boolean } {
    const from = this.#at
    const end = this.#zero()
    const to = Math.min(end, from + bytesMax)
    const cut = to < end || (end === this.#to && this.#at === end)
    return { text: this.#bytes.toString('utf8', from, to), bytes: to - from, cut }
  }

  /** The next bytes: how many there are of them, at most `length`, and where. */
  take(length: number): readonly [from: number, to: number] {
    const from = this.#at
    this.#at = Math.min(this.#to, from + length)
    return [from, this.#at]
  }

  utf8(from: number, to: number): string {
    return this.#bytes.toString('utf8', from, to)
  }

  hex(from: number, to: number): string {
    return this.#bytes.toString('hex', from, to)
  }

  get left(): number {
    return this.#to - this.#at
  }

  /** Where the zero byte of a text is, or the body ends; goes on behind it. */
  #zero(): number {
    let end = this.#at
    const near = Math.min(this.#to, end + NEAR_BYTES)
    while (end < near && this.#bytes[end] !== 0) end++
    if (end === near && near < this.#to) {
      const zero = this.#bytes.indexOf(0, end)
      end = zero < 0 || zero >= this.#to ? this.#to : zero
    }
    this.#at = Math.min(this.#to, end + 1)
    return end
  }
}

/** The text of a Query, or of a Parse behind its name. */
export function readStatement(body: Body, name: string, bytesMax: number): Statement {
  const { text, bytes, cut } = body.text(bytesMax)
  const { text: told, secret } = redact(text)
  return { name, text: told, secret, cut, bytes }
}

/** Formats, values of a Bind or FunctionCall: Int16 count, Int16 each; Int16 count, Int32 length and bytes each. */
export function readParameters(body: Body, bytesMax: number): Parameters {
  const formats = readFormats(body)
  const count = body.u16()
  if (count === 0) return NO_PARAMETERS
  const values: string[] = []
  const nulls: string[] = []
  let bytes = 0
  let cut = false
  for (let index = 0; index < count && index < max('pgParametersMax') && body.left > 0; index++) {
    const length = body.u32()
    if (length === 0xffff_ffff) {
      values.push('NULL')
      nulls.push(String(index + 1))
      bytes += 8
      continue
    }
    const [from, to] = body.take(length)
    const until = Math.min(to, from + Math.max(0, bytesMax - bytes))
    cut ||= until < from + length
    bytes += until - from + 8
    const format = formats.length > 1 ? formats[index] : formats[0]
    values.push(format === 1 ? `\\x${body.hex(from, until)}` : body.utf8(from, until))
  }
  return { values, nulls, count, cut: cut || values.length < count, bytes }
}

/** Of a statement that carries a secret. */
export function withoutValues(parameters: Parameters): Parameters {
  return { ...parameters, values: parameters.values.map(() => REDACTED), nulls: [] }
}

const TEXT: readonly number[] = []

function readFormats(body: Body): readonly number[] {
  const count = body.u16()
  if (count === 0) return TEXT
  const formats: number[] = []
  for (let index = 0; index < count && body.left > 0; index++) {
    const format = body.u16()
    if (index < max('pgParametersMax')) formats.push(format)
  }
  return formats
}
