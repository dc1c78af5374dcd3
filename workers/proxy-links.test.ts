// The proxy's main thread and its agents: who is linked where, whose spares are parked, which agent serves next.

import assert from 'node:assert/strict'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { ToProxyWorker } from '../core/messages.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { LinkFrame } from '../core/tunnel/link.ts'
import { readPreface, type SparePreface } from '../core/tunnel/spare.ts'
import { ending, pair } from '../test/fixtures/sockets.ts'
import { FakeThread } from '../test/fixtures/threads.ts'
import { discard } from './handover.ts'
import { Ledger } from './ledger.ts'
import { ProxyLinks } from './proxy-links.ts'

const LOCKS: SignedMessage = {
  type: 'locks',
  body: Buffer.from('locks'),
  signature: Buffer.from('signature'),
}

type Thread = FakeThread<ToProxyWorker>

interface Rig {
  readonly links: ProxyLinks
  readonly clock: FakeClock
  readonly thread: Thread
  /** Spares whose good ticket came a second time. */
  readonly replayed: string[]
  readonly link: (agentId: string, thread?: Thread) => void
  /** Tickets ordered of an agent over this thread so far. */
  readonly tickets: (agentId: string, thread?: Thread) => readonly SparePreface[]
  /** Presents a preface on a new connection; returns the agent's end and whether it was parked. */
  readonly park: (preface: SparePreface) => Promise<{ outer: net.Socket; parked: boolean }>
}

function start(context: TestContext, proxyId = 'proxy-1'): Rig {
  const clock = new FakeClock()
  const thread: Thread = new FakeThread(context)
  const replayed: string[] = []
  const links = new ProxyLinks({
    proxyId,
    clock,
    ledger: new Ledger(),
    log: silentLogger,
    trust: () => [LOCKS],
    onReplayed: ({ spareId }) => replayed.push(spareId),
  })
  context.after(() => links.close())
  return {
    links,
    clock,
    thread,
    replayed,
    link(agentId, over = thread) {
      const source = { address: '127.0.0.1', port: 1, trusted: true }
      const key = Buffer.from(`key of ${agentId}`)
      links.up({ kind: 'link-up', agentId, key, services: ['db'], version: '1', source }, over)
    },
    tickets: (agentId, over = thread) => prefaces(frames(over, agentId)),
    async park(preface) {
      const { outer, inner } = await pair(context)
      inner.removeAllListeners('error')
      return { outer, parked: links.park(inner, preface) }
    },
  }
}

function frames(thread: Thread, agentId: string): readonly LinkFrame[] {
  return thread.of('to-agent').flatMap((each) => (each.agentId === agentId ? [each.frame] : []))
}

function prefaces(sent: readonly LinkFrame[]): readonly SparePreface[] {
  return sent
    .flatMap((frame) => (frame.type === 'tickets' ? frame.tickets : []))
    .map(({ preface }) => {
      const reading = readPreface(preface)
      assert.equal(reading.verdict, 'preface')
      if (reading.verdict !== 'preface') throw new Error('no preface')
      return reading.preface
    })
}

function first<T>(list: readonly T[]): T {
  const [one] = list
  if (one === undefined) throw new Error('the list is empty')
  return one
}

const CLOSED = /^(end|close|ECONNRESET)$/

describe('a link', () => {
  it('hears what is trusted before it is asked for spares', (context) => {
    const { link, thread, tickets } = start(context)
    link('a')
    const types = frames(thread, 'a').map(({ type }) => type)
    assert.deepEqual(types, ['signed', 'tickets'])
    assert.equal(tickets('a').length, max('sparesIdle'))
  })

  it('gives way to a newer one of the same agent, wherever that ends', async (context) => {
    const { link, links, thread, tickets, park } = start(context)
    link('a')
    const { outer } = await park(first(tickets('a')))
    const newer: Thread = new FakeThread(context, 2)
    link('a', newer)
    assert.deepEqual(
      thread.of('cut-agent').map(({ agentId }) => agentId),
      ['a'],
    )
    assert.match(await ending(outer), CLOSED)
    links.down('a', thread, 'the older one ended late')
    assert.equal(links.get('a')?.thread, newer)
    assert.equal(tickets('a', newer).length, max('sparesIdle'))
  })

  it('takes its spares along when it is lost, alone or with its thread', async (context) => {
    const { link, links, thread, tickets, park } = start(context)
    const other: Thread = new FakeThread(context, 2)
    link('a')
    link('b')
    link('c', other)
    const { outer } = await park(first(tickets('a')))
    links.lost(thread)
    assert.match(await ending(outer), CLOSED)
    assert.deepEqual(
      links.agents.map(({ agentId }) => agentId),
      ['c'],
    )
  })

  it('is cut when asked, and everybody who waits for any link is told of the next', async (context) => {
    const { link, links, thread } = start(context)
    link('a')
    links.cut('a', 'locked')
    assert.equal(first(thread.of('cut-agent')).reason, 'locked')
    const next = links.nextLink()
    link('b')
    await next
    assert.equal(links.get('a'), undefined)
  })
})

