// The sessions of an agent's worker: nothing of a client is looked at before the proxy's open frame is proved, what is not ours to
// serve is refused, and a lock ends what runs. TLS, certificates and the fake line protocol are real; main is played by the test.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import tls from 'node:tls'
import { describe, it, type TestContext } from 'node:test'

import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { AgentTarget } from '../core/agent-target.ts'
import type { FromAgentWorker } from '../core/messages.ts'
import type { AgentAnswer } from '../core/questions.ts'
import type { Lock } from '../core/policy/role.ts'
import type { LockSet } from '../core/snapshot.ts'
import { type Answer, type OpenFrame, readAnswer, writeOpen } from '../core/tunnel/open.ts'
import { line } from '../test/fake/line.ts'
import { CLUSTER } from '../test/fixtures/certificates.ts'
import { listen, readBytes } from '../test/fixtures/net.ts'
import { ALICE, ORDERS, testSnapshot } from '../test/fixtures/rights.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { pemPair, serverPair, testCluster } from '../test/fixtures/tls.ts'
import { AgentSessions } from './agent-sessions.ts'
import { release } from './handover.ts'
import { Trust } from './trust.ts'

const cluster = testCluster()
const KEY = randomBytes(32)
const SERVER_NAME = `t.orders.db.${CLUSTER}`
const CLOSED = /^(end|close|ECONNRESET)$/

interface Rig {
  readonly sessions: AgentSessions
  readonly trust: Trust
  readonly sent: FromAgentWorker[]
  /** Presents first bytes on a new spare; resolves with the proxy's end. */
  readonly spare: (first: Uint8Array) => Promise<net.Socket>
}

interface Options {
  /** Keys come before the snapshot, as at an agent's first start. */
  readonly snapshotLater?: boolean
  readonly ask?: () => Promise<AgentAnswer>
}

const SNAPSHOT = testSnapshot({ nowMs: cluster.nowMs, cas: { user: [cluster.user.der] } })

async function start(context: TestContext, options: Options = {}): Promise<Rig> {
  const { port } = await listen(context, (socket) => {
    socket.once('data', () => {
      socket.write('WELCOME\n')
      socket.pipe(socket)
    })
  })
  const trust = new Trust()
  trust.apply({ kind: 'resumption-keys', purpose: 'user', keys: randomBytes(48) })
  const sent: FromAgentWorker[] = []
  const certificate = { certificate: '', key: '' }
  const sessions = new AgentSessions({
    cluster: CLUSTER,
    agentId: 'agent-1',
    hostname: 'host-1',
    protocols: [line],
    trust,
    clock: systemClock,
    log: silentLogger,
    auditBytesMax: max('auditQueueBytesMax'),
    ask: options.ask ?? (() => Promise.resolve({ what: 'db-client', certificate })),
    send: (message) => sent.push(message),
  })
  context.after(() => sessions.stop())
  const believe = (): void => {
    trust.apply({ kind: 'snapshot', snapshot: SNAPSHOT })
    trust.apply({ kind: 'beacon', atMs: systemClock.now() })
  }
  if (options.snapshotLater !== true) believe()
  sessions.serve([targetAt(port)], serverPair(cluster))
  if (options.snapshotLater === true) believe()
  return {
    sessions,
    trust,
    sent,
    async spare(first) {
      const { outer, inner } = await pair(context)
      const released = release(inner)
      assert.ok(released)
      const { handle: client } = released
      sessions.take({
        kind: 'spare',
        client,
        first,
        spareId: 'spare-1',
        proxyId: 'proxy-1',
        key: KEY,
      })
      return outer
    },
  }
}

function targetAt(port: number): AgentTarget {
  const { ref, label, protocol, labels } = ORDERS
  const off = { mode: 'off', serverName: 'localhost', trustSystemRoots: false } as const
  return { ref, label, protocol, labels, host: '127.0.0.1', port, tls: off }
}

