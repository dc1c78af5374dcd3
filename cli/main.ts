// The programs sluice, tsh and tctl begin here: `main.ts <program> <words…>`. Runs when imported (scripts/bin.mjs does). Each
// program is loaded only when it was named.

import { existsSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import path from 'node:path'

import { profileHome } from './profile-home.ts'

// A command line starts many times a day: what was compiled before is kept beside the keys, a folder nobody else may write.
// Half of the processor time of `tsh status` goes without it.
if (process.argv[2] !== 'sluice' && existsSync(profileHome()))
  enableCompileCache(path.join(profileHome(), 'cache'))

const { runMain } = await import('./run-main.ts')
process.exitCode = await runMain(process.argv.slice(2))
