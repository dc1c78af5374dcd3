// vim over `ssh -tt` in a terminal that changes its size: the hardest thing that people do to a terminal, and so what a recording is
// compared with. `driveVim` keeps exactly the bytes that the client's terminal got and when, and when its size changed.

import { equal } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'

import type { Cleanup } from '../fixtures/files.ts'
import { type Frame, Terminal, type TerminalSize } from '../fixtures/terminal.ts'
import type { Cell, Seat } from './seat.ts'

export interface VimSession {
  readonly size: TerminalSize
  /** By the clock of the wall; all other times count from here. */
  readonly beganAtMs: number
  /** All that the client's terminal got, in the pieces it came in. */
  readonly frames: readonly Frame[]
  readonly resizes: readonly { readonly atMs: number; readonly size: TerminalSize }[]
  readonly code: number | null
}

const ROUNDS_MAX = 200
const SIZE: TerminalSize = { rows: 24, columns: 80 }
const SIZES: readonly TerminalSize[] = [
  { rows: 40, columns: 132 },
  { rows: 12, columns: 40 },
  { rows: 30, columns: 100 },
]

/** No configuration of anybody's, no swap file, no history. */
const VIM = 'vim -N -u NONE -i NONE -n'
const ESCAPE = '\x1b'

/** Writes a file in vim, looks around in it, changes the terminal's size three times, leaves with status 7. */
export async function driveVim(seat: Seat, cleanup: Cleanup, name: string): Promise<VimSession> {
  const command = `${VIM} '${seat.there(name)}'; exit 7`
  const words = seat.ssh(['-tt'], command)
  const terminal = await Terminal.open(cleanup, words, { size: SIZE, env: seat.env() })
  const resizes: { atMs: number; size: TerminalSize }[] = []
  await terminal.shows(/\[New\]/)
  terminal.type(`:set noswapfile ruler number\r:syntax on\ri${text()}${ESCAPE}`)
  await says(terminal, 'typed')
  for (const [at, size] of SIZES.entries()) {
    // Taken before: nobody can have recorded it earlier.
    resizes.push({ atMs: performance.now() - terminal.beganMs, size })
    await terminal.resize(size)
    await sized(terminal, size, at)
    terminal.type('gg/line 3\rzz')
    await says(terminal, `looked ${at}`)
  }
  terminal.type(':%s/line/LINE/g\r:split\r:only\r:undo\r:redo\r')
  await says(terminal, 'changed')
  terminal.type(':wq\r')
  const { code } = await terminal.exit
  const beganAtMs = performance.timeOrigin + terminal.beganMs
  return { size: SIZE, beganAtMs, frames: terminal.frames, resizes, code }
}

export const VIM_SESSION: Cell = {
  row: 'vim, and the terminal changes its size',
  async run(seat, context) {
    const session = await driveVim(seat, context, 'vim.txt')
    equal(session.code, 7)
    const expected = `${text().replaceAll('line', 'LINE').replaceAll('\r', '\n')}\n`
    equal(await readFile(seat.there('vim.txt'), 'utf8'), expected)
    const times = session.frames.map(({ atMs }) => atMs)
    equal(times.length > 10, true)
    equal(
      times.every((time, at) => time >= (times[at - 1] ?? 0)),
      true,
    )
  },
}

/** More lines than any of the sizes has, some longer than the narrowest, some not ASCII. */
function text(): string {
  const line = (at: number): string => `line ${at} ${'äöü €  '.repeat(at % 9)}end`
  return Array.from({ length: 60 }, (_, at) => line(at)).join('\r')
}

/** Has vim say something and waits for it: then all that was typed before is done. Not the echo of the command, which is in quotes. */
async function says(terminal: Terminal, what: string): Promise<void> {
  const halves = `'${what.slice(0, 3)}'.'${what.slice(3)}'`
  terminal.type(`:echo ${halves}\r`)
  await terminal.shows(new RegExp(what))
}

/** The size that vim itself sees; asked again while the change is on its way. */
async function sized(
  terminal: Terminal,
  { rows, columns }: TerminalSize,
  at: number,
): Promise<void> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    terminal.type(`:echo 'size'.${at}.'.'.${round} &lines.'x'.&columns '!'\r`)
    const shown = await terminal.shows(new RegExp(`size${at}\\.${round} \\d+x\\d+ !`))
    if (shown.includes(` ${rows}x${columns} `)) return
  }
  throw new Error(`vim does not see ${rows} × ${columns}`)
}
