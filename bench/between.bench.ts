// CPU per query of another checkout and of this one, in turn, in one run: what a change of the statements' path is worth on a machine
// that others use, too. `BEFORE` names the other checkout, whose own node_modules are installed; its clusters, its code, its load.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import type { SessionMode } from '../core/login.ts'
import type * as paths from './path.ts'
import type { Path } from './path.ts'
import { cpuSeconds, type Figure, median, round, type Scenario } from './scenario.ts'

const ROUNDS = 7
const MODES: readonly SessionMode[] = ['relay', 'terminate']
const PREPARED = ['-S', '-M', 'prepared', '-j', '2']
/** By what each does; the last connects for each query. */
const LOADS: Readonly<Record<string, readonly string[]>> = {
  '8 clients': [...PREPARED, '-c', '8'],
  '32 clients': [...PREPARED, '-c', '32'],
  'a connection each': ['-S', '-C', '-j', '2', '-c', '8'],
}
/** Long enough that all clients have their connections on a machine that is busy. */
const SECONDS = ['-T', '4']
const ROLES = ['proxy', 'agent', 'control'] as const

type Paths = typeof paths
type Work = (ends: readonly End[]) => Promise<readonly Figure[]>

interface End {
  readonly paths: Paths
  readonly path: Path
}

export const between: Scenario = { name: 'between', run }

async function run(): Promise<readonly Figure[]> {
  const before = process.env['BEFORE']
  const here = await pathsOf(join(import.meta.dirname, '..'))
  const missing = here.missing()
  if (missing !== undefined) return missing
  if (before === undefined) {
    const note = 'missing: BEFORE, the folder of the checkout to compare with'
    return [{ name: 'CPU per query of two checkouts', value: 0, unit: '', note }]
  }
  const there = await pathsOf(before)
  const figures: Figure[] = []
  for (const mode of MODES) {
    figures.push(
      ...(await withEnd(there, mode, [], (one) =>
        withEnd(here, mode, one, (both) => measure(mode, both)),
      )),
    )
  }
  return figures
}

async function pathsOf(folder: string): Promise<Paths> {
  return (await import(pathToFileURL(join(folder, 'bench/path.ts')).href)) as Paths
}

function withEnd(
  paths: Paths,
  mode: SessionMode,
  others: readonly End[],
  work: Work,
): Promise<readonly Figure[]> {
  return paths.withPath(
    ['pg'],
    async (path) => {
      await paths.makeTables(path)
      await paths.load(path.through, [...PREPARED, '-c', '8', ...SECONDS])
      return work([...others, { paths, path }])
    },
    mode,
  )
}

async function measure(mode: SessionMode, ends: readonly End[]): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const [name, args] of Object.entries(LOADS)) {
    const seen = ends.map((): (readonly number[])[] => [])
    for (let turn = 0; turn < ROUNDS; turn++)
      for (const [index, end] of ends.entries()) seen[index]?.push(await spent(end, args))
    figures.push(...figuresOf(`${mode}, ${name}`, seen))
  }
  return figures
}

/** µs of each role per query. */
async function spent({ paths, path }: End, args: readonly string[]): Promise<readonly number[]> {
  const pids = ROLES.map((role) => path.cluster.pid(role))
  const before = pids.map(cpuSeconds)
  const { transactions } = await paths.load(path.through, [...args, ...SECONDS])
  return pids.map((pid, index) => ((cpuSeconds(pid) - (before[index] ?? 0)) * 1e6) / transactions)
}

function figuresOf(what: string, seen: readonly (readonly (readonly number[])[])[]): Figure[] {
  const [before = [], after = []] = seen
  const unit = 'µs CPU per query'
  const both = (turns: typeof before): number =>
    median(turns.map(([proxy = 0, agent = 0]) => proxy + agent))
  const parts = (turns: typeof before): string =>
    ROLES.map((role, at) => `${role} ${round(median(turns.map((us) => us[at] ?? 0)))}`).join(', ')
  const name = `${what}: proxy and agent`
  return [
    { name: `${name}, before`, value: round(both(before)), unit, note: parts(before) },
    { name: `${name}, here`, value: round(both(after)), unit, note: parts(after) },
    { name: `${name}, ratio`, value: round(both(after) / both(before)), unit: '× before' },
  ]
}
