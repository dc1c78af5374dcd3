// SSH (design section 11): bytes down and up through OpenSSH's client with AES-GCM, its server the yardstick of the same run; the same
// through the public port; terminals recorded and not; how long a command takes; what a quiet session costs in memory.

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'

import type { Cleanup } from '../test/fixtures/files.ts'
import { NODE_NAME } from '../test/fixtures/cluster-file.ts'
import { settledBytes, withCleanup } from './path.ts'
import { percentile } from './percentile.ts'
import { type Figure, median, round, type Scenario, startPart } from './scenario.ts'
import { type SshPort, sshPort } from './ssh-port.ts'
import { type SshRig, sshRig, type SshWay, withSsh } from './ssh-rig.ts'

/** For a machine that has less time. What was measured with is in each figure's name. */
const ROUNDS = Number(process.env['SSH_ROUNDS'] ?? 5)
const MIB = Number(process.env['SSH_MIB'] ?? 512)
const TERMINAL_MIB = MIB / 8
const QUIET = Number(process.env['SSH_QUIET'] ?? 1000)
const COMMANDS = 100
const COMMANDS_PER_S = 10

interface Bulk {
  readonly name: string
  readonly mib: number
  readonly line: string
}

const DOWN = { name: 'down', mib: MIB, line: `ssh 'head -c ${MIB}M /dev/zero' > /dev/null` }
const UP = { name: 'up', mib: MIB, line: `head -c ${MIB}M /dev/zero | ssh 'cat > /dev/null'` }
/** `-tt`: a terminal, though the bench has none. */
const TERMINAL = {
  name: 'terminal',
  mib: TERMINAL_MIB,
  line: `ssh -tt 'stty raw; head -c ${TERMINAL_MIB}M /dev/zero' > /dev/null`,
}

interface Seen {
  readonly mibPerS: number
  readonly cpuPerGb: number | undefined
}

/** Ratios of throughput to the stock server that the design asks for. */
const LEAST: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'raw relay': { down: 0.85, up: 0.85 },
  'own server': { down: 0.85, up: 1.2 },
  'session at the proxy': { down: 0.55, up: 0.55 },
}

export const ssh: Scenario = { name: 'ssh', run: () => withCleanup(direct) }
export const sshThroughPort: Scenario = {
  name: 'ssh-port',
  run: () => withCleanup(throughThePort),
}

async function direct(cleanup: Cleanup): Promise<readonly Figure[]> {
  const rig = await sshRig(cleanup)
  const ways = [rig.sshd, rig.relay, rig.agent, rig.proxy]
  const figures: Figure[] = []
  for (const bulk of [DOWN, UP])
    figures.push(...compared(ways, await interleaved(ways, bulk), bulk))
  figures.push(...(await quiet(rig)))
  return figures
}

/** Both modes beside a cluster that records nothing: the same processes otherwise. */
async function throughThePort(cleanup: Cleanup): Promise<readonly Figure[]> {
  const off = await sshPort(cleanup, 'off')
  const node = await sshPort(cleanup, 'node')
  const proxy = await sshPort(cleanup, 'proxy')
  const figures: Figure[] = []
  const ways = [off.way, node.way, proxy.way]
  for (const bulk of [DOWN, UP, TERMINAL])
    figures.push(...compared(ways, await interleaved(ways, bulk), bulk))
  for (const port of [node, proxy]) figures.push(...(await commands(port)))
  return figures
}

async function interleaved(ways: readonly SshWay[], bulk: Bulk): Promise<readonly Seen[][]> {
  const seen = ways.map((): Seen[] => [])
  // The first of each compiles; it is not counted.
  for (let turn = -1; turn < ROUNDS; turn++)
    for (const [index, way] of ways.entries()) {
      const one = await pass(way, bulk)
      if (turn >= 0) seen[index]?.push(one)
    }
  return seen
}

