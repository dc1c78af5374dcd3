// A hostile agent, people on the way and strangers against a real proxy: forged, replayed and truncated answers, spare tickets and
// routing tickets, and a target's name that is another's. All in this process around a real control.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import { before, describe, it, type TestContext } from 'node:test'

import { writeAnswer, writeOpen } from '../../core/tunnel/open.ts'
import { mintTicket, serverName, ticketRest } from '../../core/tunnel/ticket.ts'
import {
  CLUSTER,
  newKey,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
  type TestPerson,
} from '../fixtures/control.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'
import { type HostileAgent, hostileAgent, type Opened } from '../fixtures/hostile-agent.ts'
import { helloFor } from '../fixtures/knock.ts'
import { type RealProxy, realProxy } from '../fixtures/members.ts'
import { dial, readAll, readBytes } from '../fixtures/net.ts'
import { until } from '../fixtures/sockets.ts'

const UNRECOGNIZED_NAME = Buffer.from('15030300020270', 'hex')

describe('A hostile agent', () => {
  const cleanup = suiteCleanup()
  let control: TestControl
  let real: RealProxy
  let agent: HostileAgent
  let alice: TestPerson
  let name = ''
  let hello: Buffer

  before(async () => {
    control = await startTestControl()
    atEnd(cleanup, () => control.remove())
    real = await realProxy(cleanup, control)
    agent = await hostileAgent(cleanup, control, { name: 'mirror', port: real.port })
    alice = await newPerson(control, 'alice', ['access'], { db_users: ['app'], db_names: ['*'] })
    name = await named('mirror')
    hello = await helloFor(name)
  })

  async function named(service: string): Promise<string> {
    const { publicKey } = newKey()
    const wish = { service, dbUser: 'app', dbName: 'postgres', publicKey }
    return (await alice.client.call('certificate-db', wish)).serverName
  }

  /** A caller who said hello, and the spare the proxy opened for him. */
  async function call(t: TestContext): Promise<{ caller: net.Socket; spare: Opened }> {
    const next = agent.next()
    const caller = await dial(t, real.port)
    caller.write(hello)
    return { caller, spare: await next }
  }

  async function audited(spareId: string, reason: string): Promise<void> {
    const { id: agent_id } = agent.member
    await real.events.have('spare.refused', { spare_id: spareId, agent_id, reason })
  }

  it('is relayed to when it answers as it should, and sees the hello', async (t) => {
    const { caller, spare } = await call(t)
    assert.equal(spare.frame.target.name, 'mirror')
    await until(() => spare.hello().length === hello.length, 'the hello')
    assert.deepEqual(spare.hello(), hello)
    spare.socket.write(Buffer.concat([spare.accept(), Buffer.from('good')]))
    assert.equal((await readBytes(caller, 4)).toString(), 'good')
  })

  const lies: readonly (readonly [
    string,
    string,
    (spare: Opened, earlier: Opened) => Uint8Array,
  ])[] = [
    [
      'under a key of its own',
      'frame.bad-mac',
      ({ spareId, frame }) =>
        writeAnswer(randomBytes(32), { ...frame, spareId }, { kind: 'accept' }),
    ],
    ['with a changed MAC', 'frame.bad-mac', (spare) => flipped(spare.accept(), -1)],
    ['with one changed bit', 'frame.bad-mac', (spare) => flipped(spare.accept(), 12)],
    ['recorded from an earlier spare', 'frame.bad-mac', (_spare, earlier) => earlier.accept()],
    [
      'to another session',
      'frame.replayed',
      ({ key, spareId }) => writeAnswer(key, { spareId, sessionId: 'another' }, { kind: 'accept' }),
    ],
    [
      'that is a refusal of somebody on the way',
      'frame.bad-mac',
      ({ spareId, frame }) =>
        writeAnswer(
          randomBytes(32),
          { ...frame, spareId },
          { kind: 'refuse', reason: 'busy', text: '' },
        ),
    ],
    [
      'that is the open frame sent back',
      'frame.malformed',
      ({ key, frame }) => writeOpen(key, frame),
    ],
    [
      'that is none, but bytes for the client',
      'frame.malformed',
      () => Buffer.from('the session of somebody else'),
    ],
  ]
  for (const [what, reason, lie] of lies)
    it(`an answer ${what} never reaches the client, is audited, and another spare serves`, async (t) => {
      const { spare: earlier } = await call(t)
      earlier.socket.write(earlier.accept())
      const { caller, spare } = await call(t)
      const next = agent.next()
      spare.socket.write(Buffer.concat([lie(spare, earlier), Buffer.from('stolen')]))
      const honest = await next
      assert.equal(honest.frame.sessionId, spare.frame.sessionId)
      honest.socket.write(Buffer.concat([honest.accept(), Buffer.from('truth')]))
      assert.equal((await readBytes(caller, 5)).toString(), 'truth')
      await audited(spare.spareId, reason)
      caller.write('secret')
      await until(() => honest.hello().length === hello.length + 6, 'the session’s bytes')
      assert.equal(spare.hello().length, hello.length, 'the liar got the hello and no more')
    })

  it('an answer cut anywhere counts as none, whether its spare ends or goes silent', async (t) => {
    for (const [length, end] of [
      [1, true],
      [7, true],
      [40, true],
      [40, false],
    ] as const) {
      const { caller, spare } = await call(t)
      const next = agent.next()
      spare.socket.write(spare.accept().subarray(0, length))
      if (end) spare.socket.end()
      const honest = await next
      honest.socket.write(Buffer.concat([honest.accept(), Buffer.from('truth')]))
      assert.equal((await readBytes(caller, 5)).toString(), 'truth')
      await audited(spare.spareId, end ? 'ended' : 'silent')
    }
  })

  it('a spare ticket is good once: presented again it is closed, and audited under the agent', async (t) => {
    const [first = Buffer.alloc(0)] = agent.prefaces
    const before = real.proxy.counters.refusedSpares
    const again = await dial(t, real.port)
    again.write(first)
    await shut(again, 'the second one')
    assert.equal(real.proxy.counters.refusedSpares, before + 1)
    const { id: agent_id } = agent.member
    await real.events.have('spare.refused', { agent_id, reason: 'frame.replayed' })
  })

  it('a stolen spare ticket gets its thief a hello and nothing else', async (t) => {
    const stolen = await steal(t)
    for (const [what, bytes] of [
      ['forged', flipped(stolen, 30)],
      ['under another MAC', flipped(stolen, -1)],
      ['followed by bytes', Buffer.concat([stolen, Buffer.from('x')])],
    ] as const) {
      const socket = await dial(t, real.port)
      socket.write(bytes)
      // A parked spare stays open.
      await shut(socket, what)
    }
    const thief = await dial(t, real.port)
    let seen = Buffer.alloc(0)
    thief.on('data', (chunk: Buffer) => (seen = Buffer.concat([seen, chunk])))
    thief.write(stolen)
    // The newest spare is used first: the thief's.
    const caller = await dial(t, real.port)
    caller.write(hello)
    await until(() => seen.includes(hello), 'the thief was opened')
    const seenBytes = seen.length
    const next = agent.next()
    thief.write(writeAnswer(randomBytes(32), { spareId: '', sessionId: '' }, { kind: 'accept' }))
    const spare = await next
    spare.socket.write(Buffer.concat([spare.accept(), Buffer.from('truth')]))
    assert.equal((await readBytes(caller, 5)).toString(), 'truth')
    caller.write('secret')
    await until(() => spare.hello().length === hello.length + 6, 'the session’s bytes')
    assert.equal(seen.length, seenBytes)
  })

  /** A spare ticket the agent was given and could not present. */
  async function steal(t: TestContext): Promise<Buffer> {
    const before = agent.prefaces.length
    agent.withhold = true
    const { spare } = await call(t)
    spare.socket.write(spare.accept())
    await until(() => agent.prefaces.length > before, 'a withheld ticket')
    agent.withhold = false
    return agent.prefaces.at(-1) ?? Buffer.alloc(0)
  }

  it('tickets that were never minted, of other names, and unknown targets get one and the same alert', async (t) => {
    const member = await newMember(control, 'proxy')
    const { keys } = await member.client.call('ticket-keys', {})
    const [key] = keys
    assert.ok(key !== undefined)
    const good = (rest: string): string =>
      mintTicket(Buffer.from(key.key, 'base64'), {
        keyId: key.id,
        expiresAtMs: Date.now() + 3_600_000,
        issuer: 'local',
        user: 'alice',
        rest,
      })
    const rest = ticketRest('mirror', 'db', CLUSTER)
    const ticket = name.slice(0, name.indexOf('.'))
    const nobody = mintTicket(randomBytes(32), {
      keyId: key.id,
      expiresAtMs: Date.now() + 3_600_000,
      issuer: 'local',
      user: 'alice',
      rest,
    })
    const names = [
      `${changed(ticket, 0)}.${rest}`,
      `${changed(ticket, 20)}.${rest}`,
      `${changed(ticket, 45)}.${rest}`,
      `${nobody}.${rest}`,
      `${ticket}.${ticketRest('orders', 'db', CLUSTER)}`,
      `${ticket}.${ticketRest('mirror', 'node', CLUSTER)}`,
      serverName(good(ticketRest('nosuch', 'db', CLUSTER)), 'nosuch', 'db', CLUSTER),
      serverName(good(ticketRest('mirror', 'app', CLUSTER)), 'mirror', 'app', CLUSTER),
      rest,
      `${ticket}.mirror.db.other.test`,
      CLUSTER,
    ]
    const opened = agent.opened.length
    for (const each of names) {
      const socket = await dial(t, real.port)
      socket.write(await helloFor(each))
      assert.deepEqual(await readAll(socket), UNRECOGNIZED_NAME, each)
    }
    assert.equal(agent.opened.length, opened, 'no spare was spent on them')
  })

  it('a genuine ticket that is over reaches the agent only to be told so', async (t) => {
    const member = await newMember(control, 'proxy')
    const { keys } = await member.client.call('ticket-keys', {})
    const [key] = keys
    assert.ok(key !== undefined)
    const rest = ticketRest('mirror', 'db', CLUSTER)
    const late = mintTicket(Buffer.from(key.key, 'base64'), {
      keyId: key.id,
      expiresAtMs: Date.now() - 120_000,
      issuer: 'local',
      user: 'alice',
      rest,
    })
    const next = agent.next()
    const caller = await dial(t, real.port)
    caller.write(await helloFor(`${late}.${rest}`))
    const { frame } = await next
    assert.ok(frame.mode === 'deny')
    assert.equal(frame.denial.kind, 'expired')
  })

  it('a second agent that claims the name gets no certificate, no caller, and is audited and shown', async (t) => {
    const second = await hostileAgent(cleanup, control, { name: 'mirror', port: real.port })
    assert.deepEqual(second.reply.accepted, [])
    assert.equal(second.reply.certificate, undefined)
    assert.match(second.reply.refused[0]?.reason ?? '', /belongs to another token/)
    const { items } = await control.admin.call('audit-list', { types: 'target.claim_refused' })
    assert.deepEqual(
      [items[0]?.['server_id'], items[0]?.['target_name']],
      [second.member.id, 'mirror'],
    )
    const { items: targets } = await control.admin.call('targets', {})
    assert.deepEqual(
      targets[0]?.refused.map((each) => each.agent),
      [second.member.id],
    )
    for (let caller = 0; caller < 10; caller++) {
      const { spare } = await call(t)
      spare.socket.write(spare.accept())
    }
    assert.equal(second.opened.length, 0)
    const wish = {
      target: 'mirror',
      principal: 'app',
      userCertificate: alice.certificate,
      publicKey: newKey().publicKey,
    }
    await assert.rejects(second.member.client.call('certificate-db-client', wish), /does not serve/)
  })
})

/** Waits until the peer has closed; a spare that is parked instead fails the test. */
async function shut(socket: net.Socket, what: string): Promise<void> {
  socket.on('error', () => {})
  socket.resume()
  await until(() => socket.readableEnded || socket.closed, `${what} is closed`)
}

/** The bytes with one bit turned over. */
function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const index = at < 0 ? copy.length + at : at
  copy[index] = (copy[index] ?? 0) ^ 1
  return copy
}

/** The ticket with another letter in one place. */
function changed(ticket: string, at: number): string {
  return ticket.slice(0, at) + (ticket[at] === 'a' ? 'b' : 'a') + ticket.slice(at + 1)
}