function frame(over: Partial<OpenFrame> = {}): OpenFrame {
  return {
    mode: 'relay',
    sessionId: 'session-1',
    decisionId: '01JDECISION',
    protocol: 'line',
    stage: '',
    target: ORDERS.ref,
    serverName: SERVER_NAME,
    client: { address: '192.0.2.7', port: 4711, trusted: true },
    cancelHandle: 0,
    spareId: 'spare-1',
    expiresAtMs: systemClock.now() + 30_000,
    ...over,
  } as OpenFrame
}

async function answerOn(socket: net.Socket): Promise<Answer> {
  let held = Buffer.alloc(0)
  for (;;) {
    held = Buffer.concat([held, await readBytes(socket, 1)])
    const reading = readAnswer(held, KEY, { spareId: 'spare-1', sessionId: 'session-1' })
    if (reading.verdict === 'frame') return reading.frame
    assert.equal(reading.verdict, 'more')
  }
}

/** Alice's TLS through an accepted spare. */
function aliceOver(context: TestContext, socket: net.Socket): tls.TLSSocket {
  const { certificate, key } = pemPair(cluster.user, ALICE, cluster.nowMs)
  const client = tls.connect({
    socket,
    servername: SERVER_NAME,
    ALPNProtocols: ['line'],
    rejectUnauthorized: false,
    cert: certificate,
    key,
  })
  client.on('error', () => {})
  context.after(() => void client.destroy())
  return client
}

function audited(sent: readonly FromAgentWorker[]): readonly string[] {
  return sent.flatMap((message) => (message.kind === 'audit' ? [message.code] : []))
}

function lockOn(user: string): LockSet {
  const lock = { name: 'l1', target: { user }, message: '' } as Lock
  return { revision: 2, locks: [lock], generations: {} }
}

/** A session of Alice's in its relay phase. */
async function running(context: TestContext, rig: Rig): Promise<tls.TLSSocket> {
  const outer = await rig.spare(writeOpen(KEY, frame()))
  assert.deepEqual(await answerOn(outer), { kind: 'accept' })
  const client = aliceOver(context, outer)
  client.write('HELLO app main\n')
  await until(() => audited(rig.sent).includes('TDB00I'), 'the session is allowed')
  client.write('ping\n')
  assert.equal((await readBytes(client, 5)).toString(), 'ping\n')
  return client
}

