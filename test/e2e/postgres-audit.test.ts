// What a whole Sluice writes down of statements: real clients, real server, the agent's spool, control's log. The way through the
// proxy is a parameter: what is heard must not depend on it.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import type { JsonObject } from '../../control/api/messages.ts'
import {
  type Cluster,
  type DatabaseAccess,
  startCluster,
  type TestUser,
} from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { pgbench, psql } from '../fixtures/psql.ts'

interface Way {
  readonly name: string
  /** Lines of auth_service that make sessions go this way. */
  readonly config: readonly string[]
}

const WAYS: readonly Way[] = [{ name: 'relay', config: [] }]
const SERVICE = 'pg'
const CLIENTS = 4
const TRANSACTIONS = 25

for (const way of WAYS)
  describe(`statements in the audit log, ${way.name}`, () => {
    const cleanup = suiteCleanup()
    let cluster: Cluster
    let user: TestUser
    let access: DatabaseAccess

    before(async () => {
      cluster = await startCluster(cleanup, {
        databases: {
          [SERVICE]: { version: 15, sql: ['GRANT CREATE ON DATABASE postgres TO app'] },
        },
        extra: { auth_service: way.config },
      })
      user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
      access = await user.database(SERVICE)
      await heard(async () => {
        const made = await pgbench(access.conninfo, ['-i', '-s', '1', '-q'])
        assert.equal(made.code, 0, made.stderr)
      }, 1)
    })

    /** Runs a client and returns the statements of its sessions in the order of the log, by session. */
    async function heard(run: () => Promise<unknown>, sessions: number): Promise<JsonObject[][]> {
      const before = new Set((await ends(cluster)).map(({ sid }) => sid))
      await run()
      const endMs = performance.now() + 20_000
      for (;;) {
        const over = (await ends(cluster)).filter(({ sid }) => !before.has(sid))
        if (over.length >= sessions) return statementsOf(cluster, over)
        assert.ok(performance.now() < endMs, `${over.length} of ${sessions} sessions ended`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }

    for (const mode of ['simple', 'extended', 'prepared'] as const)
      it(`pgbench -M ${mode}: each statement once, in order, with user and rows`, async () => {
        const args = ['-n', '-M', mode, '-c', String(CLIENTS), '-t', String(TRANSACTIONS)]
        const all = await heard(async () => {
          const run = await pgbench(access.conninfo, args)
          assert.match(run.stdout, /processed: 100\/100/, run.stderr)
        }, CLIENTS + 1)
        // pgbench asks for the scale on a connection of its own first.
        const clients = all.filter((events) => events.length > 5)
        assert.equal(clients.length, CLIENTS)
        for (const events of clients) transactions(mode, events, user.person.user)
      })

    it('a password never reaches the log, a failure does with its code', async () => {
      const [events = []] = await heard(
        () =>
          psql(access.conninfo, [
            '-c',
            "ALTER USER app PASSWORD 'hunter2'",
            '-c',
            "ALTER USER app PASSWORD 'hunter2' nonsense",
            '-c',
            "SELECT 'not a secret' FROM nowhere",
          ]),
        1,
      )
      const seen = events.map(({ code, db_query, error, sqlstate }) => ({
        code,
        db_query,
        error,
        sqlstate,
      }))
      assert.deepEqual(seen, [
        {
          code: 'TDB02I',
          db_query: "ALTER USER app PASSWORD '<redacted>'",
          error: undefined,
          sqlstate: undefined,
        },
        {
          code: 'TDB02W',
          db_query: "ALTER USER app PASSWORD '<redacted>' nonsense",
          error: '<redacted>',
          sqlstate: '42601',
        },
        {
          code: 'TDB02W',
          db_query: "SELECT 'not a secret' FROM nowhere",
          error: 'relation "nowhere" does not exist',
          sqlstate: '42P01',
        },
      ])
      let whole = ''
      for await (const record of cluster.admin.stream('audit-export', {}))
        whole += JSON.stringify(record)
      assert.doesNotMatch(whole, /hunter2/)
    })

    it('COPY, cursors and large objects through function calls are told', async () => {
      const [events = []] = await heard(
        () =>
          psql(
            access.conninfo,
            [
              '-c',
              'CREATE TEMP TABLE c (a int)',
              '-c',
              '\\copy c FROM STDIN',
              '-c',
              'BEGIN; DECLARE k CURSOR FOR SELECT * FROM c; FETCH 2 FROM k; CLOSE k; COMMIT',
              '-c',
              '\\lo_import /dev/null',
            ],
            { input: '1\n2\n3\n' },
          ),
        1,
      )
      const copy = events.find(({ command }) => command === 'COPY')
      assert.equal(copy?.['rows'], 3)
      const cursor = events.find(({ commands_count: count }) => count === 5)
      assert.equal(cursor?.['rows'], 2)
      assert.ok(events.some(({ code }) => code === 'TPG04I'))
    })
  })

async function ends(cluster: Cluster): Promise<readonly JsonObject[]> {
  return cluster.events('db.session.end')
}

/** All statements of these sessions, oldest first; their number is what the end of the session says. */
async function statementsOf(
  cluster: Cluster,
  over: readonly JsonObject[],
): Promise<JsonObject[][]> {
  const records: JsonObject[] = []
  for await (const record of cluster.admin.stream('audit-export', {})) records.push(record)
  return over.map(({ sid, statements }) => {
    const events = records.filter(
      (record) => record['sid'] === sid && STATEMENTS.test(String(record['code'])),
    )
    assert.equal(events.length, statements)
    assert.deepEqual(
      events.map(({ ei }) => ei),
      events.map((_, index) => index + 1),
    )
    return events
  })
}

const STATEMENTS = /^(TDB02|TPG)/

/** The seven statements of tpcb-like, as often as there were transactions. */
function transactions(mode: string, events: readonly JsonObject[], person: string): void {
  const run = events.filter(({ code }) => code !== 'TPG00I')
  assert.equal(run.length, TRANSACTIONS * 7)
  const order = [
    /^BEGIN/,
    /^UPDATE pgbench_accounts/,
    /^SELECT abalance/,
    /^UPDATE pgbench_tellers/,
    /^UPDATE pgbench_branches/,
    /^INSERT INTO pgbench_history/,
    /^END/,
  ]
  for (const [index, event] of run.entries()) {
    assert.match(String(event['db_query']), order[index % 7] ?? /^$/)
    assert.equal(event['user'], person)
    assert.equal(event['db_user'], 'app')
    assert.equal(event['db_service'], SERVICE)
    assert.equal(event['rows'], index % 7 === 0 || index % 7 === 6 ? 0 : 1)
    assert.ok(Number(event['duration_us']) > 0)
    const values = event['db_query_parameters']
    const expected =
      mode === 'simple' || index % 7 === 0 || index % 7 === 6 ? 'undefined' : 'object'
    assert.equal(typeof values, expected)
    assert.equal(event['code'], mode === 'simple' ? 'TDB02I' : 'TPG02I')
  }
  assert.equal(new Set(events.map(({ uid }) => uid)).size, events.length)
}
