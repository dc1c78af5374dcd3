// A growing buffer for messages of our own, big-endian. What it may hold is bounded by the caller; relayed bytes never come
// through here. One writer, one message or a few: it is made for rare messages, not for a hot path.

import { ProxyError } from '../errors.ts'

const FIRST_BYTES = 128
const UTF8 = new TextEncoder()

export class Writer {
  readonly #bytesMax: number
  #bytes: Uint8Array = new Uint8Array(FIRST_BYTES)
  #length = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const at = this.#grow(1)
    this.#bytes[at] = value
    return this
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value)
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value)
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#grow(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** UTF-8 and a zero byte. A zero inside would end the string early for the reader, so it is refused. */
  cstring(text: string): this {
    if (text.includes('\0'))
      throw new ProxyError('protocol.violation', 'a string holds a zero byte')
    return this.bytes(UTF8.encode(text)).u8(0)
  }

  /** Write at `at` the number of bytes from there to the end: a length field that counts itself. */
  lengthAt(at: number): this {
    const length = this.#length - at
    new DataView(this.#bytes.buffer).setUint32(at, length)
    return this
  }

  /** The bytes written; the writer is not to be used afterwards. */
  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(more: number): number {
    const at = this.#length
    const need = at + more
    if (need > this.#bytesMax) {
      throw new ProxyError('limit.exceeded', `a message of ours exceeds ${this.#bytesMax} bytes`)
    }
    if (need > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.#bytesMax, Math.max(need, this.#bytes.length * 2)))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
    }
    this.#length = need
    return at
  }
}
