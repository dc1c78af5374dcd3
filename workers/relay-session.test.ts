// One relayed session at the proxy: the hello waits for an agent's MACed answer, is repeated when a spare dies, and nothing but
// the hello is ever repeated.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { systemClock } from '../core/clock.ts'
import { silentLogger } from '../core/log.ts'
import type { OpenRequest } from '../core/messages.ts'
import { max } from '../core/limits.ts'
import { type AgentRefusal, readOpen, writeAnswer } from '../core/tunnel/open.ts'
import { pair } from '../test/fixtures/sockets.ts'
import { release } from './handover.ts'
import { RelaySession } from './relay-session.ts'

const KEY = new Uint8Array(32).fill(7)
const HELLO = Buffer.from('the client hello')

const OPEN: OpenRequest = {
  sessionId: 'session-1',
  decisionId: '01J00000000000000000000000',
  mode: 'relay',
  protocol: 'postgres',
  stage: 'ssl',
  target: { kind: 'db', name: 'orders' },
  serverName: 'x.orders.db.test',
  client: { address: '127.0.0.1', port: 5, trusted: true },
  cancelHandle: 0,
}

class Rig {
  readonly session: RelaySession
  readonly client: net.Socket
  readonly said: string[] = []
  readonly #ended = Promise.withResolvers<string>()
  readonly #needed: (() => void)[] = []
  readonly refusals: (string | undefined)[] = []
  needs = 0

  constructor(client: net.Socket, inner: net.Socket) {
    this.client = client
    const released = release(inner)
    assert.ok(released !== undefined)
    this.session = new RelaySession({
      client: released.handle,
      first: HELLO,
      open: OPEN,
      clock: systemClock,
      log: silentLogger,
      needSpare: (refused) => {
        this.needs++
        this.refusals.push(refused)
        for (const heard of this.#needed.splice(0)) heard()
      },
      accepted: () => this.said.push('accepted'),
      badAnswer: ({ spareId }, reason) => this.said.push(`${spareId}: ${reason}`),
      ended: (reason) => {
        this.said.push('ended')
        this.#ended.resolve(reason)
      },
    })
  }

  get ended(): Promise<string> {
    return this.#ended.promise
  }

  needed(): Promise<void> {
    return new Promise((resolve) => this.#needed.push(resolve))
  }
}

/** The agent's end of a spare: what it reads, and what it answers. */
class AgentEnd {
  readonly socket: net.Socket
  readonly spareId: string
  heard: Buffer = Buffer.alloc(0)

  constructor(socket: net.Socket, spareId: string) {
    this.socket = socket
    this.spareId = spareId
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      this.heard = Buffer.concat([this.heard, chunk])
    })
  }

  /** The hello behind the open frame, once both are here. */
  async opened(): Promise<string> {
    for (;;) {
      const reading = readOpen(this.heard, { key: KEY, spareId: this.spareId, nowMs: Date.now() })
      assert.notEqual(reading.verdict, 'bad')
      if (reading.verdict === 'frame' && this.heard.length >= reading.end + HELLO.length)
        return this.heard.subarray(reading.end).toString()
      await once(this.socket, 'data')
    }
  }

  refuse(reason: AgentRefusal): void {
    const to = { spareId: this.spareId, sessionId: OPEN.sessionId }
    this.socket.write(writeAnswer(KEY, to, { kind: 'refuse', reason, text: '' }))
  }

  answer(kind: 'accept', key: Uint8Array = KEY): void {
    const to = { spareId: this.spareId, sessionId: OPEN.sessionId }
    this.socket.write(writeAnswer(key, to, { kind }))
  }
}

async function rig(context: TestContext): Promise<Rig> {
  const { outer, inner } = await pair(context)
  const made = new Rig(outer, inner)
  context.after(() => made.session.cut('end of the test'))
  return made
}

async function give(context: TestContext, to: Rig, spareId: string): Promise<AgentEnd> {
  const { outer, inner } = await pair(context)
  const end = new AgentEnd(outer, spareId)
  const released = release(inner)
  assert.ok(released !== undefined)
  to.session.use({ handle: released.handle, spareId, agentId: 'a1', key: KEY })
  return end
}

async function read(socket: net.Socket): Promise<string> {
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  return chunk.toString()
}

