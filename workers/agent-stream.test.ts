// A streaming session at an agent's worker: the open frame first, then who the certificate makes somebody, which login it is good
// for, what becomes of the machine that was opened, and what ends it from outside. The protocol is a fake one in lines.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { ServedTarget } from '../core/agent-target.ts'
import type { FromAgentWorker, FromRecorder } from '../core/messages.ts'
import type { AgentAnswer } from '../core/questions.ts'
import type { Lock, Role } from '../core/policy/role.ts'
import type { RecordingMode } from '../core/snapshot.ts'
import type { Machine } from '../core/ssh/machine.ts'
import type { SshKeyPair } from '../core/ssh/services.ts'
import type { ByteStream } from '../core/stream.ts'
import { type Answer, type OpenFrame, readAnswer, writeOpen } from '../core/tunnel/open.ts'
import { shell } from '../test/fake/shell.ts'
import { streamPair } from '../test/fake/stream.ts'
import { CLUSTER } from '../test/fixtures/certificates.ts'
import { readBytes } from '../test/fixtures/net.ts'
import { ALICE_LOGIN, testSnapshot, WEB } from '../test/fixtures/rights.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { sshHost, sshTestCa, sshUser } from '../test/fixtures/ssh.ts'
import { serverPair, testCluster } from '../test/fixtures/tls.ts'
import { AgentSessions } from './agent-sessions.ts'
import type { MachineWish } from './agent-stream.ts'
import { threadBuffers } from './buffers.ts'
import { release } from './handover.ts'
import { Trust } from './trust.ts'

const cluster = testCluster()
const USER_CA = sshTestCa()
const HOST = sshHost(sshTestCa(), ['web-1'])
const KEY = randomBytes(32)
const SWITCHES = { fileCopy: true, portForwarding: true, x11: true }
const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'

interface Options {
  readonly hostKeys?: readonly SshKeyPair[]
  readonly recording?: RecordingMode
  readonly limits?: Role['options']
  readonly ask?: () => Promise<AgentAnswer>
  readonly machine?: () => Promise<Machine>
}

interface Rig {
  readonly sessions: AgentSessions
  readonly trust: Trust
  readonly sent: FromAgentWorker[]
  readonly wishes: MachineWish[]
  /** Machines that were ended. */
  readonly ended: () => number
  /** The program's end of its input and output. */
  readonly program: () => ByteStream
  spare(over?: Partial<OpenFrame>): Promise<net.Socket>
}

async function start(context: TestContext, options: Options = {}): Promise<Rig> {
  const trust = new Trust()
  trust.apply({ kind: 'resumption-keys', purpose: 'user', keys: randomBytes(48) })
  const { recording = 'off', limits = {} } = options
  const snapshot = testSnapshot({
    nowMs: cluster.nowMs,
    config: { recording },
    options: limits,
  })
  const ssh = { user: [USER_CA.blob], host: [], openssh: [] }
  trust.apply({ kind: 'snapshot', snapshot: { ...snapshot, ssh } })
  trust.apply({ kind: 'beacon', atMs: systemClock.now() })
  const sent: FromAgentWorker[] = []
  const wishes: MachineWish[] = []
  const [io, program] = streamPair()
  let ended = 0
  const machine = { start: () => Promise.resolve({ io }), end: () => ended++ } as unknown as Machine
  const sessions = new AgentSessions({
    cluster: CLUSTER,
    agentId: 'agent-1',
    hostname: 'host-1',
    protocols: [shell],
    trust,
    clock: systemClock,
    log: silentLogger,
    auditBytesMax: max('auditQueueBytesMax'),
    node: {
      switches: SWITCHES,
      hostKeys: () => options.hostKeys ?? [HOST],
      openMachine: (wish) => {
        wishes.push(wish)
        return options.machine?.() ?? Promise.resolve(machine)
      },
    },
    ask: options.ask ?? (() => Promise.resolve({ what: 'lease', lease: 'lease-1' })),
    send: (message) => sent.push(message),
  })
  context.after(() => sessions.stop())
  sessions.serve([TARGET], serverPair(cluster))
  return {
    sessions,
    trust,
    sent,
    wishes,
    ended: () => ended,
    program: () => program,
    async spare(over) {
      const { outer, inner } = await pair(context)
      const released = release(inner)
      assert.ok(released)
      const { handle: client } = released
      const first = writeOpen(KEY, frame(over))
      const from = { spareId: 'spare-1', proxyId: 'proxy-1', key: KEY }
      sessions.take({ kind: 'spare', client, first, ...from })
      return outer
    },
  }
}

const TARGET: ServedTarget = {
  ref: WEB.ref,
  label: WEB.label,
  protocol: WEB.protocol,
  labels: WEB.labels,
}

