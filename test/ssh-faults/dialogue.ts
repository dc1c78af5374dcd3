// A terminal over OpenSSH that a test talks with: what it types comes back as one line, so that the test knows what the person has seen.

import assert from 'node:assert/strict'

import { within } from '../faults/eventually.ts'
import type { Cleanup } from '../fixtures/files.ts'
import type { Output } from '../fixtures/processes.ts'
import { Terminal } from '../fixtures/terminal.ts'
import type { Seat } from '../matrix-ssh/seat.ts'

/** More than fits into the last page of a file on a full disk, compressed as well. */
export const FLOOD = 'flood'
const FLOODS = 'head -c 12000 /dev/urandom | base64 -w 70'
/** Its input is not echoed: each byte of the screen is the program's. */
const PROGRAM = `stty -echo; echo ready; while read -r word; do if [ "$word" = ${FLOOD} ]; then ${FLOODS}; fi; echo "said $word"; done`
const SIZE = { rows: 24, columns: 80 }
const EXIT_MS = 40_000

export class Dialogue {
  readonly #terminal: Terminal

  private constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  static async open(cleanup: Cleanup, seat: Seat): Promise<Dialogue> {
    const words = seat.ssh(['-tt'], PROGRAM)
    const terminal = await Terminal.open(cleanup, words, { size: SIZE, env: seat.env() })
    await terminal.shows(/ready\r\n/)
    return new Dialogue(terminal)
  }

  /** Everything that the person's terminal got. */
  get screen(): Buffer {
    return this.#terminal.bytes()
  }

  /** The lines that the person saw come back. */
  get seen(): readonly string[] {
    return linesOf(this.screen)
  }

  type(word: string): void {
    this.#terminal.type(`${word}\r`)
  }

  async shows(word: string): Promise<void> {
    await this.#terminal.shows(new RegExp(`said ${word}\r\n`))
  }

  async say(word: string): Promise<void> {
    this.type(word)
    await this.shows(word)
  }

  /** Ends the program. */
  async leave(): Promise<void> {
    this.#terminal.type('\u{4}')
    assert.equal((await this.gone()).code, 0)
  }

  async gone(): Promise<Output> {
    return await within(this.#terminal.exit, EXIT_MS, 'the client has ended')
  }
}

export function linesOf(screen: Uint8Array): readonly string[] {
  const text = Buffer.from(screen).toString('latin1')
  return [...text.matchAll(/said (\w+)\r\n/g)].map(([, word = '']) => word)
}
