// Verifies a chain line by line and names the first record that is not as it was written: which, in which file, line and byte.
// Pure: the caller reads the files. A chain rewritten from some point on is consistent in itself, so it takes checkpoints
// (the log's own, or the anchors its receivers kept) to find that; their signatures are checked before they come here.

import type { AuditCheckpoint } from '../snapshot.ts'
import { type ChainPosition, follows, isIntact, positionOf, readLine } from './chain.ts'

export type FaultKind =
  /** Not a record at all: not JSON, not the one text its fields encode to, cut off. */
  | 'malformed'
  /** The content is not what the record's hash was computed over. */
  | 'changed'
  | 'missing'
  | 'reordered'
  | 'repeated'
  /** A record of another writer. */
  | 'foreign'
  /** A record of another history: it follows something else, or a checkpoint knows another one. */
  | 'forked'
  /** A checkpoint knows more records than there are. */
  | 'shortened'

export interface Place {
  readonly file: string
  /** From 1. */
  readonly line: number
  /** Of the line's first byte in the file. */
  readonly offset: number
}

export interface ChainFault extends Place {
  readonly kind: FaultKind
  /** The record at fault. */
  readonly seq: number
  readonly message: string
}

export class ChainVerifier {
  readonly #anchors: readonly AuditCheckpoint[]
  #nextAnchor = 0
  #position: ChainPosition
  #fault: ChainFault | undefined
  #records = 0

  /** `start` is the genesis, or a position that is known to be good. Anchors of other writers are left out. */
  constructor(start: ChainPosition, anchors: readonly AuditCheckpoint[] = []) {
    this.#position = start
    this.#anchors = anchors
      .filter((anchor) => anchor.writer === start.writer && anchor.count > start.seq)
      .sort((a, b) => a.count - b.count)
  }

  /** The last record that is as it should be. */
  get position(): ChainPosition {
    return this.#position
  }

  /** Good records seen. */
  get records(): number {
    return this.#records
  }

  get fault(): ChainFault | undefined {
    return this.#fault
  }

  /** Undefined text: a line that is too long or not UTF-8. */
  line(text: string | undefined, place: Place): void {
    if (this.#fault === undefined) this.#judge(text, place)
    else if (this.#fault.kind === 'missing') this.#lookForMissing(text, this.#fault)
  }

  /** No more lines. `place` is the end of the last file. */
  end(place: Place): ChainFault | undefined {
    const last = this.#anchors.at(-1)
    if (this.#fault !== undefined || last === undefined || last.count <= this.#position.seq) {
      return this.#fault
    }
    const seq = this.#position.seq + 1
    const known = `a checkpoint of ${timeOf(last)} knows ${last.count}`
    this.#fail('shortened', seq, place, `the log ends behind record ${seq - 1}; ${known}`)
    return this.#fault
  }

  #judge(text: string | undefined, place: Place): void {
    const expected = this.#position.seq + 1
    const record = text === undefined ? undefined : readLine(text)
    if (record === undefined) {
      this.#fail('malformed', expected, place, 'this is not a record')
      return
    }
    if (!isIntact(record)) {
      this.#fail('changed', record.seq, place, 'the content is not what the hash was made of')
    } else if (record.writer !== this.#position.writer) {
      this.#fail('foreign', expected, place, `a record of ${record.writer} stands here`)
    } else if (record.seq > expected) {
      const last = record.seq - 1
      const which = last === expected ? `record ${last} is` : `records ${expected} to ${last} are`
      this.#fail('missing', expected, place, `${which} missing`)
    } else if (record.seq < expected) {
      this.#fail('repeated', record.seq, place, `a record with this number stood before`)
    } else if (!follows(this.#position, record)) {
      const text = `it does not follow record ${expected - 1}: one of the two was replaced`
      this.#fail('forked', record.seq, place, text)
    } else {
      this.#accept(positionOf(record), place)
    }
  }

  #accept(position: ChainPosition, place: Place): void {
    const anchor = this.#anchors[this.#nextAnchor]
    if (anchor?.count === position.seq) {
      // Several receivers may hold an anchor of this record; each must agree.
      const wrong = this.#anchors
        .slice(this.#nextAnchor)
        .find((other) => other.count === position.seq && other.head !== position.hash)
      if (wrong !== undefined) {
        const text = `a checkpoint of ${timeOf(wrong)} knows another record here: this history is not the one it saw`
        this.#fail('forked', position.seq, place, text)
        return
      }
      while (this.#anchors[this.#nextAnchor]?.count === position.seq) this.#nextAnchor += 1
    }
    this.#position = position
    this.#records += 1
  }

  /** A record that turns up later was not removed but moved. */
  #lookForMissing(text: string | undefined, fault: ChainFault): void {
    const record = text === undefined ? undefined : readLine(text)
    if (record?.seq !== fault.seq || !isIntact(record)) return
    const message = faultText('reordered', fault.seq, fault, 'it stands further down')
    this.#fault = { ...fault, kind: 'reordered', message }
  }

  #fail(kind: FaultKind, seq: number, place: Place, what: string): void {
    this.#fault = { ...place, kind, seq, message: faultText(kind, seq, place, what) }
  }
}

function faultText(kind: FaultKind, seq: number, place: Place, what: string): string {
  const { file, line, offset } = place
  return `record ${seq} is ${kind} (${file}, line ${line}, byte ${offset}): ${what}`
}

function timeOf(checkpoint: AuditCheckpoint): string {
  return new Date(checkpoint.timeMs).toISOString()
}