function frame(over: Partial<OpenFrame> = {}): OpenFrame {
  return {
    mode: 'relay',
    sessionId: 'session-1',
    decisionId: '01JDECISION',
    protocol: 'shell',
    stage: '',
    target: WEB.ref,
    serverName: '',
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

async function lineOn(socket: net.Socket): Promise<string> {
  let held = ''
  while (!held.endsWith('\n')) held += (await readBytes(socket, 1)).toString()
  return held.trim()
}

function certificateLine(pair: SshKeyPair): string {
  return `CERT ${Buffer.from(pair.certificate).toString('base64')}\n`
}

const ALICES = sshUser(USER_CA, ALICE_LOGIN, ['app'])

/** What is heard of a login with this certificate. */
async function heard(rig: Rig, shown: SshKeyPair, login = 'app'): Promise<string> {
  const outer = await rig.spare()
  assert.deepEqual(await answerOn(outer), { kind: 'accept' })
  outer.write(`${certificateLine(shown)}LOGIN ${login}\n`)
  const line = await lineOn(outer)
  outer.destroy()
  return line
}

/** A session of alice's whose bytes reach its program. */
async function running(rig: Rig, term = 'PIPE'): Promise<net.Socket> {
  const outer = await rig.spare()
  assert.deepEqual(await answerOn(outer), { kind: 'accept' })
  outer.write(`${certificateLine(ALICES)}LOGIN app\n`)
  assert.equal(await lineOn(outer), 'IN')
  outer.write(`${term} ${SID}\n`)
  outer.write('ping\n')
  assert.equal(Buffer.from((await rig.program().read()) ?? []).toString(), 'ping\n')
  return outer
}

function audited(sent: readonly FromAgentWorker[]): readonly string[] {
  return sent.flatMap((message) => (message.kind === 'audit' ? [message.code] : []))
}

function lockOn(target: Lock['target']): Parameters<Trust['apply']>[0] {
  const lock = { name: 'l1', target, message: '' } as Lock
  return { kind: 'locks', lockSet: { revision: 2, locks: [lock], generations: {} } }
}

describe('a streaming session at the agent', () => {
  it('runs from the open frame to the machine, with its certificate, and leaves nothing', async (context) => {
    const rig = await start(context)
    const before = openSockets()
    const { lent } = threadBuffers
    const outer = await running(rig)
    // What comes is read into the thread's buffers, not into Node's.
    assert.ok(threadBuffers.lent > lent)
    const [wish] = rig.wishes
    assert.equal(wish?.right.access.principal, 'app')
    assert.deepEqual(wish.certificate, Uint8Array.from(ALICES.certificate))
    assert.deepEqual(wish.client, { address: '192.0.2.7', port: 4711, trusted: true })
    await rig.program().write(Buffer.from('pong\n'))
    assert.equal(await lineOn(outer), 'pong')
    outer.end()
    await rig.program().end()
    await until(() => rig.sessions.size === 0, 'the session is over')
    assert.equal(rig.ended(), 1)
    assert.deepEqual(audited(rig.sent), ['SLR006I', 'SLR007I'])
    const end = rig.sent.findLast((message) => message.kind === 'audit')
    assert.equal(end?.kind === 'audit' && end.fields['bytes_from_target'], 'IN\npong\n'.length)
    outer.destroy()
    await until(() => openSockets() === before, 'every socket is closed')
  })

  it('knows nobody by a certificate of another CA, of another cluster, or one that is over', async (context) => {
    const rig = await start(context)
    const seconds = BigInt(Math.floor(Date.now() / 1000))
    const wrong = [
      sshUser(sshTestCa(), ALICE_LOGIN, ['app']),
      sshUser(USER_CA, { ...ALICE_LOGIN, cluster: 'other.test' }, ['app']),
      sshUser(USER_CA, ALICE_LOGIN, ['app'], { validBefore: seconds - 1n }),
      sshUser(USER_CA, ALICE_LOGIN, ['app'], { keyId: 'mallory' }),
      sshUser(USER_CA, ALICE_LOGIN, ['app'], { critical: { 'no-such-option': 'x' } }),
      sshUser(USER_CA, ALICE_LOGIN, ['app'], { kind: 'host' }),
      { ...ALICES, certificate: randomBytes(300) },
    ]
    for (const shown of wrong) assert.match(await heard(rig, shown), /^NO the SSH certificate/)
    assert.equal(rig.wishes.length, 0)
    assert.ok(audited(rig.sent).filter((code) => code === 'T3007W').length === wrong.length)
    assert.equal(await heard(rig, ALICES), 'IN')
  })

  it('is no login that the certificate does not name, whatever the roles say', async (context) => {
    const rig = await start(context)
    const narrow = sshUser(USER_CA, ALICE_LOGIN, ['other'])
    assert.match(await heard(rig, narrow), /^NO .* not good for this login/)
    assert.match(await heard(rig, sshUser(USER_CA, ALICE_LOGIN, ['root']), 'root'), /^NO no role/)
    assert.deepEqual([rig.wishes.length, audited(rig.sent).includes('SLR006I')], [0, false])
  })

  it('is refused before a byte of it while no host certificate is there, and in modes it has not', async (context) => {
    const bare = await start(context, { hostKeys: [] })
    const reason = async (rig: Rig, over: Partial<OpenFrame>): Promise<string> => {
      const answer = await answerOn(await rig.spare(over))
      return answer.kind === 'refuse' ? answer.reason : answer.kind
    }
    assert.equal(await reason(bare, {}), 'no-target')
    const rig = await start(context)
    const denial = { kind: 'limit', reason: 'too many', next: 'Wait.' } as const
    assert.equal(await reason(rig, { mode: 'deny', denial }), 'mode')
    assert.equal(await reason(rig, { mode: 'terminate' }), 'mode')
    assert.equal(await reason(rig, { protocol: 'line' }), 'protocol')
    assert.equal(rig.sessions.size, 0)
  })

  it('ends with a lock, which is said, and hangs its machine up', async (context) => {
    const rig = await start(context)
    const outer = await running(rig)
    rig.trust.apply(lockOn({ user: 'mallory' }))
    outer.write('more\n')
    assert.equal(Buffer.from((await rig.program().read()) ?? []).toString(), 'more\n')
    rig.trust.apply(lockOn({ login: 'app' }))
    assert.match(await lineOn(outer), /^BYE .*lock/)
    assert.match(await ending(outer), /^(end|close|ECONNRESET)$/)
    outer.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    assert.equal(rig.ended(), 1)
    assert.deepEqual(audited(rig.sent), ['SLR006I', 'T3006I', 'SLR007I'])
  })

  it('ends when the person did nothing for too long', async (context) => {
    const rig = await start(context, { limits: { clientIdleTimeoutMs: 50 } })
    const outer = await running(rig)
    assert.match(await lineOn(outer), /^BYE .*idle/)
    outer.destroy()
  })

  it('is told when the agent’s time to drain is over', async (context) => {
    const rig = await start(context)
    const outer = await running(rig)
    const drained = rig.sessions.drain(0)
    assert.match(await lineOn(outer), /^BYE the agent is being restarted/)
    await drained
    outer.destroy()
  })

  it('gives its lease back, and a machine that came too late', async (context) => {
    let asked = false
    const late = Promise.withResolvers<Machine>()
    const rig = await start(context, {
      limits: { maxConnections: 1 },
      machine: () => {
        asked = true
        return late.promise
      },
    })
    const outer = await rig.spare()
    await answerOn(outer)
    outer.write(`${certificateLine(ALICES)}LOGIN app\n`)
    await until(() => asked, 'the machine is asked for')
    rig.trust.apply(lockOn({ user: 'alice' }))
    assert.match(await lineOn(outer), /^BYE /)
    outer.destroy()
    await until(() => rig.sessions.size === 0, 'the session is over')
    let ended = 0
    late.resolve({ end: () => ended++ } as unknown as Machine)
    await until(() => ended === 1, 'the machine is ended')
    assert.equal(rig.sent.filter(({ kind }) => kind === 'release-lease').length, 1)
  })

  it('cannot be refused a second certificate by the first, and is decided by the one it shows last', async (context) => {
    const rig = await start(context)
    const outer = await rig.spare()
    await answerOn(outer)
    outer.write(`${certificateLine(sshUser(sshTestCa(), ALICE_LOGIN, ['app']))}LOGIN app\n`)
    assert.match(await lineOn(outer), /^NO /)
    outer.write(`${certificateLine(ALICES)}LOGIN app\n`)
    assert.equal(await lineOn(outer), 'IN')
    outer.destroy()
  })

  it('records its terminal, and ends with a disk that is broken when that is strict', async (context) => {
    const limits = { recordSession: 'strict' } as const
    const rig = await start(context, { recording: 'node', limits })
    const outer = await running(rig, 'TERM')
    await rig.program().write(Buffer.alloc(60_000, 'x'))
    await readBytes(outer, 60_000)
    const chunk = await recorded(rig)
    assert.equal(chunk.sid, SID)
    rig.sessions.recorded({ kind: 'recording-kept', sid: SID, seq: chunk.seq, outcome: 'refused' })
    assert.match(await lineOn(outer), /^BYE .*recording/)
    outer.destroy()
  })
})

async function recorded(rig: Rig): Promise<FromRecorder> {
  const found = (): FromRecorder | undefined =>
    rig.sent.find((message): message is FromRecorder => message.kind === 'recording')
  await until(() => found() !== undefined, 'a chunk')
  const chunk = found()
  assert.ok(chunk)
  return chunk
}
