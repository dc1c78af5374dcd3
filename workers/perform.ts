// Carries out what a framed session decides, on real streams (core/protocol.ts; clauses in recipe 2). It owns everything a
// session never sees: sockets, backpressure, suspension, TLS, the dial, deadlines and the order in which bytes leave. It
// decides nothing about protocol or policy, and opens nothing without a right.

import type net from 'node:net'

import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Authorized } from '../core/login.ts'
import type {
  Access,
  Action,
  FramedProtocol,
  FramedSession,
  Peer,
  Refusal,
  SessionEvent,
  Side,
} from '../core/protocol.ts'
import { ChunkOut } from './chunk-out.ts'
import { Flow } from './flow.ts'
import { watchLinger } from './linger.ts'
import { watchRight } from './right-deadlines.ts'
import type { RightDeadline } from './right-deadlines.ts'
import type { PerformServices, Session, SessionCounters, SessionStart } from './session.ts'
import { securedEvent, startEvent } from './session-event.ts'
import { SideStream } from './side.ts'
import { TapGate } from './tap-gate.ts'
import { reachTarget } from './target-login.ts'
import { Deadlines } from './timers.ts'

/** Runs one client of `protocol` until it ends. */
export function runFramed(
  protocol: FramedProtocol,
  client: net.Socket,
  start: SessionStart,
  services: PerformServices,
): Session {
  const performer = new Performer(protocol, services)
  performer.start(client, start)
  return performer
}

type Deadline = RightDeadline | 'login' | 'wake' | 'linger' | 'half-closed'
type Phase = 'login' | 'dial' | 'connected' | 'ending' | 'over'
const SIDES: readonly Side[] = ['client', 'target']

class Performer implements Session {
  readonly done: Promise<string>
  readonly #settle: (reason: string) => void
  readonly #protocol: FramedProtocol
  readonly #services: PerformServices
  readonly #session: FramedSession
  readonly #tap: TapGate
  readonly #out: ChunkOut
  readonly #sides: Readonly<Record<Side, SideStream>>
  readonly #deadlines: Deadlines<Deadline>
  readonly #giveUp = new AbortController()
  readonly #flow: Flow
  readonly #ended: Record<Side, 'no' | 'held' | 'told'> = { client: 'no', target: 'no' }
  #phase: Phase = 'login'
  #refused = false
  /** The client's socket while its TLS handshake has it. */
  #handshaking: net.Socket | undefined
  #peer: Peer | undefined
  #right: Authorized | undefined
  #activeMs = 0
  #reason = ''

