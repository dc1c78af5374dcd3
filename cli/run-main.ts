// Runs one program with its words and turns what happens into text and an exit status.

import { errorText, exitStatus, namedLayer, ProgramEnded } from './exit.ts'
import { settleWords } from './foreign-words.ts'
import { buildProgram, type ProgramSpec, runProgram, unknownProgram } from './program.ts'
import { realTools } from './tools.ts'

/** Resolves with the exit status. */
export async function runMain([name = '', ...args]: readonly string[]): Promise<number> {
  // A reader that goes away (`tsh db ls | head -1`) is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
  })
  try {
    return await start(name, args)
  } catch (error) {
    return tell(error, args)
  }
}

async function start(name: string, args: readonly string[]): Promise<number> {
  if (name === 'sluice') {
    const { sluiceProgram } = await import('./sluice.ts')
    return await runProgram(sluiceProgram(), args)
  }
  const spec = await programSpec(name)
  return await runProgram(buildProgram(spec, realTools()), await settleWords(spec, args))
}

async function programSpec(name: string): Promise<ProgramSpec> {
  if (name === 'tsh') return (await import('./tsh/table.ts')).TSH
  if (name === 'tctl') return (await import('./tctl/table.ts')).TCTL
  throw unknownProgram(name)
}

function tell(error: unknown, args: readonly string[]): number {
  const clear = namedLayer(error)
  if (clear instanceof ProgramEnded) return clear.status
  process.stderr.write(`${errorText(clear)}\n`)
  if (args.includes('--debug') || args.includes('-d'))
    for (let cause = clear; cause instanceof Error; cause = cause.cause)
      process.stderr.write(`${cause.stack ?? cause.message}\n`)
  return exitStatus(clear)
}
