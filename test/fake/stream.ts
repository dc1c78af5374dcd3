// Two byte streams joined in memory, for streaming protocols. A write never delivers inside itself: the peer's read resolves
// in a later turn, as over a network (ssh2 breaks otherwise). What was written and not read is bounded.

import { ProxyError } from '../../core/errors.ts'
import type { ByteStream } from '../../core/stream.ts'

const BUFFERED_BYTES_MAX = 64 * 1024

/** One direction. */
class Pipe {
  #chunks: Uint8Array[] = []
  #bytes = 0
  #over = false
  #failure: Error | undefined
  #wake: (() => void)[] = []

  get done(): boolean {
    return this.#failure !== undefined || (this.#over && this.#bytes === 0)
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      await turn()
      if (this.#failure !== undefined) throw this.#failure
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.length
        this.#notify()
        return chunk
      }
      if (this.#over) return undefined
      await this.#change()
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#over) throw new ProxyError('protocol.violation', 'written after the end')
    if (bytes.length > 0) this.#chunks.push(Uint8Array.from(bytes))
    this.#bytes += bytes.length
    this.#notify()
    while (this.#bytes > BUFFERED_BYTES_MAX && this.#failure === undefined) await this.#change()
    if (this.#failure !== undefined) throw this.#failure
  }

  unread(bytes: Uint8Array): void {
    this.#chunks.unshift(bytes)
    this.#bytes += bytes.length
    this.#notify()
  }

  end(): void {
    this.#over = true
    this.#notify()
  }

  abort(cause: Error): void {
    this.#failure ??= cause
    this.#chunks = []
    this.#bytes = 0
    this.#notify()
  }

  async drained(): Promise<void> {
    while (!this.done) await this.#change()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = []
    for (const resolve of wake) resolve()
  }
}

class MemoryStream implements ByteStream {
  readonly #in: Pipe
  readonly #out: Pipe
  readonly closed: Promise<void>

  constructor(input: Pipe, output: Pipe) {
    this.#in = input
    this.#out = output
    this.closed = Promise.all([input.drained(), output.drained()]).then(() => undefined)
  }

  read(): Promise<Uint8Array | undefined> {
    return this.#in.read()
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#out.write(bytes)
  }

  /** As where the buffer is another's next: whoever kept a view of it reads nonsense. */
  release(chunk: Uint8Array): void {
    chunk.fill(0xee)
  }

  unread(bytes: Uint8Array): void {
    this.#in.unread(bytes)
  }

  async end(): Promise<void> {
    this.#out.end()
    await turn()
  }

  abort(cause: Error): void {
    this.#in.abort(cause)
    this.#out.abort(cause)
  }
}

/** The same stream, which takes one piece at a time, with some of its methods changed. */
export function changed(stream: ByteStream, change: Partial<ByteStream>): ByteStream {
  return {
    read: () => stream.read(),
    write: (bytes) => stream.write(bytes),
    release: (chunk) => stream.release?.(chunk),
    unread: (bytes) => stream.unread(bytes),
    end: () => stream.end(),
    abort: (cause) => stream.abort(cause),
    closed: stream.closed,
    ...change,
  }
}

/** The two ends of one connection. */
export function streamPair(): [ByteStream, ByteStream] {
  const [there, back] = [new Pipe(), new Pipe()]
  return [new MemoryStream(back, there), new MemoryStream(there, back)]
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
