// `npm run bench [name…]`: runs the scenarios, prints each figure with its budget, and keeps the results under bench/results in a
// file named by date and parent commit. Figures of one file come from one machine; compare ratios, not seconds.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'

import { accept } from './accept.bench.ts'
import { handshake } from './handshake.bench.ts'
import { postgres } from './postgres.bench.ts'
import { relayBench } from './relay.bench.ts'
import type { Figure, Scenario } from './scenario.ts'

const SCENARIOS: readonly Scenario[] = [accept, relayBench, handshake, postgres]

const MACHINE = {
  node: process.version,
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
}

interface Result {
  readonly machine: typeof MACHINE & { readonly loadAtStart: number }
  readonly figures: readonly Figure[]
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  const known = SCENARIOS.map((scenario) => scenario.name).join(', ')
  console.error(`bench: no scenario ${unknown.join(', ')}; there are ${known}`)
  process.exit(2)
}

const results: Record<string, Result> = {}
for (const scenario of SCENARIOS) {
  if (names.length > 0 && !names.includes(scenario.name)) continue
  console.log(`\n${scenario.name}`)
  // A machine that is busy with something else makes every figure larger: ratios of one run still hold.
  const machine = { ...MACHINE, loadAtStart: loadavg()[0] ?? 0 }
  const figures = await scenario.run()
  results[scenario.name] = { machine, figures }
  for (const figure of figures) console.log(`  ${line(figure)}`)
}
console.log(`\nkept in ${keep(results)}`)

function line({ name, value, unit, budget, kept, note }: Figure): string {
  const parts = [unit === '' ? name : `${name}: ${value} ${unit}`]
  if (budget !== undefined) parts.push(`budget ${budget}${kept === false ? ' MISSED' : ''}`)
  if (note !== undefined) parts.push(note)
  return parts.join('; ')
}

/** Writes the figures into today's file of this commit, beside those of scenarios that were run before. */
function keep(found: Readonly<Record<string, Result>>): string {
  const folder = fileURLToPath(new URL('./results/', import.meta.url))
  mkdirSync(folder, { recursive: true })
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: folder })
  const name = `${new Date().toISOString().slice(0, 10)}-${commit.toString().trim()}.json`
  const before = existsSync(folder + name) ? scenariosOf(folder + name) : {}
  const document = { scenarios: { ...before, ...found } }
  writeFileSync(folder + name, `${JSON.stringify(document, undefined, 2)}\n`)
  return `bench/results/${name}`
}

function scenariosOf(file: string): object {
  const document: unknown = JSON.parse(readFileSync(file, 'utf8'))
  const holds = typeof document === 'object' && document !== null && 'scenarios' in document
  return holds && typeof document.scenarios === 'object' ? (document.scenarios ?? {}) : {}
}
