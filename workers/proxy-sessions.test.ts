// From a server name to an agent's spare in a worker's hands: who gets that far, who is told why not, and what is left afterwards.
// The worker is written down only; links and spares are real.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { buildInventory, Inventory } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { FromProxyWorker, ToProxyWorker } from '../core/messages.ts'
import type { Lock } from '../core/policy/role.ts'
import type { LockSet } from '../core/snapshot.ts'
import { readPreface } from '../core/tunnel/spare.ts'
import { mintTicket, serverName, ticketRest, type TicketKey } from '../core/tunnel/ticket.ts'
import { readAll } from '../test/fixtures/net.ts'
import { ORDERS } from '../test/fixtures/rights.ts'
import { ending, pair, until } from '../test/fixtures/sockets.ts'
import { FakeThread } from '../test/fixtures/threads.ts'
import { release } from './handover.ts'
import { Ledger } from './ledger.ts'
import type { Pool } from './pool.ts'
import { ProxyLinks } from './proxy-links.ts'
import { ProxySessions } from './proxy-sessions.ts'
import { SignalSlots } from './signal-slots.ts'

const CLUSTER = 'sluice.test'
const AGENT = 'agent-1'
const HOUR_MS = 3_600_000
const HELLO = Buffer.from('hello')
// TLS 1.2 record, alert: fatal, unrecognized_name (112)
const UNRECOGNIZED_NAME = [21, 3, 3, 0, 2, 2, 112]
const INTERNAL_ERROR = [21, 3, 3, 0, 2, 2, 80]
const COUNTERS = { fromClientBytes: 3, fromTargetBytes: 4 }
const CLOSED = /^(end|close|ECONNRESET)$/

interface Rig {
  readonly sessions: ProxySessions
  readonly clock: FakeClock
  readonly ledger: Ledger
  readonly links: ProxyLinks
  readonly thread: FakeThread<ToProxyWorker>
  readonly audited: string[]
  locks: readonly Lock[]
  lockRevision: number
  readonly link: () => void
  /** Parks one ordered spare; resolves with the agent's end. */
  readonly park: () => Promise<net.Socket>
  /** A client that asks for this name. */
  readonly call: (name: string) => Promise<net.Socket>
}

function start(context: TestContext): Rig {
  const [clock, ledger, thread] = [
    new FakeClock(),
    new Ledger(),
    new FakeThread<ToProxyWorker>(context),
  ]
  const audited: string[] = []
  let numbers = 0
  const links = new ProxyLinks({
    proxyId: 'proxy-1',
    clock,
    ledger,
    log: silentLogger,
    trust: () => [],
    onReplayed: () => {},
  })
  const inventory = new Inventory(buildInventory([ORDERS]), 1)
  const lockSet = (): LockSet => {
    return { revision: rig.lockRevision, locks: rig.locks, generations: {} }
  }
  const sessions = new ProxySessions({
    cluster: CLUSTER,
    clock,
    ledger,
    log: silentLogger,
    links,
    slots: new SignalSlots('proxy-1'),
    // Of the pool only the choice of a thread is used.
    workers: { least: () => thread } as unknown as Pool<ToProxyWorker, FromProxyWorker>,
    ticketKeys: () => [KEY],
    inventory: () => inventory,
    lockSet,
    newNumber: () => ++numbers,
    audit: (_name, code, fields) => audited.push(`${code} ${String(fields['agent_id'])}`),
  })
  context.after(() => {
    // Who still waits for a spare would wait on a clock that stands still. Each that ends may let another begin.
    while (sessions.size > 0)
      for (const { session } of thread.of('relay'))
        sessions.ended(session, 'the test ends', COUNTERS)
    sessions.close()
    links.close()
  })
  let presented = 0
  const rig: Rig = {
    sessions,
    clock,
    ledger,
    links,
    thread,
    audited,
    locks: [],
    lockRevision: 1,
    link: () => links.up(linkUp(), thread),
    park: () => present(context, links, thread, presented++),
    call: (name) => callAs(context, sessions, name),
  }
  return rig
}

function linkUp(): Extract<FromProxyWorker, { kind: 'link-up' }> {
  const source = { address: '127.0.0.1', port: 1, trusted: true }
  return {
    kind: 'link-up',
    agentId: AGENT,
    key: randomBytes(32),
    services: [],
    version: '1',
    source,
  }
}

/** Parks the spare of the order with this number; resolves with the agent's end. */
async function present(
  context: TestContext,
  links: ProxyLinks,
  thread: FakeThread<ToProxyWorker>,
  at: number,
): Promise<net.Socket> {
  const orders = thread
    .of('to-agent')
    .flatMap(({ frame }) => (frame.type === 'tickets' ? frame.tickets : []))
  const reading = readPreface(orders[at]?.preface ?? HELLO)
  if (reading.verdict !== 'preface') throw new Error('no spare was ordered')
  const { outer, inner } = await pair(context)
  inner.removeAllListeners('error')
  assert.equal(links.park(inner, reading.preface), true)
  return outer
}

