// Two ends of a connection that never leaves its thread: what is written to one is read from the other, at the pace of its reader. For
// SSH within SSH, where a session that wants a connection of a client's is given a channel of another.

import { Duplex } from 'node:stream'

type Callback = (error?: Error | null) => void

/** Counts as a socket does. */
export class JoinedEnd extends Duplex {
  bytesRead = 0
  bytesWritten = 0
  #peer: JoinedEnd | undefined
  /** The peer's writer, which waits until we are read. */
  #writer: Callback | undefined

  constructor() {
    super({ allowHalfOpen: true })
  }

  join(peer: JoinedEnd): void {
    this.#peer = peer
  }

  override _read(): void {
    const written = this.#writer
    this.#writer = undefined
    written?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: Callback): void {
    const peer = this.#peer
    if (peer === undefined || peer.destroyed) return written(new Error('the other end is gone'))
    this.bytesWritten += chunk.length
    peer.#take(chunk, written)
  }

  override _final(ended: Callback): void {
    const peer = this.#peer
    if (peer !== undefined && !peer.destroyed) peer.push(null)
    ended()
  }

  /** An end that is gone takes the other with it, but not what that has not read yet of a writer that was done. */
  override _destroy(error: Error | null, destroyed: Callback): void {
    const writer = this.#writer
    this.#writer = undefined
    writer?.(new Error('the other end is gone'))
    const peer = this.#peer
    this.#peer = undefined
    if (peer !== undefined && !(this.writableFinished && error === null)) peer.destroy()
    destroyed(error)
  }

  #take(chunk: Buffer, written: Callback): void {
    this.bytesRead += chunk.length
    this.#writer = written
    // A copy: whoever wrote frees its bytes once they are written (core/bytes/free.ts), and a reader may free what it read.
    const own = Buffer.allocUnsafeSlow(chunk.length)
    chunk.copy(own)
    this.push(own)
  }
}

export function joined(): readonly [JoinedEnd, JoinedEnd] {
  const [one, other] = [new JoinedEnd(), new JoinedEnd()]
  one.join(other)
  other.join(one)
  return [one, other]
}
