// Real clients to real servers through the public port, proxy, tunnel and agent: psql 15 and libpq 18 to PostgreSQL 15 and 18, as
// they behave when connected directly.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { pgbench, psql } from '../fixtures/psql.ts'

const SERVERS = [15, 18] as const
const CLIENTS = [15, 18] as const

describe('PostgreSQL in relay mode', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  const access = new Map<number, DatabaseAccess>()

  before(async () => {
    cluster = await startCluster(cleanup, {
      databases: { pg15: { version: 15 }, pg18: { version: 18 } },
    })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    for (const version of SERVERS) access.set(version, await user.database(`pg${version}`))
  })

  function conninfo(server: number): string {
    return access.get(server)?.conninfo ?? ''
  }

  for (const server of SERVERS)
    for (const libpq of CLIENTS) {
      it(`psql with libpq ${libpq} asks PostgreSQL ${server} and is who the certificate says`, async () => {
        const { stdout, stderr } = await psql(
          conninfo(server),
          ['-c', 'SELECT current_user, current_setting($$server_version_num$$)::int / 10000'],
          { libpq },
        )
        assert.equal(stdout.trim(), `app|${server}`, stderr)
      })
    }

  it('speaks TLS to the server under a certificate for this database user', async () => {
    const { stdout } = await psql(conninfo(18), [
      '-c',
      'SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    ])
    assert.match(stdout, /^t\|.*CN=app/)
  })

  it('direct TLS of libpq 18 reaches the server without an SSLRequest', async () => {
    const direct = `${conninfo(18)} sslnegotiation=direct`
    const { stdout, stderr } = await psql(direct, ['-c', 'SELECT 1'], { libpq: 18 })
    assert.equal(stdout.trim(), '1', stderr)
  })

  it('passes an error on in the server’s own words and goes on', async () => {
    const { stdout, stderr } = await psql(conninfo(15), ['-c', 'SELECT 1/0', '-c', 'SELECT 2'])
    assert.match(stderr, /division by zero/)
    assert.equal(stdout.trim(), '2')
  })

  it('copies a file in and out byte for byte', async () => {
    const rows = Array.from(
      { length: 20_000 },
      (_, i) => `${i}\trow ${i} ${'x'.repeat(i % 100)}`,
    ).join('\n')
    const commands = [
      '-c',
      'CREATE TABLE IF NOT EXISTS copied (id int, body text)',
      '-c',
      'TRUNCATE copied',
      '-c',
      '\\copy copied FROM STDIN',
    ]
    const copied = await psql(conninfo(18), commands, { input: `${rows}\n` })
    assert.equal(copied.code, 0, copied.stderr)
    const { stdout } = await psql(conninfo(18), [
      '-c',
      '\\copy (SELECT * FROM copied ORDER BY id) TO STDOUT',
    ])
    assert.equal(stdout.trimEnd(), rows)
  })

  it('runs pgbench’s built-in scripts in all query modes', async () => {
    const made = await pgbench(conninfo(15), ['-i', '-s', '1', '-q'])
    assert.equal(made.code, 0, made.stderr)
    for (const script of ['tpcb-like', 'simple-update', 'select-only'])
      for (const mode of ['simple', 'extended', 'prepared']) {
        const run = await pgbench(conninfo(15), [
          '-n',
          '-b',
          script,
          '-M',
          mode,
          '-c',
          '4',
          '-t',
          '20',
        ])
        assert.equal(run.code, 0, run.stderr)
        assert.match(run.stdout, /number of transactions actually processed: 80\/80/)
      }
  })

  it('serves 100 parallel clients', async () => {
    const run = await pgbench(conninfo(15), ['-n', '-S', '-c', '100', '-j', '4', '-t', '5'])
    assert.match(run.stdout, /number of transactions actually processed: 500\/500/, run.stderr)
  })

  it('opens a connection per transaction without failing one', async () => {
    const run = await pgbench(conninfo(15), ['-n', '-S', '-C', '-c', '8', '-j', '2', '-t', '20'])
    assert.match(run.stdout, /number of transactions actually processed: 160\/160/, run.stderr)
  })

  it('delivers a large result whole to a client that reads slowly', async () => {
    const { stdout } = await psql(conninfo(18), [
      '-c',
      "SELECT repeat('a', 1000000) FROM generate_series(1, 20)",
    ])
    assert.equal(stdout.length, 20 * 1_000_001)
  })

  it('refuses replication with a PostgreSQL error', async () => {
    const { stderr } = await psql(`${conninfo(18)} replication=database`, ['-c', 'IDENTIFY_SYSTEM'])
    assert.match(stderr, /FATAL.*Sluice/s)
  })
})