describe('RelaySession', () => {
  it('sends the open frame and the hello, and relays once the agent accepted', async (context) => {
    const to = await rig(context)
    const agent = await give(context, to, 's1')
    assert.equal(await agent.opened(), HELLO.toString())
    agent.answer('accept')
    agent.socket.write('from the target')
    assert.equal(await read(to.client), 'from the target')
    to.client.write('from the client')
    agent.heard = Buffer.alloc(0)
    assert.equal(await read(agent.socket), 'from the client')
    assert.deepEqual(to.said, ['accepted'])
    to.client.destroy()
    agent.socket.destroy()
    await to.ended
  })

  it('hands the client bytes that came in one piece with the answer', async (context) => {
    const to = await rig(context)
    const agent = await give(context, to, 's1')
    await agent.opened()
    agent.socket.cork()
    agent.answer('accept')
    agent.socket.write('at once')
    agent.socket.uncork()
    assert.equal(await read(to.client), 'at once')
  })

  it('repeats the hello on another spare when the first dies before it answered', async (context) => {
    const to = await rig(context)
    const first = await give(context, to, 's1')
    await first.opened()
    const needed = to.needed()
    first.socket.resetAndDestroy()
    await needed
    const second = await give(context, to, 's2')
    assert.equal(await second.opened(), HELLO.toString())
    second.answer('accept')
    second.socket.write('served')
    assert.equal(await read(to.client), 'served')
  })

  it('gives up with an alert when every spare it tries dies at once', async (context) => {
    const to = await rig(context)
    for (let tried = 1; tried <= max('spareTriesMax'); tried++) {
      const spare = await give(context, to, `s${tried}`)
      await spare.opened()
      const next = tried < max('spareTriesMax') ? to.needed() : to.ended
      spare.socket.resetAndDestroy()
      await next
    }
    assert.match(await to.ended, /^16 spares were lost, the last: reset$/)
    assert.equal((await read(to.client)).charCodeAt(0), 0x15)
  })

  it('treats a forged answer as a dead spare', async (context) => {
    const to = await rig(context)
    const first = await give(context, to, 's1')
    await first.opened()
    const needed = to.needed()
    first.answer('accept', new Uint8Array(32))
    await needed
    assert.deepEqual(to.said, ['s1: frame.bad-mac'])
  })

  it('tells of half an answer, and not of a spare that died without one', async (context) => {
    const to = await rig(context)
    const first = await give(context, to, 's1')
    await first.opened()
    const half = to.needed()
    first.socket.end(Buffer.from('d5534c4f', 'hex'))
    await half
    const second = await give(context, to, 's2')
    await second.opened()
    const dead = to.needed()
    second.socket.destroy()
    await dead
    assert.deepEqual(to.said, ['s1: ended'])
  })

  it('gives up a spare that stays silent, without waiting for the client to', async (context) => {
    const to = await rig(context)
    await give(context, to, 's1')
    await to.needed()
    assert.equal(to.needs, 1)
    to.session.cut('end of the test')
  })

  it('answers with a TLS alert when the agent refuses, and when there is no agent', async (context) => {
    const refused = await rig(context)
    const agent = await give(context, refused, 's1')
    await agent.opened()
    agent.refuse('mode')
    assert.equal(Buffer.from(await read(refused.client), 'utf8')[0], 21)
    assert.match(await refused.ended, /mode/)
    const alone = await rig(context)
    alone.session.noSpare()
    assert.equal(Buffer.from(await read(alone.client), 'utf8')[0], 21)
  })

  it('goes to another agent when one does not have the target or drains; when none is left it says so', async (context) => {
    const to = await rig(context)
    for (const reason of ['no-target', 'drain'] as const) {
      const agent = await give(context, to, reason)
      await agent.opened()
      const asked = to.needed()
      agent.refuse(reason)
      await Promise.race([asked, to.ended])
      assert.equal(to.refusals.at(-1), reason)
    }
    assert.deepEqual(to.refusals, ['no-target', 'drain'])
    to.session.noSpare()
    assert.equal(Buffer.from(await read(to.client), 'utf8')[0], 21)
    assert.match(await to.ended, /drain/)
  })

  it('ends once, whatever happens afterwards', async (context) => {
    const to = await rig(context)
    const agent = await give(context, to, 's1')
    await agent.opened()
    agent.answer('accept')
    agent.socket.write('x')
    await read(to.client)
    to.session.cut('lock')
    assert.equal(await to.ended, 'lock')
    to.session.cut('again')
    to.session.noSpare()
    assert.equal(to.said.filter((word) => word === 'ended').length, 1)
  })
})
