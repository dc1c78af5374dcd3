// A terminal on the machine: its size and its changes, keys that the line discipline takes, what a person types to a shell.

import { equal, match } from 'node:assert/strict'

import { Terminal, type TerminalSize } from '../fixtures/terminal.ts'
import type { TestContext } from 'node:test'
import type { Cell, Seat } from './seat.ts'

const SIZE: TerminalSize = { rows: 25, columns: 81 }

const SIZES: Cell = {
  row: 'a terminal and its size, changed twice',
  async run(seat, context) {
    // Its reading builtin is interrupted by the signal, so it says each size at once.
    const command = `trap 'stty size' WINCH; tty; stty size; while :; do read -r -t 1 line && exit 4; done`
    const terminal = await onTerminal(seat, context, command)
    await terminal.shows(/\/dev\/pts\/\d+\r\n25 81\r\n/)
    for (const size of [
      { rows: 40, columns: 132 },
      { rows: 10, columns: 20 },
    ]) {
      await terminal.resize(size)
      await terminal.shows(new RegExp(`${size.rows} ${size.columns}\r\n`))
    }
    terminal.type('\n')
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

async function onTerminal(
  seat: Seat,
  context: TestContext,
  command: string | undefined,
): Promise<Terminal> {
  const words = seat.ssh(['-tt'], command)
  return await Terminal.open(context, words, { size: SIZE, env: seat.env() })
}
