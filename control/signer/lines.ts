// Cuts a byte stream into lines of UTF-8. Bounded: a line that grows over its limit before it ends is an error at once, and
// no more than one unfinished line is ever kept. Never looks into a line.

import { ProxyError } from '../../core/errors.ts'
import { type LimitName, max } from '../../core/limits.ts'

const LINE_FEED = 0x0a

export class LineReader {
  readonly #limit: LimitName
  #parts: Uint8Array[] = []
  #bytes = 0

  constructor(limit: LimitName) {
    this.#limit = limit
  }

  /** The lines that end in this chunk, without their line feeds. Throws `limit.exceeded`. */
  push(chunk: Uint8Array): readonly string[] {
    const lines: string[] = []
    let from = 0
    for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
      this.#keep(chunk.subarray(from, at))
      lines.push(Buffer.concat(this.#parts, this.#bytes).toString('utf8'))
      this.#parts = []
      this.#bytes = 0
      from = at + 1
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from))
    return lines
  }

  #keep(part: Uint8Array): void {
    this.#bytes += part.length
    if (this.#bytes > max(this.#limit))
      throw new ProxyError('limit.exceeded', `A line is longer than ${this.#limit} allows.`)
    this.#parts.push(part)
  }
}
