// One performed session of the fake line protocol over loopback: a client, a target that greets, services that do what the
// test says. For perform.*.test.ts only.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import type { TestContext } from 'node:test'

import { silentLogger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { FramedProtocol, Refusal, SessionEvent, Tap } from '../core/protocol.ts'
import { line } from '../test/fake/line.ts'
import { listen } from '../test/fixtures/net.ts'
import { alicePeer, ORDERS, testRight } from '../test/fixtures/rights.ts'
import type { World } from '../test/fixtures/rights.ts'
import { pair } from '../test/fixtures/sockets.ts'
import { runFramed } from './perform.ts'
import type { PerformServices, Session, SessionStart } from './session.ts'
import type { Dialled } from './target-login.ts'
import { FakeTimers } from './timers.ts'

export const HELLO = 'HELLO app main\n'

export interface PerformRig {
  readonly client: net.Socket
  /** What the client was told so far. */
  readonly heard: () => string
  readonly session: Session
  readonly timers: FakeTimers
  /** The target's end of the dialled connection. */
  readonly target: Promise<net.Socket>
  readonly right: Authorized
}

export interface RigOptions {
  readonly services?: Partial<PerformServices>
  readonly start?: Partial<SessionStart>
  readonly world?: Omit<World, 'nowMs'>
  /** Events the session never hears of, as if it were badly written. */
  readonly deafTo?: readonly SessionEvent['kind'][]
  /** What the target says first. */
  readonly greeting?: string
}

export function refusal(kind: Refusal['kind'] = 'lock'): Refusal {
  return { decisionId: `01J${kind}`, kind, reason: `because of ${kind}`, next: 'nothing' }
}

/** Takes everything, counting. */
export function openTap(): Tap {
  return { put: () => true, ready: () => Promise.resolve(), seal: () => Promise.resolve() }
}

export async function performRig(t: TestContext, options: RigOptions = {}): Promise<PerformRig> {
  const { outer: client, inner } = await pair(t)
  const timers = new FakeTimers()
  const nowMs = timers.clock.now()
  const right = testRight({ nowMs, ...options.world })
  const { promise: target, resolve } = Promise.withResolvers<net.Socket>()
  const { port } = await listen(t, (socket) => {
    socket.once('data', (hello: Buffer) => {
      assert.equal(hello.toString(), HELLO)
      socket.pause()
      socket.write(options.greeting ?? 'WELCOME\n')
      resolve(socket)
    })
  })
  let heard = ''
  client.on('data', (chunk: Buffer) => (heard += chunk.toString()))
  const services: PerformServices = {
    clock: timers.clock,
    timers,
    log: silentLogger,
    newDecisionId: () => '01JOURS',
    secureClient: (raw, first) => {
      if (first.length > 0) raw.unshift(first)
      return Promise.resolve({ socket: raw, peer: alicePeer(nowMs) })
    },
    authorize: () => Promise.resolve({ right }),
    dial: () => dialled(port, right),
    tap: openTap,
    audit: () => {},
    random: (bytes) => new Uint8Array(bytes),
    signal: () => {},
    signalKey: () => {},
    ...options.services,
  }
  const start = { stage: '', target: ORDERS.ref, first: new Uint8Array(0), ...options.start }
  const session = runFramed(deaf(options.deafTo ?? []), inner, start, services)
  return { client, heard: () => heard, session, timers, target, right }
}

function deaf(kinds: readonly SessionEvent['kind'][]): FramedProtocol {
  const session = (): ReturnType<FramedProtocol['session']> => {
    const whole = line.session()
    return {
      bytes: (from, chunk, at, out) => whole.bytes(from, chunk, at, out),
      event: (event, out) => (kinds.includes(event.kind) ? undefined : whole.event(event, out)),
      refuse: (reason, out) => whole.refuse(reason, out),
    }
  }
  return { ...line, session }
}

/** Both far ends go, so that the session can. */
export async function finish(rig: PerformRig): Promise<void> {
  const far = await rig.target
  rig.client.end()
  far.resume().end()
  await rig.session.done
}

async function dialled(port: number, right: Authorized): Promise<Dialled> {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const opening = Buffer.from(HELLO)
  const servername = 'orders.test'
  const random = new Uint8Array(32)
  return { socket, login: { right, opening, certificate: false, tls: 'off', servername, random } }
}
