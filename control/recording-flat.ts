// A terminal's recording beside itself as a flat file, which `cat` replays: what was shown, filtered of everything that a terminal
// would answer or act on. Made behind the upload, one at a time; written whole or not at all, or up to a bound that it names at its end.

import type { FileHandle } from 'node:fs/promises'
import { open, rename } from 'node:fs/promises'

import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { unpackEvents } from '../core/recording/events.ts'
import type { Chunk } from '../core/recording/format.ts'
import { TerminalFilter } from '../core/recording/terminal-filter.ts'

const CUT = '\u{1b}[0m\r\n[this file ends here: the recording is longer; tsh play shows it]\r\n'

/** Makes flat files in the order they were asked for. */
export class Flattener {
  readonly #make: (sid: string) => Promise<void>
  readonly #log: Logger
  readonly #wanted = new Set<string>()
  #working: Promise<void> | undefined
  #closed = false

  constructor(make: (sid: string) => Promise<void>, log: Logger) {
    this.#make = make
    this.#log = log
  }

  want(sid: string): void {
    if (this.#closed) return
    this.#wanted.add(sid)
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
    })
  }

  /** Resolves when nothing is wanted. */
  async idle(): Promise<void> {
    await this.#working
  }

  /** What is not begun is made after the next start. */
  async close(): Promise<void> {
    this.#closed = true
    this.#wanted.clear()
    await this.#working
  }

  async #work(): Promise<void> {
    // A set may grow while it is walked.
    for (const sid of this.#wanted) {
      this.#wanted.delete(sid)
      try {
        await this.#make(sid)
      } catch (error) {
        // The recording is what counts: without its flat file it is as whole as with it.
        this.#log.warn('a recording has no flat file', { sid, error: String(error) })
      }
    }
  }
}

/** Writes `file` from the bytes of a whole recording; its length. Holds one chunk at a time. */
export async function writeFlat(
  recording: AsyncIterable<Uint8Array>,
  file: string,
  bytesMax: number = max('recordingFlatBytesMax'),
): Promise<number> {
  const fresh = `${file}.new`
  const handle = await open(fresh, 'w', 0o600)
  const flat = new FlatWriter(handle, bytesMax)
  try {
    const chain = new RecordingChain()
    for await (const bytes of recording) {
      const chunks = chain.push(bytes)
      if (typeof chunks === 'string' || !(await flat.write(chunks))) break
    }
    await handle.datasync()
  } finally {
    await handle.close()
  }
  await rename(fresh, file)
  return flat.bytes
}

class FlatWriter {
  readonly #handle: FileHandle
  readonly #bytesMax: number
  readonly #filter = new TerminalFilter()
  bytes = 0

  constructor(handle: FileHandle, bytesMax: number) {
    this.#handle = handle
    this.#bytesMax = bytesMax
  }

  /** False when it is as long as it may be. */
  async write(chunks: readonly Chunk[]): Promise<boolean> {
    for (const chunk of chunks)
      for (const event of unpackEvents(chunk)) {
        if (event.kind !== 'print') continue
        const shown = this.#filter.push(event.bytes)
        const cut = this.bytes + shown.length > this.#bytesMax
        await this.#put(cut ? Buffer.from(CUT) : shown)
        if (cut) return false
      }
    return true
  }

  async #put(bytes: Uint8Array): Promise<void> {
    await this.#handle.writeFile(bytes)
    this.bytes += bytes.length
  }
}
