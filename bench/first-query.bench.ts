// Time to the first query (design section 11): connect, full mutual-TLS handshake, log in, SELECT 1, with a warm tunnel, against the
// same straight to the server. One connection at a time with our own client on both ways, taking turns.

import { PostgresClient } from '../cli/postgres-client.ts'
import { missing, type Path, type Way, withPath } from './path.ts'
import { percentile } from './percentile.ts'
import { type Figure, round, type Scenario } from './scenario.ts'

const WARM = 100
const CONNECTIONS = 200
const BUDGET_MS = 10

export const firstQuery: Scenario = { name: 'first-query', run }

interface Times {
  readonly through: number[]
  readonly direct: number[]
}

async function run(): Promise<readonly Figure[]> {
  return (
    missing() ??
    withPath(['pg'], async (path) => {
      await measure(path, WARM)
      return figuresOf(await measure(path, CONNECTIONS))
    })
  )
}

async function measure(path: Path, count: number): Promise<Times> {
  const times: Times = { through: [], direct: [] }
  for (let i = 0; i < count; i++) {
    times.direct.push(await firstRow(path.direct))
    times.through.push(await firstRow(path.through))
  }
  return times
}

/** Milliseconds from the dial to the row. */
async function firstRow(way: Way): Promise<number> {
  const startedMs = performance.now()
  const client = await PostgresClient.connect(way.options)
  const [result] = await client.query('SELECT 1')
  const tookMs = performance.now() - startedMs
  client.close()
  if (result?.rows[0]?.[0] !== '1') throw new Error(`${way.name} gave no row`)
  return tookMs
}

function figuresOf({ through, direct }: Times): readonly Figure[] {
  return [50, 99].map((at) => {
    const [ours, theirs] = [percentile(through, at), percentile(direct, at)]
    const figure: Figure = {
      name: `connect and SELECT 1, p${at}: over direct TLS`,
      value: round(ours - theirs),
      unit: 'ms',
      note: `${round(ours)} ms, direct ${round(theirs)} ms, ${round(ours / theirs)} ×`,
    }
    if (at !== 50) return figure
    return { ...figure, budget: `≤ ${BUDGET_MS} ms`, kept: ours - theirs <= BUDGET_MS }
  })
}
