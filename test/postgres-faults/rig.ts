// A cluster with one PostgreSQL on which every fault of the matrix can be inflicted: a fault proxy on each path, a small disk under
// each part, a movable clock in each process. `run` carries out one cell and holds it to the oracle.

import assert from 'node:assert/strict'
import { join } from 'node:path'

import { ROLES } from '../../cli/supervisor/messages.ts'
import { Aftermath } from '../faults/aftermath.ts'
import { eventually, within } from '../faults/eventually.ts'
import { FaultProxy } from '../faults/fault-proxy.ts'
import { ForeignClock } from '../faults/foreign-clock.ts'
import type { Cell, Part } from '../faults/matrix.ts'
import { SmallDisk } from '../faults/small-disk.ts'
import { type Struck, strike } from '../faults/strike.ts'
import { type Cluster, conninfoOf, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { type Cleanup, openFolder } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { freePort } from '../fixtures/net.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import { psql } from '../fixtures/psql.ts'
import { PostgresTarget } from './postgres-target.ts'
import { begin, type Outcome, PREPARATION, type Scenario } from './scenarios.ts'

/** Which recording mode of the cluster sends sessions this way (docs/decisions, record 5). */
const RECORDING = { relay: 'node', terminate: 'proxy' } as const
export type Mode = keyof typeof RECORDING

const MB = 1024 * 1024
const DATABASE = 'orders'
const POSTGRES_BIN = '/usr/lib/postgresql/15/bin'
/** A stopped process, or a lasting fault that the session waits out, is taken back after this. */
const HOLD_MS = 1500
/** The longest deadline of the product on the way is 30 s (targetDialDeadlineMs). */
const FINISH_MS = 40_000
const PROBE_MS = 45_000
const AGAIN_MS = 30_000
const EVENTS = 'db.session.start,db.session.end'
/** Faults during which somebody new is let in or told why not: both in time. */
const PROBED: readonly string[] = ['disk full', 'clock jump']

export class PostgresFaults {
  readonly cluster: Cluster
  readonly #struck: Struck
  readonly #server: TestPostgres
  readonly #aftermath: Aftermath
  readonly #conninfo: string

  private constructor(struck: Struck, access: DatabaseAccess, diagnostics: Diagnostics, server: TestPostgres) {
    this.cluster = struck.cluster
    this.#struck = struck
    this.#server = server
    this.#aftermath = new Aftermath(struck.cluster, diagnostics, EVENTS)
    this.#conninfo = conninfoOf({
      ...access.settings,
      port: String(struck.network.proxy.port),
      connect_timeout: '30',
    })
  }

  static async start(cleanup: Cleanup, mode: Mode): Promise<PostgresFaults> {
    const ports = { public: await freePort(), api: await freePort(), target: await freePort() }
    const network = {
      control: await FaultProxy.start(cleanup, ports.api),
      proxy: await FaultProxy.start(cleanup, ports.public),
      agent: await FaultProxy.start(cleanup, ports.public),
      target: await FaultProxy.start(cleanup, ports.target),
    }
    const diagnostics = await Diagnostics.reserve()
    const clock = new ForeignClock(await openFolder(cleanup), POSTGRES_BIN, 'postgres', ['initdb'])
    const disks: Partial<Record<Part, SmallDisk>> = {}
    const cluster = await startCluster(cleanup, {
      databases: {
        [DATABASE]: {
          version: 15,
          port: ports.target,
          dialledPort: network.target.port,
          bin: clock.bin,
          settings: ['max_wal_size = 64MB', 'min_wal_size = 32MB'],
          prepare: (folder) => {
            disks.target = SmallDisk.mount(cleanup, join(folder, 'data'), 256 * MB)
          },
        },
      },
      extra: {
        sluice: [...diagnostics.lines, `auth_server: 127.0.0.1:${network.control.port}`],
        auth_service: [`session_recording: ${RECORDING[mode]}`],
      },
      publicPort: ports.public,
      publicAddress: `127.0.0.1:${network.agent.port}`,
      apiPort: ports.api,
      movableClocks: true,
      prepareData: (folder) => {
        for (const role of ROLES) disks[role] = SmallDisk.mount(cleanup, join(folder, role), 16 * MB)
      },
    })
    const server = cluster.postgres.get(DATABASE)
    assert.ok(server !== undefined)
    await server.sql(PREPARATION.join(';'))
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const access = await user.database(DATABASE)
    const target = new PostgresTarget(server, clock)
    const struck = { cleanup, cluster, network, disks: complete(disks), target }
    const rig = new PostgresFaults(struck, access, diagnostics, server)
    await rig.#recovered()
    return rig
  }

  /** One cell: a session in the middle of its scenario, a fault, the end of both, and everything as before. */
  async run(cell: Cell<Scenario>): Promise<void> {
    const { cluster } = this.#struck
    const before = await this.#aftermath.acknowledged()
    const scope = scopeOf()
    const held = await begin(cell.scenario, { cleanup: scope, conninfo: this.#conninfo, server: this.#server })
    const heal = await strike({ ...this.#struck, cleanup: scope }, cell)
    try {
      const finished = within(held.finish(), FINISH_MS, 'psql has ended')
      // A failure waits for its turn below, and is none of nobody's.
      finished.catch(() => {})
      if (cell.fault === 'SIGSTOP') await within(finished, HOLD_MS, 'it is stopped').catch(() => {})
      else await this.#probe(cell, finished)
      heal()
      this.#judge(cell, await finished)
      await this.#recovered()
      await this.#aftermath.audited(before)
    } catch (error) {
      const log = cluster.program.output().slice(-6000)
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${log}`, { cause: error })
    } finally {
      heal()
      await scope.close()
    }
  }

  #judge({ expected }: Cell<Scenario>, { exact, said }: Outcome): void {
    if (expected === 'goes on') assert.ok(exact, `the session ended: ${said}`)
    if (expected === 'ends') assert.ok(!exact, 'the session went on')
  }

  /** While the fault lasts: the session of before comes to its end, and a new one is let in or refused, neither hangs. */
  async #probe(cell: Cell<Scenario>, finished: Promise<Outcome>): Promise<void> {
    await finished
    if (!PROBED.includes(cell.fault)) return
    const probe = await psql(this.#conninfo, ['-c', 'SELECT 42'], { timeoutMs: PROBE_MS })
    assert.notEqual(probe.code, null, `a new session hangs: ${probe.stderr}`)
    if (probe.code === 0) assert.equal(probe.stdout, '42\n')
    else assert.match(probe.stderr, /error|FATAL|closed/)
  }

  /** A new session works, and everything is given back. */
  async #recovered(): Promise<void> {
    await eventually(
      async () => (await psql(this.#conninfo, ['-c', 'SELECT 42'], { timeoutMs: PROBE_MS })).stdout === '42\n',
      AGAIN_MS,
      'a new session works again',
    )
    await this.#aftermath.settled()
  }
}

/** A cleanup that ends with its cell. */
function scopeOf(): Cleanup & { close(): Promise<void> } {
  const work: (() => void | Promise<void>)[] = []
  return {
    after: (more) => void work.push(more),
    async close() {
      for (let next = work.pop(); next !== undefined; next = work.pop()) await next()
    },
  }
}

function complete(disks: Partial<Record<Part, SmallDisk>>): Record<Part, SmallDisk> {
  const { control, signer, proxy, agent, target } = disks
  assert.ok(control && signer && proxy && agent && target)
  return { control, signer, proxy, agent, target }
}
