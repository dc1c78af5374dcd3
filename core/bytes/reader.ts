// A checked cursor over a view of bytes, big-endian as database protocols are. It reads whole messages only: "need more" is
// decided by a codec before it makes a Reader. A read past the end is a malformed message and throws; nothing is copied.

import { ProxyError } from '../errors.ts'

export class Reader {
  readonly #bytes: Uint8Array
  readonly #end: number
  #at: number

  constructor(bytes: Uint8Array, at: number = 0, end: number = bytes.length) {
    if (at < 0 || end < at || end > bytes.length) throw past()
    this.#bytes = bytes
    this.#at = at
    this.#end = end
  }

  /** Index of the next byte in the bytes given. */
  get at(): number {
    return this.#at
  }

  get left(): number {
    return this.#end - this.#at
  }

  u8(): number {
    const from = this.#take(1)
    return this.#bytes[from] ?? 0
  }

  u16(): number {
    return this.u8() * 0x100 + this.u8()
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16()
  }

  /** A view of the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const from = this.#take(length)
    return this.#bytes.subarray(from, from + length)
  }

  /** A view of the bytes before the next zero byte, which is read too. */
  cstring(): Uint8Array {
    const zero = this.#bytes.indexOf(0, this.#at)
    if (zero < 0 || zero >= this.#end) throw past()
    const from = this.#take(zero + 1 - this.#at)
    return this.#bytes.subarray(from, zero)
  }

  #take(length: number): number {
    if (!(length >= 0 && length <= this.left)) throw past()
    const from = this.#at
    this.#at = from + length
    return from
  }
}

function past(): ProxyError {
  return new ProxyError('protocol.violation', 'a message ends before its last field')
}
