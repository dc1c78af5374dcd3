// The proxy's main thread and its agents: which are linked and through which worker, the spare tickets they get, the parked
// spares they present. One link per agent: the newest wins. A lost link drops the agent's spares, whose key is gone with it.

import { randomBytes, randomUUID } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromProxyWorker, SpareGrant, ToProxyWorker } from '../core/messages.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import { type LinkFrame, type SpareOrder, splitSigned } from '../core/tunnel/link.ts'
import { SIGNED_KINDS } from '../core/tunnel/link-frame.ts'
import {
  checkSpareTicket,
  mintSpareTicket,
  ReplayGuard,
  SPARE_NONCE_BYTES,
  type SparePreface,
} from '../core/tunnel/spare.ts'
import { chooseAgent } from './choose-agent.ts'
import type { Ledger } from './ledger.ts'
import type { PoolThread } from './pool.ts'
import { SparePool, type TakenSpare } from './spares.ts'

type LinkUp = Extract<FromProxyWorker, { kind: 'link-up' }>

export interface LinkedAgent {
  readonly agentId: string
  readonly key: Uint8Array
  readonly services: readonly string[]
  readonly thread: PoolThread<ToProxyWorker>
  readonly sinceMs: number
  /** As its last heartbeat said. */
  lockRevision: number
  snapshotRevision: number
  unhealthy: ReadonlySet<string>
  /** Of all proxies, as it said; what was given to it since is added. */
  sessions: number
  draining: boolean
  suspect: boolean
  chosenAt: number
}

export interface ProxyLinksOptions {
  readonly proxyId: string
  readonly clock: Clock
  readonly ledger: Ledger
  readonly log: Logger
  /** Signed messages a newly linked agent must hear. */
  readonly trust: () => readonly SignedMessage[]
  /** A ticket this process made for that agent came a second time. */
  readonly onReplayed: (preface: SparePreface) => void
}

export class ProxyLinks {
  readonly #options: ProxyLinksOptions
  readonly #agents = new Map<string, LinkedAgent>()
  readonly #ticketKey = randomBytes(32)
  readonly #guard = new ReplayGuard(max('frameClockSkewMs'), max('spareTicketsRememberedMax'))
  readonly #pool: SparePool
  /** Resolved when any agent links; those who found none linked wait on it. */
  #linked = Promise.withResolvers<void>()
  #choices = 0
  refusedSpares = 0

