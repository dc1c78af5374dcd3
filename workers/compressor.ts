// What compresses chunks of recordings beside the event loop: one context for a thread, which a frame of zstd each begins and ends.
// A context for each chunk would cost as much as compressing what repeats, and leave its output's buffer to the collector.

import { constants, createZstdCompress, type ZstdCompress } from 'node:zlib'

import { COMPRESSION, compressPacked } from '../core/recording/format.ts'
import type { Compress } from './recorder.ts'

/** Room for most chunks: each piece of output beyond it is another way to the compressor's thread and back. */
const OUTPUT_BYTES = 128 * 1024

interface Wanted {
  readonly packed: Uint8Array
  readonly done: (payload: Uint8Array) => void
}

export class Compressor {
  readonly #open: () => ZstdCompress
  #stream: ZstdCompress | undefined
  #output: Uint8Array[] = []
  /** The first is in work. Each recorder has one here at most. */
  #wanted: Wanted[] = []

  /** `open`: for tests. */
  constructor(open: () => ZstdCompress = openContext) {
    this.#open = open
  }

  /** One after the other. `packed` must stay as it is until `done`, which is called in a later turn. */
  readonly compress: Compress = (packed, done) => {
    this.#wanted.push({ packed, done })
    if (this.#wanted.length === 1) this.#begin()
  }

  /** Nobody waits any more. */
  close(): void {
    this.#wanted = []
    this.#drop()
  }

  #begin(): void {
    const [wanted] = this.#wanted
    if (wanted === undefined) return
    const stream = (this.#stream ??= this.#opened())
    stream.write(wanted.packed)
    stream.flush(constants.ZSTD_e_end, () => {
      if (stream === this.#stream) this.#ended(stream)
    })
  }

  #opened(): ZstdCompress {
    const stream = this.#open()
    stream.on('data', (bytes: Uint8Array) => this.#output.push(bytes))
    stream.on('error', () => {
      if (stream === this.#stream) this.#failed()
    })
    return stream
  }

  #ended(stream: ZstdCompress): void {
    // What it has not told of yet is told of here.
    while (stream.read() !== null);
    const payload = Buffer.concat(this.#output)
    this.#output = []
    this.#give(payload)
  }

  /** A context has failed: for want of memory, since nothing else can. The next one may not. */
  #failed(): void {
    this.#drop()
    const [wanted] = this.#wanted
    if (wanted !== undefined) this.#give(compressPacked(wanted.packed))
  }

  #give(payload: Uint8Array): void {
    const wanted = this.#wanted.shift()
    this.#begin()
    wanted?.done(payload)
  }

  #drop(): void {
    const stream = this.#stream
    this.#stream = undefined
    this.#output = []
    stream?.destroy()
  }
}

function openContext(): ZstdCompress {
  return createZstdCompress({ params: COMPRESSION, chunkSize: OUTPUT_BYTES })
}