async function pass(way: SshWay, { line, mib }: Bulk): Promise<Seen> {
  const before = way.cpu()
  const startedMs = performance.now()
  await withSsh(way, line)
  const seconds = (performance.now() - startedMs) / 1000
  const after = way.cpu()
  const known = before !== undefined && after !== undefined
  const cpuPerGb = known ? ((after - before) * 1e9) / (mib * 2 ** 20) : undefined
  return { mibPerS: mib / seconds, cpuPerGb }
}

/** The first way is the yardstick. Ratios are taken turn by turn: what disturbs one turn disturbs all of it. */
function compared(ways: readonly SshWay[], seen: readonly Seen[][], bulk: Bulk): Figure[] {
  const [yardstick = []] = seen
  return ways.flatMap(({ name }, index) => {
    const turns = seen[index] ?? []
    const rate = median(turns.map(({ mibPerS }) => mibPerS))
    const cpu = median(turns.flatMap(({ cpuPerGb }) => cpuPerGb ?? []))
    const title = `${name}: ${bulk.name}, ${bulk.mib} MiB`
    const figure = { name: title, value: round(rate), unit: 'MiB/s' }
    const note = `${round(cpu)} s CPU per GB`
    if (index === 0) return [Number.isNaN(cpu) ? figure : { ...figure, note }]
    const ratio = median(
      turns.map(({ mibPerS }, turn) => mibPerS / (yardstick[turn]?.mibPerS ?? 1)),
    )
    const least = LEAST[name]?.[bulk.name]
    const judged =
      least === undefined ? {} : { budget: `≥ ${least} × stock sshd`, kept: ratio >= least }
    const beside = `${round(ratio)} × ${ways[0]?.name ?? ''}; ${note}`
    return [{ ...figure, note: beside, ...judged }]
  })
}

/** Each session is a connection with a program that says nothing. */
async function quiet({ agent, proxy, wanted }: SshRig): Promise<readonly Figure[]> {
  const figures: Figure[] = []
  for (const way of [agent, proxy]) {
    const before = await settledBytes(way.pid)
    const port = way.args[way.args.indexOf('-p') + 1] ?? ''
    const clients = await startPart('./ssh-clients.ts', [wanted, port, QUIET])
    try {
      const grown = (await settledBytes(way.pid)) - before
      const name = `quiet session, ${way.name}: growth over ${QUIET}`
      figures.push({ name, value: round(grown / QUIET / 1024), unit: 'KB resident each' })
    } finally {
      await clients.stop()
    }
  }
  return figures
}

/** Over one connection (OpenSSH's ControlMaster) at a rate, and each with a login of its own. */
async function commands({ way, tsh, login }: SshPort): Promise<readonly Figure[]> {
  const socket = join(tsh.home, randomBytes(4).toString('hex'))
  await withSsh(way, `ssh -M -S ${socket} -o ControlPersist=yes true`)
  const held: Promise<number>[] = []
  for (let count = 0; count < COMMANDS; count++) {
    held.push(timed(() => withSsh(way, `ssh -S ${socket} true`)))
    await new Promise((resolve) => setTimeout(resolve, 1000 / COMMANDS_PER_S))
  }
  const over = await Promise.all(held)
  await withSsh(way, `ssh -S ${socket} -O exit 2> /dev/null`)
  const alone: number[] = []
  const byTsh: number[] = []
  for (let count = 0; count < COMMANDS / 10; count++) {
    alone.push(await timed(() => withSsh(way, 'ssh true')))
    byTsh.push(await timed(() => tsh.run(['ssh', `${login}@${NODE_NAME}`, 'true'])))
  }
  const unit = 'ms, p50'
  const figure = (name: string, values: readonly number[], note?: string): Figure => {
    const value = round(percentile(values, 50))
    return { name: `${way.name}: ${name}`, value, unit, ...(note === undefined ? {} : { note }) }
  }
  const p99 = `p99 ${round(percentile(over, 99))} ms, the start of bash and ssh included`
  return [
    figure(`\`true\` over one connection, ${COMMANDS_PER_S} per second`, over, p99),
    figure('`ssh node true`', alone, 'tsh as its ProxyCommand included'),
    figure('`tsh ssh node true`', byTsh),
  ]
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}