  constructor(options: ProxyLinksOptions) {
    this.#options = options
    const { clock, ledger } = options
    this.#pool = new SparePool({ clock, ledger, onShort: (agentId) => this.#supply(agentId) })
    ledger.watch('links', () => this.#agents.size)
  }

  get pool(): SparePool {
    return this.#pool
  }

  get agents(): readonly LinkedAgent[] {
    return [...this.#agents.values()]
  }

  get(agentId: string): LinkedAgent | undefined {
    return this.#agents.get(agentId)
  }

  up(message: LinkUp, thread: PoolThread<ToProxyWorker>): void {
    const { agentId, key, services } = message
    const before = this.#agents.get(agentId)
    if (before !== undefined) this.#cut(before, 'a newer link of the same agent')
    this.#agents.set(agentId, {
      agentId,
      key,
      services,
      thread,
      sinceMs: this.#options.clock.now(),
      lockRevision: 0,
      snapshotRevision: 0,
      unhealthy: new Set(),
      sessions: 0,
      draining: false,
      suspect: false,
      chosenAt: 0,
    })
    this.#options.log.info('agent linked', {
      agent: agentId,
      version: message.version,
      from: message.source.address,
    })
    for (const signed of this.#options.trust()) this.#sendSigned(agentId, signed)
    this.#pool.link(agentId)
    this.#linked.resolve()
    this.#linked = Promise.withResolvers<void>()
  }

  /** A link of this thread ended. Ignored when a newer one stands elsewhere. */
  down(agentId: string, thread: PoolThread<ToProxyWorker>, reason: string): void {
    if (this.#agents.get(agentId)?.thread !== thread) return
    this.#agents.delete(agentId)
    this.#pool.unlink(agentId)
    this.#options.log.warn('agent link lost', { agent: agentId, reason })
  }

  /** All links of a crashed thread. */
  lost(thread: PoolThread<ToProxyWorker>): void {
    for (const agent of this.agents)
      if (agent.thread === thread) this.down(agent.agentId, thread, 'worker thread ended')
  }

  heard(agentId: string, frame: LinkFrame): void {
    const agent = this.#agents.get(agentId)
    if (agent === undefined) return
    if (frame.type === 'drain') agent.draining = true
    if (frame.type !== 'heartbeat') return
    agent.suspect = false
    agent.unhealthy = new Set(frame.unhealthy)
    agent.lockRevision = frame.lockRevision
    agent.snapshotRevision = frame.snapshotRevision
    agent.sessions = frame.sessions
  }

  /** Passes a signed message on to every agent. */
  broadcast(message: SignedMessage): void {
    for (const agentId of this.#agents.keys()) this.#sendSigned(agentId, message)
  }

  send(agentId: string, frame: LinkFrame): void {
    this.#agents.get(agentId)?.thread.post({ kind: 'to-agent', agentId, frame })
  }

  /** Ends an agent's link: it was locked, or the proxy stops. */
  cut(agentId: string, reason: string): void {
    const agent = this.#agents.get(agentId)
    if (agent !== undefined) this.#cut(agent, reason)
  }

  /** Parks a connection whose preface this process made for a linked agent, lately and once; closes any other. */
  park(socket: net.Socket, preface: SparePreface): boolean {
    const nowMs = this.#options.clock.now()
    const genuine =
      preface.proxyId === this.#options.proxyId &&
      this.#agents.has(preface.agentId) &&
      checkSpareTicket(this.#ticketKey, preface, nowMs).ok
    if (genuine && this.#guard.admit(preface.spareId, nowMs))
      return this.#pool.park(socket, preface.agentId, preface.spareId)
    if (genuine) this.#options.onReplayed(preface)
    this.refusedSpares++
    socket.destroy()
    return false
  }

  /** The linked agent to use for a target, of those not in `without`. Undefined when none of them takes sessions. */
  choose(
    agentIds: readonly string[],
    target?: TargetRef,
    without?: ReadonlySet<string>,
  ): LinkedAgent | undefined {
    const linked = agentIds.flatMap((id) =>
      without?.has(id) === true ? [] : (this.#agents.get(id) ?? []),
    )
    return chooseAgent(linked, (id) => this.#pool.parked(id), target)
  }

  /** A session goes to this agent: until its next heartbeat it counts here. */
  given(agentId: string): void {
    const agent = this.#agents.get(agentId)
    if (agent === undefined) return
    agent.sessions++
    agent.chosenAt = ++this.#choices
  }

  /** A session given to this agent is over, or went elsewhere. */
  ended(agentId: string): void {
    const agent = this.#agents.get(agentId)
    if (agent !== undefined) agent.sessions = Math.max(0, agent.sessions - 1)
  }

  /** It answered, so it is there. */
  answered(agentId: string): void {
    const agent = this.#agents.get(agentId)
    if (agent !== undefined) agent.suspect = false
  }

  /** A spare of it died without a word or none came: others are asked first until it is heard of. */
  silent(agentId: string, takenAtMs: number): void {
    const agent = this.#agents.get(agentId)
    if (agent !== undefined) agent.suspect = true
    this.#pool.distrust(agentId, takenAtMs)
  }

  /** It refused a session because it drains; a new link of it begins anew. */
  drains(agentId: string): void {
    const agent = this.#agents.get(agentId)
    if (agent !== undefined) agent.draining = true
  }

  /** Resolves when an agent links from now on. */
  nextLink(): Promise<void> {
    return this.#linked.promise
  }

  /** A spare as the worker needs it; the key is the link's of now. */
  grant(agent: LinkedAgent, taken: TakenSpare): SpareGrant {
    return { handle: taken.handle, spareId: taken.spareId, agentId: agent.agentId, key: agent.key }
  }

  close(): void {
    for (const agent of this.agents) this.#cut(agent, 'the proxy stops')
    this.#pool.close()
  }

  #cut(agent: LinkedAgent, reason: string): void {
    agent.thread.post({ kind: 'cut-agent', agentId: agent.agentId, reason })
    this.#agents.delete(agent.agentId)
    this.#pool.unlink(agent.agentId)
  }

  #supply(agentId: string): void {
    const missing = this.#pool.ask(agentId)
    if (missing <= 0) return
    const tickets = Array.from({ length: missing }, () => this.#mint(agentId))
    this.send(agentId, { type: 'tickets', tickets })
  }

  #mint(agentId: string): SpareOrder {
    const spareId = randomUUID()
    const preface = mintSpareTicket(this.#ticketKey, {
      agentId,
      proxyId: this.#options.proxyId,
      spareId,
      issuedAtMs: this.#options.clock.now(),
      nonce: randomBytes(SPARE_NONCE_BYTES),
    })
    return { spareId, preface }
  }

  #sendSigned(agentId: string, message: SignedMessage): void {
    const kind = SIGNED_KINDS.find((each) => each === message.type)
    if (kind === undefined) return
    const { body, signature } = message
    for (const frame of splitSigned({ kind, body, signature })) this.send(agentId, frame)
  }
}
