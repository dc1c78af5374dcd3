// `npm run check`: types, lint, format and tests; one name runs that one alone (`npm run lint`). Further arguments go to the tool.
// Every step runs even when one before it failed, so that one run shows everything.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { root } from './node.mjs'

const SOURCES = ['core', 'protocols', 'workers', 'control', 'cli', 'bench', 'test', 'scripts']

const steps = {
  types: () => tool('typescript/bin/tsc', ['-p', 'tsconfig.json']),
  // Only the folders tsconfig.json includes: a file outside them is linted with weaker types and no word about it.
  lint: () => tool('oxlint/bin/oxlint', ['--type-aware', '--deny-warnings', ...present()]),
  format: () => tool('@biomejs/biome/bin/biome', ['format', '.']),
  test: () => run(['scripts/test.mjs']),
  dead: () => tool('knip/bin/knip.js', []),
}

const [name, ...rest] = process.argv.slice(2)
if (name !== undefined && !(name in steps)) {
  console.error(`check: no step "${name}"; there are ${Object.keys(steps).join(', ')}`)
  process.exit(2)
}
const failed = []
for (const step of name === undefined ? ['types', 'lint', 'format', 'test'] : [name]) {
  const started = performance.now()
  const ok = steps[step]()
  console.log(
    `${step}: ${ok ? 'ok' : 'FAILED'} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  )
  if (!ok) failed.push(step)
}
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`)
  process.exit(1)
}

/** The folders that exist and hold something; a tool that is handed none would pass without looking. */
function present() {
  const folders = SOURCES.filter((folder) => existsSync(folder) && readdirSync(folder).length > 0)
  if (folders.length < 3)
    throw new Error(`expected the folders of the sources, saw ${folders.join(' ')}`)
  return folders
}

function tool(path, args) {
  return run([`node_modules/${path}`, ...args, ...rest])
}

function run(args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  return result.status === 0
}
