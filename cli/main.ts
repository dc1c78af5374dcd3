// The programs sluice, tsh and tctl begin here: `main.ts <program> <words…>`. Runs when imported (scripts/bin.mjs does). Each
// program is loaded only when it was named.

import { errorText, exitStatus, namedLayer, ProgramEnded } from './exit.ts'
import { buildProgram, type ProgramSpec, runProgram, unknownProgram } from './program.ts'
import { realTools } from './tools.ts'

const [name = '', ...args] = process.argv.slice(2)

// A reader that goes away (`tsh db ls | head -1`) is no failure of ours.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
})

try {
  process.exitCode = await start()
} catch (error) {
  process.exitCode = tell(error)
}

async function start(): Promise<number> {
  if (name === 'sluice') {
    const { sluiceProgram } = await import('./sluice.ts')
    return await runProgram(sluiceProgram(), args)
  }
  return await runProgram(buildProgram(await programSpec(), realTools()), args)
}

async function programSpec(): Promise<ProgramSpec> {
  if (name === 'tsh') return (await import('./tsh/table.ts')).TSH
  if (name === 'tctl') return (await import('./tctl/table.ts')).TCTL
  throw unknownProgram(name)
}

function tell(error: unknown): number {
  const clear = namedLayer(error)
  if (clear instanceof ProgramEnded) return clear.status
  process.stderr.write(`${errorText(clear)}\n`)
  if (args.includes('--debug') || args.includes('-d')) {
    for (let cause = clear; cause instanceof Error; cause = cause.cause)
      process.stderr.write(`${cause.stack ?? cause.message}\n`)
  }
  return exitStatus(clear)
}
