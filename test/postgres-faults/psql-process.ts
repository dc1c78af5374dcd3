// A psql that a test holds in the middle of something: its input is fed piece by piece, its output is read when the test wants it.
// Its environment is bare, and it is gone when the test is over.

import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'

import { atEnd, type Cleanup } from '../fixtures/files.ts'

export interface Ended {
  readonly code: number | null
  readonly stderr: string
}

const SETPRIV = '/usr/bin/setpriv'
const PSQL = '/usr/lib/postgresql/15/bin/psql'
const BARE = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: '/nonexistent' }

export class PsqlProcess {
  /** Resolves when it has ended and its output was read. */
  readonly ended: Promise<Ended>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #chunks: Buffer[] = []
  #heard = Promise.withResolvers<void>()
  #bytes = 0

  constructor(cleanup: Cleanup, conninfo: string, args: readonly string[]) {
    const options = ['-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-d', conninfo]
    this.#child = spawn(SETPRIV, ['--pdeathsig=KILL', PSQL, ...options, ...args], {
      env: BARE,
      stdio: 'pipe',
    })
    atEnd(cleanup, () => void this.#child.kill('SIGKILL'))
    // One that ended does not read its input any more; its exit status tells what happened.
    this.#child.stdin.on('error', () => undefined)
    let stderr = ''
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk))
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk)
      this.#bytes += chunk.length
      this.#heard.resolve()
    })
    this.ended = new Promise((resolve) =>
      this.#child.once('close', (code) => resolve({ code, stderr })),
    )
  }

  /** What it has said so far. */
  get said(): Buffer {
    return Buffer.concat(this.#chunks)
  }

  /** Resolves when it has said this much more, or has ended. */
  async hears(bytes: number): Promise<void> {
    const until = this.#bytes + bytes
    void this.ended.then(() => this.#heard.resolve())
    while (this.#bytes < until && this.#child.exitCode === null) {
      await this.#heard.promise
      if (this.#child.exitCode === null) this.#heard = Promise.withResolvers()
    }
  }

  /** Reads its output no further: it stands still as soon as the pipe is full. */
  holdOutput(): void {
    this.#child.stdout.pause()
  }

  readOn(): void {
    this.#child.stdout.resume()
  }

  write(text: string): void {
    this.#child.stdin.write(text)
  }

  end(text = ''): void {
    this.#child.stdin.end(text)
  }
}
