// Ways in of one proxy worker in front of one agent worker that serves a node with the fake protocol of shells: spares are handed over
// as both main threads would. For tests alone.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import type { TestContext } from 'node:test'
import tls from 'node:tls'

import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { FromProxyWorker, SocketHandle } from '../core/messages.ts'
import type { ProxyAnswer } from '../core/questions.ts'
import type { Lock } from '../core/policy/role.ts'
import type { RecordingMode } from '../core/snapshot.ts'
import type { Machine } from '../core/ssh/machine.ts'
import { writeWanted } from '../core/ssh/way-in.ts'
import type { ByteStream } from '../core/stream.ts'
import { shell } from '../test/fake/shell.ts'
import { streamPair } from '../test/fake/stream.ts'
import { CLUSTER, systemIdentity } from '../test/fixtures/certificates.ts'
import { readBytes } from '../test/fixtures/net.ts'
import { ALICE_LOGIN, testSnapshot, WEB } from '../test/fixtures/rights.ts'
import { pair } from '../test/fixtures/sockets.ts'
import { sshHost, sshTestCa, sshUser } from '../test/fixtures/ssh.ts'
import {
  pemPair,
  type PemPair,
  serverPair,
  type TestCluster,
  testCluster,
} from '../test/fixtures/tls.ts'
import { AgentSessions } from './agent-sessions.ts'
import { AuditQueue } from './audit-queue.ts'
import { discard, release } from './handover.ts'
import type { ProxiedParts } from './proxied-stream.ts'
import { Recorders } from './recorders.ts'
import { systemTimers } from './timers.ts'
import { Trust } from './trust.ts'
import { WaysIn } from './ways-in.ts'

export const ca: TestCluster = testCluster()
export const CLOSED: RegExp = /^(end|close|ECONNRESET)$/
const USER_CA = sshTestCa()
const HOST = sshHost(sshTestCa(), ['web-1'])
const PROXY = systemIdentity('proxy')
const KEY = randomBytes(32)
const SWITCHES = { fileCopy: true, portForwarding: true, x11: true }
const ALICES = sshUser(USER_CA, ALICE_LOGIN, ['app'])
/** What alice says to the node. */
export const HELLO: string = `CERT ${Buffer.from(ALICES.certificate).toString('base64')}\nLOGIN app\n`

export interface Options {
  /** What a name stands for; by default `web-1` is the node, and nothing else is. */
  readonly node?: (name: string) => ProxyAnswer | Promise<ProxyAnswer>
  readonly recording?: RecordingMode
  /** Spares that die before the agent sees them. */
  readonly dying?: number
  /** There is no spare. */
  readonly alone?: boolean
  /** Locking is strict, and control has been silent. */
  readonly stale?: boolean
}

export interface Rig {
  readonly ways: WaysIn
  readonly trust: Trust
  readonly agent: AgentSessions
  readonly sent: FromProxyWorker[]
  readonly asked: string[]
  /** The node's program. */
  readonly program: () => ByteStream
  /** So many bytes, as the program reads them. */
  arrives(bytes: number): Promise<Buffer>
  client(shown?: PemPair | 'nobody'): Promise<tls.TLSSocket>
  /** A client that says nothing. */
  silent(): Promise<net.Socket>
}

export async function start(context: TestContext, options: Options = {}): Promise<Rig> {
  await Promise.resolve()
  const trust = trustOf(options)
  trust.apply({ kind: 'host', ...pemPair(ca.host, PROXY, ca.nowMs) })
  const sent: FromProxyWorker[] = []
  const asked: string[] = []
  const [io, program] = streamPair()
  const machine = { start: () => Promise.resolve({ io }), end: () => {} } as unknown as Machine
  const agent = agentOf(context, options, machine)
  const supply = suppliesOf(context, options, agent)
  const ways: WaysIn = new WaysIn({
    proxied: proxiedParts((message) => sent.push(message)),
    cluster: CLUSTER,
    proxyId: PROXY.id,
    publicAddress: 'proxy.test:443',
    trust,
    clock: systemClock,
    log: silentLogger,
    async ask(question) {
      assert.ok(question.what === 'node')
      asked.push(`${question.user} ${question.node}`)
      if (options.node !== undefined) return await options.node(question.node)
      return { what: 'node', ...(question.node === 'web-1' ? { target: WEB } : {}) }
    },
    send(message) {
      sent.push(message)
      if (message.kind === 'need-spare') void supply(message.session, ways)
    },
  })
  context.after(() => ways.stop())
  let number = 0
  const open = async (): Promise<net.Socket> => {
    const { outer, inner } = await pair(context)
    const session = ++number
    ways.open({
      kind: 'way-in',
      begins: 'tls',
      session,
      sessionId: `sid-${session}`,
      client: handleOf(inner),
      first: new Uint8Array(0),
      source: { address: '127.0.0.1', port: 1, trusted: true },
    })
    return outer
  }
  return {
    ways,
    trust,
    agent,
    sent,
    asked,
    program: () => program,
    arrives: (bytes) => readFrom(program, bytes),
    client: async (shown) => secured(context, await open(), shown),
    silent: open,
  }
}

