// The pool of parked spares: it notices those that die, hands out those that live, and knows how many it should have.

import assert from 'node:assert/strict'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { readBytes } from '../test/fixtures/net.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { adopt, discard } from './handover.ts'
import { Ledger } from './ledger.ts'
import { SparePool, type TakenSpare } from './spares.ts'

const AGENT = 'agent-1'

interface Rig {
  readonly pool: SparePool
  readonly clock: FakeClock
  readonly ledger: Ledger
  /** Agents the pool said it lacks spares of. */
  readonly short: string[]
  /** Parks a new connection; resolves with the agent's end. */
  readonly park: (spareId?: string, agentId?: string) => Promise<net.Socket>
  readonly pass: (ms: number) => void
}

function start(context: TestContext, timers = false): Rig {
  if (timers) context.mock.timers.enable({ apis: ['setTimeout'] })
  const [clock, ledger] = [new FakeClock(), new Ledger()]
  const short: string[] = []
  const onShort = (agentId: string): void => void short.push(agentId)
  const pool = new SparePool({ clock, ledger, onShort, random: () => 0 })
  context.after(() => pool.close())
  pool.link(AGENT)
  const park = async (spareId = 's', agentId = AGENT): Promise<net.Socket> => {
    const { outer, inner } = await pair(context)
    inner.removeAllListeners('error')
    pool.park(inner, agentId, spareId)
    return outer
  }
  const pass = (ms: number): void => {
    clock.advance(ms)
    context.mock.timers.tick(ms)
  }
  return { pool, clock, ledger, short, park, pass }
}

function close(spare: TakenSpare | undefined): void {
  if (spare !== undefined) discard(spare.handle)
}

describe('parking', () => {
  it('drops a spare whose agent ends, resets, or speaks before it was opened', async (context) => {
    const { pool, park } = start(context)
    const [ends, resets, speaks] = [await park(), await park(), await park()]
    assert.equal(pool.parked(AGENT), 3)
    ends.end()
    resets.resetAndDestroy()
    speaks.write('x')
    await until(() => pool.parked(AGENT) === 0, 'all three')
    assert.deepEqual(pool.ends(), { ended: 1, error: 1, spoke: 1 })
    assert.match(await ending(speaks), /^(end|ECONNRESET)$/)
    assert.equal(pool.take(AGENT), undefined)
  })

  it('loses none of 200 dead spares, half by FIN and half by RST', async (context) => {
    const { ledger, park } = start(context)
    const before = openSockets()
    const agents = ['a', 'b', 'c', 'd']
    const outer: net.Socket[] = []
    for (const agent of agents)
      for (let i = 0; i < 50; i++) outer.push(await park(`${agent}${i}`, agent))
    assert.equal(ledger.count('spares'), 200)
    for (const [i, socket] of outer.entries())
      if (i % 2 === 0) socket.end()
      else socket.resetAndDestroy()
    await until(() => ledger.count('spares') === 0, 'the pool to be empty')
    for (const socket of outer) socket.destroy()
    await until(() => openSockets() === before, 'the descriptors')
  })

  it('keeps no more than its bound per agent', async (context) => {
    const { pool, park } = start(context)
    for (let i = 0; i < max('sparesPerAgentMax'); i++) await park(`s${i}`)
    const extra = await park('extra')
    assert.match(await ending(extra), /^(end|ECONNRESET)$/)
    assert.equal(pool.parked(AGENT), max('sparesPerAgentMax'))
    assert.equal(pool.ends()['over-limit'], 1)
  })

  it('ends a spare at its age, not before, and says that one is missing', async (context) => {
    const { pool, short, park, pass } = start(context, true)
    const socket = await park()
    const untilAgedMs = 0.75 * max('spareAgeMaxMs')
    const steps = Math.ceil(untilAgedMs / max('spareSweepMs'))
    for (let step = 1; step < steps; step++) pass(max('spareSweepMs'))
    assert.equal(pool.parked(AGENT), 1)
    short.length = 0
    pass(max('spareSweepMs'))
    assert.equal(pool.parked(AGENT), 0)
    assert.ok(short.includes(AGENT))
    assert.match(await ending(socket), /^(end|ECONNRESET)$/)
  })

  it('drops all spares of an agent whose link is gone, and forgets the agent', async (context) => {
    const { pool, ledger, park } = start(context)
    const [mine, other] = [await park(), await park('s', 'agent-2')]
    pool.unlink(AGENT)
    assert.match(await ending(mine), /^(end|ECONNRESET)$/)
    assert.deepEqual([pool.parked(AGENT), pool.parked('agent-2')], [0, 1])
    assert.equal(ledger.count('spare agents'), 1)
    assert.equal(other.destroyed, false)
  })

  it('drops what was parked before a spare that died without a sign, and keeps what came later', async (context) => {
    const { pool, clock, short, park } = start(context)
    const [old, mine] = [await park('old'), await park('mine')]
    clock.advance(1)
    const taken = pool.take(AGENT)
    assert.equal(taken?.spareId, 'mine')
    const takenAtMs = clock.monotonic()
    clock.advance(1)
    const fresh = await park('fresh')
    short.length = 0
    pool.distrust(AGENT, takenAtMs)
    assert.deepEqual([pool.parked(AGENT), pool.ends().suspect], [1, 1])
    assert.match(await ending(old), /^(end|ECONNRESET)$/)
    assert.ok(short.includes(AGENT))
    assert.deepEqual([fresh.destroyed, mine.destroyed], [false, false])
    close(taken)
  })

  it('leaves nothing behind when it closes', async (context) => {
    const { pool, ledger, park } = start(context)
    const outer = [await park(), await park()]
    const waiting = pool.want('nobody')
    pool.close()
    assert.equal(await waiting, undefined)
    for (const socket of outer) assert.match(await ending(socket), /^(end|ECONNRESET)$/)
    assert.equal(ledger.empty, true)
  })
})

