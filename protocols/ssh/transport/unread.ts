// What a channel's peer has sent and nobody has read, in order. Its bytes are bounded by the window; this bounds what they cost beside
// themselves: small pieces are put together, and a peer that sends single bytes to both streams in turn loses their order, not our memory.

import { max } from '../../../core/limits.ts'

/** Bytes of one stream of a channel. */
export interface ChannelData {
  readonly bytes: Uint8Array
  readonly stderr: boolean
}

interface Piece {
  buffer: Uint8Array
  length: number
  readonly stderr: boolean
}

const SMALL_BYTES = 1024
const PIECES_IN_ORDER_MAX = 1024

export class Unread {
  #pieces: Piece[] = []

  get empty(): boolean {
    return this.#pieces.length === 0
  }

  push(bytes: Uint8Array, stderr: boolean): void {
    const into = bytes.length < SMALL_BYTES ? this.#lastOf(stderr) : undefined
    if (into === undefined || into.length + bytes.length > max('sshPacketBytesMax'))
      this.#pieces.push({ buffer: bytes, length: bytes.length, stderr })
    else append(into, bytes)
  }

  shift(): ChannelData | undefined {
    const piece = this.#pieces.shift()
    if (piece === undefined) return undefined
    return { bytes: piece.buffer.subarray(0, piece.length), stderr: piece.stderr }
  }

  clear(): void {
    this.#pieces = []
  }

  /** The piece that small bytes of this stream may join. */
  #lastOf(stderr: boolean): Piece | undefined {
    const last = this.#pieces.at(-1)
    if (last === undefined || last.stderr === stderr) return last
    if (this.#pieces.length < PIECES_IN_ORDER_MAX) return undefined
    return this.#pieces.findLast((piece) => piece.stderr === stderr)
  }
}

function append(piece: Piece, bytes: Uint8Array): void {
  const length = piece.length + bytes.length
  if (length > piece.buffer.length) {
    const grown = new Uint8Array(Math.max(2 * piece.buffer.length, length))
    grown.set(piece.buffer.subarray(0, piece.length))
    piece.buffer = grown
  }
  piece.buffer.set(bytes, piece.length)
  piece.length = length
}
