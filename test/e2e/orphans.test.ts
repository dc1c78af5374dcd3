// Processes never outlive what started them: a supervisor that is killed takes its roles along, one that is told to stop drains.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { startCluster } from '../fixtures/cluster.ts'
import { alive } from '../fixtures/processes.ts'
import { psql } from '../fixtures/psql.ts'

const ROLES = ['signer', 'control', 'proxy', 'agent'] as const

async function gone(pids: readonly number[]): Promise<boolean> {
  const endMs = performance.now() + 20_000
  while (pids.some(alive)) {
    if (performance.now() > endMs) return false
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return true
}

describe('The processes of a machine', () => {
  it('end when their supervisor is killed in the middle of a session', async (context) => {
    const cluster = await startCluster(context, { databases: { pg: { version: 15 } } })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const { conninfo } = await user.database('pg')
    const sleeping = psql(conninfo, ['-c', 'SELECT pg_sleep(60)'])
    await cluster.event('db.session.start', (event) => event['user'] === user.person.user)
    const pids = ROLES.map((role) => cluster.pid(role))
    assert.ok(pids.every(alive))
    await cluster.program.kill('SIGKILL')
    assert.ok(await gone(pids), 'roles are still there')
    assert.notEqual((await sleeping).code, 0)
  })

  it('drain and end with status 0 when the supervisor is told to stop', async (context) => {
    const cluster = await startCluster(context, { databases: { pg: { version: 15 } } })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const { conninfo } = await user.database('pg')
    assert.equal((await psql(conninfo, ['-c', 'SELECT 1'])).code, 0)
    const pids = ROLES.map((role) => cluster.pid(role))
    const { code, signal } = await cluster.program.kill('SIGTERM')
    assert.deepEqual([code, signal], [0, null])
    assert.ok(await gone(pids), 'roles are still there')
  })
})