describe('taking', () => {
  it('gives the newest spare, which works in both directions', async (context) => {
    const { pool, park } = start(context)
    await park('old')
    const socket = await park('new')
    const taken = pool.take(AGENT)
    assert.equal(taken?.spareId, 'new')
    const mine = adopt(taken.handle)
    mine.write('open')
    assert.equal((await readBytes(socket, 4)).toString(), 'open')
    socket.write('accept')
    assert.equal((await readBytes(mine, 6)).toString(), 'accept')
    mine.destroy()
    assert.equal(pool.parked(AGENT), 1)
  })

  it('never gives one agent’s spare for another', async (context) => {
    const { pool, park } = start(context)
    await park()
    assert.equal(pool.take('agent-2'), undefined)
  })

  it('gives a spare to who waits as soon as one is parked, first come first served', async (context) => {
    const { pool, ledger, park } = start(context)
    const waits = [pool.want(AGENT), pool.want(AGENT)]
    assert.equal(ledger.count('spare waits'), 2)
    await park('one')
    await park('two')
    const spares = await Promise.all(waits)
    assert.deepEqual(
      spares.map((spare) => spare?.spareId),
      ['one', 'two'],
    )
    assert.deepEqual([ledger.count('spare waits'), pool.parked(AGENT)], [0, 0])
    spares.forEach(close)
  })

  it('stops waiting at the deadline and on the signal', async (context) => {
    const { pool, ledger, pass } = start(context, true)
    const stop = new AbortController()
    const [late, stopped] = [pool.want(AGENT, undefined, 1000), pool.want(AGENT, stop.signal)]
    stop.abort()
    assert.equal(await stopped, undefined)
    pass(999)
    assert.equal(ledger.count('spare waits'), 1)
    pass(1)
    assert.equal(await late, undefined)
    assert.equal(await pool.want(AGENT, AbortSignal.abort()), undefined)
    assert.equal(ledger.count('spare waits'), 0)
  })

  it('lets no more wait than its bound', async (context) => {
    const { pool, ledger } = start(context)
    for (let i = 0; i < max('spareWaitingMax'); i++) void pool.want(AGENT)
    assert.equal(await pool.want(AGENT), undefined)
    assert.equal(ledger.count('spare waits'), max('spareWaitingMax'))
  })
})

describe('the number wanted', () => {
  it('is two when idle, grows with the rate of dials and shrinks again', (context) => {
    const { pool, clock } = start(context)
    assert.equal(pool.wanted(AGENT), 2)
    for (let i = 0; i < 400; i++) {
      clock.advance(50)
      pool.take(AGENT)
    }
    // Twenty a second: a refill of half a second is ten.
    assert.ok(Math.abs(pool.wanted(AGENT) - 12) <= 2, String(pool.wanted(AGENT)))
    clock.advance(10 * max('spareRateWindowMs'))
    assert.equal(pool.wanted(AGENT), 2)
  })

  it('counts those who wait, within the bound per agent', (context) => {
    const { pool } = start(context)
    for (let i = 0; i < 5; i++) void pool.want(AGENT)
    assert.ok(pool.wanted(AGENT) >= 7)
    for (let i = 0; i < 100; i++) void pool.want(AGENT)
    assert.equal(pool.wanted(AGENT), max('sparesPerAgentMax'))
  })

  it('is asked for once, less what is parked, and again when it did not come', async (context) => {
    const { pool, clock, park } = start(context)
    assert.equal(pool.ask(AGENT), 2)
    assert.equal(pool.ask(AGENT), 0)
    await park()
    assert.equal(pool.ask(AGENT), 0)
    clock.advance(max('spareAskedMs') + 1)
    assert.equal(pool.ask(AGENT), 1)
    pool.unlink(AGENT)
    assert.equal(pool.ask(AGENT), 0)
  })

  it('is reached again after spares died: the pool says that it is short', async (context) => {
    const { pool, short, park } = start(context)
    pool.ask(AGENT)
    const outer = [await park(), await park()]
    short.length = 0
    for (const socket of outer) socket.resetAndDestroy()
    await until(() => short.length >= 2, 'both deaths')
    assert.equal(pool.ask(AGENT), 2)
  })
})
