// Which sessions count as told by one side only: in both modes, with hosts that are away, with refusals, at the bounds.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../clock.ts'
import type { SystemRole } from '../identity.ts'
import { max } from '../limits.ts'
import { type Half, halfOf, Pairing } from './pairing.ts'

type Fields = Readonly<Record<string, unknown>>

const PROXY = { id: 'proxy-1', role: 'proxy' } as const
const AGENT = { id: 'agent-1', role: 'agent' } as const
const GRACE = max('pairGraceMs')

function event(code: string, name: string, fields: Fields = {}): Fields {
  return { event: name, code, sid: 's1', time: '2026-11-20T10:00:00.000Z', ...fields }
}

const relayed = event('SLR001I', 'session.relay', { target_name: 'orders', agent_id: 'agent-1' })
const started = event('TDB00I', 'db.session.start', { proxy_id: 'proxy-1', db_service: 'orders' })
const denied = event('TDB00W', 'db.session.start', { proxy_id: 'proxy-1', db_service: 'orders' })
const terminated = event('TDB00I', 'db.session.start', { db_service: 'orders' })
const queried = event('TDB02I', 'db.session.query', { db_service: 'orders' })
const ended = (bytes: number): Fields =>
  event('TDB01I', 'db.session.end', { db_service: 'orders', bytes_from_target: bytes })
const forwarded = event('SLR003I', 'session.forward', { forwarded_by: 'proxy-1' })
const refused = event('SLR003W', 'session.forward', { forwarded_by: 'proxy-1' })

type Told = readonly [{ readonly id: string; readonly role: SystemRole }, Fields]

class Scene {
  readonly clock = new FakeClock()
  readonly pairing = new Pairing(this.clock)

  constructor(...told: readonly Told[]) {
    this.tell(...told)
  }

  tell(...told: readonly Told[]): void {
    for (const [emitter, fields] of told) {
      const half = halfOf(fields, emitter)
      if (half !== undefined) this.pairing.heard(half)
    }
  }

  /** What is reported now, as `teller lacks whom`. */
  due(steady: (half: Half) => boolean = () => true): readonly string[] {
    return this.pairing.due(steady).map((found) => {
      this.pairing.settle(found)
      return `${found.half.teller} ${found.half.sid} lacks ${found.half.lacking || `an agent of ${found.half.target}`}`
    })
  }

  after(ms: number): readonly string[] {
    this.clock.advance(ms)
    return this.due()
  }
}

describe('sessions that both sides told of', () => {
  const pairs: Readonly<Record<string, readonly Told[]>> = {
    'relayed and begun': [
      [PROXY, relayed],
      [AGENT, started],
    ],
    'relayed and denied': [
      [PROXY, relayed],
      [AGENT, denied],
    ],
    'terminated and let in': [
      [PROXY, terminated],
      [AGENT, forwarded],
      [PROXY, queried],
      [PROXY, ended(9)],
    ],
    'terminated and refused by the agent': [
      [PROXY, terminated],
      [AGENT, refused],
      [PROXY, ended(0)],
    ],
    'denied by the proxy, which asked the agent all the same': [
      [PROXY, denied],
      [AGENT, refused],
    ],
    'terminated, and told late by the agent': [
      [PROXY, terminated],
      [PROXY, ended(0)],
      [AGENT, forwarded],
    ],
  }
  for (const [what, told] of Object.entries(pairs))
    it(`leave nothing behind: ${what}`, () => {
      const scene = new Scene(...told)
      assert.equal(scene.pairing.size, 0)
      assert.deepEqual(scene.after(2 * GRACE), [])
      const [first, second, ...rest] = told
      assert.ok(first !== undefined && second !== undefined)
      if (second[0].role === 'proxy') return
      const reversed = new Scene(second, first, ...rest)
      assert.equal(reversed.pairing.size, 0)
      assert.deepEqual(reversed.after(2 * GRACE), [])
    })
})

