// A channel as byte streams: what a program of another server writes to its two outputs, each read on its own, or a forwarded connection.
// While only one of the two is read, a bounded part of the other waits here; beyond it the channel waits.

import { freePacketOf } from '../../core/bytes/free.ts'
import { max } from '../../core/limits.ts'
import type { ByteStream } from '../../core/stream.ts'
import type { SshChannel } from './transport/channel.ts'

/** The two outputs of one channel. */
export class ChannelOutputs {
  readonly output: ByteStream
  readonly stderr: ByteStream
  readonly #channel: SshChannel
  readonly #aside: Record<'output' | 'stderr', Uint8Array[]> = { output: [], stderr: [] }
  #asideBytes = 0
  #reading = false
  #ended = false
  #waiting: (() => void)[] = []

  constructor(channel: SshChannel) {
    this.#channel = channel
    this.output = new ChannelStream(channel, () => this.#read('output'))
    this.stderr = new ChannelStream(channel, () => this.#read('stderr'))
  }

  async #read(which: 'output' | 'stderr'): Promise<Uint8Array | undefined> {
    for (;;) {
      const kept = this.#aside[which].shift()
      if (kept !== undefined) {
        this.#asideBytes -= kept.length
        this.#wake()
        return kept
      }
      if (this.#ended) return undefined
      if (this.#reading || this.#asideBytes > max('sshAsideBytesMax')) await this.#change()
      else {
        const bytes = await this.#next(which)
        if (bytes !== undefined) return bytes
      }
    }
  }

  /** Reads once from the channel: for the one who asks, or for the other. */
  async #next(which: 'output' | 'stderr'): Promise<Uint8Array | undefined> {
    this.#reading = true
    const data = await this.#channel.read()
    this.#reading = false
    this.#wake()
    if (data === undefined) {
      this.#ended = true
      return undefined
    }
    const whose = data.stderr ? 'stderr' : 'output'
    if (whose === which) return data.bytes
    this.#aside[whose].push(data.bytes)
    this.#asideBytes += data.bytes.length
    return undefined
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

class ChannelStream implements ByteStream {
  readonly closed: Promise<void>
  readonly #channel: SshChannel
  readonly #next: () => Promise<Uint8Array | undefined>
  #unread: Uint8Array[] = []

  constructor(channel: SshChannel, next: () => Promise<Uint8Array | undefined>) {
    this.#channel = channel
    this.#next = next
    this.closed = channel.closed
  }

  read(): Promise<Uint8Array | undefined> {
    const kept = this.#unread.shift()
    return kept === undefined ? this.#next() : Promise.resolve(kept)
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#channel.write(bytes)
  }

  async writeAll(pieces: readonly Uint8Array[]): Promise<void> {
    for (const bytes of pieces) await this.#channel.write(bytes)
  }

  release(chunk: Uint8Array): void {
    freePacketOf(chunk)
  }

  unread(bytes: Uint8Array): void {
    this.#unread.unshift(bytes)
  }

  end(): Promise<void> {
    return this.#channel.end()
  }

  abort(): void {
    this.#channel.close()
  }
}

/** A connection: it has one output. */
export function channelStream(channel: SshChannel): ByteStream {
  return new ChannelStream(channel, async () => {
    for (;;) {
      const data = await channel.read()
      if (data === undefined || !data.stderr) return data?.bytes
    }
  })
}
