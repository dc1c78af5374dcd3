// Parts that stop without a word and stay stopped: an agent that its proxies must give up, an audit sink that takes nothing while
// sessions go on. Longer than the cells of a fault matrix: the deadlines under test are a minute.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import { freeze } from '../faults/processes.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { psql } from '../fixtures/psql.ts'
import { shortSessions } from '../fixtures/session.ts'

/** Pings without an answer, and the one that was just answered. */
const NOTICED_MS = (max('linkPingsMissedMax') + 2) * max('linkPingMs')
const BACK_MS = 30_000
const SESSIONS = 300
const GROWTH_BYTES_MAX = 64 * 1024 * 1024
const UPLOADED_MS = 60_000

describe('A cluster of which a part stands still', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let diagnostics: Diagnostics
  let access: DatabaseAccess

  before(async () => {
    diagnostics = await Diagnostics.reserve()
    cluster = await startCluster(cleanup, {
      databases: { orders: { version: 15 } },
      extra: { sluice: diagnostics.lines },
    })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    access = await user.database('orders')
    await shortSessions(cluster.proxy, access, 1)
  })

  it('gives up the link of an agent that is silent, tells newcomers in time, and takes it back', async () => {
    const thaw = freeze(cleanup, cluster.pid('agent'))
    const fromMs = performance.now()
    // Before the link is given up the spares are tried, afterwards there is none: both end inside the handshake's deadline.
    const early = await psql(access.conninfo, ['-c', 'SELECT 1'])
    assert.notEqual(early.code, 0)
    assert.ok(performance.now() - fromMs < 2 * max('handshakeDeadlineMs'), early.stderr)
    await diagnostics.until('proxy', ({ links }) => links === 0, NOTICED_MS, 'the link is given up')
    const late = await psql(access.conninfo, ['-c', 'SELECT 1'])
    assert.match(late.stderr, /error|closed/)
    thaw()
    await diagnostics.until(
      'proxy',
      ({ links, spares = 0 }) => links === 1 && spares >= max('sparesIdle'),
      BACK_MS,
      'the agent is linked again, with a full pool',
    )
    await shortSessions(cluster.proxy, access, 20, 4)
  })

  it('serves on while the audit sink stands still, keeps every event within bounds, and loses none', async () => {
    const empty = (what: string): Promise<unknown> =>
      diagnostics.until('agent', (each) => each['audit_spool'] === 0, UPLOADED_MS, what)
    await empty('nothing waits for the sink')
    const seen = await starts()
    const rss = (await diagnostics.read('agent'))?.['rss_bytes'] ?? 0
    const thaw = freeze(cleanup, cluster.pid('control'))
    await shortSessions(cluster.proxy, access, SESSIONS, 4)
    const stalled = await diagnostics.read('agent')
    assert.ok((stalled?.['audit_spool'] ?? 0) >= SESSIONS, JSON.stringify(stalled))
    assert.ok((stalled?.['rss_bytes'] ?? 0) - rss < GROWTH_BYTES_MAX, JSON.stringify(stalled))
    thaw()
    await empty('every event of that time is uploaded')
    assert.equal((await starts()) - seen, SESSIONS)
    const { ok, problem } = await cluster.admin.call('audit-verify', {})
    assert.deepEqual({ ok, problem }, { ok: true, problem: undefined })
  })

  /** Session starts in the log. */
  async function starts(): Promise<number> {
    let count = 0
    for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
      const { items, next } = await cluster.admin.call('audit-list', {
        types: 'db.session.start',
        ...(cursor === undefined ? {} : { cursor }),
      })
      count += items.length
      cursor = next
    }
    return count
  }
})
