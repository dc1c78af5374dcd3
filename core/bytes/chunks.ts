// Bytes that wait for the rest of their message, with a bound over all of them. Chunks belong to the performer's pooled
// buffers, so what is kept is copied; growth follows what arrived, never what a length field announced.

import { ProxyError } from '../errors.ts'

const FIRST_BYTES = 64

export class Chunks {
  readonly #bytesMax: number
  #bytes: Uint8Array = new Uint8Array(0)
  #length = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get length(): number {
    return this.#length
  }

  /** Memory held, for tests of the bound. */
  get held(): number {
    return this.#bytes.length
  }

  /** Keep chunk[from, to). */
  add(chunk: Uint8Array, from: number = 0, to: number = chunk.length): void {
    const need = this.#length + to - from
    if (need > this.#bytesMax) {
      throw new ProxyError('limit.exceeded', `more than ${this.#bytesMax} bytes wait for their end`)
    }
    if (need > this.#bytes.length) this.#grow(need)
    this.#bytes.set(chunk.subarray(from, to), this.#length)
    this.#length = need
  }

  /** Everything kept, as one view that the next `add` may move. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Everything kept, as bytes of their own; nothing is kept afterwards. */
  take(): Uint8Array {
    const all = this.#bytes.slice(0, this.#length)
    this.clear()
    return all
  }

  clear(): void {
    this.#bytes = new Uint8Array(0)
    this.#length = 0
  }

  #grow(need: number): void {
    const size = Math.max(FIRST_BYTES, need, this.#bytes.length * 2)
    const grown = new Uint8Array(Math.min(this.#bytesMax, size))
    grown.set(this.view())
    this.#bytes = grown
  }
}
