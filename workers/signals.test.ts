// Signals between a proxy's main thread and agents' main threads, over links that are written down: who is asked, who is not, and that
// every question ends.

import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'

import { max } from '../core/limits.ts'
import type { ToAgentWorker } from '../core/messages.ts'
import type { LinkFrame } from '../core/tunnel/link.ts'
import { isHandleOf, signalHandle } from '../core/tunnel/signal.ts'
import { FakeThread } from '../test/fixtures/threads.ts'
import { AgentSignals } from './agent-signals.ts'
import { Ledger } from './ledger.ts'
import type { LinkedAgent, ProxyLinks } from './proxy-links.ts'
import { ProxySignals } from './proxy-signals.ts'
import { SignalSessions } from './signal-sessions.ts'
import { FakeTimers } from './timers.ts'

const PROXY = 'proxy-1'
const ADDRESS = 'proxy.test:443'
const SOURCE = { address: '192.0.2.7', port: 4711 }

/** A worker thread of an agent: answers at once from the sessions it has. */
class Worker extends FakeThread<ToAgentWorker> {
  readonly sessions: SignalSessions
  readonly told: string[] = []
  agent: AgentSignals | undefined
  silent = false

  constructor(context: TestContext, id: number, timers: FakeTimers) {
    super(context, id)
    this.sessions = new SignalSessions(timers.clock)
  }

  override post(message: ToAgentWorker): boolean {
    super.post(message)
    if (message.kind !== 'signal' || this.silent) return true
    const hit = this.sessions.signal(message.key, message)
    this.agent?.answered(this, { kind: 'signal-answer', id: message.id, hit })
    return true
  }

  session(handle: number, secret: number): Uint8Array {
    const key = Buffer.alloc(8, secret)
    key.writeUInt32BE(handle, 0)
    this.sessions.add(key, ({ address, port }) => this.told.push(`${address}:${port}`))
    return key
  }
}

interface World {
  readonly timers: FakeTimers
  readonly proxy: ProxySignals
  readonly agents: ReadonlyMap<
    string,
    { readonly signals: AgentSignals; readonly workers: Worker[] }
  >
  readonly frames: { readonly to: string; readonly frame: LinkFrame }[]
  readonly audited: string[]
  readonly ledgers: readonly Ledger[]
  worker(agentId: string, index?: number): Worker
  settled(): Promise<void>
}

/** One proxy and two agents of two threads each. */
function world(context: TestContext): World {
  const timers = new FakeTimers()
  const [frames, audited, ledgers]: [World['frames'], string[], Ledger[]] = [[], [], []]
  const audit = (_name: string, code: string, fields: object): void =>
    void audited.push(`${code} ${String(Object.values(fields)[0])}`)
  const ledger = (): Ledger => {
    const made = new Ledger()
    ledgers.push(made)
    return made
  }
  const agents = new Map<string, { signals: AgentSignals; workers: Worker[] }>()
  const proxy = new ProxySignals({
    proxyId: PROXY,
    clock: timers.clock,
    timers,
    ledger: ledger(),
    links: linksOf(agents, frames),
    audit,
  })
  for (const agentId of ['agent-1', 'agent-2']) {
    const workers = [1, 2].map((id) => new Worker(context, id, timers))
    const signals = new AgentSignals({
      clock: timers.clock,
      timers,
      ledger: ledger(),
      threads: () => workers,
      links: () => ({
        proxiesOf: (handle) => (isHandleOf(handle, PROXY) ? [ADDRESS] : []),
        send(_address, frame) {
          frames.push({ to: PROXY, frame })
          proxy.fromAgent(agentId, frame)
          return true
        },
      }),
      audit,
    })
    for (const worker of workers) worker.agent = signals
    agents.set(agentId, { signals, workers })
  }
  return {
    timers,
    proxy,
    agents,
    frames,
    audited,
    ledgers,
    worker(agentId, index = 0) {
      const worker = agents.get(agentId)?.workers[index]
      assert.ok(worker)
      return worker
    },
    async settled() {
      for (let i = 0; i < 20; i++) await Promise.resolve()
      for (const each of ledgers) assert.equal(each.counts()['signals'], 0)
    },
  }
}

