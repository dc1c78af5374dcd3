// Sessions that are counted (`max_connections`) while control is silent, and after it was killed: real processes and signals.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { type Cluster, startCluster, type TestUser } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { alive } from '../fixtures/processes.ts'
import { openSession, refusal } from '../fixtures/session.ts'

const EVERYTHING = { db_labels: { '*': ['*'] }, db_users: ['app'], db_names: ['*'] }

describe('Sessions that are counted, without control', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let user: TestUser

  before(async () => {
    cluster = await startCluster(cleanup, { databases: { orders: { version: 15 } } })
    await cluster.role('two', { allow: EVERYTHING, options: { max_connections: 2 } })
    user = await cluster.user(['two'])
  })

  it('are counted by the agent itself; control’s death ends none', async () => {
    const access = await user.database('orders')
    const first = await openSession(cluster.proxy, access)
    const pid = cluster.pid('control')
    process.kill(pid, 'SIGSTOP')
    const second = await openSession(cluster.proxy, access)
    const said = await refusal(cluster.proxy, access, 'app')
    assert.match(said.message, /has 2 sessions here; the roles allow 2 \(max_connections\)/)
    process.kill(pid, 'SIGKILL')
    while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 20))
    for (const session of [first, second])
      assert.equal((await session.query('SELECT 1'))[0]?.tag, 'SELECT 1')
    for (const session of [first, second]) session.close()
  })
})
