// Terminate mode from a client's hello to a target, in one thread: the sessions of a proxy's worker and those of an agent's, joined by
// spares that the test hands over as both main threads would. TLS, certificates and the fake line protocol are real.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type net from 'node:net'
import tls from 'node:tls'
import { describe, it, type TestContext } from 'node:test'

import { OID } from '../core/cert/oid.ts'
import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { FromAgentWorker, FromProxyWorker, SocketHandle } from '../core/messages.ts'
import type { ProxyAnswer } from '../core/questions.ts'
import type { Lock } from '../core/policy/role.ts'
import type { FramedProtocol, FramedSession, Out } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import { line } from '../test/fake/line.ts'
import { CLUSTER, systemIdentity } from '../test/fixtures/certificates.ts'
import { forgedServer } from '../test/fixtures/forge.ts'
import { listen, readBytes } from '../test/fixtures/net.ts'
import { ALICE, ORDERS, testSnapshot } from '../test/fixtures/rights.ts'
import { ending, pair, until } from '../test/fixtures/sockets.ts'
import { pemPair, type PemPair, testCluster } from '../test/fixtures/tls.ts'
import { AgentResumption } from './agent-resumption.ts'
import { AgentSessions } from './agent-sessions.ts'
import { AuditQueue } from './audit-queue.ts'
import { discard, release } from './handover.ts'
import { Recorders } from './recorders.ts'
import { SignalSessions } from './signal-sessions.ts'
import { TerminatedSessions } from './terminated-sessions.ts'
import { systemTimers } from './timers.ts'
import { Trust } from './trust.ts'

const ca = testCluster()
const PROXY = systemIdentity('proxy')
const AGENT_ID = 'agent-1'
const KEY = randomBytes(32)
const CLOSED = /^(end|close|ECONNRESET)$/
const LIMITED = { maxConnections: 1 }

/** An agent half that gives its greeting on, as PostgreSQL's does: the half before it waits for the same. */
const greeted: FramedProtocol = {
  ...line,
  agent: (login) => {
    const half = line.agent(login)
    const through = (out: Out): Out => ({
      pass: (from, to) => out.pass(from, to),
      send: (to, bytes) => out.send(to, bytes),
      note: (...note) => out.note(...note),
      act: (act) =>
        out.act(act.kind === 'ready' ? { ...act, first: Buffer.from('WELCOME\n') } : act),
    })
    const session: FramedSession = {
      bytes: (from, chunk, at, out) => half.bytes(from, chunk, at, through(out)),
      event: (event, out) => half.event(event, through(out)),
      refuse: (refusal, out) => half.refuse(refusal, through(out)),
    }
    return session
  },
}

interface Options {
  readonly recording?: { readonly proxy?: 'proxy' | 'node'; readonly agent?: 'proxy' | 'node' }
  /** What the agent shows the proxy. */
  readonly keys?: PemPair
  readonly target?: Target | 'none'
  readonly lease?: () => Promise<ProxyAnswer>
  /** So many spares die before their agent answers. */
  readonly dying?: number
  readonly limits?: Readonly<Record<string, unknown>>
}

interface Rig {
  readonly sessions: TerminatedSessions
  readonly proxyTrust: Trust
  readonly agentTrust: Trust
  readonly proxySent: FromProxyWorker[]
  readonly agentSent: FromAgentWorker[]
  readonly resumption: AgentResumption
  /** A client with a connection to the proxy's worker. */
  readonly client: (shown?: PemPair | 'nobody') => Promise<tls.TLSSocket>
}

async function start(context: TestContext, options: Options = {}): Promise<Rig> {
  const { port } = await listen(context, (socket) => {
    socket.once('data', () => {
      socket.write('WELCOME\n')
      socket.pipe(socket)
    })
  })
  const proxyTrust = trustOf(options.recording?.proxy ?? 'proxy', options)
  const agentTrust = trustOf(options.recording?.agent ?? 'proxy', options)
  proxyTrust.apply({ kind: 'host', ...pemPair(ca.host, PROXY, ca.nowMs) })
  const agent = agentOf(context, agentTrust, port, options)
  const proxySent: FromProxyWorker[] = []
  const resumption = new AgentResumption()
  let dying = options.dying ?? 0
  const supply = async (session: number): Promise<void> => {
    const spareId = `spare-${proxySent.length}`
    const [handle, far] = await spareOf(context)
    if (dying-- > 0) discard(far)
    else agent.sessions.take(opened(far, spareId))
    const resume = resumption.for(AGENT_ID, `terminate.orders.db.${CLUSTER}`)
    const spare = { handle, spareId, agentId: AGENT_ID, key: KEY }
    sessions.use({ kind: 'spare', session, spare, resume })
  }
  const sessions: TerminatedSessions = new TerminatedSessions({
    cluster: CLUSTER,
    proxyId: PROXY.id,
    protocols: [line],
    trust: proxyTrust,
    clock: systemClock,
    log: silentLogger,
    signals: new SignalSessions(systemClock),
    ask: async (question) => {
      if (question.what === 'lease')
        return (await options.lease?.()) ?? { what: 'lease', lease: 'l1' }
      return options.target === 'none'
        ? { what: 'target' }
        : { what: 'target', target: options.target ?? ORDERS }
    },
    queue: queueInto(proxySent),
    recorders: recordersInto(proxySent),
    send: (message) => {
      proxySent.push(message)
      if (message.kind === 'need-spare') void supply(message.session)
      if (message.kind === 'agent-tls-session') resumption.keep(message)
    },
  })
  context.after(() => sessions.stop())
  let number = 0
  return {
    sessions,
    proxyTrust,
    agentTrust,
    proxySent,
    agentSent: agent.sent,
    resumption,
    client: (shown) => clientOf(context, sessions, ++number, shown),
  }
}