async function callAs(
  context: TestContext,
  sessions: ProxySessions,
  name: string,
): Promise<net.Socket> {
  const { outer, inner } = await pair(context)
  const released = release(inner)
  assert.ok(released)
  sessions.open({
    handle: released.handle,
    first: HELLO,
    serverName: name,
    protocol: 'line',
    stage: '',
    source: { address: '127.0.0.1', port: outer.localPort ?? 0, trusted: true },
  })
  return outer
}

const KEY: TicketKey = { id: 3, key: randomBytes(32), notAfterMs: Number.MAX_SAFE_INTEGER }

/** The name of a target as a person's certificate has it. */
function named(clock: FakeClock, label = 'orders', ttlMs = HOUR_MS, user = 'alice'): string {
  const rest = ticketRest(label, 'db', CLUSTER)
  const expiresAtMs = clock.now() + ttlMs
  const ticket = mintTicket(KEY.key, { keyId: KEY.id, expiresAtMs, issuer: 'local', user, rest })
  return serverName(ticket, label, 'db', CLUSTER)
}

function userLock(user: string): Lock {
  return { name: 'l1', target: { user } } as Lock
}

describe('a caller', () => {
  it('without a good ticket gets the same alert as one for an unknown target', async (context) => {
    const { sessions, clock, call, thread } = start(context)
    const good = named(clock)
    const forged = `${good.startsWith('a') ? 'b' : 'a'}${good.slice(1)}`
    for (const name of [forged, named(clock, 'nosuch'), `orders.db.${CLUSTER}`, 'example.test', ''])
      assert.deepEqual([...(await readAll(await call(name)))], UNRECOGNIZED_NAME, name)
    assert.deepEqual([sessions.strangers, sessions.size, thread.posted.length], [5, 0, 0])
  })

  it('with a good ticket is given to a worker with a parked spare and its first bytes', async (context) => {
    const { sessions, clock, call, thread, link, park } = start(context)
    link()
    await park()
    await call(named(clock).toUpperCase())
    const [relay] = thread.of('relay')
    assert.equal(relay?.open.mode, 'relay')
    assert.equal(relay.open.serverName, named(clock))
    assert.deepEqual(relay.open.target, ORDERS.ref)
    assert.equal(relay.spare?.agentId, AGENT)
    assert.deepEqual([Buffer.from(relay.first), thread.load, sessions.size], [HELLO, 1, 1])
  })

  it('waits for an agent that links, and gets its first spare', async (context) => {
    const { clock, call, thread, link, park } = start(context)
    await call(named(clock))
    assert.deepEqual(
      thread.of('relay').map(({ spare }) => spare),
      [undefined],
    )
    link()
    // The supply asks for a spare first; it is parked straight into its hands.
    await until(() => thread.of('to-agent').length > 0, 'spares are ordered')
    await park()
    await until(() => thread.of('spare').length === 1, 'the spare arrives')
  })

  it('with an expired ticket or a lock is handed on to be told so, not refused in silence', async (context) => {
    const rig = start(context)
    const { clock, call, thread } = rig
    await call(named(clock, 'orders', -HOUR_MS))
    rig.locks = [userLock('mallory')]
    rig.lockRevision++
    await call(named(clock, 'orders', HOUR_MS, 'mallory'))
    await call(named(clock, 'orders', HOUR_MS, 'alice'))
    const said = thread
      .of('relay')
      .map(({ open }) => (open.mode === 'deny' ? open.denial.kind : open.mode))
    assert.deepEqual(said, ['expired', 'lock', 'relay'])
  })

  it('over the dials of one ticket waits until another was accepted', async (context) => {
    const { sessions, clock, call, thread } = start(context)
    const name = named(clock)
    const bound = max('ticketDialsUnacceptedMax')
    for (let i = 0; i <= bound; i++) await call(name)
    assert.equal(thread.of('relay').length, bound)
    sessions.accepted(first(thread).session)
    assert.equal(thread.of('relay').length, bound + 1)
  })

  it('over all that may wait is told so by the agent, and the many beyond by an alert', async (context) => {
    const { sessions, clock, call, thread } = start(context)
    const name = named(clock)
    const inside = max('ticketDialsUnacceptedMax') + max('ticketWaitingMax')
    for (let i = 0; i < inside; i++) await call(name)
    const refused = max('ticketRefusalsUnacceptedMax')
    for (let i = 0; i < refused; i++) await call(name)
    for (let i = 0; i < 5; i++)
      assert.deepEqual([...(await readAll(await call(name)))], INTERNAL_ERROR)
    const denials = thread.of('relay').filter(({ open }) => open.mode === 'deny')
    assert.equal(denials.length, refused)
    // Another person's ticket is not concerned.
    await call(named(clock, 'orders', HOUR_MS, 'bob'))
    assert.equal(thread.of('relay').at(-1)?.open.mode, 'relay')
    // An agent that took a refusal makes room for the next.
    sessions.accepted(denials[0]?.session ?? 0)
    await call(name)
    assert.equal(thread.of('relay').at(-1)?.open.mode, 'deny')
  })

  it('who waited longer than a handshake may last is let go', async (context) => {
    const { sessions, clock, call, thread } = start(context)
    const name = named(clock)
    for (let i = 0; i < max('ticketDialsUnacceptedMax'); i++) await call(name)
    const late = await call(name)
    clock.advance(max('handshakeDeadlineMs') + 1)
    sessions.accepted(first(thread).session)
    assert.match(await ending(late), CLOSED)
    assert.equal(thread.of('relay').length, max('ticketDialsUnacceptedMax'))
  })
})

