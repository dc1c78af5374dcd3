// Servers for tests of the SFTP client: OpenSSH's own over pipes, and one that answers what the test says.

import { spawn } from 'node:child_process'
import { once } from 'node:events'

import { SshReader, string, u32 } from '../../core/ssh/bytes.ts'
import { REQUEST, RESPONSE } from '../../core/ssh/sftp.ts'
import { atEnd, type Cleanup } from '../../test/fixtures/files.ts'
import type { SftpChannel } from './client.ts'
import { Frames } from './codec.ts'

const SFTP_SERVER = '/usr/lib/openssh/sftp-server'

/** OpenSSH's server, working in `folder`. */
export function opensshChannel(cleanup: Cleanup, folder: string): SftpChannel {
  const child = spawn(SFTP_SERVER, ['-d', folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  // Many writers wait for the same drain.
  child.stdin.on('error', () => undefined).setMaxListeners(0)
  atEnd(cleanup, async () => {
    child.stdin.end()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const chunks: AsyncIterator<Buffer> = child.stdout[Symbol.asyncIterator]()
  return {
    async read() {
      const next = await chunks.next()
      return next.done === true ? undefined : { bytes: next.value, stderr: false }
    },
    async write(bytes) {
      if (!child.stdin.write(bytes)) await once(child.stdin, 'drain')
    },
  }
}

export interface Asked {
  readonly id: number
  readonly type: number
  /** Behind the id. */
  readonly fields: SshReader
}

/** Answers requests by `answer`; undefined: never. Keeps how many waited at most. */
export class ScriptedServer implements SftpChannel {
  readonly #answer: (asked: Asked) => Uint8Array | undefined
  readonly #frames = new Frames()
  readonly #ready: Uint8Array[] = []
  #wake: (() => void) | undefined
  #ended = false
  outstanding = 0
  outstandingMax = 0

  constructor(answer: (asked: Asked) => Uint8Array | undefined) {
    this.#answer = answer
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#frames.push(Buffer.from(bytes))
    for (let message = this.#frames.next(); message !== undefined; message = this.#frames.next())
      this.#take(new SshReader(message))
    return Promise.resolve()
  }

  async read(): Promise<{ bytes: Uint8Array; stderr: boolean } | undefined> {
    while (this.#ready.length === 0 && !this.#ended)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    const bytes = this.#ready.shift()
    if (bytes === undefined) return undefined
    this.outstanding -= 1
    return { bytes, stderr: false }
  }

  say(bytes: Uint8Array): void {
    this.#ready.push(bytes)
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }

  #take(reader: SshReader): void {
    const type = reader.u8()
    const id = reader.u32()
    this.outstanding += 1
    this.outstandingMax = Math.max(this.outstandingMax, this.outstanding)
    if (type === REQUEST.init) return this.say(packet(RESPONSE.version, u32(3)))
    const answer = this.#answer({ id, type, fields: reader })
    if (answer !== undefined) this.say(answer)
  }
}

export function packet(type: number, ...fields: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat([Uint8Array.of(type), ...fields])
  return Buffer.concat([u32(body.length), body])
}

export function status(id: number, code: number): Uint8Array {
  return packet(RESPONSE.status, u32(id), u32(code), string('a text'), string(''))
}

/** Entries of a folder that are files. */
export function names(id: number, ...entries: readonly (string | Uint8Array)[]): Uint8Array {
  return listing(id, 0o100_644, entries)
}

/** Entries of a folder that are folders. */
export function folders(id: number, ...entries: readonly string[]): Uint8Array {
  return listing(id, 0o040_755, entries)
}

function listing(id: number, mode: number, entries: readonly (string | Uint8Array)[]): Uint8Array {
  const attributes = Buffer.concat([u32(4), u32(mode)])
  const fields = entries.map((name) => Buffer.concat([string(name), string('long'), attributes]))
  return packet(RESPONSE.name, u32(id), u32(entries.length), ...fields)
}
