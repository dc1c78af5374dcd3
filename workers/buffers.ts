// Read buffers of relays. A quiet session keeps a small one, bulk a large one, and what is not in use is kept for the next
// session, within a bound. A buffer is never shared between two readers and never shown beyond what was read into it.

import { max } from '../core/limits.ts'

export class BufferPool {
  readonly #kept = new Map<number, Uint8Array[]>()
  readonly #keptMax: number
  #lent = 0

  constructor(keptMax: number = max('relayBuffersPooledMax')) {
    this.#keptMax = keptMax
  }

  /** Buffers in use; returns to zero when all relays have ended. */
  get lent(): number {
    return this.#lent
  }

  get kept(): number {
    let count = 0
    for (const buffers of this.#kept.values()) count += buffers.length
    return count
  }

  take(bytes: number): Uint8Array {
    this.#lent++
    // Buffer.allocUnsafe cuts small ones out of a shared slab: a thousand idle sessions are a few dozen allocations.
    return this.#kept.get(bytes)?.pop() ?? Buffer.allocUnsafe(bytes)
  }

  give(buffer: Uint8Array): void {
    this.#lent--
    const buffers = this.#kept.get(buffer.length) ?? []
    if (buffers.length < this.#keptMax) buffers.push(buffer)
    this.#kept.set(buffer.length, buffers)
  }
}

/** One for all readers of a thread: the module is loaded once in each. */
export const threadBuffers: BufferPool = new BufferPool()

/** The buffer of one direction: grows on a full read, shrinks after two reads that needed no more than a smaller one. */
export class ReadBuffer {
  readonly #pool: BufferPool
  readonly #sizes: readonly number[]
  #tier = 0
  #smallReads = 0
  #buffer: Uint8Array | undefined

  constructor(pool: BufferPool) {
    this.#pool = pool
    this.#sizes = [
      max('relayBufferSmallBytes'),
      max('relayBufferMiddleBytes'),
      max('relayBufferBytes'),
    ]
  }

  /** The buffer to read into next. */
  get current(): Uint8Array {
    this.#buffer ??= this.#pool.take(this.#size(this.#tier))
    return this.#buffer
  }

  /** Takes note of a read whose bytes have left the buffer: the next one may be another. */
  noted(bytes: number): void {
    const tier = this.#tier
    if (bytes === this.#size(tier)) this.#move(Math.min(tier + 1, this.#sizes.length - 1))
    else if (tier > 0 && bytes < this.#size(tier - 1)) {
      if (++this.#smallReads >= 2) this.#move(tier - 1)
    } else this.#smallReads = 0
  }

  /** Takes note of a read and gives its buffer away: whoever has it gives it to the pool. The next read has another. */
  lend(bytes: number): void {
    this.#buffer = undefined
    this.noted(bytes)
  }

  /** Gives the buffer back. Only when nothing reads into it or writes from it any more. */
  close(): void {
    if (this.#buffer !== undefined) this.#pool.give(this.#buffer)
    this.#buffer = undefined
  }

  #move(tier: number): void {
    this.#smallReads = 0
    if (tier === this.#tier) return
    this.close()
    this.#tier = tier
  }

  #size(tier: number): number {
    return this.#sizes[tier] ?? max('relayBufferBytes')
  }
}