/** Nothing in these tests comes so far. */
function proxiedParts(send: (message: FromProxyWorker) => void): ProxiedParts {
  const common = { clock: systemClock, timers: systemTimers, send }
  return {
    protocol: shell,
    queue: new AuditQueue({ ...common, bytesMax: max('auditQueueBytesMax') }),
    recorders: new Recorders(common),
    guard: { section: 'proxy_service', allowed: [], ownPorts: [], ownAddresses: [] },
  }
}

function agentOf(context: TestContext, options: Options, machine: Machine): AgentSessions {
  const agent = new AgentSessions({
    cluster: CLUSTER,
    agentId: 'agent-1',
    hostname: 'host-1',
    protocols: [shell],
    trust: trustOf(options),
    clock: systemClock,
    log: silentLogger,
    auditBytesMax: max('auditQueueBytesMax'),
    node: {
      switches: SWITCHES,
      hostKeys: () => [HOST],
      openMachine: () => Promise.resolve(machine),
    },
    ask: () => Promise.resolve({ what: 'lease', lease: 'l1' }),
    send: () => {},
  })
  context.after(() => agent.stop())
  const { ref, label, protocol, labels } = WEB
  agent.serve([{ ref, label, protocol, labels }], serverPair(ca))
  return agent
}

function suppliesOf(
  context: TestContext,
  options: Options,
  agent: AgentSessions,
): (session: number, ways: WaysIn) => Promise<void> {
  let { dying = 0 } = options
  let spares = 0
  return async (session, ways) => {
    if (options.alone === true) return ways.noSpare(session)
    const { outer, inner } = await pair(context)
    const [handle, client] = [handleOf(inner), handleOf(outer)]
    const spareId = `spare-${++spares}`
    const first = new Uint8Array(0)
    if (dying-- > 0) discard(client)
    else agent.take({ kind: 'spare', client, first, spareId, proxyId: PROXY.id, key: KEY })
    const spare = { handle, spareId, agentId: 'agent-1', key: KEY }
    assert.ok(ways.use({ kind: 'spare', session, spare }))
  }
}

function trustOf({ recording = 'off', stale = false }: Options): Trust {
  const trust = new Trust()
  for (const purpose of ['user', 'session', 'ssh'])
    trust.apply({ kind: 'resumption-keys', purpose, keys: randomBytes(48) })
  const snapshot = testSnapshot({
    nowMs: ca.nowMs,
    cas: { user: [ca.user.der], host: [ca.host.der] },
    config: { recording, lockingMode: stale ? 'strict' : 'best_effort' },
  })
  const ssh = { user: [USER_CA.blob], host: [], openssh: [] }
  trust.apply({ kind: 'snapshot', snapshot: { ...snapshot, ssh } })
  const ageMs = stale ? max('stalenessMaxMs') + 1000 : 0
  trust.apply({ kind: 'beacon', atMs: systemClock.now() - ageMs })
  return trust
}

function handleOf(socket: net.Socket): SocketHandle {
  const released = release(socket)
  assert.ok(released)
  return released.handle
}

function secured(
  context: TestContext,
  socket: net.Socket,
  shown: PemPair | 'nobody' = pemPair(ca.user, ALICE_LOGIN, ca.nowMs),
): tls.TLSSocket {
  const client = tls.connect({
    socket,
    ALPNProtocols: ['sluice-ssh'],
    rejectUnauthorized: false,
    ...(shown === 'nobody' ? {} : { cert: shown.certificate, key: shown.key }),
  })
  client.on('error', () => {})
  context.after(() => void client.destroy())
  return client
}

async function readFrom(program: ByteStream, bytes: number): Promise<Buffer> {
  let read = Buffer.alloc(0)
  while (read.length < bytes) read = Buffer.concat([read, (await program.read()) ?? assert.fail()])
  return read
}

export async function lineOn(socket: net.Socket): Promise<string> {
  let held = ''
  while (!held.endsWith('\n')) held += (await readBytes(socket, 1)).toString()
  return held.trim()
}

/** What somebody hears who wants this node. */
export async function heard(rig: Rig, node = 'web-1', shown?: PemPair | 'nobody'): Promise<string> {
  const client = await rig.client(shown)
  client.write(writeWanted(node))
  const line = await lineOn(client)
  client.destroy()
  return line
}

/** A session of alice's on the node. */
export async function running(rig: Rig): Promise<tls.TLSSocket> {
  const client = await rig.client()
  client.write(writeWanted('web-1'))
  assert.equal(await lineOn(client), 'ok')
  client.write(HELLO)
  assert.equal(await lineOn(client), 'IN')
  client.write('PIPE\n')
  client.write('ping\n')
  assert.equal((await rig.arrives(5)).toString(), 'ping\n')
  return client
}

export function audited(rig: Rig): readonly (readonly [string, unknown, unknown])[] {
  return rig.sent.flatMap((message) =>
    message.kind === 'audit'
      ? [[message.code, message.fields['user'], message.fields['target_name']] as const]
      : [],
  )
}

export function lockOn(target: Lock['target']): Parameters<Trust['apply']>[0] {
  const lock = { name: 'l1', target, message: '' } as Lock
  return { kind: 'locks', lockSet: { revision: 2, locks: [lock], generations: {} } }
}
