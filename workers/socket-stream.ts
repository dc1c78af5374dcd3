// A socket, or any other duplex of Node, as the ByteStream that streaming sessions own. Nothing is read ahead of `read` beyond the
// stream's own buffer. The duplex must be half-open (`allowHalfOpen`), or the end of the peer's bytes would end ours as well.

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

import { freeBytes } from '../core/bytes/free.ts'
import { ProxyError } from '../core/errors.ts'
import type { ByteStream } from '../core/stream.ts'
import type { LentReads } from './lent-reads.ts'

/** `reads`: what the socket was made with as its `onread`, absent where it reads as Node does. */
export function socketStream(duplex: Duplex, reads?: LentReads): ByteStream {
  return new SocketStream(duplex, reads)
}

class SocketStream implements ByteStream {
  readonly closed: Promise<void>
  readonly #duplex: Duplex
  readonly #reads: LentReads | undefined
  #unread: Uint8Array[] = []
  #failure: Error | undefined
  #waiting: (() => void)[] = []

  constructor(duplex: Duplex, reads: LentReads | undefined) {
    this.#duplex = duplex
    this.#reads = reads
    // What is small is a keystroke or an answer; packets are put together above.
    if (duplex instanceof Socket) duplex.setNoDelay(true)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    const notify = (): void => this.#notify()
    if (reads === undefined) duplex.on('readable', notify)
    else reads.changed = notify
    duplex.on('end', notify).on('drain', notify).on('finish', notify)
    duplex.on('error', (error) => {
      this.#failure ??= error
      notify()
    })
    const closed = (): void => {
      notify()
      resolve()
    }
    // It says so once, and may have done before it was given here.
    if (duplex.closed) closed()
    else duplex.once('close', closed)
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const kept = this.#unread.shift()
      if (kept !== undefined) return kept
      const chunk = this.#take()
      if (chunk !== undefined) return chunk
      if (this.#duplex.readableEnded) return undefined
      if (this.#duplex.destroyed) throw this.#failure ?? lost()
      await this.#change()
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#checkWritable()
    this.#duplex.write(bytes)
    await this.#taken()
  }

  async writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    this.#checkWritable()
    let taken = pieces.length === 0
    this.#duplex.cork()
    for (const [index, bytes] of pieces.entries())
      if (index < pieces.length - 1) this.#duplex.write(bytes)
      else
        this.#duplex.write(bytes, (error) => {
          taken = error === null || error === undefined
          this.#notify()
        })
    this.#duplex.uncork()
    while (!taken && !this.#duplex.destroyed) await this.#change()
    if (!taken) throw this.#failure ?? lost()
  }

  /** What a socket gives is a buffer of its own, unless it was put back. */
  release(chunk: Uint8Array): void {
    if (this.#reads === undefined) freeBytes(chunk)
    else this.#reads.giveBack(chunk)
  }

  unread(bytes: Uint8Array): void {
    this.#unread.unshift(bytes)
  }

  async end(): Promise<void> {
    if (this.#duplex.destroyed) return
    this.#duplex.end()
    while (!this.#duplex.writableFinished && !this.#duplex.destroyed) await this.#change()
  }

  abort(cause: Error): void {
    this.#failure ??= cause
    this.#duplex.destroy()
  }

  #take(): Uint8Array | undefined {
    if (this.#reads === undefined) return (this.#duplex.read() as Buffer | null) ?? undefined
    const chunk = this.#reads.take()
    if (chunk === undefined && !this.#duplex.destroyed) this.#duplex.resume()
    return chunk
  }

  #checkWritable(): void {
    if (this.#duplex.destroyed || this.#duplex.writableEnded) throw this.#failure ?? lost()
  }

  async #taken(): Promise<void> {
    while (this.#duplex.writableNeedDrain && !this.#duplex.destroyed) await this.#change()
    if (this.#duplex.destroyed) throw this.#failure ?? lost()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

function lost(): ProxyError {
  return new ProxyError('dial.failed', 'The connection was lost.', { retry: true })
}
