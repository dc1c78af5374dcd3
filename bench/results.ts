// Results on disk: one file per day and parent commit under bench/results, and the newest earlier one to compare with. A figure is
// compared only with one of the same machine, by scenario and name.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'

import type { Figure } from './scenario.ts'

export interface Result {
  /** When the scenario began, ISO 8601. */
  readonly at: string
  readonly machine: {
    readonly node: string
    readonly cpu: string
    readonly cores: number
    readonly loadAtStart: number
  }
  readonly figures: readonly Figure[]
}

interface Earlier {
  readonly at: string
  readonly value: number
}

const FOLDER = fileURLToPath(new URL('./results/', import.meta.url))
const CPU = cpus()[0]?.model ?? 'unknown'

/** When and where a scenario runs. */
export function here(): Omit<Result, 'figures'> {
  // A machine that is busy with something else makes every figure larger: ratios of one run still hold.
  const loadAtStart = loadavg()[0] ?? 0
  const machine = { node: process.version, cpu: CPU, cores: availableParallelism(), loadAtStart }
  return { at: new Date().toISOString(), machine }
}

/** What the newest earlier result of this machine says of a figure, as `× before`. */
export function comparison(): (scenario: string, figure: Figure) => string | undefined {
  const earlier = new Map<string, Earlier>()
  const mine = fileName()
  for (const name of files()) if (name !== mine) collect(name, earlier)
  return (scenario, { name, value }) => {
    const before = earlier.get(keyOf(scenario, name))?.value ?? 0
    if (before === 0 || value === 0) return undefined
    return `${Number((value / before).toPrecision(2))} × the run before (${before})`
  }
}

/** Writes the figures into today's file of this commit, beside those of scenarios that were run before. */
export function keep(found: Readonly<Record<string, Result>>): string {
  mkdirSync(FOLDER, { recursive: true })
  const name = fileName()
  const before = existsSync(FOLDER + name) ? scenariosOf(parse(FOLDER + name)) : {}
  const document = { scenarios: { ...before, ...found } }
  writeFileSync(FOLDER + name, `${JSON.stringify(document, undefined, 2)}\n`)
  return `bench/results/${name}`
}

function fileName(): string {
  const top = fileURLToPath(new URL('.', import.meta.url))
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: top })
  return `${new Date().toISOString().slice(0, 10)}-${commit.toString().trim()}.json`
}

function files(): readonly string[] {
  return existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.endsWith('.json')) : []
}

/** Adds the figures of a file where they are newer. A file that is half-written is left out: comparing is a courtesy. */
function collect(name: string, earlier: Map<string, Earlier>): void {
  for (const [scenario, result] of Object.entries(scenariosOf(parse(FOLDER + name)))) {
    if (field(field(result, 'machine'), 'cpu') !== CPU) continue
    const written = field(result, 'at')
    const at = typeof written === 'string' ? written : name.slice(0, 10)
    const figures = field(result, 'figures')
    for (const figure of Array.isArray(figures) ? figures : []) {
      const [figureName, value] = [field(figure, 'name'), field(figure, 'value')]
      if (typeof figureName !== 'string' || typeof value !== 'number') continue
      const key = keyOf(scenario, figureName)
      const known = earlier.get(key)
      if (known === undefined || known.at < at) earlier.set(key, { at, value })
    }
  }
}

function parse(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

function scenariosOf(document: unknown): object {
  const scenarios = field(document, 'scenarios')
  return typeof scenarios === 'object' && scenarios !== null ? scenarios : {}
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return new Map<string, unknown>(Object.entries(value)).get(name)
}

function keyOf(scenario: string, name: string): string {
  return `${scenario}\n${name}`
}