describe('a session that one side told of', () => {
  it('is reported after the grace, once', () => {
    for (const [told, report] of [
      [[PROXY, relayed], 'proxy-1 s1 lacks agent-1'],
      [[AGENT, started], 'agent-1 s1 lacks proxy-1'],
      [[AGENT, denied], 'agent-1 s1 lacks proxy-1'],
      [[AGENT, forwarded], 'agent-1 s1 lacks proxy-1'],
      [[AGENT, refused], 'agent-1 s1 lacks proxy-1'],
    ] as const) {
      const scene = new Scene(told)
      assert.deepEqual(scene.after(GRACE - 1), [])
      assert.deepEqual(scene.after(1), [report])
      assert.deepEqual(scene.after(10 * GRACE), [])
    }
  })

  it('is none that never reached the agent: a proxy’s own denial, a dial that failed', () => {
    for (const told of [
      [[PROXY, denied]],
      [
        [PROXY, terminated],
        [PROXY, ended(0)],
      ],
    ] as const) {
      const scene = new Scene(...told)
      assert.deepEqual(scene.after(GRACE), [])
      assert.equal(scene.pairing.size, 0)
    }
  })

  it('is one that reached the agent, as a statement or bytes of the target show', () => {
    for (const proof of [queried, ended(1)]) {
      const scene = new Scene([PROXY, terminated])
      assert.deepEqual(scene.after(3 * GRACE), [], 'nothing shows it yet')
      scene.tell([PROXY, proof])
      assert.deepEqual(scene.after(GRACE - 1), [])
      assert.deepEqual(scene.after(1), ['proxy-1 s1 lacks an agent of orders'])
    }
  })

  it('waits for a host that is away, as long as a day', () => {
    const scene = new Scene([PROXY, relayed])
    const away = (): boolean => false
    for (let ms = 0; ms < max('pairKeepMs') - GRACE; ms += GRACE) {
      scene.clock.advance(GRACE)
      assert.deepEqual(scene.due(away), [])
    }
    scene.tell([AGENT, started])
    assert.equal(scene.pairing.size, 0)
    scene.tell([PROXY, { ...relayed, sid: 's2' }])
    scene.clock.advance(max('pairKeepMs'))
    assert.deepEqual(scene.due(away), ['proxy-1 s2 lacks agent-1'])
  })

  it('has its whole grace again when the host came back', () => {
    const scene = new Scene([PROXY, relayed])
    scene.clock.advance(GRACE)
    assert.deepEqual(
      scene.due(() => false),
      [],
    )
    assert.deepEqual(scene.after(GRACE - 1), [])
    assert.deepEqual(scene.after(1), ['proxy-1 s1 lacks agent-1'])
  })

  it('is not settled by another agent’s or proxy’s word, or by the other mode’s', () => {
    const scene = new Scene(
      [PROXY, relayed],
      [{ id: 'agent-2', role: 'agent' }, started],
      [{ id: 'proxy-2', role: 'proxy' }, relayed],
      [AGENT, { ...started, proxy_id: 'proxy-3' }],
      [AGENT, forwarded],
    )
    assert.equal(scene.after(GRACE).length, 5)
  })

  it('that was paired while it was looked into is not reported', () => {
    const scene = new Scene([PROXY, relayed])
    scene.clock.advance(GRACE)
    const [found] = scene.pairing.due(() => true)
    assert.ok(found !== undefined)
    scene.tell([AGENT, started])
    assert.equal(scene.pairing.settle(found), false)
  })
})

describe('the memory of half-told sessions', () => {
  it('is bounded; what has no room is counted and told once', () => {
    const scene = new Scene()
    const most = max('pairsWaitingMax')
    for (let n = 0; n < most + 3; n++) scene.tell([PROXY, { ...relayed, sid: `s${n}` }])
    assert.deepEqual(
      [scene.pairing.size, scene.pairing.takeLost(), scene.pairing.takeLost()],
      [most, 3, 0],
    )
    scene.tell([AGENT, { ...started, sid: 's0' }], [PROXY, { ...relayed, sid: 'late' }])
    assert.deepEqual([scene.pairing.size, scene.pairing.takeLost()], [most, 0])
  })

  it('is empty of sessions that nothing ever proved, after a day', () => {
    const scene = new Scene([PROXY, terminated])
    scene.clock.advance(max('pairKeepMs'))
    assert.deepEqual(scene.due(), [])
    assert.equal(scene.pairing.size, 0)
  })

  it('takes no statement or end for a session it does not know, and no event without a session', () => {
    const scene = new Scene(
      [PROXY, queried],
      [PROXY, ended(5)],
      [PROXY, event('TDB06I', 'db.session.malformed_packet')],
      [AGENT, queried],
      [AGENT, event('TDB00W', 'db.session.start')],
      [PROXY, { ...relayed, sid: 7 }],
      [{ id: 'c', role: 'control' }, relayed],
    )
    assert.equal(scene.pairing.size, 0)
  })
})
