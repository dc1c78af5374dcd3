// One command on several nodes at once: each line of output with the node's name before it, or each node's output in files of its own
// (--log-dir). A bounded number runs at a time, and of each at most a line is held. None of them gets what is typed.

import { createWriteStream } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'

import { max } from '../../core/limits.ts'
import { errorText } from '../exit.ts'
import { printable } from '../render.ts'
import type { Streams } from '../streams.ts'
import { write } from './session.ts'

export interface OneOfSeveral {
  readonly name: string
  /** Runs it there; resolves with its status. */
  run(streams: Streams): Promise<number>
}

/** Runs all; resolves with the names of those that failed. */
export async function runSeveral(
  all: readonly OneOfSeveral[],
  streams: Streams,
  logDir: string | undefined,
): Promise<readonly string[]> {
  if (logDir !== undefined) await mkdir(logDir, { recursive: true })
  const waiting = [...all]
  const failed: string[] = []
  const lane = async (): Promise<void> => {
    for (let each = waiting.shift(); each !== undefined; each = waiting.shift())
      if (!(await runOne(each, streams, logDir))) failed.push(each.name)
  }
  await Promise.all(
    Array.from({ length: Math.min(all.length, max('sshHostsAtOnceMax')) }, () => lane()),
  )
  return failed.sort()
}

async function runOne(
  one: OneOfSeveral,
  streams: Streams,
  logDir: string | undefined,
): Promise<boolean> {
  const mine = streamsOf(one.name, streams, logDir)
  try {
    const status = await one.run(mine)
    if (status !== 0) await tell(mine.errors, `ended with status ${status}`)
    return status === 0
  } catch (error) {
    await tell(mine.errors, errorText(error))
    return false
  } finally {
    for (const stream of [mine.output, mine.errors]) stream.end()
    await Promise.all([mine.output, mine.errors].map((stream) => finished(stream)))
  }
}

async function tell(errors: Writable, text: string): Promise<void> {
  await write(errors, Buffer.from(`${text}\n`))
}

function streamsOf(name: string, streams: Streams, logDir: string | undefined): Streams {
  const input = Readable.from([])
  if (logDir === undefined) {
    const prefix = `[${printable(name)}] `
    return {
      input,
      output: new PrefixedLines(prefix, streams.output),
      errors: new PrefixedLines(prefix, streams.errors),
    }
  }
  const file = (end: string): Writable =>
    createWriteStream(path.join(logDir, `${encodeURIComponent(name)}.${end}`), { mode: 0o600 })
  return { input, output: file('stdout'), errors: file('stderr') }
}

const LINE_FEED = 0x0a

/** Whole lines, so that those of two nodes do not mix; a line that is too long is printed in pieces. */
export class PrefixedLines extends Writable {
  readonly #prefix: Buffer
  readonly #into: Writable
  #held: Buffer = Buffer.alloc(0)

  constructor(prefix: string, into: Writable) {
    super()
    this.#prefix = Buffer.from(prefix)
    this.#into = into
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    const bytes = Buffer.concat([this.#held, chunk])
    const parts: Buffer[] = []
    let from = 0
    for (;;) {
      const end = bytes.indexOf(LINE_FEED, from) + 1
      const long = bytes.length - from > max('sshPrefixedLineBytesMax')
      if (end === 0 && !long) break
      const to = end > 0 ? end : bytes.length
      parts.push(this.#prefix, bytes.subarray(from, to))
      if (end === 0) parts.push(Buffer.from('\n'))
      from = to
    }
    // A copy: what is held outlives the chunk it came in.
    this.#held = Buffer.from(bytes.subarray(from))
    void this.#print(parts, done)
  }

  override _final(done: (error?: Error) => void): void {
    const rest = this.#held.length === 0 ? [] : [this.#prefix, this.#held, Buffer.from('\n')]
    void this.#print(rest, done)
  }

  /** Whoever writes here waits until the terminal takes more. */
  async #print(parts: readonly Uint8Array[], done: () => void): Promise<void> {
    await write(this.#into, Buffer.concat(parts))
    done()
  }
}
