// Cancel requests through the whole of Sluice: Ctrl-C of psql, in clear and inside TLS, reaches the one session it is for; who guesses
// reaches nobody, is told nothing, and is soon not heard. And replication, for whom a role allows it, with PostgreSQL's own programs.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import { before, describe, it, type TestContext } from 'node:test'

import { securePostgres } from '../../cli/postgres-tls.ts'
import { LocalProxy } from '../../cli/tsh/local-proxy.ts'
import { max } from '../../core/limits.ts'
import { cancelInClear, cancelInTls, keyedSession } from '../fixtures/cancel.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { embeddedPostgres } from '../fixtures/embedded.ts'
import { atEnd, openFolder, suiteCleanup } from '../fixtures/files.ts'
import { type Program, run, start } from '../fixtures/processes.ts'
import { psql } from '../fixtures/psql.ts'

const BIN = '/usr/lib/postgresql/15/bin'
const CANCELED = /canceling statement due to user request/
const PASSWORD = 'kept by control 4711'
const SLEEP = 'SELECT pg_sleep(600)'

interface SleeperOptions {
  readonly libpq?: 15 | 18
  readonly conninfo?: string
}

describe('PostgreSQL beside its statements', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let port: number
  const access = new Map<15 | 18, DatabaseAccess>()

  before(async () => {
    const hba = [
      'hostssl replication all 0.0.0.0/0 cert clientname=DN map=sluice',
      'hostssl all vaulted 0.0.0.0/0 scram-sha-256',
    ]
    const sql = [
      'CREATE ROLE walker LOGIN REPLICATION',
      `CREATE ROLE vaulted LOGIN PASSWORD '${PASSWORD}'`,
    ]
    cluster = await startCluster(cleanup, {
      databases: {
        pg15: { version: 15, hba, sql, settings: ['wal_level = logical'] },
        pg18: { version: 18 },
      },
    })
    port = Number(cluster.proxy.split(':')[1])
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    for (const version of [15, 18] as const)
      access.set(version, await user.database(`pg${version}`))
  })

  function accessTo(version: 15 | 18): DatabaseAccess {
    const found = access.get(version)
    assert.ok(found)
    return found
  }

  /** Backends that run a statement with this text, as the server sees them. */
  async function running(version: 15 | 18, text: string): Promise<readonly string[]> {
    const server = cluster.postgres.get(`pg${version}`)
    assert.ok(server)
    const found = await server.sql(
      `SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '${text}%' AND pid <> pg_backend_pid()`,
    )
    return found === '' ? [] : found.split('\n')
  }

  async function untilRunning(version: 15 | 18, text: string, count: number): Promise<void> {
    const endMs = performance.now() + 20_000
    while ((await running(version, text)).length !== count)
      assert.ok(performance.now() < endMs, `never ${count} of ${text}`)
  }

  /** psql that sleeps under a comment of its own. */
  async function sleeper(
    test: TestContext,
    version: 15 | 18,
    name: string,
    { libpq = 15, conninfo = accessTo(version).conninfo }: SleeperOptions = {},
  ): Promise<Program> {
    const lib = libpq === 18 ? { LD_LIBRARY_PATH: (await embeddedPostgres()).lib ?? '' } : {}
    const env = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: '/nonexistent', ...lib }
    const args = ['-X', '-d', conninfo, '-c', `/* ${name} */ ${SLEEP}`]
    const program = start(test, `${BIN}/psql`, args, { env })
    await untilRunning(version, `/* ${name} */`, 1)
    return program
  }

  it('Ctrl-C of psql 15 cancels its own statement, and not that of another session of the same user', async (test) => {
    const one = await sleeper(test, 15, 'one')
    const two = await sleeper(test, 15, 'two')
    assert.match((await one.kill('SIGINT')).stderr, CANCELED)
    assert.equal((await running(15, '/* two */')).length, 1)
    assert.match((await two.kill('SIGINT')).stderr, CANCELED)
  })

  it('Ctrl-C works with protocol 3.2, whose keys are 256 bits long', async (test) => {
    const conninfo = `${accessTo(18).conninfo} max_protocol_version=3.2`
    const program = await sleeper(test, 18, 'long', { libpq: 18, conninfo })
    assert.match((await program.kill('SIGINT')).stderr, CANCELED)
  })

  it('a client is shown neither the server’s process id nor its key, and its own are never the same', async (test) => {
    const [one, two] = [
      await keyedSession(test, port, accessTo(15)),
      await keyedSession(test, port, accessTo(15)),
    ]
    const pid = /(\d+)\0?C/.exec(await one.ask('SELECT pg_backend_pid()'))?.[1]
    assert.notEqual(String(one.key.readUInt32BE(0)), pid)
    assert.notDeepEqual(one.key.subarray(0, 4), two.key.subarray(0, 4))
    assert.notDeepEqual(one.key.subarray(4), two.key.subarray(4))
    const long = await keyedSession(test, port, accessTo(18), 0x0003_0002)
    assert.equal(long.key.length, 36)
  })

  it('a cancel request inside TLS, as libpq 17 and later send it, is heard like one in clear', async (test) => {
    for (const version of [15, 18] as const) {
      const session = await keyedSession(test, port, accessTo(version))
      const answer = session.ask(`/* tls */ ${SLEEP}`)
      await untilRunning(version, '/* tls */', 1)
      assert.equal((await cancelInTls(port, accessTo(version), session.key)).length, 0)
      assert.match(await answer, CANCELED)
      assert.match(await session.ask('SELECT 42'), /42/)
    }
  })

  it('a cancel request inside TLS with the name of another database finds its session too', async (test) => {
    const session = await keyedSession(test, port, accessTo(15))
    const answer = session.ask(`/* elsewhere */ ${SLEEP}`)
    await untilRunning(15, '/* elsewhere */', 1)
    await cancelInTls(port, accessTo(18), session.key)
    assert.match(await answer, CANCELED)
  })

  it('Ctrl-C works through the tunnel of `tsh proxy db`, where the client speaks in clear', async (test) => {
    const { reply, key } = accessTo(15)
    const local = new LocalProxy({
      host: '127.0.0.1',
      port: 0,
      dial: () => Promise.resolve(net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })),
      secure: () =>
        securePostgres({
          addresses: [{ host: '127.0.0.1', port }],
          serverName: reply.serverName,
          ca: reply.serverCas,
          certificate: reply.certificate,
          key,
        }),
      failed: (text) => assert.fail(text),
    })
    const localPort = await local.start()
    atEnd(test, () => local.close())
    const conninfo = `host=127.0.0.1 port=${localPort} sslmode=disable user=app dbname=postgres`
    const program = await sleeper(test, 15, 'tunnelled', { conninfo })
    assert.match((await program.kill('SIGINT')).stderr, CANCELED)
  })

  it('a stored password logs in where no certificate does, and stands nowhere it could be read', async () => {
    const user = await cluster.user(['access'], { db_users: ['vaulted'], db_names: ['*'] })
    const name = { database: 'pg15', dbUser: 'vaulted' }
    await cluster.admin.call('db-credential-put', {
      ...name,
      password: PASSWORD,
      methods: ['scram'],
    })
    const { conninfo } = await user.database('pg15', 'vaulted')
    const { stdout, stderr } = await psql(conninfo, ['-c', 'SELECT current_user'])
    assert.equal(stdout.trim(), 'vaulted', stderr)
    await cluster.event('db.session.start', (each) => each['db_user'] === 'vaulted')
    const told = JSON.stringify(await cluster.events('db.session.start,db.credential.set'))
    for (const text of [told, cluster.program.output()]) assert.ok(!text.includes(PASSWORD))
  })

  it('a cancel is audited with whose statement it was and where it came from', async (test) => {
    const session = await keyedSession(test, port, accessTo(18))
    const answer = session.ask(`/* audited */ ${SLEEP}`)
    await untilRunning(18, '/* audited */', 1)
    await cancelInClear(port, session.key, '127.0.0.3')
    assert.match(await answer, CANCELED)
    const event = await cluster.event('db.session.cancel', (each) =>
      JSON.stringify(each['cancelled_from']).startsWith('"127.0.0.3:'),
    )
    assert.equal(event['success'], true, JSON.stringify(event))
    assert.equal(event['db_user'], 'app')
    assert.equal(event['db_service'], 'pg18')
  })

  it('cancel brute force: a wrong key reaches nobody, hears nothing, and makes the session deaf before it is guessed', async (test) => {
    const session = await keyedSession(test, port, accessTo(15))
    const answer = session.ask(`/* guessed */ ${SLEEP}`)
    await untilRunning(15, '/* guessed */', 1)
    const wrong = Buffer.from(session.key)
    const guesses = Array.from({ length: 200 }, (_, i) => {
      wrong.writeUInt32BE(i, 4)
      return cancelInClear(port, Uint8Array.from(wrong), `127.0.1.${1 + (i % 50)}`)
    })
    const answers = await Promise.all(guesses)
    assert.ok(answers.every((bytes) => bytes.length === 0))
    // The right key comes too late, from a source that never guessed, in clear or inside TLS.
    assert.equal((await cancelInClear(port, session.key, '127.0.2.1')).length, 0)
    await cancelInTls(port, accessTo(15), session.key)
    // Other sessions are not deaf for it.
    const other = await keyedSession(test, port, accessTo(15))
    const sleeping = other.ask(`/* other */ ${SLEEP}`)
    await untilRunning(15, '/* other */', 1)
    await cancelInClear(port, other.key, '127.0.2.2')
    assert.match(await sleeping, CANCELED)
    assert.equal((await running(15, '/* guessed */')).length, 1)
    await cluster.postgres
      .get('pg15')
      ?.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '/* guessed%'")
    assert.match(await answer, CANCELED)
  })

  it('cancel brute force: a source that guesses is not heard any more, and that is audited once', async (test) => {
    const guesser = '127.0.3.1'
    const unknown = Buffer.alloc(8, 0x11)
    for (let i = 0; i < 3 * max('signalWrongPerSourceMax'); i++)
      await cancelInClear(port, unknown, guesser)
    const deaf = await cluster.event('db.session.cancel', (each) => each['addr.remote'] === guesser)
    assert.equal(deaf['success'], false)
    const session = await keyedSession(test, port, accessTo(15))
    const answer = session.ask(`/* unheard */ ${SLEEP}`)
    await untilRunning(15, '/* unheard */', 1)
    const other = await keyedSession(test, port, accessTo(15))
    const sleeping = other.ask(`/* heard */ ${SLEEP}`)
    await untilRunning(15, '/* heard */', 1)
    await cancelInClear(port, session.key, guesser)
    await cancelInClear(port, other.key, '127.0.3.2')
    assert.match(await sleeping, CANCELED)
    assert.equal((await running(15, '/* unheard */')).length, 1)
    await cancelInClear(port, session.key, '127.0.3.2')
    assert.match(await answer, CANCELED)
    const events = await cluster.events('db.session.cancel')
    assert.equal(events.filter((each) => each['addr.remote'] === guesser).length, 1)
  })

  describe('replication', () => {
    const walks = {
      db_labels: { '*': '*' },
      db_users: ['walker'],
      db_names: ['postgres', 'replication'],
    }
    const bare = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: '/nonexistent' }

    async function walker(roles: readonly string[], dbName: string): Promise<DatabaseAccess> {
      return await (await cluster.user(roles)).database('pg15', 'walker', dbName)
    }

    before(async () => {
      await cluster.role('walker', { allow: walks })
      await cluster.role('follower', { allow: walks, options: { db_replication: true } })
    })

    it('is refused in PostgreSQL’s words, naming the option, when no role allows it', async () => {
      const { conninfo } = await walker(['walker'], 'replication')
      const folder = await openFolder(cleanup)
      const args = ['-d', conninfo, '-D', `${folder}/copy`, '-X', 'stream']
      const { code, stderr } = await run(`${BIN}/pg_basebackup`, args, { env: bare })
      assert.equal(code, 1)
      assert.match(stderr, /FATAL: .*denied by Sluice policy, decision .*options\.db_replication/)
    })

    it('pg_basebackup copies a whole server', async () => {
      const { conninfo } = await walker(['follower'], 'replication')
      const folder = await openFolder(cleanup)
      const args = ['-d', conninfo, '-D', `${folder}/copy`, '-X', 'stream', '-c', 'fast']
      const { code, stderr } = await run(`${BIN}/pg_basebackup`, args, { env: bare })
      assert.equal(code, 0, stderr)
      const verified = await run(`${BIN}/pg_verifybackup`, [`${folder}/copy`], { env: bare })
      assert.match(verified.stdout, /backup successfully verified/, verified.stderr)
    })

    it('pg_receivewal streams the log, and pg_recvlogical changes of one database', async (test) => {
      const server = cluster.postgres.get('pg15')
      assert.ok(server)
      const folder = await openFolder(cleanup)
      const physical = await walker(['follower'], 'replication')
      const wal = start(
        test,
        `${BIN}/pg_receivewal`,
        ['-d', physical.conninfo, '-D', folder, '-v'],
        { env: bare },
      )
      await wal.line(/starting log streaming/)
      const logical = await walker(['follower'], 'postgres')
      const slot = ['-d', logical.conninfo, '-S', 'slot', '-P', 'test_decoding']
      const made = await run(`${BIN}/pg_recvlogical`, [...slot, '--create-slot'], { env: bare })
      assert.equal(made.code, 0, made.stderr)
      const changes = start(
        test,
        `${BIN}/pg_recvlogical`,
        [...slot, '--start', '-f', '-', '-F', '1'],
        { env: bare },
      )
      await server.sql(
        'CREATE TABLE followed (id int); INSERT INTO followed VALUES (4711); SELECT pg_switch_wal()',
      )
      assert.match(await changes.line(/INSERT/), /followed: INSERT: id\[integer\]:4711/)
      await wal.line(/finished segment/)
      await changes.kill('SIGINT')
      await wal.kill('SIGINT')
      assert.ok(readdirSync(folder).some((name) => /^[0-9A-F]{24}$/.test(name)))
    })
  })
})