describe('a spare', () => {
  it('is parked once, lately, for a linked agent of this proxy', async (context) => {
    const { link, links, tickets, park, replayed } = start(context)
    link('a')
    const preface = first(tickets('a'))
    assert.equal((await park(preface)).parked, true)
    const again = await park(preface)
    assert.equal(again.parked, false)
    assert.match(await ending(again.outer), CLOSED)
    assert.deepEqual([links.pool.parked('a'), links.refusedSpares], [1, 1])
    assert.deepEqual(replayed, [preface.spareId])
  })

  it('is refused when its ticket is old', async (context) => {
    const { link, clock, tickets, park } = start(context)
    link('a')
    clock.advance(max('frameClockSkewMs') + 1)
    assert.equal((await park(first(tickets('a')))).parked, false)
  })

  it('is refused when its agent has no link any more', async (context) => {
    const { link, links, thread, tickets, park } = start(context)
    link('a')
    links.down('a', thread, 'gone')
    assert.equal((await park(first(tickets('a')))).parked, false)
  })

  it('is refused when another process made its ticket, under the same name too', async (context) => {
    const mine = start(context)
    for (const proxyId of ['proxy-1', 'proxy-2']) {
      const other = start(context, proxyId)
      for (const { link } of [mine, other]) link('a')
      assert.equal((await mine.park(first(other.tickets('a')))).parked, false)
    }
    assert.equal(mine.links.refusedSpares, 2)
  })

  it('is granted with the key of the link that stands', async (context) => {
    const { link, links, tickets, park } = start(context)
    link('a')
    const preface = first(tickets('a'))
    await park(preface)
    const [agent, taken] = [links.get('a'), links.pool.take('a')]
    assert.ok(agent !== undefined && taken !== undefined)
    const grant = links.grant(agent, taken)
    assert.deepEqual([grant.spareId, grant.agentId], [preface.spareId, 'a'])
    assert.equal(Buffer.from(grant.key).toString(), 'key of a')
    discard(grant.handle)
  })
})

describe('the choice of an agent', () => {
  it('falls on one with a parked spare, else on the one with the fewest sessions, never on one without link', async (context) => {
    const { link, links, tickets, park } = start(context)
    const choose = (): string | undefined => links.choose(['a', 'b', 'gone'])?.agentId
    assert.equal(choose(), undefined)
    link('a')
    link('b')
    const beat = (agentId: string, sessions: number): void =>
      links.heard(agentId, {
        type: 'heartbeat',
        unhealthy: [],
        sessions,
        idleSpares: 0,
        snapshotRevision: 1,
        lockRevision: 1,
      })
    beat('a', 5)
    beat('b', 3)
    assert.equal(choose(), 'b')
    await park(first(tickets('a')))
    assert.equal(choose(), 'a')
  })

  it('counts what was given since the last heartbeat, so that equals share', (context) => {
    const { link, links } = start(context)
    link('a')
    link('b')
    const given = Array.from({ length: 6 }, () => {
      const agentId = links.choose(['a', 'b'])?.agentId ?? ''
      links.given(agentId)
      return agentId
    })
    assert.deepEqual(given.sort(), ['a', 'a', 'a', 'b', 'b', 'b'])
    for (const agentId of ['a', 'a', 'a']) links.ended(agentId)
    assert.equal(links.choose(['a', 'b'])?.agentId, 'a')
    // Short sessions one after the other go to both, too.
    links.given('a')
    links.ended('a')
    for (const agentId of ['b', 'b', 'b']) links.ended(agentId)
    assert.equal(links.choose(['a', 'b'])?.agentId, 'b')
  })

  it('avoids one that kept silent until it is heard of, and one that drains until it links anew', (context) => {
    const { link, links, clock } = start(context)
    link('a')
    link('b')
    links.given('b')
    const choose = (): string | undefined => links.choose(['a', 'b'])?.agentId
    links.silent('a', clock.monotonic())
    assert.equal(choose(), 'b')
    links.answered('a')
    assert.equal(choose(), 'a')
    links.heard('a', { type: 'drain', reason: 'restart', deadlineMs: 1 })
    assert.equal(choose(), 'b')
    links.drains('b')
    assert.equal(choose(), undefined)
    link('a')
    assert.equal(choose(), 'a')
  })

  it('avoids one that says its target does not answer, for that target alone', (context) => {
    const { link, links } = start(context)
    link('a')
    link('b')
    links.given('b')
    const said = (unhealthy: readonly string[]): void =>
      links.heard('a', {
        type: 'heartbeat',
        unhealthy,
        sessions: 0,
        idleSpares: 0,
        snapshotRevision: 1,
        lockRevision: 1,
      })
    const choose = (name: string): string | undefined =>
      links.choose(['a', 'b'], { kind: 'db', name })?.agentId
    said(['db/orders'])
    assert.deepEqual([choose('orders'), choose('stock')], ['b', 'a'])
    said([])
    assert.equal(choose('orders'), 'a')
  })
})
