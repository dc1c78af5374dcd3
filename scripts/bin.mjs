#!/usr/bin/env node
// The programs `sluice`, `tsh` and `tctl`: one file, told apart by the name it was started under, or by its first argument.
// In a checkout it finds the pinned Node as scripts/run.mjs does; in a release it needs Node >= 26.6 and says so.
import { existsSync } from 'node:fs'
import module from 'node:module'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROGRAMS = ['sluice', 'tsh', 'tctl']
const name = basename(process.argv[1] ?? '')
const args = process.argv.slice(2)
const program = PROGRAMS.includes(name) ? name : args.shift()
if (!PROGRAMS.includes(program)) {
  console.error(`usage: ${name} ${PROGRAMS.join('|')} …`)
  process.exit(2)
}

const emitted = fileURLToPath(new URL('../cli/main.js', import.meta.url))
const { HYGIENE, become, ready, recent } = await import('./node.mjs')
const released = existsSync(emitted)
if (released && !recent()) {
  console.error(`${program} needs Node >= 26.6; this is ${process.versions.node}.`)
  process.exit(1)
}
const node = released ? process.execPath : ready()
const main = released ? emitted : fileURLToPath(new URL('../cli/main.ts', import.meta.url))

if (recent() && HYGIENE.every((flag) => process.execArgv.includes(flag))) {
  keepCompiled()
  process.argv.splice(1, process.argv.length, main, program, ...args)
  await import(main)
} else {
  // The flags hold only from the start of a process. Where Node can replace itself this costs 15 ms and no second process.
  const env = { ...process.env }
  delete env.NODE_OPTIONS
  become(node, [...HYGIENE, import.meta.filename, program, ...args], env)
}

/**
 * A command line starts many times a day, under OpenSSH for each connection. What was compiled before is kept beside the keys (see
 * cli/profile-home.ts), a folder nobody else may write. It must begin before the first file in TypeScript: what strips types is
 * itself loaded only for a file that is not kept yet, and costs more than all the rest. (An older Node comes to this file too, and lacks it.)
 */
function keepCompiled() {
  const home = process.env.SLUICE_HOME ?? process.env.TELEPORT_HOME ?? join(homedir(), '.tsh')
  if (program !== 'sluice' && existsSync(home)) module.enableCompileCache(join(home, 'cache'))
}
