// A cluster with one PostgreSQL on which every fault of the matrix can be inflicted: a fault proxy on each path, a small disk under
// each part, a movable clock in each process. `run` carries out one cell and holds it to the oracle.

import assert from 'node:assert/strict'
import { join } from 'node:path'

import { type ConfinedRole, ROLES } from '../../cli/supervisor/messages.ts'
import { pause } from '../../workers/pause.ts'
import { Aftermath, type Gaps } from '../faults/aftermath.ts'
import { eventually, within } from '../faults/eventually.ts'
import { FaultProxy } from '../faults/fault-proxy.ts'
import { ForeignClock } from '../faults/foreign-clock.ts'
import type { Cell, Fault, Part } from '../faults/matrix.ts'
import { SmallDisk } from '../faults/small-disk.ts'
import { type Heal, type Struck, strike } from '../faults/strike.ts'
import { type Cluster, conninfoOf, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { type Cleanup, openFolder } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { freePort } from '../fixtures/net.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import { psql } from '../fixtures/psql.ts'
import { shortSessions } from '../fixtures/session.ts'
import { PostgresTarget } from './postgres-target.ts'
import { Locks } from './locks.ts'
import { begin, type Held, type Outcome, PREPARATION, type Scenario } from './scenarios.ts'
import { NEWCOMERS } from './table.ts'

/** Which recording mode of the cluster sends sessions this way (docs/decisions, record 5). */
const RECORDING = { relay: 'node', terminate: 'proxy' } as const
export type Mode = keyof typeof RECORDING

const MB = 1024 * 1024
const DATABASE = 'orders'
const RIGHTS = { db_users: ['app'], db_names: ['*'] }
/** The second user of the cluster. */
const LOCKED = 'user2'
const POSTGRES_BIN = '/usr/lib/postgresql/15/bin'
/** A stopped process, or a lasting fault that the session waits out, is taken back after this. */
const HOLD_MS = 1500
/** The longest deadline of the product on the way is 30 s (targetDialDeadlineMs). */
const FINISH_MS = 40_000
const PROBE_MS = 45_000
const AGAIN_MS = 30_000
const EVENTS = 'db.session.start,db.session.end'
/** Sessions whose events fill the last page of a disk. */
const PRESSURE = 10
/** A few sessions, and a pool that is filled again a few times. */
const SPARES_MAX = 1000
const LOG_CHARS = 6000
/** Control's write-ahead log takes 16 MB before its first checkpoint; a whole matrix' audit log and recordings come beside it. */
const DISK_BYTES = 64 * MB
/** How long a fault lasts: over at once, taken back after a while, or as long as the session and the newcomer need. */
const LASTING = {
  'kill -9': 'at once',
  SIGSTOP: 'for a while',
  cut: 'at once',
  'half-close towards the client': 'at once',
  'half-close towards the target': 'at once',
  'disk full': 'until told',
  'clock forward': 'until told',
  'clock back': 'until told',
} as const satisfies Record<Fault, string>

export class PostgresFaults {
  readonly cluster: Cluster
  readonly #struck: Struck
  readonly #server: TestPostgres
  readonly #aftermath: Aftermath
  readonly #access: DatabaseAccess
  readonly #through: string
  readonly #conninfo: string
  readonly #locks: Locks

  private constructor(
    struck: Struck,
    [access, other]: readonly [DatabaseAccess, DatabaseAccess],
    diagnostics: Diagnostics,
    server: TestPostgres,
  ) {
    this.cluster = struck.cluster
    this.#struck = struck
    this.#server = server
    this.#aftermath = new Aftermath(struck.cluster, diagnostics, EVENTS)
    const { port } = struck.network.proxy
    this.#access = access
    this.#through = `127.0.0.1:${port}`
    this.#conninfo = conninfoOf({ ...access.settings, port: String(port) })
    const locked = conninfoOf({ ...other.settings, port: String(port) })
    this.#locks = new Locks(struck.cluster, LOCKED, () => this.#newcomer(locked))
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
        for (const role of ROLES)
          disks[role] = SmallDisk.mount(cleanup, join(folder, role), DISK_BYTES)
      },
    })
    const server = cluster.postgres.get(DATABASE)
    assert.ok(server !== undefined)
    await server.sql(PREPARATION.join(';'))
    const users = [await cluster.user(['access'], RIGHTS), await cluster.user(['access'], RIGHTS)]
    const [access, other] = [await users[0]?.database(DATABASE), await users[1]?.database(DATABASE)]
    assert.ok(access && other)
    const target = new PostgresTarget(server, clock)
    const struck = { cleanup, cluster, network, disks: complete(disks), target }
    const rig = new PostgresFaults(struck, [access, other], diagnostics, server)
    await rig.#recovered()
    return rig
  }

  /** One cell: a session in the middle of its scenario, a fault, the end of both, and everything as before. */
  async run(cell: Cell<Scenario>): Promise<void> {
    const before = {
      events: await this.#aftermath.acknowledged(),
      gaps: await this.#aftermath.gaps(),
      spares: await this.#aftermath.sparesDialled(),
    }
    const scope = scopeOf()
    const stage = { cleanup: scope, conninfo: this.#conninfo, server: this.#server }
    const held = await begin(cell.scenario, stage)
    const heal = await strike({ ...this.#struck, cleanup: scope }, cell)
    try {
      await this.#endure(cell, held, heal)
      await this.#recovered()
      if (cell.fault === 'disk full') await this.#gapsTold(cell.part, before.gaps)
      await this.#aftermath.audited(before.events)
      const spares = (await this.#aftermath.sparesDialled()) - before.spares
      assert.ok(spares < SPARES_MAX, `${spares} spares were dialled`)
    } catch (error) {
      throw this.#told(error)
    } finally {
      await heal()
      await scope.close()
    }
  }

  /** A role that has to start while its disk is full: it may fail to, again and again, and is there once there is room. */
  async restartOnFullDisk(role: ConfinedRole): Promise<void> {
    const disk = this.#struck.disks[role]
    disk.fill()
    try {
      await strike(this.#struck, { fault: 'kill -9', part: role })
      await pause(HOLD_MS)
    } finally {
      disk.free()
    }
    try {
      await this.#recovered()
    } catch (error) {
      throw this.#told(error)
    }
  }

  /** The failure, with what the cluster said before. */
  #told(error: unknown): Error {
    const log = this.cluster.program.output().slice(-LOG_CHARS)
    const message = error instanceof Error ? error.message : String(error)
    return new Error(`${message}\n${log}`, { cause: error })
  }

  /** Both the session of before and a newcomer come to an end in time, and each as the table says. */
  async #endure(cell: Cell<Scenario>, held: Held, heal: Heal): Promise<void> {
    const finished = within(held.finish(), FINISH_MS, 'psql has ended')
    const newcomer = this.#newcomer(this.#conninfo)
    // A failure waits for its turn below, and is none of nobody's.
    finished.catch(() => {})
    newcomer.catch(() => {})
    await this.#whileItLasts(cell, finished)
    if (LASTING[cell.fault] === 'until told') await newcomer
    await heal()
    const { exact, said } = await finished
    if (cell.expected === 'goes on') assert.ok(exact, `the session ended: ${said}`)
    if (cell.expected === 'ends') assert.ok(!exact, 'the session went on')
    const wanted = NEWCOMERS[cell.fault][cell.part]
    const { served, words } = await newcomer
    if (wanted !== 'either') assert.equal(served, wanted === 'served', `a newcomer: ${words}`)
    if (process.env['SLUICE_FAULTS_TOLD'] === '1')
      console.log(`  session ${exact ? 'exact' : said}\n  newcomer ${served ? 'served' : words}`)
  }

  async #whileItLasts({ fault, part }: Cell<Scenario>, finished: Promise<Outcome>): Promise<void> {
    switch (LASTING[fault]) {
      case 'at once':
        return
      case 'for a while':
        await within(finished, HOLD_MS, 'it is stopped').catch(() => {})
        return
      case 'until told':
        await finished
        if (fault === 'disk full' && part !== 'target') await this.#fullDisk(part)
        else await pause(HOLD_MS)
    }
  }

  /** What a full spool lost is counted in the log, by whoever lost it; nobody else lost anything. */
  async #gapsTold(part: Part, before: Gaps): Promise<void> {
    const after = await this.#aftermath.gaps()
    for (const role of ['proxy', 'agent'] as const) {
      const more = after[role] - before[role]
      if (role === part) assert.ok(more > 0, `the ${role} lost events and does not say so`)
      else assert.equal(more, 0, `the ${role} tells of ${more} lost events`)
    }
  }

  /** The disk is full indeed, which its owner says, and a lock is obeyed all the same by whoever need not write to obey. */
  async #fullDisk(part: ConfinedRole): Promise<void> {
    assert.equal(this.#struck.disks[part].freeBytes, 0)
    await shortSessions(this.#through, this.#access, PRESSURE)
    if (part !== 'control') return await this.#locks.obeyed()
    const refusal = await this.#locks.set().then(
      () => 'none',
      (error: unknown) => String(error),
    )
    assert.match(refusal, /could not (?:commit|be written)/)
    // Where the store had room left and the audit log had none, the lock may be there all the same.
    await this.#locks.lift().catch(() => {})
  }

  async #newcomer(conninfo: string): Promise<Newcomer> {
    const { code, stdout, stderr } = await psql(conninfo, ['-c', 'SELECT 42'], {
      timeoutMs: PROBE_MS,
    })
    assert.notEqual(code, null, `a new session hangs: ${stderr}`)
    if (code === 0) assert.equal(stdout, '42\n')
    else assert.match(stderr, /error|FATAL|closed|refused/)
    return { served: code === 0, words: stderr }
  }

  /** A new session works, a lock is obeyed, and everything is given back. */
  async #recovered(): Promise<void> {
    await this.#aftermath.answered()
    let words = ''
    const works = async (): Promise<boolean> => {
      const newcomer = await this.#newcomer(this.#conninfo)
      words = newcomer.words
      return newcomer.served
    }
    await eventually(works, AGAIN_MS, () => `a new session works again: ${words}`)
    await this.#locks.obeyed()
    await this.#aftermath.settled()
  }
}

interface Newcomer {
  readonly served: boolean
  readonly words: string
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
