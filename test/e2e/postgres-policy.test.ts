// Who gets in and who does not, as psql shows it: by label, database user and database; every denial in PostgreSQL's words, with
// a decision id that tctl explains.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { PostgresClient } from '../../cli/postgres-client.ts'
import { splitAddress } from '../../cli/supervisor/listeners.ts'
import { type Cluster, conninfoOf, startCluster, type TestUser } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { type Output } from '../fixtures/processes.ts'
import { psql } from '../fixtures/psql.ts'

const DEV_ROLE = {
  options: { max_session_ttl: '8h' },
  allow: {
    db_labels: { env: ['dev'] },
    db_users: ['app', '{{internal.db_users}}'],
    db_names: ['postgres'],
  },
  deny: { db_users: ['postgres'] },
}

describe('Policy on PostgreSQL', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let user: TestUser

  before(async () => {
    cluster = await startCluster(cleanup, {
      databases: {
        dev: { version: 15, labels: { env: 'dev' } },
        prod: { version: 15, labels: { env: 'prod' } },
      },
    })
    await cluster.role('dev-only', DEV_ROLE)
    await cluster.role('one-session', { ...DEV_ROLE, options: { max_connections: 1 } })
    user = await cluster.user(['dev-only'])
  })

  /** Asks for a session although the certificate was made for other names: libpq's own settings decide what is asked. */
  async function ask(
    settings: Readonly<Record<string, string>>,
    overrides: Readonly<Record<string, string>> = {},
  ): Promise<Output> {
    return psql(conninfoOf({ ...settings, ...overrides }), ['-c', 'SELECT 1'])
  }

  it('lets in by label, user and database', async () => {
    const { settings } = await user.database('dev')
    assert.equal((await ask(settings)).stdout.trim(), '1')
  })

  it('gives no certificate for a database the roles do not let see, and does not say whether it exists', async () => {
    const hidden = await user.database('prod').catch((error: unknown) => error)
    const absent = await user.database('nosuch').catch((error: unknown) => error)
    assert.ok(hidden instanceof Error && absent instanceof Error)
    assert.equal(hidden.message.replaceAll('prod', 'X'), absent.message.replaceAll('nosuch', 'X'))
  })

  it('denies another database user in PostgreSQL’s words, with a decision that explain knows', async () => {
    const { settings } = await user.unnamed('dev')
    const { stderr, code } = await ask(settings, { user: 'postgres' })
    assert.equal(code, 2)
    assert.match(stderr, /FATAL: .*Sluice policy, decision ([0-9A-HJKMNP-TV-Z]{26})/)
    const id = /decision ([0-9A-HJKMNP-TV-Z]{26})/.exec(stderr)?.[1] ?? ''
    await cluster.event('db.session.start', (event) => event['decision_id'] === id)
    const decision = await cluster.admin.call('decision', { id })
    assert.equal(decision.allowed, false)
    assert.match(decision.text ?? '', /dev-only/)
  })

  it('denies another database', async () => {
    const { settings } = await user.unnamed('dev')
    const { stderr } = await ask(settings, { dbname: 'template1' })
    assert.match(stderr, /FATAL: .*Sluice policy, decision/)
  })

  it('uses the SQLSTATE of insufficient privilege, where a driver finds it', async () => {
    const { reply, key } = await user.unnamed('dev')
    const attempt = PostgresClient.connect({
      addresses: reply.proxies.map(splitAddress),
      serverName: reply.serverName,
      ca: reply.serverCas,
      certificate: reply.certificate,
      key,
      user: 'postgres',
      database: 'postgres',
    })
    await assert.rejects(attempt, { name: 'PostgresError', sqlState: '42501', severity: 'FATAL' })
  })

  it('says that a certificate made for one user does not open another', async () => {
    const { settings } = await user.database('dev')
    const { stderr } = await ask(settings, { user: 'postgres' })
    assert.match(stderr, /FATAL: .*certificate is for another database user/)
  })

  it('ends an open session within a second of a lock, and lets nobody new in', async () => {
    const locked = await cluster.user(['dev-only'])
    const { settings } = await locked.database('dev')
    const sleeping = psql(conninfoOf(settings), ['-c', 'SELECT pg_sleep(20)'])
    await cluster.event('db.session.start', (event) => event['user'] === locked.person.user)
    const startedAt = performance.now()
    await cluster.admin.call('resource-create', {
      kind: 'lock',
      document: {
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: locked.person.user }, message: 'left the company' },
      },
    })
    const { stderr } = await sleeping
    const tookMs = performance.now() - startedAt
    assert.ok(tookMs < 5000, `took ${tookMs} ms`)
    assert.notEqual(stderr, '')
    const again = await ask(settings)
    assert.match(again.stderr, /lock/)
  })

  it('counts a user’s sessions and ends the newest over max_connections', async () => {
    const limited = await cluster.user(['one-session'])
    const { settings } = await limited.database('dev')
    const first = psql(conninfoOf(settings), ['-c', 'SELECT pg_sleep(3)'])
    await cluster.event('db.session.start', (event) => event['user'] === limited.person.user)
    const { stderr } = await ask(settings)
    assert.match(stderr, /FATAL/)
    assert.equal((await first).code, 0)
  })

  it('tells explain the smallest change that would allow it', async () => {
    const { settings } = await user.unnamed('dev')
    const { stderr } = await ask(settings, { dbname: 'template1' })
    const id = /decision ([0-9A-HJKMNP-TV-Z]{26})/.exec(stderr)?.[1] ?? ''
    await cluster.event('db.session.start', (event) => event['decision_id'] === id)
    const { text = '' } = await cluster.admin.call('decision', { id })
    assert.match(text, /template1/)
    assert.match(text, /db_names/)
  })
})
