// What a spool wrote last, as it stands in its newest files: an upload that comes soon behind a write takes it from here instead of
// reading it back. Holds durable bytes only, within auditTailBytesMax; the oldest go first, and what is not here is read from the disk.

import { max } from '../core/limits.ts'

interface Piece {
  /** Names the segment: number of its first record. */
  readonly segment: number
  /** Of its first byte in the segment. */
  readonly offset: number
  readonly bytes: Uint8Array
}

export class SpoolTail {
  #pieces: Piece[] = []
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  /** Keeps `bytes` themselves: nobody changes them any more. */
  wrote(segment: number, offset: number, bytes: Uint8Array): void {
    this.#pieces.push({ segment, offset, bytes })
    this.#bytes += bytes.length
    while (this.#bytes > max('auditTailBytesMax')) this.#drop()
  }

  /** All of these bytes, or undefined. What lies before them is not asked for again, and let go. */
  read(segment: number, offset: number, length: number): Buffer | undefined {
    this.#forget(segment, offset)
    const [first] = this.#pieces
    if (first === undefined || first.segment !== segment || first.offset > offset) return undefined
    const parts = [first.bytes.subarray(offset - first.offset)]
    let held = first.bytes.length - (offset - first.offset)
    for (let at = 1; held < length; at++) {
      const piece = this.#pieces[at]
      if (piece?.segment !== segment) return undefined
      parts.push(piece.bytes)
      held += piece.bytes.length
    }
    return Buffer.concat(parts, length)
  }

  clear(): void {
    this.#pieces = []
    this.#bytes = 0
  }

  #forget(segment: number, offset: number): void {
    for (let [first] = this.#pieces; first !== undefined; [first] = this.#pieces) {
      const end = first.offset + first.bytes.length
      if (first.segment > segment || (first.segment === segment && end > offset)) return
      this.#drop()
    }
  }

  #drop(): void {
    this.#bytes -= this.#pieces.shift()?.bytes.length ?? 0
  }
}
