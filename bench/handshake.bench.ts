// Full and resumed mutual-TLS handshakes at the server that ends sessions for agents (design section 11): CPU of the server process
// for each, against Node's bare tls.Server and against haproxy. Variants take turns in one run.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { type Paths, writePaths } from './handshake-files.ts'
import { findHaproxy, HAPROXY_MISSING, startHaproxy } from './haproxy.ts'
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

const ROUNDS = 3
const HANDSHAKES = 500
const PARALLEL = 8
const WARM = 300
/** haproxy's OpenSSL knows no hybrid group, so the budget is judged where all of them exchange keys alike. */
const KINDS = ['x25519', 'full', 'resumed'] as const
const TITLES = {
  x25519: 'full, X25519 alone',
  full: 'full, hybrid X25519MLKEM768 where known',
  resumed: 'resumed',
} as const satisfies Record<(typeof KINDS)[number], string>

interface Variant {
  readonly name: string
  readonly start: () => Promise<Part>
  readonly us: Record<(typeof KINDS)[number], number[]>
}

export const handshake: Scenario = { name: 'handshake', run }

async function run(): Promise<readonly Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  try {
    return await compare(folder, writePaths(folder))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function compare(folder: string, paths: Paths): Promise<readonly Figure[]> {
  const haproxy = findHaproxy()
  const us = (): Variant['us'] => ({ x25519: [], full: [], resumed: [] })
  const ours: Variant = {
    name: 'ours',
    start: () => startPart('./handshake-server.ts', ['ours', folder]),
    us: us(),
  }
  const bare: Variant = {
    name: 'bare node',
    start: () => startPart('./handshake-server.ts', ['bare', folder]),
    us: us(),
  }
  const yardstick: readonly Variant[] =
    haproxy === undefined
      ? []
      : [{ name: 'haproxy', start: () => startHaproxy(haproxy, paths), us: us() }]
  const variants = [ours, bare, ...yardstick]
  for (let turn = 0; turn < ROUNDS; turn++)
    for (const variant of variants) await measure(variant, folder)
  const figures = KINDS.flatMap((kind) => figuresOf(kind, ours, bare, yardstick[0]))
  if (haproxy !== undefined) return figures
  return [
    ...figures,
    { name: 'haproxy', value: 0, unit: '', note: `not compared; missing: ${HAPROXY_MISSING}` },
  ]
}

async function measure(variant: Variant, folder: string): Promise<void> {
  const server = await variant.start()
  try {
    const [port = 0] = server.said
    for (const kind of KINDS) {
      await runPart('./handshake-load.ts', [kind, port, folder, PARALLEL, WARM])
      const before = cpuSeconds(server.pid)
      const args = [kind, port, folder, PARALLEL, HANDSHAKES]
      const [, count = 1] = await runPart('./handshake-load.ts', args)
      variant.us[kind].push(((cpuSeconds(server.pid) - before) * 1e6) / count)
    }
  } finally {
    await server.stop()
  }
}

function figuresOf(
  kind: (typeof KINDS)[number],
  ours: Variant,
  bare: Variant,
  haproxy: Variant | undefined,
): readonly Figure[] {
  const unit = 'µs CPU per handshake'
  const value = median(ours.us[kind])
  const against = [bare, ...(haproxy === undefined ? [] : [haproxy])]
  const ratios = against.map((other) => `${round(value / median(other.us[kind]))} × ${other.name}`)
  const mine: Figure = {
    name: `${TITLES[kind]}: ours`,
    value: round(value),
    unit,
    note: ratios.join(', '),
  }
  const kept = haproxy === undefined ? undefined : value <= median(haproxy.us[kind])
  const judged: Figure =
    kind === 'x25519'
      ? { ...mine, budget: '≤ haproxy’s CPU', ...(kept === undefined ? {} : { kept }) }
      : mine
  const others = against.map((other) => ({
    name: `${TITLES[kind]}: ${other.name}`,
    value: round(median(other.us[kind])),
    unit,
  }))
  return [judged, ...others]
}
