// `npm run fuzz -- [--minutes=60] [--codec=name] [--seed=number]`: fuzzes every codec in turn until the time is over, and keeps
// the inputs that came to something new, and those that failed, in test/fuzz/corpus. Exits with 1 when one failed.
// `--differential [--mode=relay] [--postgres=15]` runs random client scripts directly and through a whole cluster instead.

import { parseArgs } from 'node:util'

import { CODECS } from './codecs.ts'
import type { Cleanup } from '../fixtures/files.ts'
import { Differential, MODES, type Mode } from './differential.ts'
import { type Case, type Codec, FAILED, fuzz, keep } from './engine.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    codec: { type: 'string' },
    differential: { type: 'boolean', default: false },
    mode: { type: 'string', default: 'relay' },
    postgres: { type: 'string', default: '15' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const chosen = CODECS.filter(({ name }) => values.codec === undefined || name === values.codec)
const totalMs = Number(values.minutes) * 60_000
if (chosen.length === 0 || !(totalMs > 0)) {
  const names = CODECS.map(({ name }) => name).join(', ')
  console.error(`fuzz: give --minutes above 0 and one of these for --codec: ${names}`)
  process.exit(2)
}
if (values.differential) process.exit(await differ(totalMs))
/** Long enough to get somewhere, short enough that a long run passes by each codec several times. */
const ROUND_MS = Math.min(60_000, totalMs / chosen.length)
const endMs = performance.now() + totalMs
let failed = 0
for (let round = 0; performance.now() < endMs; round++) {
  for (const codec of chosen) {
    if (performance.now() >= endMs) break
    once(codec, Number(values.seed) + round)
  }
}
process.exitCode = failed === 0 ? 0 : 1

/** Runs scripts until the time is over, and ends everything it started. Returns the exit status. */
async function differ(budgetMs: number): Promise<number> {
  const mode = (Object.keys(MODES) as Mode[]).find((known) => known === values.mode)
  if (mode === undefined) throw new Error(`there is no mode ${values.mode}`)
  const ends: (() => void | Promise<void>)[] = []
  const cleanup: Cleanup = { after: (work) => void ends.push(work) }
  try {
    const version = values.postgres === '18' ? 18 : 15
    const differential = await Differential.start(cleanup, mode, version)
    const runs = await differential.fuzz(budgetMs, Number(values.seed))
    console.log(`${mode} to PostgreSQL ${version}: seed ${values.seed}, ${runs} scripts, all equal`)
    return 0
  } catch (error) {
    console.error(`seed ${values.seed} FAILED\n${String(error)}`)
    return 1
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

function once(codec: Codec, seed: number): void {
  let kept = 0
  let shortest: Case | undefined
  const onNew = (finding: Parameters<typeof keep>[1]): void => {
    if (keep(codec.name, finding)) kept++
  }
  const onFailure = (found: Case): void => void (shortest = found)
  try {
    const { runs, words } = fuzz(codec, { budgetMs: ROUND_MS, seed, onNew, onFailure })
    console.log(`${codec.name}: seed ${seed}, ${runs} tries, ${words.size} outcomes, ${kept} kept`)
  } catch (error) {
    failed++
    console.error(`${codec.name}: seed ${seed} FAILED\n${String(error)}`)
    if (shortest !== undefined) keep(codec.name, { word: FAILED, found: shortest })
  }
}
