// Reads of a socket into buffers of its thread's pool, which the reader of a stream has until it is done with them. Node's own reads are
// parts of slabs that only a collection of the whole heap frees. Nothing is read before the last chunk was taken.

import { type BufferPool, ReadBuffer, threadBuffers } from './buffers.ts'
import type { Reader } from './handover.ts'

/** Buffers of this thread by the chunk that a reader has. */
const LENT = new WeakMap<Uint8Array, Uint8Array>()

/** Given to a socket as its `onread`. */
export class LentReads implements Reader {
  /** Called when there is a chunk to take. */
  changed: () => void = () => {}
  readonly #pool: BufferPool
  readonly #read: ReadBuffer
  #chunk: Uint8Array | undefined

  constructor(pool: BufferPool = threadBuffers) {
    this.#pool = pool
    this.#read = new ReadBuffer(pool)
  }

  // Node calls these two without a receiver, so they are fields.
  readonly buffer = (): Uint8Array => this.#read.current

  readonly callback = (count: number, buffer: Uint8Array): boolean => {
    const chunk = buffer.subarray(0, count)
    LENT.set(chunk, buffer)
    this.#chunk = chunk
    this.#read.lend(count)
    this.changed()
    return false
  }

  /** What was read; undefined: nothing yet, so that the socket may read on. */
  take(): Uint8Array | undefined {
    const chunk = this.#chunk
    this.#chunk = undefined
    return chunk
  }

  /** Nobody has a view of the chunk any more. One that never comes back is the collector's. */
  giveBack(chunk: Uint8Array): void {
    const buffer = LENT.get(chunk)
    if (buffer === undefined) return
    LENT.delete(chunk)
    this.#pool.give(buffer)
  }

  /** The socket is closed: it reads into nothing any more. */
  close(): void {
    this.#read.close()
  }
}
