// What a busy terminal says, put together: the kernel gives a page at a time, and each piece on its own would be a packet, and a turn of
// every process on the way to the client. What is short passes at once: a keystroke's echo is never held back.

import { max } from '../../core/limits.ts'
import type { ByteStream } from '../../core/stream.ts'
import { systemTimers, type Timers } from '../../workers/timers.ts'

/** A read of the other end of a terminal gives no more than this (n_tty in Linux); a page that is full is followed by another. */
const PAGE_BYTES = 4095

export class Gathered {
  readonly #to: ByteStream
  readonly #timers: Timers
  #pieces: Uint8Array[] = []
  #bytes = 0
  #cancel: (() => void) | undefined
  #written: Promise<void> = Promise.resolve()

  constructor(to: ByteStream, timers: Timers = systemTimers) {
    this.#to = to
    this.#timers = timers
  }

  /** Resolves when the next piece may come. Rejects when what was written before could not be. */
  async add(piece: Uint8Array): Promise<void> {
    this.#pieces.push(piece)
    this.#bytes += piece.length
    if (piece.length < PAGE_BYTES || this.#bytes >= max('terminalGatherBytes'))
      return await this.flush()
    this.#cancel ??= this.#timers.after(max('terminalGatherMs'), () => this.#write())
    return await this.#written
  }

  /** Resolves when all of it was taken. */
  async flush(): Promise<void> {
    this.#write()
    await this.#written
  }

  #write(): void {
    this.#cancel?.()
    this.#cancel = undefined
    const pieces = this.#pieces
    this.#pieces = []
    this.#bytes = 0
    if (pieces.length === 0) return
    this.#written = this.#written.then(() => this.#pass(pieces))
    // Whoever adds next, or flushes, hears of it.
    this.#written.catch(() => {})
  }

  async #pass(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#to.writeAll === undefined) await this.#to.write(Buffer.concat(pieces))
    else await this.#to.writeAll(pieces)
  }
}
