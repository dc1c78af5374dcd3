// What a running cluster outlives (design section 8, failure table): each role killed with SIGKILL, a faulty configuration, and
// what an orderly stop lets finish. Real processes, a real PostgreSQL; the supervisor restarts what was killed.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import {
  type Cluster,
  type DatabaseAccess,
  startCluster,
  type TestUser,
} from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { alive } from '../fixtures/processes.ts'
import { openSession, refusal, shortSessions } from '../fixtures/session.ts'

type Role = Parameters<Cluster['pid']>[0]

const RECOVERY_MS = 10_000
const RESTART_MS = 30_000
/** A role that was killed a few times is restarted after this long at most. */
const HELD_DOWN_MS = 45_000

describe('A cluster whose processes are killed', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let diagnostics: Diagnostics
  let user: TestUser
  let access: DatabaseAccess

  before(async () => {
    diagnostics = await Diagnostics.reserve()
    cluster = await startCluster(cleanup, {
      databases: { orders: { version: 15, sql: ['CREATE ROLE reader LOGIN'] } },
      extra: { sluice: diagnostics.lines },
      shutdownDelay: '3s',
    })
    user = await cluster.user(['access'], { db_users: ['app', 'reader'], db_names: ['*'] })
    access = await user.database('orders')
    await shortSessions(cluster.proxy, access, 1)
  })

  /** Kills the role and waits until the supervisor has started another. */
  async function kill(role: Role): Promise<void> {
    const pid = cluster.pid(role)
    process.kill(pid, 'SIGKILL')
    await poll(() => cluster.pid(role) !== pid, RESTART_MS, `${role} is started again`)
  }

  /** Keeps a role down by killing each new process of it, until the returned function is called. */
  function holdDown(role: Role): () => void {
    const killed = new Set<number>()
    const look = (): void => {
      const pid = cluster.pid(role)
      if (killed.has(pid) || !alive(pid)) return
      killed.add(pid)
      process.kill(pid, 'SIGKILL')
    }
    look()
    const timer = setInterval(look, 20)
    return () => clearInterval(timer)
  }

  async function controlAnswers(deadlineMs: number): Promise<void> {
    const answers = async (): Promise<boolean> =>
      cluster.admin.call('ping', {}).then(
        () => true,
        () => false,
      )
    await poll(answers, deadlineMs, 'control answers')
  }

  /** Linked again, the pool at its size, and twenty clients that notice nothing. */
  async function recovered(fromMs: number): Promise<void> {
    await diagnostics.until(
      'proxy',
      ({ spares = 0, links = 0 }) => links === 1 && spares >= max('sparesIdle'),
      RECOVERY_MS - (performance.now() - fromMs),
      'the agent is linked and its pool is full',
    )
    await shortSessions(cluster.proxy, access, 20, 4)
  }

  it('has lost nothing that control acknowledged before it was killed, and its audit chain holds', async () => {
    const names = Array.from({ length: 40 }, (_, at) => `kept-${at}`)
    const acknowledged: string[] = []
    const writing = (async () => {
      for (const name of names) {
        await cluster.role(name, { allow: {} })
        acknowledged.push(name)
      }
    })().catch(() => undefined)
    await poll(() => acknowledged.length >= 5, RECOVERY_MS, 'some writes are acknowledged')
    const before = await cluster.events('role.created,db.session.start')
    await kill('control')
    await writing
    await controlAnswers(RESTART_MS)
    for (const name of acknowledged)
      await cluster.admin.call('resource-get', { kind: 'role', name })
    const after = new Set((await cluster.events('role.created,db.session.start')).map(uidOf))
    assert.ok(before.length > 0)
    for (const event of before) assert.ok(after.has(uidOf(event)), JSON.stringify(event))
    assert.deepEqual(
      (({ ok, problem }) => ({ ok, problem }))(await cluster.admin.call('audit-verify', {})),
      { ok: true, problem: undefined },
    )
  })

  it('signs again after its signer was killed', async () => {
    await kill('signer')
    const signs = async (): Promise<boolean> =>
      user.database('orders').then(
        () => true,
        () => false,
      )
    await poll(signs, RECOVERY_MS, 'control has a signer again')
    await cluster.logIn(user.person).catch((error: unknown) => {
      // The one-time code may be used up; the signer is what matters here.
      assert.doesNotMatch(String(error), /sign/)
    })
  })

  it('is linked again with a full pool within ten seconds of a killed agent', async () => {
    const fromMs = performance.now()
    await kill('agent')
    await recovered(fromMs)
  })

  it('is linked again with a full pool within ten seconds of a killed proxy', async () => {
    const fromMs = performance.now()
    await kill('proxy')
    await recovered(fromMs)
  })

  it('serves open sessions and pairs used before while control is down, says what is down, and uploads later', async () => {
    const unused = await user.database('orders', 'reader')
    const seen = new Set((await cluster.events('db.session.start')).map(uidOf))
    const open = await openSession(cluster.proxy, access)
    const release = holdDown('control')
    try {
      const login = cluster.logIn(user.person).catch((error: unknown) => error)
      assert.equal((await open.query('SELECT 6 * 7'))[0]?.rows[0]?.[0], '42')
      await shortSessions(cluster.proxy, access, 3)
      const said = await refusal(cluster.proxy, unused, 'reader')
      assert.match(said.message, /control/)
      assert.match(said.message, /Sluice/)
      const failure = await login
      assert.ok(failure instanceof ProxyError, String(failure))
      assert.equal(failure.code, 'control.unavailable')
      assert.match(failure.message, /control/)
    } finally {
      release()
    }
    assert.equal((await open.query('SELECT 1'))[0]?.tag, 'SELECT 1')
    open.close()
    await controlAnswers(HELD_DOWN_MS)
    const uploaded = async (): Promise<boolean> =>
      (await cluster.events('db.session.start')).filter((event) => !seen.has(uidOf(event)))
        .length >= 5
    await poll(uploaded, RESTART_MS, 'the sessions of that time are in the log')
    assert.ok((await cluster.admin.call('audit-verify', {})).ok)
  })

  it('goes on with what it has when a reload brings a faulty file', async () => {
    const config = join(cluster.folder, 'sluice.yaml')
    const pids = new Map(ROLES.map((role) => [role, cluster.pid(role)]))
    await writeFile(config, 'version: v3\nsluice:\n  no_such_key: 1\n')
    process.kill(cluster.program.pid, 'SIGHUP')
    const line = await cluster.program.line(/configuration not reloaded/, RECOVERY_MS)
    assert.match(line, /no_such_key/)
    await shortSessions(cluster.proxy, access, 1)
    for (const [role, pid] of pids) assert.equal(cluster.pid(role), pid)
  })

  it('lets an open session finish when it is stopped, and leaves no process behind', async () => {
    const pids = ROLES.map((role) => cluster.pid(role))
    const open = await openSession(cluster.proxy, access)
    const asked = open.query('SELECT pg_sleep(1), 42')
    process.kill(cluster.program.pid, 'SIGTERM')
    assert.equal((await asked)[0]?.rows[0]?.[1], '42')
    open.close()
    const { code } = await cluster.program.exit
    assert.equal(code, 0, cluster.program.output().slice(-2000))
    assert.deepEqual(pids.filter(alive), [])
  })
})

const ROLES: readonly Role[] = ['signer', 'control', 'proxy', 'agent']

function uidOf(event: Readonly<Record<string, unknown>>): string {
  return String(event['uid'])
}

async function poll(
  condition: () => boolean | Promise<boolean>,
  deadlineMs: number,
  what: string,
): Promise<void> {
  const endMs = performance.now() + deadlineMs
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `${deadlineMs} ms passed: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
