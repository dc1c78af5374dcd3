// Real clients to real servers in terminate mode: TLS ends at the proxy, which decides, and the agent decides again. The mode is
// the cluster's recording mode; a connection of the other one is refused in PostgreSQL's words. Who tells what is told once.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { cancelInClear, cancelInTls, keyedSession } from '../fixtures/cancel.ts'
import {
  type Cluster,
  conninfoOf,
  type DatabaseAccess,
  startCluster,
  type TestUser,
} from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import type { Output } from '../fixtures/processes.ts'
import { pgbench, psql } from '../fixtures/psql.ts'

type Settings = Readonly<Record<string, string>>

const ROLE = {
  allow: { db_labels: { '*': '*' }, db_users: ['app'], db_names: ['*'] },
  options: { max_connections: 2 },
}

describe('PostgreSQL in terminate mode', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let user: TestUser
  let relayed: DatabaseAccess
  let settings: Settings

  before(async () => {
    cluster = await startCluster(cleanup, { databases: { pg15: { version: 15 } } })
    await cluster.role('two-sessions', ROLE)
    user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    relayed = await user.database('pg15')
    await record('proxy')
    settings = (await user.database('pg15')).settings
    await serves(() => ask('SELECT 1'))
  })

  async function record(mode: 'proxy' | 'node'): Promise<void> {
    const [kind, name] = ['session_recording_config', 'session-recording-config']
    const document = { kind, version: 'v2', metadata: { name }, spec: { mode } }
    await cluster.admin.call('resource-put', { kind, name, document, force: true })
  }

  /** Waits until a change of the mode has reached everybody. */
  async function serves(attempt: () => Promise<Output>): Promise<void> {
    const endMs = performance.now() + 15_000
    while ((await attempt()).stdout.trim() !== '1') assert.ok(performance.now() < endMs)
  }

  async function ask(sql: string, over: Settings = {}, libpq: 15 | 18 = 15): Promise<Output> {
    return psql(conninfoOf({ ...settings, ...over }), ['-c', sql], { libpq })
  }

  const sids = new Set<unknown>()

  it('psql of libpq 15 and 18 asks, and is who the certificate says', async () => {
    for (const libpq of [15, 18] as const) {
      const { stdout, stderr } = await ask('SELECT current_user', {}, libpq)
      assert.equal(stdout.trim(), 'app', `libpq ${libpq}: ${stderr}`)
    }
  })

  it('direct TLS of libpq 18 is ended at the proxy without an SSLRequest', async () => {
    const { stdout, stderr } = await ask('SELECT 1', { sslnegotiation: 'direct' }, 18)
    assert.equal(stdout.trim(), '1', stderr)
  })

  it('passes an error on in the server’s own words and goes on', async () => {
    const run = await psql(conninfoOf(settings), ['-c', 'SELECT 1/0', '-c', 'SELECT 2'])
    assert.match(run.stderr, /division by zero/)
    assert.equal(run.stdout.trim(), '2')
  })

  it('copies a file in and out byte for byte, and delivers a large result whole', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => `${i}\trow ${'x'.repeat(i % 100)}`)
    const make = ['-c', 'CREATE TABLE copied (id int, body text)', '-c', '\\copy copied FROM STDIN']
    const copied = await psql(conninfoOf(settings), make, { input: `${rows.join('\n')}\n` })
    assert.equal(copied.code, 0, copied.stderr)
    const out = '\\copy (SELECT * FROM copied ORDER BY id) TO STDOUT'
    assert.equal((await ask(out)).stdout.trimEnd(), rows.join('\n'))
    const large = await ask("SELECT repeat('a', 1000000) FROM generate_series(1, 20)")
    assert.equal(large.stdout.length, 20 * 1_000_001)
  })

  it('serves 20 parallel clients, and a connection per transaction without failing one', async () => {
    const made = await pgbench(conninfoOf(settings), ['-i', '-s', '1', '-q'])
    assert.equal(made.code, 0, made.stderr)
    const runs = [
      ['-c', '20', '-j', '2', '-t', '5'],
      ['-C', '-c', '4', '-j', '2', '-t', '10'],
    ]
    for (const args of runs) {
      const run = await pgbench(conninfoOf(settings), ['-n', '-S', '-M', 'prepared', ...args])
      assert.match(run.stdout, /number of failed transactions: 0/, run.stderr)
      assert.equal(run.code, 0, run.stderr)
    }
  })

  it('is told by the proxy alone, and the agent tells for whom it was forwarded', async () => {
    const { stdout } = await ask('SELECT pg_backend_pid()')
    assert.match(stdout, /^\d+\n$/)
    const end = await cluster.event('db.session.end', (event) => event['user'] === user.person.user)
    const ofIt = { sid: end['sid'] }
    const start = await cluster.event('db.session.start', (event) => event['sid'] === ofIt.sid)
    assert.equal(start['success'], true)
    const begun = await cluster.event(
      'session.forward',
      (event) => event['sid'] === ofIt.sid && event['code'] === 'SLR003I',
    )
    assert.equal(begun['forwarded_by'], start['server_id'])
    assert.notEqual(begun['server_id'], start['server_id'])
    assert.equal(begun['user'], user.person.user)
    assert.equal(begun['db_user'], 'app')
    await cluster.event(
      'session.forward',
      (event) => event['sid'] === ofIt.sid && event['code'] === 'SLR004I',
    )
    for (const event of await cluster.events('db.session.start,db.session.end')) {
      assert.equal(event['server_id'], start['server_id'])
      const once = JSON.stringify([event['sid'], event['code']])
      assert.ok(!sids.has(once), once)
      sids.add(once)
    }
  })

  it('a denial is said by the proxy, with a decision that explain knows, and reaches no agent', async () => {
    const over = (await user.unnamed('pg15')).settings
    const { stderr } = await ask('SELECT 1', { ...over, user: 'postgres' })
    const id = /FATAL: .*Sluice policy, decision ([0-9A-HJKMNP-TV-Z]{26})/.exec(stderr)?.[1] ?? ''
    const event = await cluster.event('db.session.start', (each) => each['decision_id'] === id)
    assert.equal(event['code'], 'TDB00W')
    const decision = await cluster.admin.call('decision', { id })
    assert.match(decision.text ?? '', /access/)
    const forwarded = await cluster.events('session.forward')
    assert.ok(forwarded.every((each) => each['sid'] !== event['sid']))
  })

  it('who shows no certificate, or one that names no database, is told what to do', async () => {
    const none = await ask('SELECT 1', { sslcert: '/nonexistent', sslkey: '/nonexistent' })
    assert.match(none.stderr, /no client certificate was presented/)
    const { certificate, key } = user.login.pair
    const targetless = {
      mode: 'terminate' as const,
      serverName: '',
      proxies: [cluster.proxy],
      serverCas: [],
    }
    const { sslcert = '', sslkey = '' } = await cluster.files(certificate, key, targetless)
    const unrouted = await ask('SELECT 1', { sslcert, sslkey })
    assert.match(unrouted.stderr, /FATAL: .*names no database.*tsh db login/s)
  })

  it('a name of relay mode is refused by the agent with the way to the right one', async () => {
    const { stderr } = await psql(relayed.conninfo, ['-c', 'SELECT 1'])
    assert.match(
      stderr,
      /FATAL: .*decision [0-9A-Z]{26}.*session recording mode proxy.*tsh db login/s,
    )
  })

  it('Ctrl-C reaches the session through proxy and agent, each with a key of its own; inside TLS too', async (test) => {
    const port = Number(cluster.proxy.split(':')[1])
    const access = await user.database('pg15')
    for (const cancel of [
      (key: Buffer) => cancelInClear(port, key),
      (key: Buffer) => cancelInTls(port, access, key),
    ]) {
      const session = await keyedSession(test, port, access)
      const answer = session.ask('SELECT pg_sleep(600)')
      const running =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(600)%'"
      while ((await cluster.postgres.get('pg15')?.sql(`${running} AND state = 'active'`)) !== '1')
        assert.equal(cluster.postgres.size, 1)
      const wrong = Buffer.from(session.key)
      wrong[7] = (wrong[7] ?? 0) ^ 1
      assert.equal((await cancel(wrong)).length, 0)
      assert.equal((await cancel(session.key)).length, 0)
      assert.match(await answer, /canceling statement due to user request/)
    }
    const event = await cluster.event('db.session.cancel', (each) => each['success'] === true)
    assert.equal(event['db_user'], 'app')
  })

  it('sessions over max_connections are refused, and room comes back with every end', async () => {
    const two = await cluster.user(['two-sessions'])
    const mine = (await two.database('pg15')).settings
    const sleeping = [1, 2].map(() => ask('SELECT pg_sleep(2)', mine))
    const begun = async (): Promise<number> =>
      (await cluster.events('db.session.start')).filter(
        (event) => event['user'] === two.person.user && event['success'] === true,
      ).length
    while ((await begun()) < 2) await new Promise((resolve) => setTimeout(resolve, 50))
    assert.match((await ask('SELECT 1', mine)).stderr, /FATAL: .*max_connections/)
    await Promise.all(sleeping)
    // More often than there is room: one that was not given back would be missed.
    for (let turn = 0; turn < 3; turn++) await serves(() => ask('SELECT 1', mine))
  })

  it('an open session ends with its user’s lock, and nobody new is let in', async () => {
    const locked = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const theirs = (await locked.database('pg15')).settings
    const sleeping = ask('SELECT pg_sleep(20)', theirs)
    await cluster.event('session.forward', (event) => event['user'] === locked.person.user)
    const startedAt = performance.now()
    const spec = { target: { user: locked.person.user }, message: 'left the company' }
    await cluster.admin.call('resource-create', {
      kind: 'lock',
      document: { kind: 'lock', version: 'v2', metadata: { name: 'l1' }, spec },
    })
    assert.notEqual((await sleeping).stderr, '')
    assert.ok(performance.now() - startedAt < 5000)
    assert.match((await ask('SELECT 1', theirs)).stderr, /FATAL: .*lock/)
  })

  it('ends at proxies no more when the recording mode changes while it runs', async () => {
    await record('node')
    await serves(() => psql(relayed.conninfo, ['-c', 'SELECT 1']))
    const { stderr } = await ask('SELECT 1')
    assert.match(stderr, /FATAL: .*session recording mode node.*tsh db login/s)
  })
})
