// Whether a recording is what was written, and where it is not: bytes come in as a file is read, damages go out with their offsets.
// A changed chunk, one that is missing, one that stands elsewhere, one of another recording, an end that is missing: each is named.
// (`replaced` is said by whoever compares it with what was told of it elsewhere.) After a damage it goes on with the next chunk, so that one flipped bit is one damage.

import {
  CHUNK_MAGIC,
  type Chunk,
  readChunk,
  readHead,
  type RecordingHeader,
  type RecordingPosition,
} from './format.ts'

export const DAMAGES = [
  'flipped',
  'dropped',
  'reordered',
  'spliced',
  'malformed',
  'truncated',
  'replaced',
] as const

export interface Damage {
  readonly kind: (typeof DAMAGES)[number]
  /** Of the first byte of the chunk it was noticed at. */
  readonly offset: number
  readonly detail: string
}

export interface VerifiedChunk {
  readonly chunk: Chunk
  readonly offset: number
}

const NOTHING = new Uint8Array(0)

export class RecordingVerifier {
  header: RecordingHeader | undefined
  /** Whether the end was written, whatever else is wrong. */
  ended = false
  readonly #damages: Damage[] = []
  #held: Uint8Array = NOTHING
  #offset = 0
  #position: RecordingPosition | undefined
  /** The hash that the next chunk must name; undefined behind a damage. */
  #follows: string | undefined

  get damages(): readonly Damage[] {
    return this.#damages
  }

  /** The last chunk in order. */
  get position(): RecordingPosition | undefined {
    return this.#position
  }

  /** Judges the next bytes of the file; gives the chunks whose own hash fits. Throws for a head that is no recording's. */
  push(bytes: Uint8Array): readonly VerifiedChunk[] {
    this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
    if (this.header === undefined && !this.#readHead()) return []
    const found: VerifiedChunk[] = []
    for (;;) {
      const reading = readChunk(this.#held)
      if (reading.verdict === 'more') return found
      if (reading.verdict === 'bad') {
        this.#resynchronise(reading.what)
        if (this.#held.length < CHUNK_MAGIC.length) return found
        continue
      }
      if (this.#judge(reading.chunk, reading.intact))
        found.push({ chunk: reading.chunk, offset: this.#offset })
      this.#skip(reading.bytes)
    }
  }

  /** The file has no more bytes. */
  end(): void {
    if (this.header === undefined || this.#held.length > 0) {
      this.#tell('truncated', 'it ends inside a chunk')
      return
    }
    if (!this.ended) this.#tell('truncated', 'its end is missing')
  }

  #readHead(): boolean {
    const head = readHead(this.#held)
    if (head === undefined) return false
    this.header = head.header
    this.#position = head.position
    this.#follows = head.position.hash
    this.#skip(head.end)
    return true
  }

  #judge(chunk: Chunk, intact: boolean): boolean {
    const seq = (this.#position?.seq ?? 0) + 1
    if (!intact) {
      this.#tell('flipped', `chunk ${seq} is not what its hash covers`)
      this.#position = { seq, hash: chunk.hash }
      this.#follows = undefined
      return false
    }
    if (this.ended) this.#tell('spliced', `chunk ${chunk.seq} follows the end`)
    else if (chunk.seq > seq) this.#tell('dropped', `chunk ${seq} is missing before ${chunk.seq}`)
    else if (chunk.seq < seq) this.#tell('reordered', `chunk ${chunk.seq} stands behind ${seq - 1}`)
    else if (this.#follows !== undefined && chunk.prev !== this.#follows)
      this.#tell('spliced', `chunk ${seq} does not follow the one before it`)
    this.ended ||= chunk.kind === 'end'
    // One that stands in the wrong place does not say what comes next.
    if (chunk.seq >= seq) this.#position = { seq: chunk.seq, hash: chunk.hash }
    this.#follows = chunk.seq >= seq ? chunk.hash : undefined
    return true
  }

  /** Goes on at the next place that looks like a chunk. */
  #resynchronise(what: string): void {
    this.#tell('malformed', what)
    this.#follows = undefined
    const next = Buffer.from(this.#held).indexOf(CHUNK_MAGIC, 1)
    this.#skip(next < 0 ? Math.max(1, this.#held.length - CHUNK_MAGIC.length + 1) : next)
    const seq = this.#position?.seq ?? 0
    // The chunk whose head was damaged counts as the one that stood here.
    this.#position = { seq: seq + 1, hash: '' }
  }

  #skip(count: number): void {
    this.#held = this.#held.subarray(count)
    this.#offset += count
  }

  #tell(kind: Damage['kind'], detail: string): void {
    const last = this.#damages.at(-1)
    // A damaged length makes a run of places that are none.
    if (kind === 'malformed' && last?.kind === 'malformed') return
    this.#damages.push({ kind, offset: this.#offset, detail })
  }
}
