// The wall clock of a program that is not ours, moved while it runs: libfaketime (Debian's package faketime) reads the offset
// from a file. The program is started by a script under its own name, so whoever starts it need not know.

import { chmodSync, existsSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PROGRAM = '/usr/bin/faketime'
/** The loader puts the folder of this machine's libraries in place of `$LIB`. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1'

export class ForeignClock {
  /** Holds the wrapped program, and the others beside it as they are. */
  readonly bin: string
  readonly #file: string

  /** `folder` must be open to the uid the program runs under. */
  constructor(folder: string, bin: string, program: string, others: readonly string[]) {
    if (!existsSync(PROGRAM))
      throw new Error('another program’s clock cannot be moved: apt-get install faketime')
    this.bin = folder
    this.#file = join(folder, 'offset')
    this.jump(0)
    const script = [
      '#!/bin/sh',
      `export LD_PRELOAD='${LIBRARY}' FAKETIME_TIMESTAMP_FILE='${this.#file}'`,
      'export FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1',
      `exec '${join(bin, program)}' "$@"`,
      '',
    ]
    writeFileSync(join(folder, program), script.join('\n'))
    chmodSync(join(folder, program), 0o755)
    for (const other of others) symlinkSync(join(bin, other), join(folder, other))
  }

  /** Seen by the program within a second. */
  jump(offsetMs: number): void {
    const seconds = Math.round(offsetMs / 1000)
    writeFileSync(`${this.#file}.new`, `${seconds < 0 ? '' : '+'}${seconds}`, { mode: 0o644 })
    renameSync(`${this.#file}.new`, this.#file)
  }
}
