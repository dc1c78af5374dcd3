// PostgreSQL select-only through proxy and agent against direct TLS to the same server (design section 11): pgbench's rate of both
// in turn, and the CPU that proxy and agent spend on one query, which is the robust figure on shared cores.

import type { SessionMode } from '../core/login.ts'
import { load, makeTables, missing, type Path, type Way, withPath } from './path.ts'
import { cpuSeconds, type Figure, median, round, type Scenario } from './scenario.ts'

const ROUNDS = 3
const CPU_BUDGETS_US: Readonly<Record<SessionMode, number>> = { relay: 60, terminate: 75 }
const RATIO_BUDGET = 0.4

interface Shape {
  readonly name: string
  readonly args: readonly string[]
  /** Whether the budgets of section 11 speak of it. */
  readonly cpuBudget: boolean
  readonly ratioBudget: boolean
  readonly per: string
}

const SHAPES: readonly Shape[] = [
  {
    name: '-S prepared, 8 clients',
    args: ['-S', '-M', 'prepared', '-c', '8', '-j', '2', '-T', '3'],
    cpuBudget: true,
    ratioBudget: false,
    per: 'query',
  },
  {
    name: '-S prepared, 32 clients',
    args: ['-S', '-M', 'prepared', '-c', '32', '-j', '2', '-T', '3'],
    cpuBudget: true,
    ratioBudget: true,
    per: 'query',
  },
  {
    name: '-S -C, 8 clients',
    args: ['-S', '-C', '-c', '8', '-j', '2', '-T', '3'],
    cpuBudget: false,
    ratioBudget: false,
    per: 'connection',
  },
]

interface Seen {
  readonly direct: number[]
  readonly through: number[]
  readonly proxyUs: number[]
  readonly agentUs: number[]
}

export const postgres: Scenario = { name: 'postgres', run: () => run('relay') }
export const postgresTerminate: Scenario = {
  name: 'postgres-terminate',
  run: () => run('terminate'),
}

async function run(mode: SessionMode): Promise<readonly Figure[]> {
  return (
    missing() ??
    withPath(
      ['pg'],
      async (path) => {
        await makeTables(path)
        for (const way of [path.direct, path.through]) await load(way, ['-S', '-c', '8', '-T', '1'])
        const figures: Figure[] = []
        for (const shape of SHAPES)
          figures.push(...figuresOf(mode, shape, await measure(path, shape)))
        return figures
      },
      mode,
    )
  )
}

async function measure(path: Path, shape: Shape): Promise<Seen> {
  const seen: Seen = { direct: [], through: [], proxyUs: [], agentUs: [] }
  for (let turn = 0; turn < ROUNDS; turn++) {
    seen.direct.push((await load(path.direct, shape.args)).perSecond)
    await through(path.through, path, shape, seen)
  }
  return seen
}

async function through(way: Way, { cluster }: Path, shape: Shape, seen: Seen): Promise<void> {
  const [proxy, agent] = [cluster.pid('proxy'), cluster.pid('agent')]
  const before = [cpuSeconds(proxy), cpuSeconds(agent)] as const
  const { transactions, perSecond } = await load(way, shape.args)
  seen.through.push(perSecond)
  seen.proxyUs.push(((cpuSeconds(proxy) - before[0]) * 1e6) / transactions)
  seen.agentUs.push(((cpuSeconds(agent) - before[1]) * 1e6) / transactions)
}

function figuresOf(mode: SessionMode, shape: Shape, seen: Seen): readonly Figure[] {
  const [proxyUs, agentUs] = [median(seen.proxyUs), median(seen.agentUs)]
  const both = median(seen.proxyUs.map((us, turn) => us + (seen.agentUs[turn] ?? 0)))
  const [direct, ours] = [median(seen.direct), median(seen.through)]
  const ratio = ours / direct
  const cpu: Figure = {
    name: `pgbench ${shape.name}: proxy and agent, ${mode}`,
    value: round(both),
    unit: `µs CPU per ${shape.per}`,
    note: `proxy ${round(proxyUs)}, agent ${round(agentUs)}`,
  }
  const rate: Figure = {
    name: `pgbench ${shape.name}: through Sluice, ${mode}`,
    value: round(ratio),
    unit: '× direct TLS',
    note: `${Math.round(ours)} of ${Math.round(direct)} ${shape.per === 'query' ? 'queries' : 'connections'}/s`,
  }
  const budgetUs = CPU_BUDGETS_US[mode]
  const cpuKept = { budget: `≤ ${budgetUs} µs over both`, kept: both <= budgetUs }
  const rateKept = { budget: `≥ ${RATIO_BUDGET} × direct TLS`, kept: ratio >= RATIO_BUDGET }
  return [
    shape.cpuBudget ? { ...cpu, ...cpuKept } : cpu,
    shape.ratioBudget ? { ...rate, ...rateKept } : rate,
  ]
}
