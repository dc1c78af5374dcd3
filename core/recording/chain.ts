// Follows the bytes of one recording as they are written or taken over: its head, then chunk after chunk, each following the one before.
// Stricter than the verifier: the first thing that is wrong ends it. Whoever writes on knows from here where the chain stands.

import {
  type Chunk,
  readChunk,
  readHead,
  type RecordingHeader,
  type RecordingPosition,
} from './format.ts'

const NOTHING = new Uint8Array(0)

export class RecordingChain {
  header: RecordingHeader | undefined
  position: RecordingPosition = { seq: 0, hash: '' }
  /** The end was read: nothing may follow. */
  ended = false
  /** Bytes of the head and the whole chunks so far. */
  bytes = 0
  #held: Uint8Array = NOTHING

  /** Behind the last whole chunk. */
  get held(): Uint8Array {
    return this.#held
  }

  /** Takes the next bytes; gives their whole chunks, or what is wrong with the first that is. Throws for a head that is no recording's. */
  push(bytes: Uint8Array): readonly Chunk[] | string {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    if (this.header === undefined && !this.#readHead()) return []
    const chunks: Chunk[] = []
    for (;;) {
      if (this.ended) return this.#held.length === 0 ? chunks : 'something follows the end'
      const reading = readChunk(this.#held)
      if (reading.verdict === 'more') return chunks
      if (reading.verdict === 'bad') return reading.what
      const { chunk } = reading
      const { seq, hash } = this.position
      if (!reading.intact) return `chunk ${seq + 1} is not what its hash covers`
      if (chunk.seq !== seq + 1 || chunk.prev !== hash)
        return `chunk ${chunk.seq} does not follow chunk ${seq}`
      this.position = { seq: chunk.seq, hash: chunk.hash }
      this.ended = chunk.kind === 'end'
      this.#skip(reading.bytes)
      chunks.push(chunk)
    }
  }

  /** Forgets half a chunk: its writer was cut off, and begins it again. */
  dropHeld(): void {
    this.#held = NOTHING
  }

  #readHead(): boolean {
    const head = readHead(this.#held)
    if (head === undefined) return false
    this.header = head.header
    this.position = head.position
    this.#skip(head.end)
    return true
  }

  #skip(count: number): void {
    this.#held = this.#held.subarray(count)
    this.bytes += count
  }
}
