// Databases that administrators register, served by two agents on machines of their own: how soon they are there, that no session
// fails while one agent works, what removing one does. Real processes, a real PostgreSQL, real signals.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import type { JsonObject, TargetStatus } from '../../control/api/messages.ts'
import {
  type Cluster,
  type DatabaseAccess,
  startCluster,
  type TestUser,
} from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { freePort } from '../fixtures/net.ts'
import { psql } from '../fixtures/psql.ts'
import { type SecondAgent, startSecondAgent } from '../fixtures/second-agent.ts'
import { openSession, shortSessions } from '../fixtures/session.ts'

const SELECTING = [
  "resources: [{labels: {'*': '*'}}]",
  "resources_may_dial: ['127.0.0.0/8', '::1']",
] as const
/** What "within seconds" means for a change to arrive at agents and proxies. */
const SOON_MS = 10_000

describe('A database that an administrator registers', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let second: SecondAgent
  let user: TestUser
  let access: DatabaseAccess
  let port: number

  before(async () => {
    cluster = await startCluster(cleanup, { extra: { db_service: [...SELECTING] } })
    port = await freePort()
    await cluster.addPostgres('orders', port, { version: 15 })
    second = await startSecondAgent(cleanup, cluster, SELECTING, { targets: ['*'] })
    await cluster.admin.call('resource-create', {
      kind: 'health_check_config',
      document: {
        kind: 'health_check_config',
        version: 'v1',
        metadata: { name: 'quick' },
        spec: {
          interval: '1s',
          timeout: '1s',
          healthy_threshold: 1,
          match: { db_labels: [{ name: '*', values: ['*'] }] },
        },
      },
    })
    user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
  })

  async function write(name: string, uri: string): Promise<void> {
    await cluster.admin.call('resource-put', {
      kind: 'db',
      name,
      force: true,
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name, labels: { env: 'test' } },
        spec: { protocol: 'postgres', uri },
      },
    })
  }

  async function target(name: string): Promise<TargetStatus | undefined> {
    const { items } = await cluster.admin.call('targets', {})
    return items.find((item) => item.name === name)
  }

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + SOON_MS
    while (!(await condition())) {
      if (performance.now() > endMs)
        throw new Error(
          `${what}: not in time\n${JSON.stringify(await target('orders'))}\n${second.program.output()}\n${cluster.program.output()}`,
        )
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** Ids of the agents that served the user's sessions since `since`, from the audit log. */
  async function served(since: number, count: number): Promise<readonly string[]> {
    const ids = async (): Promise<readonly string[]> =>
      (await cluster.events('db.session.start'))
        .filter((event) => Date.parse(textOf(event, 'time')) >= since)
        .map((event) => textOf(event, 'server_id'))
    await until('the sessions are in the log', async () => (await ids()).length >= count)
    return await ids()
  }

  it('is served by every agent that selects it, within seconds, without a restart', async () => {
    await write('orders', `localhost:${port}`)
    await until('both agents serve it', async () => {
      const found = await target('orders')
      return found?.agents.length === 2 && found.servers.every(({ status }) => status === 'healthy')
    })
    access = await user.database('orders')
    const { stdout, stderr } = await psql(access.conninfo, ['-c', 'SELECT 6 * 7'])
    assert.equal(stdout.trim(), '42', stderr)
  })

  it('spreads its sessions over both', async () => {
    const since = Date.now()
    await shortSessions(cluster.proxy, access, 12, 2)
    const ids = await served(since, 12)
    const other = await second.id(cluster)
    const there = ids.filter((id) => id === other).length
    assert.ok(there >= 3 && there <= 9, `${there} of 12`)
  })

  it('loses no new session when one agent is killed', async () => {
    const pid = second.pid
    second.signal('SIGKILL')
    await shortSessions(cluster.proxy, access, 30, 3)
    await until('the agent is back', () => Promise.resolve(second.pid !== pid))
  })

  it('loses no new session when one agent falls silent, and only the first ones wait', async () => {
    await until('both are there', async () => {
      const since = Date.now()
      await shortSessions(cluster.proxy, access, 4)
      return new Set(await served(since, 4)).size === 2
    })
    second.signal('SIGSTOP')
    try {
      await shortSessions(cluster.proxy, access, 4, 4)
      const fromMs = performance.now()
      await shortSessions(cluster.proxy, access, 10)
      assert.ok(performance.now() - fromMs < 1500, 'later sessions do not try it first')
    } finally {
      second.signal('SIGCONT')
    }
  })

  it('goes through the agent that it answers, and says what the other one found', async () => {
    const dead = await freePort()
    const own = `databases: [{name: orders, protocol: postgres, uri: "127.0.0.1:${dead}"}]`
    await second.reload([...SELECTING, own])
    const id = await second.id(cluster)
    await until('its health is told', async () => {
      const servers = (await target('orders'))?.servers ?? []
      const there = servers.find(({ agent }) => agent === id)
      return there?.status === 'unhealthy' && /ECONNREFUSED/.test(there.reason)
    })
    const { items } = await user.client.call('databases', {})
    assert.equal(items.find(({ name }) => name === 'orders')?.status, 'healthy')
    const since = Date.now()
    await shortSessions(cluster.proxy, access, 6)
    assert.ok(!(await served(since, 6)).includes(id))
    await second.reload([...SELECTING])
    await until('it is healthy again', async () =>
      ((await target('orders'))?.servers ?? []).every(({ status }) => status === 'healthy'),
    )
  })

  it('may not name a metadata address or a port of ours, and says so to people and administrators', async () => {
    await write('metadata', '169.254.169.254:80')
    await write('ourselves', cluster.proxy)
    for (const [name, why] of [
      ['metadata', /resources_may_dial/],
      ['ourselves', /Sluice’s own/],
    ] as const) {
      await until(`${name} is served`, async () => (await target(name))?.status === 'unhealthy')
      assert.match((await target(name))?.reason ?? '', why)
      const refused = await user.database(name)
      const { stderr } = await psql(refused.conninfo, ['-c', 'SELECT 1'])
      assert.match(stderr, /could not log in to the database/)
      assert.match(stderr, why)
    }
  })

  it('follows a change; what is open goes on, also when it is removed', async () => {
    const open = await openSession(cluster.proxy, access)
    const dead = await freePort()
    await write('orders', `127.0.0.1:${dead}`)
    await until(
      'the new address is checked',
      async () => (await target('orders'))?.status === 'unhealthy',
    )
    const { stderr } = await psql(access.conninfo, ['-c', 'SELECT 1'])
    assert.match(stderr, new RegExp(`ECONNREFUSED 127\\.0\\.0\\.1:${dead}`))
    await cluster.admin.call('resource-delete', { kind: 'db', name: 'orders' })
    await until('nobody is routed there', async () => {
      const gone = await psql(access.conninfo, ['-c', 'SELECT 1'])
      return /unrecognized name/.test(gone.stderr)
    })
    assert.equal((await open.query('SELECT 6 * 7'))[0]?.rows[0]?.[0], '42')
    open.close()
    assert.deepEqual(
      (await user.client.call('databases', {})).items.map(({ name }) => name).sort(),
      ['metadata', 'ourselves'],
    )
  })

  it('keeps its sessions while one agent is stopped in order', async () => {
    await write('orders', `localhost:${port}`)
    await until('both agents serve it', async () => {
      const found = await target('orders')
      return found?.agents.length === 2 && found.servers.every(({ status }) => status === 'healthy')
    })
    process.kill(second.program.pid, 'SIGTERM')
    await shortSessions(cluster.proxy, access, 40, 2)
    assert.equal((await second.program.exit).code, 0)
    await shortSessions(cluster.proxy, access, 5)
  })
})

function textOf(event: JsonObject, field: string): string {
  const value = event[field]
  return typeof value === 'string' ? value : ''
}
