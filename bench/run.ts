// `npm run bench [name…]`: runs the scenarios, prints each figure with its budget, and keeps the results under bench/results in a
// file named by date and parent commit. Figures of one file come from one machine; compare ratios, not seconds.

import { accept } from './accept.bench.ts'
import { audit } from './audit.bench.ts'
import { between } from './between.bench.ts'
import { firstQuery } from './first-query.bench.ts'
import { handshake } from './handshake.bench.ts'
import { idle } from './idle.bench.ts'
import { policy } from './policy.bench.ts'
import { postgres, postgresTerminate } from './postgres.bench.ts'
import { relayBench } from './relay.bench.ts'
import { comparison, here, keep, type Result } from './results.ts'
import type { Figure, Scenario } from './scenario.ts'
import { snapshot } from './snapshot.bench.ts'
import { ssh, sshThroughPort } from './ssh.bench.ts'
import { terminate } from './terminate.bench.ts'

const SCENARIOS: readonly Scenario[] = [
  accept,
  relayBench,
  handshake,
  postgres,
  postgresTerminate,
  terminate,
  ssh,
  sshThroughPort,
  firstQuery,
  idle,
  policy,
  snapshot,
  audit,
  between,
]

const names = process.argv.slice(2)
const unknown = names.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name))
if (unknown.length > 0) {
  const known = SCENARIOS.map((scenario) => scenario.name).join(', ')
  console.error(`bench: no scenario ${unknown.join(', ')}; there are ${known}`)
  process.exit(2)
}

const compare = comparison()
const results: Record<string, Result> = {}
for (const scenario of SCENARIOS) {
  if (names.length > 0 && !names.includes(scenario.name)) continue
  console.log(`\n${scenario.name}`)
  const where = here()
  const figures = await scenario.run()
  results[scenario.name] = { ...where, figures }
  for (const figure of figures) console.log(`  ${line(figure, compare(scenario.name, figure))}`)
}
console.log(`\nkept in ${keep(results)}`)

function line(
  { name, value, unit, budget, kept, note }: Figure,
  before: string | undefined,
): string {
  const parts = [unit === '' ? name : `${name}: ${value} ${unit}`]
  if (budget !== undefined) parts.push(`budget ${budget}${kept === false ? ' MISSED' : ''}`)
  if (note !== undefined) parts.push(note)
  if (before !== undefined) parts.push(before)
  return parts.join('; ')
}
