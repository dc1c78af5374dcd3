// Puts the body of one message together whose chunk ended inside of it: only its beginning, within a named limit, is kept.
// A body that is whole in its chunk never comes here.

const NOTHING = Buffer.alloc(0)

export class Pieces {
  readonly #bytesMax: number
  #parts: Buffer[] = []
  #bytes = 0
  #open = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** True inside a message. */
  get open(): boolean {
    return this.#open
  }

  add(bytes: Uint8Array, from: number, to: number): void {
    this.#open = true
    const end = Math.min(to, from + this.#bytesMax - this.#bytes)
    if (end <= from) return
    // A copy: the chunk is its owner's.
    this.#parts.push(Buffer.from(bytes.subarray(from, end)))
    this.#bytes += end - from
  }

  /** The beginning of the message, which is whole now. */
  take(): Buffer {
    const [only] = this.#parts
    const body = this.#parts.length > 1 ? Buffer.concat(this.#parts) : (only ?? NOTHING)
    this.#parts = []
    this.#bytes = 0
    this.#open = false
    return body
  }
}