describe('an opened spare', () => {
  it('carries a session from the frame to the target, and leaves nothing', async (context) => {
    const rig = await start(context)
    const before = openSockets()
    const client = await running(context, rig)
    assert.equal(rig.sessions.size, 1)
    client.end()
    await until(() => rig.sessions.size === 0, 'the session is over')
    assert.deepEqual(
      rig.sent.flatMap(({ kind }) => (kind === 'audit' ? [] : [kind])),
      ['session-opened', 'session-ended'],
    )
    client.destroy()
    await until(() => openSockets() === before, 'every socket is closed')
  })

  it('is served although the certificate came before the first snapshot', async (context) => {
    const rig = await start(context, { snapshotLater: true })
    await running(context, rig)
  })

  it('whose frame comes in pieces is read whole', async (context) => {
    const { spare } = await start(context)
    const bytes = writeOpen(KEY, frame())
    const outer = await spare(bytes.subarray(0, 1))
    outer.write(bytes.subarray(1, 40))
    outer.write(bytes.subarray(40))
    assert.deepEqual(await answerOn(outer), { kind: 'accept' })
  })

  it('is closed without a word when its frame is forged or replayed, and audited', async (context) => {
    const rig = await start(context)
    const bad = [
      writeOpen(randomBytes(32), frame()),
      writeOpen(KEY, frame({ spareId: 'spare-2' })),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ]
    for (const first of bad) {
      const outer = await rig.spare(first)
      const heard: Buffer[] = []
      outer.on('data', (chunk: Buffer) => heard.push(chunk))
      assert.match(await ending(outer), CLOSED)
      assert.deepEqual(heard, [])
    }
    assert.deepEqual(
      audited(rig.sent),
      bad.map(() => 'SLL002W'),
    )
    assert.equal(rig.sessions.size, 0)
  })

  it('is told when its frame is late, so that a proxy with another clock does not try all its spares', async (context) => {
    const { spare, sent, sessions } = await start(context)
    const late = await spare(writeOpen(KEY, frame({ expiresAtMs: systemClock.now() - 1 })))
    assert.deepEqual(await answerOn(late), { kind: 'refuse', reason: 'expired', text: '' })
    assert.deepEqual(audited(sent), ['SLL002W'])
    assert.equal(sessions.size, 0)
  })

  it('is refused for targets, modes and protocols that are not served, before any TLS', async (context) => {
    const { spare, sessions } = await start(context)
    const refused = async (over: Partial<OpenFrame>): Promise<Answer> =>
      answerOn(await spare(writeOpen(KEY, frame(over))))
    const other = { kind: 'db', name: 'others' } as const
    const reasons = [
      await refused({ target: other }),
      await refused({ mode: 'terminate' }),
      await refused({ protocol: 'echo' }),
    ].map((answer) => (answer.kind === 'refuse' ? answer.reason : answer.kind))
    assert.deepEqual(reasons, ['no-target', 'mode', 'protocol'])
    void sessions.drain(0)
    assert.deepEqual(await refused({}), { kind: 'refuse', reason: 'drain', text: '' })
  })

  it('says a denial of the proxy to the client in its protocol', async (context) => {
    const rig = await start(context)
    const denial = { kind: 'limit', reason: 'too many', next: 'Wait.' } as const
    const outer = await rig.spare(writeOpen(KEY, frame({ mode: 'deny', denial })))
    assert.deepEqual(await answerOn(outer), { kind: 'accept' })
    const client = aliceOver(context, outer)
    client.write('HELLO app main\n')
    assert.equal((await readBytes(client, 15)).toString(), 'NO 01JDECISION\n')
    assert.ok(!audited(rig.sent).includes('TDB00I'))
    client.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    assert.deepEqual(audited(rig.sent), ['TDB00W'])
  })

  it('is told of once, as the proxy tells of it, when nobody asks for anything', async (context) => {
    const rig = await start(context)
    const outer = await rig.spare(writeOpen(KEY, frame()))
    await answerOn(outer)
    outer.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    const events = rig.sent.flatMap((each) => (each.kind === 'audit' ? [each] : []))
    assert.deepEqual(
      events.map(({ code, fields }) => [code, fields['sid'], fields['proxy_id']]),
      [['TDB00W', 'session-1', 'proxy-1']],
    )
  })

  it('is told of once when policy denies', async (context) => {
    const rig = await start(context)
    const outer = await rig.spare(writeOpen(KEY, frame()))
    await answerOn(outer)
    const client = aliceOver(context, outer)
    client.write('HELLO nobody main\n')
    assert.match((await readBytes(client, 3)).toString(), /^NO /)
    client.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    assert.deepEqual(audited(rig.sent), ['TDB00W'])
  })
})

describe('a running session', () => {
  it('ends when its user is locked, and only then', async (context) => {
    const rig = await start(context)
    const client = await running(context, rig)
    rig.trust.apply({ kind: 'locks', lockSet: lockOn('mallory') })
    client.write('pong\n')
    assert.equal((await readBytes(client, 5)).toString(), 'pong\n')
    rig.trust.apply({ kind: 'locks', lockSet: lockOn('alice') })
    assert.match((await readBytes(client, 3)).toString(), /^NO /)
    assert.match(await ending(client), CLOSED)
    assert.ok(audited(rig.sent).includes('T3006I'))
  })

  it('is told when the agent’s time to drain is over', async (context) => {
    const rig = await start(context)
    const client = await running(context, rig)
    const drained = rig.sessions.drain(0)
    assert.match((await readBytes(client, 3)).toString(), /^NO /)
    await drained
  })

  it('never begins when main has no certificate for the target', async (context) => {
    const no = { what: 'no', kind: 'unavailable', message: 'control cannot be reached' } as const
    const rig = await start(context, { ask: () => Promise.resolve(no) })
    const outer = await rig.spare(writeOpen(KEY, frame()))
    await answerOn(outer)
    const client = aliceOver(context, outer)
    client.write('HELLO app main\n')
    assert.match(await ending(client), CLOSED)
    await until(() => rig.sessions.size === 0, 'the session is over')
  })
})
