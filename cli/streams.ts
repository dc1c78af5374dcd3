// The terminal of a command that hands its bytes to a program elsewhere: raw input and output, the terminal's size, raw mode.
// Tests pass streams of their own. The terminal is given back whatever ends the process, signals included.

import { spawnSync } from 'node:child_process'
import { constants } from 'node:os'
import type { Readable, Writable } from 'node:stream'

import { modesOf } from '../core/ssh/terminal-modes.ts'

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface Terminal {
  readonly name: string
  size(): Size
  /** How it is set now, as SSH encodes it; empty where nothing can tell. */
  modes(): Uint8Array
  /** Keys come as they are pressed, none is acted on here; the result undoes it. */
  raw(): () => void
  /** Told at each change of size; the result ends that. */
  onResize(changed: () => void): () => void
}

export interface Streams {
  readonly input: Readable
  readonly output: Writable
  readonly errors: Writable
  /** Absent: input is no terminal. */
  readonly terminal?: Terminal
}

export function processStreams(): Streams {
  const { stdin, stdout, stderr } = process
  const streams = { input: stdin, output: stdout, errors: stderr }
  return stdin.isTTY ? { ...streams, terminal: processTerminal() } : streams
}

function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process
  // The output may be a pipe while a person types.
  const screen = stdout.isTTY ? stdout : stderr
  return {
    name: process.env['TERM'] ?? 'xterm',
    size: () => ({ columns: screen.columns ?? 80, rows: screen.rows ?? 24 }),
    modes() {
      const env = { ...process.env, LC_ALL: 'C' }
      const told = spawnSync('stty', ['-a'], { stdio: ['inherit', 'pipe', 'ignore'], env })
      return modesOf(told.status === 0 ? told.stdout.toString() : '')
    },
    raw() {
      stdin.setRawMode(true)
      // Node's raw mode goes on adding returns to line feeds, which full-screen programs elsewhere do not mean. Without a stty they stay.
      spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] })
      const undo = (): void => {
        stdin.setRawMode(false)
        process.removeListener('exit', undo)
        for (const name of ENDINGS) process.removeListener(name, ended)
      }
      const ended = (name: NodeJS.Signals): void => {
        undo()
        process.exit(128 + constants.signals[name])
      }
      process.once('exit', undo)
      for (const name of ENDINGS) process.once(name, ended)
      return undo
    },
    onResize(changed) {
      screen.on('resize', changed)
      return () => void screen.removeListener('resize', changed)
    },
  }
}

const ENDINGS = ['SIGTERM', 'SIGHUP'] as const