  constructor(protocol: FramedProtocol, services: PerformServices) {
    this.#protocol = protocol
    this.#services = services
    this.#session = protocol.session()
    this.#tap = new TapGate({
      ready: () => this.#tell({ kind: 'tap-ready' }),
      failed: (error) => this.#failed('the recording failed', error),
    })
    this.#out = new ChunkOut((...note) => this.#tap.note(...note))
    this.#sides = { client: this.#side('client'), target: this.#side('target') }
    this.#flow = new Flow(this.#sides)
    this.#deadlines = new Deadlines(services.clock, services.timers)
    const { promise, resolve } = Promise.withResolvers<string>()
    this.done = promise
    this.#settle = resolve
  }

  get counters(): SessionCounters {
    return {
      fromClientBytes: this.#sides.client.receivedBytes,
      fromTargetBytes: this.#sides.target.receivedBytes,
      notes: this.#tap.notes,
    }
  }

  get peer(): Peer | undefined {
    return this.#peer
  }

  get right(): Authorized | undefined {
    return this.#right
  }

  start(client: net.Socket, start: SessionStart): void {
    const { clock, random } = this.#services
    this.#deadlines.after('login', max('handshakeDeadlineMs'), () =>
      this.#refuse('limit', 'the login took too long', 'Try again.'),
    )
    this.#sides.client.hold(start.first)
    this.#sides.client.attach(client)
    this.#tell(startEvent(start, clock.now(), random))
    if (start.denial !== undefined) this.#say(start.denial)
  }

  evict(refusal: Refusal): void {
    if (this.#over()) return
    if (this.#phase !== 'connected') return this.#say(refusal)
    this.#refused = true
    this.#tell({ kind: 'evict', refusal })
    if (!this.#over()) this.#cut(refusal.reason)
  }

  #side(side: Side): SideStream {
    return new SideStream({
      data: (chunk) => this.#judge(side, chunk),
      ended: () => this.#endedBy(side),
      gone: (error) => this.#goneBy(side, error),
      drained: () => this.#flow.drained(side),
    })
  }

  // Bytes and events in

  #judge(from: Side, chunk: Uint8Array): void {
    if (this.#over()) return
    this.#activeMs = this.#services.clock.monotonic()
    this.#step(from, () => {
      this.#out.begin(from, chunk)
      const to = this.#session.bytes(from, chunk, 0, this.#out)
      if (!(to >= 0 && to <= chunk.length)) throw new RangeError('consumed beyond the chunk')
      if (to < chunk.length) this.#sides[from].hold(chunk.subarray(to))
    })
  }

  #tell(event: SessionEvent): void {
    if (this.#over()) return
    this.#step(undefined, () => {
      this.#out.begin()
      this.#session.event(event, this.#out)
    })
    this.#offerHeld()
  }

  #offerHeld(): void {
    for (const side of SIDES) {
      const held = this.#over() ? undefined : this.#sides[side].takeHeld()
      if (held !== undefined && held.length > 0) this.#judge(side, held)
      if (this.#ended[side] === 'held' && this.#sides[side].held.length === 0) this.#endedBy(side)
    }
    if (!this.#over()) this.#flow.apply()
  }

  /** One decision of the session, then its bytes, then its actions. */
  #step(from: Side | undefined, decide: () => void): void {
    try {
      decide()
      const { toClient, toTarget, actions } = this.#out.collect()
      if (toClient.length > 0) this.#flow.write('client', toClient, from)
      if (toTarget.length > 0) this.#flow.write('target', toTarget, from)
      for (const action of actions) if (this.#phase !== 'over') this.#act(action)
      if (!this.#over()) this.#flow.apply()
    } catch (error) {
      const expected = errorCode(error) !== undefined
      this.#services.log[expected ? 'info' : 'error']('a session failed', { error: String(error) })
      this.#cut('failed inside Sluice')
    }
  }

  #endedBy(side: Side): void {
    if (this.#over() || this.#ended[side] === 'told') return
    if (this.#sides[side].held.length > 0) {
      this.#ended[side] = 'held'
      return
    }
    this.#ended[side] = 'told'
    this.#tell({ kind: 'ended', side })
    if (this.#over()) return
    const other = side === 'client' ? 'target' : 'client'
    if (this.#phase !== 'connected' || this.#ended[other] === 'told') {
      this.#end(`${side} closed`)
      return
    }
    this.#sides[other].end()
    this.#deadlines.after('half-closed', max('halfClosedMsMax'), () => this.#cut(`${side} closed`))
  }

  #goneBy(side: Side, error: Error | undefined): void {
    // It said its last byte before: what it said still leaves on the other side, at that side's pace.
    if (this.#ended[side] === 'told') return
    if (this.#ended[side] === 'no' || error !== undefined)
      this.#cut(`${side} ${error === undefined ? 'closed' : 'reset'}`)
  }

  // Actions out

  #act(action: Action): void {
    switch (action.kind) {
      case 'upgrade-tls':
        return this.#upgrade(action.side)
      case 'authorize':
        return this.#authorize(action.access)
      case 'dial':
        return this.#dial(action.right, action.opening)
      case 'wake-at':
        return this.#deadlines.at('wake', action.atMs, () =>
          this.#tell({ kind: 'time', nowMs: this.#services.clock.now() }),
        )
      case 'audit':
        return this.#services.audit(action.code, action.fields, this.#right)
      case 'signal':
        return this.#services.signal(action.key)
      case 'signal-key':
        return this.#services.signalKey(action.shown, action.real, this.#right)
      case 'end':
        return this.#end(action.reason)
      case 'ready':
        throw new Error('only an agent half is ready')
    }
  }

  #upgrade(side: Side): void {
    const plain = side === 'client' ? this.#sides.client.detach() : undefined
    if (plain === undefined) throw new Error('a session upgrades its client only')
    this.#handshaking = plain.socket
    this.#await(this.#services.secureClient(plain.socket, plain.rest), 'TLS failed', (secured) => {
      const { socket, peer } = secured
      if (this.#over()) {
        socket.destroy()
        return
      }
      this.#handshaking = undefined
      this.#peer = peer
      this.#sides.client.attach(socket)
      this.#tell(securedEvent(secured))
    })
  }

  #authorize(access: Access): void {
    if (this.#refused) return
    const peer = this.#peer
    if (peer === undefined)
      return this.#refuse('identity', 'no certificate of a Sluice user was shown', 'Log in again.')
    return this.#await(this.#services.authorize(peer, access), 'no decision', (outcome) => {
      if (this.#over() || this.#refused) return
      if ('refusal' in outcome) return this.#say(outcome.refusal)
      this.#right = outcome.right
      this.#tap.open(this.#services.tap(outcome.right))
      this.#tell({ kind: 'authorized', right: outcome.right })
    })
  }

  #dial(right: Authorized, opening: Uint8Array): void {
    if (this.#refused) return
    if (this.#phase !== 'login' || right !== this.#right)
      throw new Error('dialled without its right')
    this.#phase = 'dial'
    this.#deadlines.after('login', max('targetDialDeadlineMs'), () => {
      this.#giveUp.abort()
    })
    this.#reach(right, opening).catch((error: unknown) => this.#dialFailed(error))
  }

  #dialFailed(error: unknown): void {
    const known = errorCode(error) !== undefined && error instanceof Error
    if (!known) this.#services.log.error('a dial failed', { error: String(error) })
    if (this.#phase === 'dial') this.#phase = 'login'
    const message = known ? error.message : 'the target could not be reached'
    this.#tell({ kind: 'dial-failed', message })
  }

  async #reach(right: Authorized, opening: Uint8Array): Promise<void> {
    const { signal } = this.#giveUp
    const reached = await reachTarget(this.#protocol, right, opening, this.#services, signal)
    if (this.#phase !== 'dial' || this.#refused) {
      reached.socket.destroy()
      return
    }
    this.#phase = 'connected'
    this.#deadlines.drop('login')
    this.#activeMs = this.#services.clock.monotonic()
    watchRight(right, this.#services.clock, this.#deadlines, {
      activeMs: () => this.#activeMs,
      evict: (kind, reason, next) => this.#evictFor(kind, reason, next),
    })
    const { target } = this.#sides
    target.hold(reached.first)
    target.receivedBytes += reached.first.length
    target.attach(reached.socket)
    this.#tell({ kind: 'connected' })
  }

  /** A promise of the thread's; when it fails, so does the session. */
  #await<T>(promise: Promise<T>, failure: string, use: (value: T) => void): void {
    promise.then(use).catch((error: unknown) => this.#failed(failure, error))
  }

  #failed(failure: string, error: unknown): void {
    this.#services.log.info(failure, { error: String(error) })
    this.#cut(failure)
  }

  // Ends

  #refuse(kind: Refusal['kind'], reason: string, next: string): void {
    this.#say({ decisionId: this.#services.newDecisionId(), kind, reason, next })
  }

  #evictFor(kind: Refusal['kind'], reason: string, next: string): void {
    if (this.#over()) return
    this.#services.audit('T3006I', { reason }, this.#right)
    this.evict({ decisionId: this.#services.newDecisionId(), kind, reason, next })
  }

  /** Refused before it was connected. The session may have to wait until the client can hear it; the deadline goes on. */
  #say(refusal: Refusal): void {
    if (this.#over()) return
    const again = this.#refused
    this.#refused = true
    this.#giveUp.abort()
    this.#step(undefined, () => {
      this.#out.begin()
      this.#session.refuse(refusal, this.#out)
    })
    this.#offerHeld()
    // The client was refused and given its time to hear it.
    if (again && !this.#over()) this.#cut(refusal.reason)
    else if (!this.#over() && !this.#deadlines.has('login'))
      this.#deadlines.after('login', max('sessionLingerMs'), () => this.#cut(refusal.reason))
  }

  #over(): boolean {
    return this.#phase === 'ending' || this.#phase === 'over'
  }

  /** What was sent leaves, then both sides close. */
  #end(reason: string): void {
    if (this.#over()) return
    this.#phase = 'ending'
    this.#reason = reason
    this.#stop()
    let open = SIDES.length
    const closed = (): void => {
      open--
      if (open === 0) this.#finish()
    }
    watchLinger(this.#deadlines, this.#services.clock, {
      leftBytes: () => this.#sides.client.bufferedBytes + this.#sides.target.bufferedBytes,
      drop: () => {
        for (const side of SIDES) this.#sides[side].destroy()
        this.#finish()
      },
    })
    for (const side of SIDES) this.#sides[side].linger(closed)
  }

  /** Both sides close at once, whatever is still on its way. */
  #cut(reason: string): void {
    if (this.#over()) return
    this.#reason = reason
    this.#stop()
    for (const side of SIDES) this.#sides[side].destroy()
    this.#finish()
  }

  #stop(): void {
    this.#deadlines.clear()
    this.#giveUp.abort()
    this.#handshaking?.destroy()
  }

  #finish(): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    this.#deadlines.clear()
    this.#tap
      .seal(this.#reason)
      .catch((error: unknown) =>
        this.#services.log.error('a recording was not sealed', { error: String(error) }),
      )
      .finally(() => this.#settle(this.#reason))
      .catch(() => {})
  }
}
