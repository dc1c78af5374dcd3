// Accept, recognise, hand over (design section 11): whole life of short connections through the real listener and pool, CPU of the
// proxy process per connection. The same without a hand-over shows what moving to a thread costs.

import {
  cpuSeconds,
  type Figure,
  median,
  round,
  runPart,
  type Scenario,
  startPart,
} from './scenario.ts'

const CONNECTIONS = 10_000
const PARALLEL = 64
const ROUNDS = 3
const BUDGET_US = 80

export const accept: Scenario = { name: 'accept', run }

async function run(): Promise<readonly Figure[]> {
  const variants = [
    { threads: 2, us: [] as number[], perSecond: [] as number[] },
    { threads: 0, us: [] as number[], perSecond: [] as number[] },
  ]
  for (let turn = 0; turn < ROUNDS; turn++)
    for (const variant of variants) {
      const { us, perSecond } = await measure(variant.threads)
      variant.us.push(us)
      variant.perSecond.push(perSecond)
    }
  const [moved, stayed] = variants
  const [movedUs, stayedUs] = [median(moved?.us ?? []), median(stayed?.us ?? [])]
  return [
    {
      name: 'accept, recognise, hand over to a thread, one byte back, close',
      value: round(movedUs),
      unit: 'µs CPU per connection',
      budget: `≤ ${BUDGET_US} µs`,
      kept: movedUs <= BUDGET_US,
      note: `${Math.round(median(moved?.perSecond ?? []))} connections/s`,
    },
    {
      name: 'the same in one thread, without a hand-over',
      value: round(stayedUs),
      unit: 'µs CPU per connection',
      note: `hand-over ratio ${round(movedUs / stayedUs)}`,
    },
  ]
}

async function measure(threads: number): Promise<{ us: number; perSecond: number }> {
  const proxy = await startPart('./accept-proxy.ts', [threads])
  try {
    const [port = 0] = proxy.said
    await runPart('./load.ts', ['connections', port, PARALLEL, CONNECTIONS / 5])
    const before = cpuSeconds(proxy.pid)
    const [seconds = 0, count = 1] = await runPart('./load.ts', [
      'connections',
      port,
      PARALLEL,
      CONNECTIONS,
    ])
    const us = ((cpuSeconds(proxy.pid) - before) * 1e6) / count
    return { us, perSecond: count / seconds }
  } finally {
    await proxy.stop()
  }
}
