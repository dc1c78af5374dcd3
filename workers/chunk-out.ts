// The `Out` of workers/perform.ts: collects what a session decides about one chunk or one event, so that each side gets one
// write and actions follow after the bytes. Neighbouring ranges that pass become one view. Nothing is collected after `end`.

import type { Action, Out, Side } from '../core/protocol.ts'

const NOTHING = new Uint8Array(0)

/** Where notes go: the session's tap, or a counter before there is a right. */
export type Note = (
  code: number,
  chunk: Uint8Array,
  from: number,
  to: number,
  rest: number,
) => boolean

/** What a chunk or an event came to. */
export interface Collected {
  readonly toClient: readonly Uint8Array[]
  readonly toTarget: readonly Uint8Array[]
  readonly actions: readonly Action[]
}

export class ChunkOut implements Out {
  readonly #note: Note
  #from: Side = 'client'
  #chunk: Uint8Array = NOTHING
  #passFrom = 0
  #passTo = 0
  #toClient: Uint8Array[] = []
  #toTarget: Uint8Array[] = []
  #actions: Action[] = []
  #over = false

  constructor(note: Note) {
    this.#note = note
  }

  /** What follows is about `chunk`, or about an event when there is none. */
  begin(from: Side = 'client', chunk: Uint8Array = NOTHING): void {
    this.#from = from
    this.#chunk = chunk
  }

  pass(from: number, to: number): void {
    if (from < 0 || to < from || to > this.#chunk.length)
      throw new RangeError('a session passed bytes it was not shown')
    if (this.#over || from === to) return
    if (from !== this.#passTo || this.#passTo === this.#passFrom) {
      this.#flush()
      this.#passFrom = from
    }
    this.#passTo = to
  }

  send(to: Side, bytes: Uint8Array): void {
    if (this.#over || bytes.length === 0) return
    if (to !== this.#from) this.#flush()
    // A copy: the session may fill the same bytes again before the socket has taken them.
    this.#pieces(to).push(Uint8Array.from(bytes))
  }

  note(code: number, from: number, to: number, rest: number): boolean {
    return this.#note(code, this.#chunk, from, to, rest)
  }

  act(action: Action): void {
    if (this.#over) return
    if (action.kind === 'end') {
      this.#flush()
      this.#over = true
    }
    this.#actions.push(action)
  }

  /** Everything since the last call; the ranges are views of the chunk. */
  collect(): Collected {
    this.#flush()
    const collected = {
      toClient: this.#toClient,
      toTarget: this.#toTarget,
      actions: this.#actions,
    }
    // Kept when empty: most chunks write to one side and act on nothing.
    if (this.#toClient.length > 0) this.#toClient = []
    if (this.#toTarget.length > 0) this.#toTarget = []
    if (this.#actions.length > 0) this.#actions = []
    this.#chunk = NOTHING
    return collected
  }

  #flush(): void {
    if (this.#passTo > this.#passFrom) {
      const view = this.#chunk.subarray(this.#passFrom, this.#passTo)
      this.#pieces(this.#from === 'client' ? 'target' : 'client').push(view)
    }
    this.#passFrom = 0
    this.#passTo = 0
  }

  #pieces(to: Side): Uint8Array[] {
    return to === 'client' ? this.#toClient : this.#toTarget
  }
}
