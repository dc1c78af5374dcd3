// The relay against nginx stream (design section 11): CPU seconds per GB with one stream and with 64, CPU per round trip with 32
// connections, and what ending a socket's turn costs. Variants take turns in one run.

import { STREAMING_FLAGS } from '../cli/supervisor/runtime.ts'
import { findNginx, NGINX_MISSING, startNginx } from './nginx.ts'
import {
  cpuSeconds,
  type Figure,
  median,
  type Part,
  round,
  runPart,
  type Scenario,
  startPart,
} from './scenario.ts'

const GB = 1e9
const ROUNDS = 3

interface Load {
  readonly name: string
  readonly kind: 'bulk' | 'ping-pong'
  readonly parallel: number
  readonly total: number
  readonly unit: string
  /** CPU seconds and operations to the figure's unit. */
  readonly figure: (cpu: number, count: number) => number
}

interface Variant {
  readonly name: string
  readonly start: (target: number) => Promise<Part>
}

const LOADS: readonly Load[] = [
  {
    name: 'bulk, 1 stream',
    kind: 'bulk',
    parallel: 1,
    total: 1.5 * GB,
    unit: 's CPU per GB',
    figure: (cpu, bytes) => (cpu * GB) / bytes,
  },
  {
    name: 'bulk, 64 streams',
    kind: 'bulk',
    parallel: 64,
    total: 1.5 * GB,
    unit: 's CPU per GB',
    figure: (cpu, bytes) => (cpu * GB) / bytes,
  },
  {
    name: 'ping-pong of 100 bytes, 32 connections',
    kind: 'ping-pong',
    parallel: 32,
    total: 64_000,
    unit: 'µs CPU per round trip',
    figure: (cpu, rounds) => (cpu * 1e6) / rounds,
  },
]

const OURS: readonly Variant[] = [
  {
    name: 'relay',
    start: (target) => startPart('./relay-proxy.ts', [target, 'stop'], STREAMING_FLAGS),
  },
  {
    name: 'relay without an end of turns',
    start: (target) => startPart('./relay-proxy.ts', [target, 'no-stop'], STREAMING_FLAGS),
  },
]

export const relayBench: Scenario = { name: 'relay', run }

async function run(): Promise<readonly Figure[]> {
  const nginx = findNginx()
  const yardstick: readonly Variant[] =
    nginx === undefined
      ? []
      : [{ name: 'nginx stream', start: (target) => startNginx(nginx, target) }]
  const variants = [...OURS, ...yardstick]
  const sink = await startPart('./sink.ts', [])
  try {
    const figures: Figure[] = []
    for (const load of LOADS) figures.push(...(await compare(load, variants, sink)))
    if (nginx === undefined)
      figures.push({ name: 'nginx stream', value: 0, unit: '', note: `missing: ${NGINX_MISSING}` })
    return figures
  } finally {
    await sink.stop()
  }
}

async function compare(
  load: Load,
  variants: readonly Variant[],
  sink: Part,
): Promise<readonly Figure[]> {
  const rows = variants.map((variant) => ({ variant, values: [] as number[] }))
  for (let turn = 0; turn < ROUNDS; turn++)
    for (const row of rows) row.values.push(await measure(load, row.variant, sink))
  const nginx = rows.find((row) => row.variant.name === 'nginx stream')
  return rows.map(({ variant, values }) => {
    const value = median(values)
    const figure = { name: `${variant.name}: ${load.name}`, value: round(value), unit: load.unit }
    if (nginx === undefined || variant.name !== 'relay') return figure
    const ratio = value / median(nginx.values)
    const note = `${round(ratio)} × nginx in the same run`
    // The budget is for bulk; a round trip has none of its own.
    if (load.kind !== 'bulk') return { ...figure, note }
    return { ...figure, note, budget: '≤ nginx stream’s CPU per GB', kept: ratio <= 1 }
  })
}

async function measure(load: Load, variant: Variant, sink: Part): Promise<number> {
  const target = sink.said[load.kind === 'bulk' ? 0 : 1] ?? 0
  const proxy = await variant.start(target)
  try {
    const [port = 0] = proxy.said
    const { kind, parallel, total } = load
    await runPart('./load.ts', [kind, port, parallel, total / 10])
    const before = cpuSeconds(proxy.pid)
    const [, count = 1] = await runPart('./load.ts', [kind, port, parallel, total])
    return load.figure(cpuSeconds(proxy.pid) - before, count)
  } finally {
    await proxy.stop()
  }
}