function recordersInto(sent: FromProxyWorker[]): Recorders {
  const send = (message: FromProxyWorker): void => void sent.push(message)
  return new Recorders({ clock: systemClock, timers: systemTimers, send })
}

function queueInto(sent: FromProxyWorker[]): AuditQueue {
  const bytesMax = max('auditQueueBytesMax')
  const send = (message: FromProxyWorker): void => void sent.push(message)
  return new AuditQueue({ clock: systemClock, timers: systemTimers, send, bytesMax })
}

/** Both ends of a spare: the proxy's, the agent's. */
async function spareOf(context: TestContext): Promise<readonly [SocketHandle, SocketHandle]> {
  const { outer, inner } = await pair(context)
  const [near, far] = [release(inner), release(outer)]
  assert.ok(near && far)
  return [near.handle, far.handle]
}

function opened(client: SocketHandle, spareId: string): Parameters<AgentSessions['take']>[0] {
  const first = new Uint8Array(0)
  return { kind: 'spare', client, first, spareId, proxyId: PROXY.id, key: KEY }
}

function agentOf(
  context: TestContext,
  trust: Trust,
  port: number,
  { keys }: Options,
): { readonly sessions: AgentSessions; readonly sent: FromAgentWorker[] } {
  const sent: FromAgentWorker[] = []
  const certificate = { certificate: '', key: '' }
  const sessions = new AgentSessions({
    cluster: CLUSTER,
    agentId: AGENT_ID,
    hostname: 'host-1',
    auditBytesMax: max('auditQueueBytesMax'),
    protocols: [greeted],
    trust,
    clock: systemClock,
    log: silentLogger,
    ask: (question) => {
      assert.equal(question.what, 'db-client', 'the agent takes no lease')
      return Promise.resolve({ what: 'db-client', certificate })
    },
    send: (message) => sent.push(message),
  })
  context.after(() => sessions.stop())
  const { ref, label, protocol, labels } = ORDERS
  const off = { mode: 'off', serverName: 'localhost', trustSystemRoots: false } as const
  const target = { ref, label, protocol, labels, host: '127.0.0.1', port, tls: off }
  sessions.serve([target], keys ?? forgedServer(ca.target, [`*.orders.db.${CLUSTER}`]))
  return { sessions, sent }
}

function trustOf(recording: 'proxy' | 'node', { limits = {} }: Options): Trust {
  const trust = new Trust()
  for (const purpose of ['user', 'session'])
    trust.apply({ kind: 'resumption-keys', purpose, keys: randomBytes(48) })
  const cas = { user: [ca.user.der], host: [ca.host.der], target: [ca.target.der] }
  const config = { recording }
  const snapshot = testSnapshot({ nowMs: ca.nowMs, cas, config, options: limits })
  trust.apply({ kind: 'snapshot', snapshot })
  trust.apply({ kind: 'beacon', atMs: systemClock.now() })
  return trust
}

async function clientOf(
  context: TestContext,
  sessions: TerminatedSessions,
  session: number,
  shown: PemPair | 'nobody' = pemPair(ca.user, ALICE, ca.nowMs),
): Promise<tls.TLSSocket> {
  const { outer, inner } = await pair(context)
  const released = release(inner)
  assert.ok(released)
  sessions.open({
    kind: 'terminate',
    session,
    sessionId: `sid-${session}`,
    client: released.handle,
    first: new Uint8Array(0),
    stage: '',
    protocol: 'line',
    source: { address: '127.0.0.1', port: 1, trusted: true },
    signalHandle: 0,
  })
  const client = tls.connect({
    socket: outer,
    ALPNProtocols: ['line'],
    rejectUnauthorized: false,
    ...(shown === 'nobody' ? {} : { cert: shown.certificate, key: shown.key }),
  })
  client.on('error', () => {})
  context.after(() => void client.destroy())
  return client
}

