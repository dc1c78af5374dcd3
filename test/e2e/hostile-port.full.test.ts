// One routing ticket presented ten thousand times at once, by somebody who saw it pass. What it costs proxy and agent is bounded,
// another person is served in the middle of it, and everything is given back.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { helloFor } from '../fixtures/knock.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { shortSessions } from '../fixtures/session.ts'
import { crowd, leave, residentBytes } from '../fixtures/strangers.ts'

const MB = 1024 * 1024
const HANDSHAKES = 10_000
const GROWTH_MAX = 300 * MB
const DRAIN_MS = 120_000

it('serves others while one ticket is presented 10,000 times, and gives everything back', async (context) => {
  const diagnostics = await Diagnostics.reserve()
  const cluster = await startCluster(context, {
    databases: { orders: { version: 15 } },
    extra: { sluice: diagnostics.lines },
  })
  const person = async (): Promise<DatabaseAccess> =>
    (await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })).database('orders')
  const [alice, bob] = [await person(), await person()]
  const port = Number(cluster.proxy.split(':')[1])
  const pids = [cluster.pid('proxy'), cluster.pid('agent')]
  await shortSessions(cluster.proxy, bob, 20)
  const before = pids.map(residentBytes)
  const bytes = await helloFor(alice.reply.serverName)
  const sockets = await crowd(context, port, { count: HANDSHAKES, sources: 100, bytes })
  for (const socket of sockets) socket.resume()
  await shortSessions(cluster.proxy, bob, 20)
  const grown = pids.map((pid, at) => residentBytes(pid) - (before[at] ?? 0))
  for (const growth of grown)
    assert.ok(growth < GROWTH_MAX, `grown by ${grown.map((each) => each / MB).join(' and ')} MB`)
  leave(sockets)
  for (const [role, gauge] of [
    ['proxy', 'relayed_sessions'],
    ['proxy', 'unfinished_connections'],
    ['agent', 'sessions'],
  ] as const)
    await diagnostics.until(role, (all) => all[gauge] === 0, DRAIN_MS, `${gauge} of ${role} ended`)
  assert.deepEqual([cluster.pid('proxy'), cluster.pid('agent')], pids)
  await shortSessions(cluster.proxy, alice, 1)
})
