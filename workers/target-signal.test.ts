// What a target sees of signals: its own key on a connection of its own, one at a time, none after the session's end.

import assert from 'node:assert/strict'
import net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { postgres } from '../protocols/postgres/index.ts'
import { request } from '../test/fake/postgres-bytes.ts'
import { listen, readAll, readBytes } from '../test/fixtures/net.ts'
import { testRight } from '../test/fixtures/rights.ts'
import { until } from '../test/fixtures/sockets.ts'
import { loginOf } from '../test/scripts/postgres.ts'
import { type SignalOutcome, TargetSignal, type TargetSignalOptions } from './target-signal.ts'
import { FakeTimers } from './timers.ts'

const REAL = Uint8Array.from([0, 0, 4, 210, 9, 8, 7, 6])
const CANCEL = request(80877102, REAL)

interface Rig {
  readonly signal: TargetSignal
  readonly timers: FakeTimers
  readonly told: SignalOutcome[]
  /** Connections of the target, in their order; none is answered. */
  readonly connections: net.Socket[]
}

async function rig(context: TestContext, over: Partial<TargetSignalOptions> = {}): Promise<Rig> {
  const [told, connections, timers]: [SignalOutcome[], net.Socket[], FakeTimers] = [
    [],
    [],
    new FakeTimers(),
  ]
  const right = testRight({ nowMs: Date.now() })
  const { port } = await listen(context, (socket) => void connections.push(socket))
  const signal = new TargetSignal({
    protocol: postgres,
    right,
    real: REAL,
    clock: timers.clock,
    timers,
    log: silentLogger,
    dial: () => {
      const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      socket.on('error', () => {})
      return Promise.resolve({ socket, login: { ...loginOf(new Uint8Array(0), 'off'), right } })
    },
    told: (outcome) => told.push(outcome),
    ...over,
  })
  context.after(() => signal.end())
  return { signal, timers, told, connections }
}

describe('a signal at the target', () => {
  it('is the server’s own key on a connection of its own, which is over when the server hangs up', async (context) => {
    const { signal, told, connections, timers } = await rig(context)
    signal.tell('192.0.2.7:1')
    await until(() => connections.length === 1, 'connection 1')
    const [socket] = connections
    assert.ok(socket)
    assert.deepEqual(await readBytes(socket, CANCEL.length), CANCEL)
    assert.deepEqual(told, [])
    socket.end()
    assert.equal((await readAll(socket)).length, 0)
    await until(() => told.length === 1, 'outcome 1')
    assert.deepEqual(told, [{ cancelled_from: '192.0.2.7:1', count: 1, success: true }])
    assert.equal(timers.size, 0)
  })

  it('runs once at a time; more that come meanwhile become one more', async (context) => {
    const { signal, told, connections } = await rig(context)
    for (let i = 0; i < 50; i++) signal.tell(`from ${i}`)
    await until(() => connections.length === 1, 'connection 1')
    connections[0]?.resume().end()
    await until(() => connections.length === 2, 'connection 2')
    assert.equal(told.length, 1)
    connections[1]?.resume().end()
    await until(() => told.length === 2, 'outcome 2')
    assert.equal(connections.length, 2)
    assert.equal(told[0]?.count, 50)
  })

  it('is given up at its deadline, and when the session ends', async (context) => {
    const { signal, told, connections, timers } = await rig(context)
    signal.tell('a')
    await until(() => connections.length === 1, 'connection 1')
    timers.advance(max('signalDeadlineMs'))
    await until(() => told.length === 1, 'outcome 1')
    assert.equal(told[0]?.success, false)
    signal.tell('b')
    await until(() => connections.length === 2, 'connection 2')
    signal.end()
    await until(() => told.length === 2, 'outcome 2')
    signal.tell('c')
    assert.equal(connections.length, 2)
    assert.equal(timers.size, 0)
  })

  it('a target that cannot be reached is told of in the outcome, and the next signal is tried', async (context) => {
    const dial = (): Promise<never> => Promise.reject(new Error('no route'))
    const { signal, told } = await rig(context, { dial })
    signal.tell('a')
    await until(() => told.length === 1, 'outcome 1')
    assert.match(told[0]?.error ?? '', /no route/)
    signal.tell('a')
    await until(() => told.length === 2, 'outcome 2')
  })

  it('hostile server: one that talks instead of hanging up is left', async (context) => {
    const { signal, told, connections } = await rig(context)
    signal.tell('a')
    await until(() => connections.length === 1, 'connection 1')
    connections[0]?.write('E')
    await until(() => told.length === 1, 'outcome 1')
    assert.match(told[0]?.error ?? '', /answered a cancel request/)
  })

  it('makes a bounded number of events in a minute, and counts the rest', async (context) => {
    const dial = (): Promise<never> => Promise.reject(new Error('no route'))
    const { signal, told, timers } = await rig(context, { dial })
    let dialled = 0
    const turn = async (): Promise<void> => {
      dialled++
      signal.tell('a')
      await new Promise((resolve) => setImmediate(resolve))
    }
    while (dialled < 3 * max('signalEventsMax')) await turn()
    assert.equal(told.length, max('signalEventsMax'))
    timers.clock.advance(60_000)
    await turn()
    assert.equal(told.length, max('signalEventsMax') + 1)
    assert.equal(told.at(-1)?.count, 2 * max('signalEventsMax') + 1)
  })
})
