// Bulk through terminate mode: TLS in, TLS out. A large COPY out of PostgreSQL 18 over one connection and over many, the CPU of the
// proxy's process per byte, beside haproxy's for the same bytes to the same server: direct TLS on both of its ends, one thread.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { type Cluster, conninfoOf, startCluster } from '../test/fixtures/cluster.ts'
import { directAccess, type DirectAccess } from '../test/fixtures/direct.ts'
import { atEnd, type Cleanup, openFolder } from '../test/fixtures/files.ts'
import { freePort } from '../test/fixtures/net.ts'
import { psql } from '../test/fixtures/psql.ts'
import { findHaproxy, HAPROXY_MISSING } from './haproxy.ts'
import { withCleanup } from './path.ts'
import { connectable } from './ready.ts'
import { cpuSeconds, type Figure, median, round, type Scenario } from './scenario.ts'

const ROUNDS = 3
const ROW_BYTES = 1000
const BYTES = 400_000_000
/** haproxy's CPU per byte over ours, by streams. */
const BUDGETS: readonly { readonly streams: number; readonly least: number }[] = [
  { streams: 1, least: 0.9 },
  { streams: 64, least: 0.7 },
]

interface Way {
  readonly conninfo: string
  readonly pid: number
}

export const terminate: Scenario = {
  name: 'terminate',
  run: () => withCleanup((cleanup) => run(cleanup)),
}

async function run(cleanup: Cleanup): Promise<readonly Figure[]> {
  const program = findHaproxy()
  const databases = { pg: { version: 18 as const } }
  const extra = { auth_service: ['session_recording: proxy'] }
  const cluster = await startCluster(cleanup, { databases, extra })
  const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
  const { conninfo } = await user.database('pg')
  const ours = { conninfo, pid: cluster.pid('proxy') }
  const yardstick = program === undefined ? undefined : await haproxy(cleanup, cluster, program)
  const agent = cluster.pid('agent')
  const figures: Figure[] = []
  for (const { streams, least } of BUDGETS)
    figures.push(...(await measure(streams, least, ours, yardstick, agent)))
  return figures
}

async function measure(
  streams: number,
  least: number,
  ours: Way,
  yardstick: Way | undefined,
  agent: number,
): Promise<readonly Figure[]> {
  const seen = { ours: [] as number[], agent: [] as number[], haproxy: [] as number[] }
  await copy(ours, streams, BYTES / 10)
  for (let turn = 0; turn < ROUNDS; turn++) {
    const agentBefore = cpuSeconds(agent)
    seen.ours.push(await copy(ours, streams, BYTES))
    seen.agent.push(((cpuSeconds(agent) - agentBefore) * 1e9) / BYTES)
    if (yardstick !== undefined) seen.haproxy.push(await copy(yardstick, streams, BYTES))
  }
  const [proxy, beside] = [median(seen.ours), median(seen.haproxy)]
  const ratio = beside / proxy
  const name = `COPY out, ${streams} ${streams === 1 ? 'stream' : 'streams'}`
  const unit = 's CPU per GB'
  const judged =
    yardstick === undefined
      ? { note: `missing: ${HAPROXY_MISSING}` }
      : {
          note: `${round(ratio)} × haproxy per CPU second; the agent ${round(median(seen.agent))}`,
          budget: `≥ ${least} × haproxy per CPU second`,
          kept: ratio >= least,
        }
  return [
    { name: `${name}: proxy, terminate`, value: round(proxy), unit, ...judged },
    ...(yardstick === undefined ? [] : [{ name: `${name}: haproxy`, value: round(beside), unit }]),
  ]
}

/** Seconds of CPU per 10⁹ bytes. */
async function copy({ conninfo, pid }: Way, streams: number, bytes: number): Promise<number> {
  const rows = Math.ceil(bytes / ROW_BYTES / streams)
  const text = `repeat('x', ${ROW_BYTES - 1})`
  const statement = `\\copy (SELECT ${text} FROM generate_series(1, ${rows})) TO '/dev/null'`
  const before = cpuSeconds(pid)
  const one = async (): Promise<void> => {
    const { code, stderr } = await psql(conninfo, ['-c', statement], {
      libpq: 18,
      timeoutMs: 300_000,
    })
    if (code !== 0) throw new Error(stderr)
  }
  await Promise.all(Array.from({ length: streams }, one))
  return ((cpuSeconds(pid) - before) * 1e9) / bytes
}

/** Ends TLS and begins it again towards the same server, under the client certificate that an agent would show. */
async function haproxy(cleanup: Cleanup, cluster: Cluster, program: string): Promise<Way> {
  const access: DirectAccess = await directAccess(cleanup, cluster, 'pg')
  const folder = await openFolder(cleanup)
  const port = await freePort()
  const pair = join(folder, 'pair.pem')
  writeFileSync(pair, `${access.certificate}${access.key}`, { mode: 0o600 })
  const tls = `ssl crt ${pair} alpn postgresql`
  const settings = [
    'global',
    '  nbthread 1',
    'defaults',
    '  mode tcp',
    '  timeout client 60s',
    '  timeout server 60s',
    '  timeout connect 5s',
    'frontend bench',
    `  bind 127.0.0.1:${port} ${tls} ssl-min-ver TLSv1.3`,
    '  default_backend server',
    'backend server',
    `  server pg ${access.host}:${access.port} ${tls} verify none sni str(localhost)`,
    '',
  ]
  writeFileSync(join(folder, 'haproxy.cfg'), settings.join('\n'))
  const child = spawn(program, ['-db', '-q', '-f', join(folder, 'haproxy.cfg')], {
    stdio: 'inherit',
  })
  const exited = once(child, 'exit')
  atEnd(cleanup, async () => {
    child.kill('SIGTERM')
    await exited
  })
  const { pid } = child
  if (pid === undefined) throw new Error('haproxy did not start')
  await connectable(port)
  const { sslrootcert: _ca, ...settingsOf } = access.settings
  const direct = { ...settingsOf, port: String(port), sslmode: 'require', sslnegotiation: 'direct' }
  return { conninfo: conninfoOf(direct), pid }
}