function codes(sent: readonly (FromAgentWorker | FromProxyWorker)[]): readonly string[] {
  return sent.flatMap((message) => (message.kind === 'audit' ? [message.code] : []))
}

/** A session of Alice's whose bytes have come back from the target. */
async function running(rig: Rig): Promise<tls.TLSSocket> {
  const client = await rig.client()
  client.write('HELLO app main\n')
  // Written when the session is up: bytes before that would be a second hello.
  const before = codes(rig.agentSent).filter((code) => code === 'SLR003I').length
  await until(
    () => codes(rig.agentSent).filter((code) => code === 'SLR003I').length > before,
    'the agent lets it in',
  )
  client.write('ping\n')
  assert.equal((await readBytes(client, 5)).toString(), 'ping\n')
  return client
}

function lockOn(target: Lock['target']): Parameters<Trust['apply']>[0] {
  const lock = { name: 'l1', target, message: '' } as Lock
  return { kind: 'locks', lockSet: { revision: 2, locks: [lock], generations: {} } }
}

async function hears(client: net.Socket): Promise<string> {
  client.write('HELLO app main\n')
  return (await readBytes(client, 3)).toString()
}

describe('a session whose TLS ends at the proxy', () => {
  it('is decided at both ends, told by the proxy, and forwarded under the same session id', async (context) => {
    const rig = await start(context)
    const client = await running(rig)
    client.end()
    assert.match(await ending(client), CLOSED)
    await until(() => codes(rig.agentSent).includes('SLR004I'), 'the end at the agent')
    await until(() => rig.sessions.size === 0, 'the end at the proxy')
    assert.deepEqual(codes(rig.proxySent), ['TDB00I', 'TDB01I'])
    assert.deepEqual(codes(rig.agentSent), ['SLR003I', 'SLR004I'])
    for (const message of [...rig.proxySent, ...rig.agentSent])
      if (message.kind === 'audit') assert.equal(message.fields['sid'], 'sid-1')
    const [begun] = rig.agentSent.flatMap((each) => (each.kind === 'audit' ? [each.fields] : []))
    assert.equal(begun?.['forwarded_by'], PROXY.id)
    assert.equal(begun?.['user'], 'alice')
  })

  it('resumes TLS with the agent from any session before it, and not over a change', async (context) => {
    const rig = await start(context)
    const kept = (): number =>
      rig.proxySent.filter(({ kind }) => kind === 'agent-tls-session').length
    for (let turn = 0; turn < 3; turn++) (await running(rig)).destroy()
    assert.equal(kept(), 1)
    assert.equal(rig.resumption.size, 1)
    rig.resumption.forget()
    ;(await running(rig)).destroy()
    await until(() => kept() === 2, 'a full handshake')
    // Keys of the agent's tickets that changed make a full handshake of it, and that session is the newer one.
    rig.agentTrust.apply({ kind: 'resumption-keys', purpose: 'session', keys: randomBytes(48) })
    ;(await running(rig)).destroy()
    await until(() => kept() === 3, 'another full handshake')
  })

  it('tries another spare when one dies before its agent accepted', async (context) => {
    const rig = await start(context, { dying: 2 })
    await running(rig)
    assert.equal(rig.proxySent.filter(({ kind }) => kind === 'need-spare').length, 3)
  })

  it('tries only so many spares: clocks that differ must not make a storm of dials', async (context) => {
    const rig = await start(context, { dying: 1000 })
    const client = await rig.client()
    client.write('HELLO app main\n')
    assert.match(await ending(client), CLOSED)
    client.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    const asked = rig.proxySent.filter(({ kind }) => kind === 'need-spare')
    assert.equal(asked.length, max('spareTriesMax'))
  })

  const impostors: readonly (readonly [string, PemPair])[] = [
    ['another target’s name', forgedServer(ca.target, [`*.payroll.db.${CLUSTER}`])],
    ['a certificate of the host CA', forgedServer(ca.host, [`*.orders.db.${CLUSTER}`])],
    ['one for clients', forgedServer(ca.target, [`*.orders.db.${CLUSTER}`], [OID.clientAuth])],
  ]
  for (const [what, keys] of impostors)
    it(`reaches no agent that shows ${what}`, async (context) => {
      const rig = await start(context, { keys })
      const client = await rig.client()
      client.write('HELLO app main\n')
      assert.match(await ending(client), CLOSED)
      assert.ok(!codes(rig.agentSent).includes('SLR003I'))
      client.destroy()
      await until(() => rig.sessions.size === 0, 'the session is over')
    })

  it('ends with a lock on its agent at the proxy, and on its proxy at the agent', async (context) => {
    const atProxy = await start(context)
    const first = await running(atProxy)
    atProxy.proxyTrust.apply(lockOn({ server_id: 'other' }))
    first.write('pong\n')
    assert.equal((await readBytes(first, 5)).toString(), 'pong\n')
    atProxy.proxyTrust.apply(lockOn({ server_id: AGENT_ID }))
    assert.match((await readBytes(first, 3)).toString(), /^NO /)
    assert.ok(codes(atProxy.proxySent).includes('T3006I'))
    const atAgent = await start(context)
    const second = await running(atAgent)
    atAgent.agentTrust.apply(lockOn({ server_id: PROXY.id }))
    assert.match((await readBytes(second, 3)).toString(), /^NO /)
    assert.ok(codes(atAgent.agentSent).includes('T3006I'))
  })

  it('is refused by whichever end hears another recording mode', async (context) => {
    const atProxy = await start(context, { recording: { proxy: 'node' } })
    assert.equal(await hears(await atProxy.client()), 'NO ')
    assert.deepEqual(codes(atProxy.proxySent), ['TDB00W'])
    const atAgent = await start(context, { recording: { agent: 'node' } })
    const client = await atAgent.client()
    client.write('HELLO app main\n')
    assert.match(await ending(client), CLOSED)
    assert.deepEqual(codes(atAgent.agentSent), ['SLL002W'])
  })

  it('says the same of a target that does not exist and of a hidden one, and asks no agent', async (context) => {
    for (const target of ['none', { ...ORDERS, labels: { env: 'dev' } }] as const) {
      const rig = await start(context, { target })
      assert.equal(await hears(await rig.client()), 'NO ')
      const denied = rig.proxySent.find((message) => message.kind === 'audit')
      assert.equal(denied?.kind === 'audit' && denied.code, 'TDB00W')
      const error = denied?.kind === 'audit' ? denied.fields['error'] : ''
      assert.equal(error, 'no role of yours grants a database of this name')
      assert.ok(!rig.proxySent.some(({ kind }) => kind === 'need-spare'))
    }
  })

  it('is refused without a certificate that is routed to a target of its protocol', async (context) => {
    const rig = await start(context)
    const { route: _, ...unrouted } = ALICE
    const routes = [
      { ...ALICE.route, protocol: 'postgres' },
      { kind: 'node', name: 'orders' },
    ]
    const people = [unrouted, ...routes.map((route) => ({ ...ALICE, route }) as typeof ALICE)]
    for (const person of people)
      assert.equal(await hears(await rig.client(pemPair(ca.user, person, ca.nowMs))), 'NO ')
    const machine = pemPair(ca.host, systemIdentity('proxy'), ca.nowMs)
    assert.equal(await hears(await rig.client(machine)), 'NO ')
    assert.deepEqual(codes(rig.proxySent), ['T3007W', 'T3007W', 'T3007W', 'T3007W'])
  })

  it('takes a lease and gives it back once, also when its client left before it came', async (context) => {
    const limits = LIMITED
    const rig = await start(context, { limits })
    ;(await running(rig)).destroy()
    const released = (of: Rig): number =>
      of.proxySent.filter(({ kind }) => kind === 'release-lease').length
    await until(() => released(rig) > 0, 'the lease is back')
    assert.equal(released(rig), 1)
    const late = Promise.withResolvers<ProxyAnswer>()
    let asked = false
    const lease = (): Promise<ProxyAnswer> => {
      asked = true
      return late.promise
    }
    const slow = await start(context, { limits, lease })
    const client = await slow.client()
    client.write('HELLO app main\n')
    await until(() => asked, 'the lease is asked for')
    client.destroy()
    await until(() => slow.sessions.size === 0, 'the session is over')
    late.resolve({ what: 'lease', lease: 'l2' })
    await until(() => released(slow) === 1, 'the late lease is back')
    assert.ok(!codes(slow.proxySent).includes('TDB00I'))
  })

  it('leaves no more clients without a certificate waiting than its bound: the oldest goes', async (context) => {
    const rig = await start(context)
    const most = max('unprovenSessionsPerWorkerMax')
    const first = await rig.client('nobody')
    await once(first, 'secureConnect')
    const startedMs = performance.now()
    const others: Promise<unknown>[] = []
    for (let count = 1; count < most; count++) {
      const client = await rig.client('nobody')
      others.push(once(client, 'secureConnect'))
      // Below the bound of handshakes, which has no favourites.
      if (count % 100 === 0) await Promise.all(others)
    }
    await Promise.all(others)
    assert.equal(rig.sessions.size, most)
    assert.ok(!first.closed)
    const known = await running(rig)
    assert.match(await ending(first), CLOSED)
    // Not by its own deadline.
    assert.ok(performance.now() - startedMs < max('handshakeDeadlineMs') - 1000)
    await until(() => rig.sessions.size <= most, 'the oldest is gone')
    known.write('more\n')
    assert.equal((await readBytes(known, 5)).toString(), 'more\n')
  })
})
