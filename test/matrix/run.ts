// Runs cells at seats, one cluster for each mode. A test per cell, in the order given, since some use what one before them made.

import { ok } from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { type Cluster, startCluster, type TestUser } from '../fixtures/cluster.ts'
import type { DatabaseOptions } from '../fixtures/cluster-file.ts'
import { cell } from '../fixtures/cells.ts'
import { directAccess } from '../fixtures/direct.ts'
import { type Cleanup, openFolder, suiteCleanup } from '../fixtures/files.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import type { Client, Version } from './clients.ts'
import { carriedBy, type Mode } from './modes.ts'
import { type Cell, type Seat, Way } from './seat.ts'

export interface Plan {
  readonly matrix: string
  readonly modes: readonly Mode[]
  readonly seats: readonly (readonly [Client, Version])[]
  readonly cells: readonly Cell[]
}

export function runMatrix(plan: Plan): void {
  for (const mode of plan.modes)
    describe(`PostgreSQL in ${mode} mode`, () => {
      const cleanup = suiteCleanup()
      const opened = { rig: undefined as Rig | undefined }
      before(async () => {
        const servers = new Set(plan.seats.map(([, server]) => server))
        opened.rig = await Rig.open(cleanup, mode, [...servers])
      })
      for (const [client, server] of plan.seats) atSeat(plan, opened, { mode, server, client })
    })
}

type Place = Pick<Seat, 'mode' | 'server' | 'client'>

function atSeat(
  plan: Plan,
  opened: { readonly rig: Rig | undefined },
  { mode, server, client }: Place,
): void {
  describe(`${client.name} to PostgreSQL ${server}`, () => {
    let seat: Seat
    before(async () => {
      ok(opened.rig, 'the cluster did not start')
      seat = await opened.rig.seat(server, client)
    })
    const column = `${client.name} to PostgreSQL ${server}, ${mode}`
    for (const { row, lacks, run } of plan.cells)
      it(row, async (context) => {
        await cell(context, { matrix: plan.matrix, column, row }, async () => {
          const reason = lacks?.({ mode, server, client })
          if (reason === undefined) await run(seat, context)
          return reason
        })
      })
  })
}

/** A cluster in one mode, with a person who may not replicate and one who may. */
class Rig {
  readonly #cleanup: Cleanup
  readonly #mode: Mode
  readonly #cluster: Cluster
  readonly #user: TestUser
  readonly #replicator: TestUser
  #seats = 0

  private constructor(
    cleanup: Cleanup,
    mode: Mode,
    cluster: Cluster,
    users: readonly [TestUser, TestUser],
  ) {
    this.#cleanup = cleanup
    this.#mode = mode
    this.#cluster = cluster
    this.#user = users[0]
    this.#replicator = users[1]
  }

  static async open(cleanup: Cleanup, mode: Mode, servers: readonly Version[]): Promise<Rig> {
    const options = (version: Version): DatabaseOptions => ({
      version,
      sql: ['ALTER ROLE app REPLICATION'],
      // A wildcard in pg_hba.conf does not mean replication: an administrator who wants it says so.
      hba: ['hostssl replication all 0.0.0.0/0 cert clientname=DN map=sluice'],
      settings: ['max_wal_senders = 10'],
    })
    const databases = Object.fromEntries(servers.map((each) => [`pg${each}`, options(each)]))
    const cluster = await startCluster(cleanup, { databases, ...carriedBy(mode) })
    const traits = { db_users: ['app'], db_names: ['*'] }
    await cluster.role('replicator', {
      options: { db_replication: true },
      allow: { db_labels: { '*': '*' }, db_users: ['app'], db_names: ['*'] },
    })
    const user = await cluster.user(['access'], traits)
    const replicator = await cluster.user(['replicator'])
    return new Rig(cleanup, mode, cluster, [user, replicator])
  }

  /** Three fresh databases: one for each way, one for both. */
  async seat(server: Version, client: Client): Promise<Seat> {
    const service = `pg${server}`
    const postgres = this.#postgres(service)
    const name = `seat${++this.#seats}`
    for (const database of [`${name}_direct`, `${name}_through`, `${name}_shared`])
      await postgres.sql(`CREATE DATABASE ${database} OWNER app TEMPLATE template0`)
    const direct = await directAccess(this.#cleanup, this.#cluster, service)
    const through = await this.#user.unnamed(service)
    const replicating = await this.#replicator.unnamed(service)
    const known = server >= 17 ? client.direct : {}
    const ours = { ...client.direct, ...client.always }
    return {
      client,
      server,
      mode: this.#mode,
      postgres,
      shared: `${name}_shared`,
      direct: new Way(client, { ...direct.settings, ...known, ...client.always }, `${name}_direct`),
      through: new Way(client, { ...through.settings, ...ours }, `${name}_through`),
      replicating: new Way(client, { ...replicating.settings, ...ours }, `${name}_through`),
      folder: await openFolder(this.#cleanup),
    }
  }

  #postgres(service: string): TestPostgres {
    const server = this.#cluster.postgres.get(service)
    if (server === undefined) throw new Error(`there is no ${service}`)
    return server
  }
}