/** The proxy's links: what it sends is heard at once. */
function linksOf(
  agents: ReadonlyMap<string, { readonly signals: AgentSignals }>,
  frames: World['frames'],
): Pick<ProxyLinks, 'agents' | 'get' | 'send'> {
  return {
    get agents() {
      return [...agents.keys()].map((agentId) => ({ agentId }) as LinkedAgent)
    },
    get: (agentId) => (agents.has(agentId) ? ({ agentId } as LinkedAgent) : undefined),
    send(to, frame) {
      frames.push({ to, frame })
      agents.get(to)?.signals.fromProxy(ADDRESS, frame)
    },
  }
}

function asked(it: World): readonly string[] {
  return it.frames.flatMap(({ to, frame }) => (frame.type === 'signal' ? [to] : []))
}

describe('a signal', () => {
  it('for a live slot goes to that session’s agent and no other, and its session is told', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-2' })
    const key = it.worker('agent-2', 1).session(handle, 1)
    it.proxy.heard(key, SOURCE)
    await it.settled()
    assert.deepEqual(asked(it), ['agent-2'])
    assert.deepEqual(it.worker('agent-2', 1).told, ['192.0.2.7:4711'])
  })

  it('for a handle of another proxy, or of no live slot, is put to every agent', async (context) => {
    const it = world(context)
    const foreign = signalHandle('another-proxy', 7)
    it.proxy.heard(it.worker('agent-1').session(foreign, 1), SOURCE)
    it.proxy.heard(it.worker('agent-2').session(signalHandle(PROXY, 9), 1), SOURCE)
    await it.settled()
    assert.deepEqual(asked(it), ['agent-1', 'agent-2', 'agent-1', 'agent-2'])
    assert.equal(it.worker('agent-1').told.length, 1)
    assert.equal(it.worker('agent-2').told.length, 1)
  })

  it('of no form is put to nobody', async (context) => {
    const it = world(context)
    for (const length of [0, 7, 261]) it.proxy.heard(Buffer.alloc(length, 1), SOURCE)
    await it.settled()
    assert.deepEqual(asked(it), [])
  })

  it('for a session that a worker of the proxy holds goes to that thread, and from it to the agent', async (context) => {
    const it = world(context)
    const thread = new FakeThread<never>(context, 5)
    const handle = it.proxy.slots.take({ kind: 'thread', thread })
    const key = Buffer.alloc(8, 1)
    key.writeUInt32BE(handle, 0)
    it.proxy.heard(key, SOURCE)
    const [message] = thread.posted as unknown as { kind: string; id: number }[]
    assert.equal(message?.kind, 'signal')
    it.proxy.fromWorker(thread, { kind: 'signal-answer', id: message.id, hit: true })
    const own = it.worker('agent-1').session(handle, 9)
    const onward = { kind: 'signal-agent', agentId: 'agent-1', key: own, ...SOURCE } as const
    it.proxy.fromWorker(thread, onward)
    await it.settled()
    assert.equal(it.worker('agent-1').told.length, 1)
  })

  it('inside TLS is found among the agent’s own threads, without a word to the proxy', async (context) => {
    const it = world(context)
    const key = it.worker('agent-1', 1).session(signalHandle(PROXY, 3), 1)
    it.agents.get('agent-1')?.signals.fromThread({ kind: 'signal', key, ...SOURCE })
    await it.settled()
    assert.equal(it.worker('agent-1', 1).told.length, 1)
    assert.deepEqual(it.frames, [])
  })

  it('inside TLS that ended at another agent of the database finds its session by way of the proxy', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-2' })
    const key = it.worker('agent-2').session(handle, 1)
    it.agents.get('agent-1')?.signals.fromThread({ kind: 'signal', key, ...SOURCE })
    await it.settled()
    assert.deepEqual(asked(it), [PROXY, 'agent-2'])
    assert.deepEqual(it.worker('agent-2').told, ['192.0.2.7:4711'])
  })

  it('that an agent brings for no live slot is not put to others: an agent cannot make a proxy ask around', async (context) => {
    const it = world(context)
    const key = Buffer.alloc(8, 1)
    key.writeUInt32BE(signalHandle(PROXY, 5), 0)
    it.proxy.fromAgent('agent-1', { type: 'signal', id: 3, key, ...SOURCE })
    await it.settled()
    assert.deepEqual(asked(it), [])
    assert.deepEqual(it.frames, [
      { to: 'agent-1', frame: { type: 'signal-answer', id: 3, hit: false } },
    ])
  })

  it('hostile agent: what floods in from one is soon answered without a look', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-2' })
    const right = it.worker('agent-2').session(handle, 1)
    for (let i = 0; i < 1000; i++) {
      const key = Buffer.alloc(8, 2)
      key.writeUInt32BE(signalHandle(PROXY, 1000 + i), 0)
      it.proxy.fromAgent('agent-1', { type: 'signal', id: i, key, ...SOURCE })
    }
    it.proxy.fromAgent('agent-1', { type: 'signal', id: 1000, key: right, ...SOURCE })
    await it.settled()
    assert.deepEqual(asked(it), [])
    assert.deepEqual(it.audited, ['SLR005W agent agent-1'])
  })

  it('hostile agent: an answer to a question that was put to another does not count', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-2' })
    for (const worker of it.agents.get('agent-2')?.workers ?? []) worker.silent = true
    const key = Buffer.alloc(8, 1)
    key.writeUInt32BE(handle, 0)
    for (let i = 1; i <= 20; i++) {
      it.proxy.heard(key, SOURCE)
      it.proxy.fromAgent('agent-1', { type: 'signal-answer', id: i, hit: true })
    }
    // The session's bound holds: three are on their way, and none is thought to have hit.
    assert.equal(asked(it).length, max('signalWrongPerSlotMax'))
    it.timers.advance(max('signalDeadlineMs'))
    await it.settled()
  })

  it('cancel brute force: tries of one source and at one session are bounded, whatever comes at once', async (context) => {
    const it = world(context)
    const handles = Array.from({ length: 50 }, () =>
      it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-1' }),
    )
    const guess = (handle: number, address: string): void => {
      const key = Buffer.alloc(8, 3)
      key.writeUInt32BE(handle, 0)
      it.proxy.heard(key, { address, port: 1 })
    }
    for (const handle of handles) guess(handle, '192.0.2.9')
    await it.settled()
    assert.equal(asked(it).length, max('signalWrongPerSourceMax'))
    assert.deepEqual(it.audited, ['SLR005W 192.0.2.9'])
    it.frames.length = 0
    for (let i = 0; i < 100; i++) guess(handles[49] ?? 0, `198.51.100.${i}`)
    await it.settled()
    assert.equal(asked(it).length, max('signalWrongPerSlotMax'))
  })

  it('cancel brute force: addresses of one IPv6 network are one source', async (context) => {
    const it = world(context)
    for (let i = 0; i < 50; i++)
      it.proxy.heard(Buffer.alloc(8, 9), { address: `2001:db8::${i}`, port: 1 })
    await it.settled()
    assert.equal(asked(it).length, 2 * max('signalWrongPerSourceMax'))
  })

  it('cancel brute force: from any number of sources, links carry a bounded number of questions', async (context) => {
    const it = world(context)
    for (let i = 0; i < 3 * max('signalBroadcastsMax'); i++)
      it.proxy.heard(Buffer.alloc(8, 9), { address: `10.0.${i >> 8}.${i & 255}`, port: 1 })
    await it.settled()
    assert.equal(asked(it).length, 2 * max('signalBroadcastsMax'))
  })

  it('ends within its deadline when an agent or a thread says nothing', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'agent-1' })
    const key = it.worker('agent-1').session(handle, 1)
    it.worker('agent-1').silent = true
    it.proxy.heard(key, SOURCE)
    await Promise.resolve()
    assert.ok(it.ledgers.some((each) => each.counts()['signals'] === 1))
    it.timers.advance(max('signalDeadlineMs'))
    await it.settled()
    assert.equal(it.timers.size, 0)
  })

  it('for an agent that is not linked is over at once', async (context) => {
    const it = world(context)
    const handle = it.proxy.slots.take({ kind: 'agent', agentId: () => 'gone' })
    const key = Buffer.alloc(8, 1)
    key.writeUInt32BE(handle, 0)
    it.proxy.heard(key, SOURCE)
    await it.settled()
    assert.deepEqual(asked(it), [])
  })
})
