// The limits of a session, as psql shows them: each ends it with an error of PostgreSQL's form that says which limit it was.
// Real processes; the clock is the machine's, so limits are seconds. Without control: postgres-limits.full.test.ts.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import type { JsonObject } from '../../control/api/messages.ts'
import { type Cluster, startCluster, type TestUser } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { psql } from '../fixtures/psql.ts'
import { openSession, refusal } from '../fixtures/session.ts'

const EVERYTHING = { db_labels: { '*': ['*'] }, db_users: ['app'], db_names: ['*'] }

describe('A session that reaches a limit', { concurrency: true }, () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster

  before(async () => {
    cluster = await startCluster(cleanup, {
      databases: { orders: { version: 15 } },
      extra: { auth_service: ['client_idle_timeout_message: "Go home."'] },
    })
    await Promise.all([
      role('brief', { client_idle_timeout: '1s' }),
      role('dated', { disconnect_expired_cert: true }),
      role('short', { max_session_ttl: '2s', disconnect_expired_cert: true }),
      role('two', { max_connections: 2 }),
    ])
  })

  async function role(name: string, options: JsonObject): Promise<void> {
    await cluster.role(name, { allow: EVERYTHING, options })
  }

  /** What psql says when it asks again after `seconds`, on the session it had. */
  async function after(user: TestUser, seconds: number): Promise<string> {
    const { conninfo } = await user.database('orders')
    const script = `SELECT 'in';\n\\! sleep ${seconds}\nSELECT 'still';\n`
    const { stdout, stderr } = await psql(conninfo, ['-v', 'ON_ERROR_STOP=1'], { input: script })
    assert.match(stdout, /^in\n/, stderr)
    assert.ok(!stdout.includes('still'))
    return stderr
  }

  it('is told that it was idle, in the words of the cluster and of the limit', async () => {
    const stderr = await after(await cluster.user(['brief']), 2)
    assert.match(stderr, /FATAL: .*session ended by Sluice policy.*: Go home\./)
    assert.match(stderr, /idle for longer than 1 s \(client_idle_timeout\)/)
    const event = await cluster.event('client.disconnect', (each) => each['reason'] === 'Go home.')
    assert.equal(event['db_service'], 'orders')
  })

  it('ends with its certificate, whose life max_session_ttl bounds', async () => {
    const user = await cluster.user(['short'])
    const { expiresAtMs } = await user.client.call('me', {})
    assert.ok(expiresAtMs - Date.now() <= 2000)
    const stderr = await after(user, 4)
    assert.match(stderr, /FATAL: .*the certificate has expired.*disconnect_expired_cert/)
    assert.match(stderr, /tsh login/)
  })

  it('over max_connections is refused by name, however the first ones are doing', async () => {
    const user = await cluster.user(['two'])
    const access = await user.database('orders')
    const open = [
      await openSession(cluster.proxy, access),
      await openSession(cluster.proxy, access),
    ]
    const said = await refusal(cluster.proxy, access, 'app')
    assert.equal(said.sqlState, '53300')
    assert.match(said.message, /has 2 sessions; the roles allow 2 \(max_connections\)/)
    for (const session of open) assert.equal((await session.query('SELECT 1'))[0]?.tag, 'SELECT 1')
    for (const session of open) session.close()
    await cluster.event('session.rejected', (each) => each['user'] === user.person.user)
  })
})
