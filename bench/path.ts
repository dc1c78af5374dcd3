// The whole path for benches: a cluster as a user starts it, with real PostgreSQL, and two ways to the same server: through the
// public port, and straight to it over TLS with a client certificate of the same CA. pgbench is the load; it is never installed.

import { existsSync, readFileSync } from 'node:fs'

import type { ConnectOptions } from '../cli/postgres-client.ts'
import { splitAddress } from '../cli/supervisor/listeners.ts'
import type { SessionMode } from '../core/login.ts'
import {
  type Cluster,
  type DatabaseAccess,
  conninfoOf,
  startCluster,
  type TestUser,
} from '../test/fixtures/cluster.ts'
import { directAccess } from '../test/fixtures/direct.ts'
import type { Cleanup } from '../test/fixtures/files.ts'
import { pgbench } from '../test/fixtures/psql.ts'
import { type Figure, median } from './scenario.ts'

export const PGBENCH = '/usr/lib/postgresql/15/bin/pgbench'

export interface Way {
  readonly name: 'through Sluice' | 'direct TLS'
  readonly conninfo: string
  /** The same for our own client. */
  readonly options: ConnectOptions
}

export interface Path {
  readonly cluster: Cluster
  readonly user: TestUser
  /** To the first service. */
  readonly through: Way
  readonly direct: Way
}

/** What stands in for the figures of a scenario that cannot run here; undefined when it can. */
export function missing(): readonly Figure[] | undefined {
  if (existsSync(PGBENCH)) return undefined
  const note = 'missing: pgbench of PostgreSQL 15 (Debian: postgresql-15)'
  return [{ name: 'the whole path', value: 0, unit: '', note }]
}

/** Runs `work` on a fresh cluster with these services, in one of the two modes, and ends all of it. */
export async function withPath<T>(
  services: readonly string[],
  work: (path: Path, cleanup: Cleanup) => Promise<T>,
  mode: SessionMode = 'relay',
): Promise<T> {
  return await withCleanup(async (cleanup) =>
    work(await openPath(cleanup, services, mode), cleanup),
  )
}

/** Runs `work` and ends what it began, last first. */
export async function withCleanup<T>(work: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const endings: (() => void | Promise<void>)[] = []
  try {
    return await work({ after: (ending) => void endings.push(ending) })
  } finally {
    for (let next = endings.pop(); next !== undefined; next = endings.pop()) await next()
  }
}

async function openPath(
  cleanup: Cleanup,
  services: readonly string[],
  mode: SessionMode,
): Promise<Path> {
  const [service = 'pg'] = services
  const databases = Object.fromEntries(services.map((name) => [name, { version: 15 as const }]))
  const extra = { auth_service: [`session_recording: ${mode === 'terminate' ? 'proxy' : 'node'}`] }
  const cluster = await startCluster(cleanup, { databases, extra })
  const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
  const access = await user.database(service)
  return {
    cluster,
    user,
    through: throughWay(access),
    direct: await directWay(cleanup, cluster, service),
  }
}

function throughWay({ reply, key, conninfo }: DatabaseAccess): Way {
  const { certificate, serverName, serverCas: ca, proxies } = reply
  const addresses = proxies.map(splitAddress)
  const options = { addresses, serverName, ca, certificate, key, user: 'app', database: 'postgres' }
  return { name: 'through Sluice', conninfo, options }
}

/** pgbench's tables, made over the unix socket. */
export async function makeTables(path: Path): Promise<void> {
  const [server] = path.cluster.postgres.values()
  if (server === undefined) throw new Error('there is no server')
  const admin = `host=${server.socket} port=${server.port} user=postgres dbname=postgres`
  const made = await pgbench(admin, ['-i', '-s', '10', '-q'])
  if (made.code !== 0) throw new Error(made.stderr)
  await server.sql('GRANT ALL ON ALL TABLES IN SCHEMA public TO app')
}

/** The same server without us, as fairly as can be: verify-full, and a client certificate like the one an agent shows. */
async function directWay(cleanup: Cleanup, cluster: Cluster, service: string): Promise<Way> {
  const access = await directAccess(cleanup, cluster, service)
  const { host, port, ca, certificate, key, settings } = access
  const options = {
    addresses: [{ host, port }],
    serverName: 'localhost',
    ca: [ca],
    certificate,
    key,
    user: 'app',
    database: 'postgres',
  }
  return { name: 'direct TLS', conninfo: conninfoOf(settings), options }
}

export interface Load {
  readonly transactions: number
  readonly perSecond: number
}

/** One run of pgbench; throws when a transaction failed. */
export async function load(way: Way, args: readonly string[]): Promise<Load> {
  const run = await pgbench(way.conninfo, ['-n', ...args])
  const transactions = Number(/actually processed: (\d+)/.exec(run.stdout)?.[1])
  const perSecond = Number(/^tps = ([\d.]+)/m.exec(run.stdout)?.[1])
  if (run.code !== 0 || !(perSecond > 0))
    throw new Error(`pgbench ${way.name}: ${run.stderr}\n${run.stdout}`)
  return { transactions, perSecond }
}

/** Resident memory of a process, bytes. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}

/** The median of `looks` looks: memory breathes. */
export async function settledBytes(pid: number, looks = 5): Promise<number> {
  const seen: number[] = []
  for (let look = 0; look < looks; look++) {
    await new Promise((resolve) => setTimeout(resolve, 300))
    seen.push(residentBytes(pid))
  }
  return median(seen)
}
