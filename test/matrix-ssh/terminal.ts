// A terminal on the machine: its size and its changes, keys that the line discipline takes, what a person types to a shell.

import { equal, match } from 'node:assert/strict'

import { Terminal, type TerminalSize } from '../fixtures/terminal.ts'
import type { TestContext } from 'node:test'
import type { Cell, Seat } from './seat.ts'

const ROUNDS_MAX = 1_000
const SIZE: TerminalSize = { rows: 25, columns: 81 }

/** Answers each line with the size, and with how often it was told of a change. */
const ANSWERS = [
  'stty -echo; told=0',
  "trap 'told=$((told + 1))' WINCH",
  'tty',
  'while read -r line; do [ "$line" = end ] && exit 4; echo "$line: $(stty size), $told"; done',
].join('; ')

const SIZES: Cell = {
  row: 'a terminal and its size, changed twice',
  async run(seat, context) {
    const terminal = await onTerminal(seat, context, ANSWERS)
    await terminal.shows(/^.*\/dev\/pts\/\d+\r\n/s)
    let told = await sized(terminal, 'first', SIZE, 0)
    told = await resized(terminal, 'second', { rows: 40, columns: 132 }, told)
    await resized(terminal, 'third', { rows: 10, columns: 20 }, told)
    terminal.type('end\r')
    equal((await terminal.exit).code, 4)
  },
}

const INTERRUPT: Cell = {
  row: 'Ctrl-C and Ctrl-D',
  async run(seat, context) {
    const terminal = await onTerminal(
      seat,
      context,
      `trap 'echo interrupted' INT; echo ready; cat; echo "ended $?"; cat; exit 9`,
    )
    // Keys that come before ssh has its own terminal raw would be echoed, and interrupt, there.
    await terminal.shows(/ready\r\n/)
    terminal.type('hello\r')
    await terminal.shows(/hello\r\nhello\r\n/)
    terminal.type('\x03')
    await terminal.shows(/\^C.*interrupted\r\nended 130\r\n/s)
    terminal.type('\x04')
    equal((await terminal.exit).code, 9)
  },
}

const INTERACTIVE: Cell = {
  row: 'a shell for a person',
  async run(seat, context) {
    const terminal = await onTerminal(seat, context, undefined)
    terminal.type("PS1='> '; echo $TERM $((6 * 7))\r")
    await terminal.shows(/xterm 42\r\n.*> $/s)
    terminal.type('exit 3\r')
    equal((await terminal.exit).code, 3)
    match(terminal.bytes().toString('latin1'), /exit 3/)
  },
}

export const TERMINAL: readonly Cell[] = [SIZES, INTERRUPT, INTERACTIVE]

async function resized(
  terminal: Terminal,
  word: string,
  size: TerminalSize,
  told: number,
): Promise<number> {
  await terminal.resize(size)
  return await sized(terminal, word, size, told + 1)
}

/**
 * Asks until the size is this and the shell was told so often: rows and columns change one after the other, and a shell hears of both
 * only between commands. Returns how often it was told.
 */
async function sized(
  terminal: Terminal,
  word: string,
  size: TerminalSize,
  toldMin: number,
): Promise<number> {
  for (let round = 0; round < ROUNDS_MAX; round++) {
    terminal.type(`${word}${round}\r`)
    const line = await terminal.shows(new RegExp(`${word}${round}: \\d+ \\d+, \\d+\r\n`))
    const [, rows, columns, told] = (/: (\d+) (\d+), (\d+)/.exec(line) ?? []).map(Number)
    const right = rows === size.rows && columns === size.columns
    if (right && told !== undefined && told >= toldMin) return told
  }
  throw new Error(`the size did not become ${size.rows} × ${size.columns}, or nobody was told`)
}

async function onTerminal(
  seat: Seat,
  context: TestContext,
  command: string | undefined,
): Promise<Terminal> {
  const words = seat.ssh(['-tt'], command)
  return await Terminal.open(context, words, { size: SIZE, env: seat.env() })
}
