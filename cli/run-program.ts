// Starts another program (psql, an editor) in this terminal and waits for it. Signals of the terminal reach it by themselves.

import { spawn } from 'node:child_process'
import { constants } from 'node:os'

import { CommandError, EXIT } from './exit.ts'

/** Resolves with the exit status; 128 + n when a signal ended it. Throws when there is no such program. */
export function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env })
    // Ctrl-C goes to the whole group; psql uses it to cancel a query, so it must not end us under its feet.
    const ignore = (): void => {}
    process.on('SIGINT', ignore)
    const finish = (act: () => void): void => {
      process.removeListener('SIGINT', ignore)
      act()
    }
    child.once('error', (cause: NodeJS.ErrnoException) =>
      finish(() => reject(cause.code === 'ENOENT' ? missing(program) : cause)),
    )
    child.once('exit', (code, signal) =>
      finish(() => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]))),
    )
  })
}

function missing(program: string): CommandError {
  return new CommandError(`${program} is not installed, or not in PATH`, EXIT.failure)
}