describe('a session', () => {
  it('whose spare died gets one parked later; those parked before are dropped', async (context) => {
    const { sessions, clock, call, thread, link, park, links } = start(context)
    link()
    const [older] = [await park(), await park()]
    clock.advance(1)
    await call(named(clock))
    clock.advance(1)
    sessions.needSpare(first(thread).session)
    assert.match(await ending(older), CLOSED)
    assert.equal(links.pool.parked(AGENT), 0)
    await until(() => links.pool.ask(AGENT) === 0, 'a new one is ordered')
    await park()
    await until(() => thread.of('spare').length === 1, 'the new spare arrives')
    assert.notEqual(thread.of('spare')[0]?.spare.spareId, first(thread).spare?.spareId)
  })

  it('that the only agent refuses for want of the target is over at once', async (context) => {
    const { sessions, clock, call, thread, link, park } = start(context)
    link()
    await park()
    await call(named(clock))
    sessions.needSpare(first(thread).session, 'no-target')
    await until(() => thread.of('no-spare').length === 1, 'the worker is told')
  })

  it('is audited from its acceptance to its end, and leaves nothing', async (context) => {
    const { sessions, clock, call, thread, ledger, link, park, audited } = start(context)
    link()
    await park()
    await call(named(clock))
    const { session } = first(thread)
    sessions.accepted(session)
    sessions.accepted(session)
    sessions.ended(session, 'finished', COUNTERS)
    sessions.ended(session, 'finished', COUNTERS)
    assert.deepEqual(audited, [`SLR001I ${AGENT}`, `SLR002I ${AGENT}`])
    clock.advance(60_000)
    assert.deepEqual([sessions.size, thread.load, ledger.count('relayed sessions')], [0, 0, 0])
  })

  it('that no agent accepted is not audited', async (context) => {
    const { sessions, clock, call, thread, audited } = start(context)
    await call(named(clock))
    sessions.ended(first(thread).session, 'client closed', COUNTERS)
    assert.deepEqual(audited, [])
  })

  it('of a person who is locked now is cut, and no other, once the agent had a moment to say why', async (context) => {
    const rig = start(context)
    const { sessions, clock, call, thread } = rig
    for (const user of ['alice', 'mallory']) await call(named(clock, 'orders', HOUR_MS, user))
    rig.locks = [userLock('mallory')]
    rig.lockRevision++
    context.mock.timers.enable({ apis: ['setTimeout'] })
    sessions.enforceLocks()
    context.mock.timers.tick(max('lockFarewellMs') - 1)
    assert.deepEqual(thread.of('cut-sessions'), [])
    context.mock.timers.tick(1)
    const cut = thread.of('cut-sessions').flatMap((message) => message.sessions)
    assert.deepEqual(cut, [thread.of('relay')[1]?.session])
  })

  it('is not cut when the lock was lifted in that moment', async (context) => {
    const rig = start(context)
    const { sessions, clock, call, thread } = rig
    await call(named(clock, 'orders', HOUR_MS, 'mallory'))
    rig.locks = [userLock('mallory')]
    rig.lockRevision++
    context.mock.timers.enable({ apis: ['setTimeout'] })
    sessions.enforceLocks()
    rig.locks = []
    rig.lockRevision++
    context.mock.timers.tick(max('lockFarewellMs'))
    assert.deepEqual(thread.of('cut-sessions'), [])
  })

  it('ends with its worker thread', async (context) => {
    const { sessions, clock, call, thread } = start(context)
    await call(named(clock))
    sessions.lost(new FakeThread<ToProxyWorker>(context, 2))
    assert.equal(sessions.size, 1)
    sessions.lost(thread)
    assert.equal(sessions.size, 0)
  })
})

function first(thread: FakeThread<ToProxyWorker>): Extract<ToProxyWorker, { kind: 'relay' }> {
  const [relay] = thread.of('relay')
  if (relay === undefined) throw new Error('nothing was given to the worker')
  return relay
}
