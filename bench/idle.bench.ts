// Memory of what idles (design section 11): growth of the proxy's and the agent's resident memory over many quiet sessions of the
// whole path, what of a relayed pair lives after a collection, and growth over parked spares in the real pool and the real agent's
// end. Heaps have grown once before what is counted; resident memory still holds garbage of the beginnings.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { type Cleanup, openFolder } from '../test/fixtures/files.ts'
import { type Program, start } from '../test/fixtures/processes.ts'
import { missing, type Path, PGBENCH, residentBytes, settledBytes, withPath } from './path.ts'
import { type Figure, median, round, type Scenario, startPart } from './scenario.ts'

const SERVICES = ['pg', 'pg2'] as const
/** A server takes 300. */
const PER_SERVICE = 250
const SPARES = 2000
const PAIRS = 2000
/** Code is loaded and heaps have grown by then. */
const WARM = 1000
const SPARE_ROUNDS = 3
const KB = 1024

export const idle: Scenario = { name: 'idle', run }

async function run(): Promise<readonly Figure[]> {
  return [
    ...(await spares()),
    await relayedPair(),
    ...(missing() ?? (await withPath(SERVICES, sessions))),
  ]
}

async function sessions(path: Path, cleanup: Cleanup): Promise<readonly Figure[]> {
  const folder = await openFolder(cleanup)
  const script = join(folder, 'idle.sql')
  writeFileSync(script, 'SELECT 1;\n\\sleep 120 s\n')
  const { cluster } = path
  const pids = [cluster.pid('proxy'), cluster.pid('agent')] as const
  // A first wave shows the heap how large it gets.
  const first = await openSessions(path, cleanup, script)
  await first()
  const before = await Promise.all(pids.map((pid) => settledBytes(pid)))
  const end = await openSessions(path, cleanup, script)
  const after = await Promise.all(pids.map((pid) => settledBytes(pid)))
  await end()
  const count = PER_SERVICE * SERVICES.length
  const grown = pids.map((_, i) => ((after[i] ?? 0) - (before[i] ?? 0)) / count / KB)
  const [proxy = Number.NaN, agent = Number.NaN] = grown
  const unit = 'KB per session'
  return [
    {
      name: `${count} idle relayed sessions: proxy`,
      value: round(proxy),
      unit,
      budget: '≤ 10 KB',
      kept: proxy <= 10,
      note: `resident ${Math.round((after[0] ?? 0) / KB / KB)} MB`,
    },
    {
      name: `${count} idle relayed sessions: agent, two TLS connections each`,
      value: round(agent),
      unit,
      budget: '≤ 32 KB per TLS connection, so 64',
      kept: agent <= 64,
      note: `resident ${Math.round((after[1] ?? 0) / KB / KB)} MB`,
    },
  ]
}

/** Opens all sessions and resolves when every one has answered its query; what comes back ends them. */
async function openSessions(
  path: Path,
  cleanup: Cleanup,
  script: string,
): Promise<() => Promise<void>> {
  const programs: Program[] = []
  for (const service of SERVICES) {
    const { conninfo } = await path.user.database(service)
    const args = ['-n', '-f', script, '-c', String(PER_SERVICE), '-t', '1', conninfo]
    programs.push(start(cleanup, PGBENCH, args, { env: { PATH: '/usr/bin:/bin' } }))
    await count(path, service, PER_SERVICE)
  }
  return async () => {
    for (const program of programs) await program.kill('SIGKILL')
    for (const service of SERVICES) await count(path, service, 0)
  }
}

/** Waits until the server has so many sessions of ours that answered. */
async function count(path: Path, service: string, wanted: number): Promise<void> {
  const server = path.cluster.postgres.get(service)
  if (server === undefined) throw new Error(`there is no ${service}`)
  const where = "usename = 'app' AND (query = 'SELECT 1;' OR query = 'SELECT 1')"
  const sql = `SELECT count(*) FROM pg_stat_activity WHERE ${where}`
  const endMs = performance.now() + 120_000
  for (;;) {
    const have = Number(await server.sql(`${sql};`))
    if (have === wanted) return
    if (performance.now() > endMs) throw new Error(`${have} of ${wanted} sessions of ${service}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Two sockets, two buffers and the relay between them: what the proxy's worker keeps of a session. */
async function relayedPair(): Promise<Figure> {
  const sink = await startPart('./sink.ts', [])
  try {
    const args = [sink.said[1] ?? 0, WARM, PAIRS].map(String)
    const options = { execArgv: [...process.execArgv, '--expose-gc'] }
    const child = fork(new URL('./idle-relay.ts', import.meta.url), args, options)
    const said: unknown = (await once(child, 'message'))[0]
    child.kill('SIGKILL')
    const bytes: unknown = Array.isArray(said) ? said.at(0) : undefined
    const pairKb = Number(bytes) / KB
    return {
      name: `${PAIRS} idle relayed pairs: proxy, live memory`,
      value: round(pairKb),
      unit: 'KB per pair',
      budget: '≤ 10 KB',
      kept: pairKb <= 10,
    }
  } finally {
    await sink.stop()
  }
}

/** The pool in a process of its own, the agent's ends in another: 2,000 spares weigh more than the noise. */
async function spares(): Promise<readonly Figure[]> {
  const grown = { proxy: [] as number[], agent: [] as number[] }
  for (let turn = 0; turn < SPARE_ROUNDS; turn++) {
    const proxy = await startPart('./idle-pool.ts', [])
    const [port = 0] = proxy.said
    const first = await startPart('./idle-agent.ts', [port, 0, WARM])
    const before = await settledBytes(proxy.pid, 3)
    const agent = await startPart('./idle-agent.ts', [port, WARM, SPARES])
    const [bytesBefore = 0] = agent.said
    grown.proxy.push(((await settledBytes(proxy.pid, 3)) - before) / (WARM + SPARES) / KB)
    grown.agent.push((residentBytes(agent.pid) - bytesBefore) / SPARES / KB)
    await first.stop()
    await agent.stop()
    await proxy.stop()
  }
  const [proxy, agent] = [median(grown.proxy), median(grown.agent)]
  const [unit, budget] = ['KB per spare', '≤ 5 KB']
  return [
    { name: `${SPARES} spares: proxy`, value: round(proxy), unit, budget, kept: proxy <= 5 },
    { name: `${SPARES} spares: agent`, value: round(agent), unit, budget, kept: agent <= 5 },
  ]
}
