// Parked spares that die in silence, as behind a NAT table that forgot them: no FIN, no RST, no answer. Whoever connects next must
// not notice more than a pause.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { beginsWithoutTls, FaultProxy } from '../faults/fault-proxy.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { freePort } from '../fixtures/net.ts'
import { shortSessions } from '../fixtures/session.ts'

const SETTLED_MS = 10_000
/** More dead spares than a client could try one after the other before its handshake is over. */
const MANY = 8

describe('Spares that die in silence', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let between: FaultProxy
  let diagnostics: Diagnostics
  let access: DatabaseAccess

  before(async () => {
    const publicPort = await freePort()
    between = await FaultProxy.start(cleanup, publicPort)
    diagnostics = await Diagnostics.reserve()
    cluster = await startCluster(cleanup, {
      databases: { orders: { version: 15 } },
      extra: { sluice: diagnostics.lines },
      publicPort,
      publicAddress: `127.0.0.1:${between.port}`,
    })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    access = await user.database('orders')
    await shortSessions(cluster.proxy, access, 1)
  })

  /** Only the agent comes this way, and what of it does not begin with TLS is a spare. */
  function silenceSpares(): number {
    return between.inflict({ kind: 'silence' }, beginsWithoutTls)
  }

  it('cost the next hundred clients a pause, and none of them the session', async () => {
    await diagnostics.until('proxy', ({ spares = 0 }) => spares >= 2, SETTLED_MS, 'a full pool')
    assert.ok(silenceSpares() >= 2)
    await shortSessions(cluster.proxy, access, 100, 8)
  })

  it('cost no session either when a grown pool died at once', async () => {
    const grown = shortSessions(cluster.proxy, access, 150, 16)
    await diagnostics.until('proxy', ({ spares = 0 }) => spares >= MANY, SETTLED_MS, 'a grown pool')
    await grown
    await diagnostics.until('proxy', ({ spares = 0 }) => spares >= MANY, SETTLED_MS, 'a grown pool')
    assert.ok(silenceSpares() >= MANY)
    await shortSessions(cluster.proxy, access, 100, 1)
  })
})
