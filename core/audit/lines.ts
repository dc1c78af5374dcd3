// Cuts a file's bytes into lines with their places, chunk by chunk. A line that is too long or not UTF-8 comes without its
// text, so that a verifier can name where it stands and go on; it is never kept in memory whole.

import { max } from '../limits.ts'
import { CHAIN_BYTES_MAX } from './chain.ts'

export interface Line {
  /** Without the line feed. Undefined: longer than any record, or not UTF-8. */
  readonly text: string | undefined
  /** From 1. */
  readonly number: number
  /** Of the first byte in the file. */
  readonly offset: number
  /** Of the byte behind the line feed. */
  readonly end: number
}

const LINE_FEED = 0x0a

export class LineCutter {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  readonly #bytesMax = max('auditEventBytesMax') + CHAIN_BYTES_MAX
  #parts: Uint8Array[] = []
  #kept = 0
  #offset: number
  #length = 0
  #number: number

  /** `offset` and `number` are those of the first line that will come. */
  constructor(offset: number = 0, number: number = 1) {
    this.#offset = offset
    this.#number = number
  }

  *push(chunk: Uint8Array): Generator<Line, void> {
    let from = 0
    for (;;) {
      const at = chunk.indexOf(LINE_FEED, from)
      if (at < 0) break
      this.#keep(chunk.subarray(from, at))
      this.#length += at + 1 - from
      yield this.#take()
      from = at + 1
    }
    // A copy: the chunk may be a reader's buffer that is filled again. Not slice(): a Buffer's would be a view of it.
    this.#keep(Uint8Array.from(chunk.subarray(from)))
    this.#length += chunk.length - from
  }

  /** What stands behind the last line feed: a line that was cut off. */
  rest(): Line | undefined {
    return this.#length === 0 ? undefined : this.#take()
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#kept += bytes.length
    if (this.#kept <= this.#bytesMax) this.#parts.push(bytes)
    else this.#parts = []
  }

  #take(): Line {
    const offset = this.#offset
    this.#offset += this.#length
    const text = this.#kept <= this.#bytesMax ? this.#decode() : undefined
    const line: Line = { text, number: this.#number, offset, end: this.#offset }
    this.#number += 1
    this.#parts = []
    this.#kept = 0
    this.#length = 0
    return line
  }

  #decode(): string | undefined {
    const [only] = this.#parts
    const bytes = this.#parts.length === 1 && only ? only : Buffer.concat(this.#parts)
    try {
      return this.#decoder.decode(bytes)
    } catch {
      return undefined
    }
  }
}
