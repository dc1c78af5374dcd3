// The two sides of sessions as control compares them: over the real log, a start of control in between, hosts that come and go.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type ChainPosition, genesis, nextLine } from '../core/audit/chain.ts'
import { auditEvent, type EventFields } from '../core/audit/event.ts'
import { canonicalJson } from '../core/cert/canonical.ts'
import type { FakeClock } from '../core/clock.ts'
import type { SystemIdentity, SystemRole } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { type LogFixture, newLogFolder } from './audit/log.fixture.ts'
import type { AuditLog } from './audit.ts'
import { Presence } from './presence.ts'
import { SessionSides } from './session-sides.ts'

const GRACE = max('pairGraceMs')
const MINUTE = 60_000

/** A host with a chain of its own. */
class Host {
  readonly identity: SystemIdentity
  #position: ChainPosition

  constructor(id: string, role: SystemRole) {
    this.identity = { type: 'system', role, id, cluster: 'c', services: [], generation: 1 }
    this.#position = genesis(`${id}/1`)
  }

  async tell(scene: Scene, name: string, code: string, fields: EventFields): Promise<void> {
    const origin = { uid: 'u', timeMs: scene.clock.now(), cluster: 'c' }
    const { line, position } = nextLine(
      this.#position,
      canonicalJson({ ...auditEvent(name, code, fields, origin) }),
    )
    this.#position = position
    await scene.log.ingest(this.identity, [line])
  }
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

interface Scene {
  readonly clock: FakeClock
  log: AuditLog
  readonly presence: Presence
  readonly proxy: Host
  readonly agent: Host
  relayed(sid: string, agent?: string): Promise<void>
  started(sid: string): Promise<void>
  /** Minutes in which these hosts call and control looks. */
  minutes(count: number, ...hosts: readonly Host[]): Promise<void>
  restart(): Promise<void>
  reports(): Promise<readonly string[]>
}

async function newScene(fixture?: LogFixture): Promise<Scene> {
  const folder = fixture ?? (await newLogFolder())
  const { clock } = folder
  const presence = new Presence(clock)
  const proxy = new Host('proxy-1', 'proxy')
  const agent = new Host('agent-1', 'agent')
  const log = await folder.open()
  let sides = sidesOf(log)
  function sidesOf(audit: AuditLog): SessionSides {
    const cache = { target: () => undefined }
    return new SessionSides({ audit, presence, cache, clock, log: silentLogger })
  }
  const scene: Scene = {
    clock,
    log,
    presence,
    proxy,
    agent,
    relayed: (sid, agentId = 'agent-1') =>
      proxy.tell(scene, 'session.relay', 'SLR001I', {
        sid,
        agent_id: agentId,
        target_name: 'orders',
      }),
    started: (sid) =>
      agent.tell(scene, 'db.session.start', 'TDB00I', {
        sid,
        server_id: 'agent-1',
        proxy_id: 'proxy-1',
      }),
    async minutes(count, ...hosts) {
      for (let left = count; left > 0; left--) {
        clock.advance(MINUTE)
        for (const { identity } of hosts) presence.heard(identity.id)
        await sides.check()
      }
    },
    async restart() {
      scene.log = await folder.open()
      sides = sidesOf(scene.log)
    },
    async reports() {
      const { items } = await scene.log.query({ types: ['SLA005W'] })
      return items.map(({ emitter_id: by, sid }) => `${text(by)} ${text(sid)}`).reverse()
    },
  }
  return scene
}

describe('a session that one side told of', () => {
  it('is in the log when the other host was there all the while', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.minutes(6, proxy, agent)
    await scene.relayed('seen')
    await scene.relayed('hidden')
    await scene.started('seen')
    await scene.started('invented')
    await scene.minutes(4, proxy, agent)
    assert.deepEqual(await scene.reports(), [])
    await scene.minutes(3, proxy, agent)
    assert.deepEqual(await scene.reports(), ['proxy-1 hidden', 'agent-1 invented'])
    const { items } = await scene.log.query({ types: ['SLA005W'], limit: 1 })
    const { lacking, lacking_role: role, claimed_code: code, since } = items[0] ?? {}
    const told = new Date(scene.clock.now() - 7 * MINUTE).toISOString()
    assert.deepEqual([lacking, role, code, since], ['proxy-1', 'proxy', 'TDB00I', told])
    await scene.minutes(20, proxy, agent)
    assert.equal((await scene.reports()).length, 2)
  })

  it('waits while the other host is away, and for its spool when it came back', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    await scene.minutes(30, proxy)
    await scene.minutes(3, proxy, agent)
    await scene.started('s')
    await scene.minutes(10, proxy, agent)
    assert.deepEqual(await scene.reports(), [])
  })

  it('is not one of which both told, though one told twice', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    await scene.started('s')
    await scene.relayed('s')
    await scene.minutes(20, proxy, agent)
    assert.deepEqual(await scene.reports(), [])
  })

  it('is one whose second half was refused: an event in another’s name counts for nothing', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    const forged = { sid: 's', server_id: 'agent-2', proxy_id: 'proxy-1' }
    await agent.tell(scene, 'db.session.start', 'TDB00I', forged)
    await scene.minutes(15, proxy, agent)
    assert.deepEqual(await scene.reports(), ['proxy-1 s'])
  })
})

describe('a start of control between the two sides', () => {
  it('makes no session a half-told one', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    await scene.minutes(1, proxy, agent)
    await scene.restart()
    await scene.started('s')
    await scene.minutes(15, proxy, agent)
    assert.deepEqual(await scene.reports(), [])
  })

  it('nor one whose first half was long ago', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    await scene.minutes(4, proxy)
    await scene.restart()
    scene.clock.advance(GRACE)
    await scene.restart()
    await scene.started('s')
    await scene.minutes(15, proxy, agent)
    assert.deepEqual(await scene.reports(), [])
  })

  it('forgets none that is half told', async () => {
    const scene = await newScene()
    const { proxy, agent } = scene
    await scene.relayed('s')
    await scene.minutes(2, proxy, agent)
    await scene.restart()
    await scene.minutes(15, proxy, agent)
    assert.deepEqual(await scene.reports(), ['proxy-1 s'])
    await scene.restart()
    await scene.minutes(15, proxy, agent)
    assert.deepEqual(await scene.reports(), ['proxy-1 s'])
  })
})

describe('too many sessions', () => {
  it('are counted in the log, once', async () => {
    const scene = await newScene()
    const told: { code: string; lost: unknown }[] = []
    let heard: Parameters<AuditLog['onTaken']>[0] = () => {}
    const audit = {
      onTaken: (listener: typeof heard) => void (heard = listener),
      async *halves() {},
      emit: (_name: string, code: string, fields: EventFields) =>
        Promise.resolve(void told.push({ code, lost: fields['lost'] })),
    }
    const cache = { target: () => undefined }
    const { clock, presence, proxy } = scene
    const sides = new SessionSides({ audit, presence, cache, clock, log: silentLogger })
    const origin = { uid: 'u', timeMs: clock.now(), cluster: 'c' }
    const events = Array.from({ length: max('pairsWaitingMax') + 2 }, (_, n) =>
      auditEvent('session.relay', 'SLR001I', { sid: `s${n}`, agent_id: 'a' }, origin),
    )
    heard(proxy.identity, events)
    assert.equal(sides.waiting, max('pairsWaitingMax'))
    await sides.check()
    await sides.check()
    assert.deepEqual(told, [{ code: 'SLA006W', lost: 2 }])
  })
})
