// One session whose TLS ends at a proxy, as the services its performer asks: who the client is and what the certificate is routed
// to, whether it may, the way to the target's agent, what the audit log hears. Every verdict comes from core (verify, login); the
// agent decides again on what it reads itself.

import { randomBytes } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { authorize, type Authorized } from '../core/login.ts'
import type {
  AgentResume,
  FromProxyWorker,
  OpenRequest,
  SpareGrant,
  ToProxyWorker,
} from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import { compileRoles } from '../core/policy/compile.ts'
import { unknownTargetRefusal } from '../core/policy/refusal.ts'
import type { Access, AuditFields, FramedProtocol, Peer, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import { forwardName } from '../core/tunnel/forward.ts'
import { newDecisionId } from '../core/ulid.ts'
import { AgentDial } from './agent-dial.ts'
import type { AuditQueue } from './audit-queue.ts'
import { identifyUser } from './identify-user.ts'
import type { LiveSession } from './live-sessions.ts'
import type { AuthorizeOutcome, PerformServices, SecuredClient, Session } from './session.ts'
import { SessionAudit } from './session-audit.ts'
import { leaseFor } from './session-lease.ts'
import type { SignalSessions } from './signal-sessions.ts'
import type { Recorders } from './recorders.ts'
import { sessionTap } from './session-tap.ts'
import type { Dialled } from './target-login.ts'
import { systemTimers, type Timers } from './timers.ts'
import type { TlsServer } from './tls.ts'
import type { Trust } from './trust.ts'

export type TerminateMessage = Extract<ToProxyWorker, { kind: 'terminate' }>

export interface TerminatedSessionOptions {
  readonly cluster: string
  readonly proxyId: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  readonly protocol: FramedProtocol
  readonly message: TerminateMessage
  readonly tls: TlsServer
  readonly signals: SignalSessions
  readonly queue: AuditQueue
  readonly recorders: Recorders
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
  /** The client has shown a good certificate. */
  proven(): void
}

const DB_LOGIN = 'Get its certificate with "tsh db login", and connect with the files it writes.'

export class TerminatedSession implements PerformServices, LiveSession {
  readonly clock: Clock
  readonly timers: Timers = systemTimers
  readonly log: Logger
  target: TargetRef | undefined
  keySha256 = ''
  readonly #options: TerminatedSessionOptions
  readonly #audit: SessionAudit
  readonly #decisionId: string
  readonly #startedAtMs: number
  #running: Session | undefined
  #raw: net.Socket | undefined
  #userCertificate: Uint8Array = new Uint8Array(0)
  #dial: AgentDial | undefined
  #lease: string | undefined
  #tap: ReturnType<typeof sessionTap> | undefined
  #begun = false
  #over = false
  /** Takes the session out of the reach of signals. */
  #unsignal: () => void = () => {}

  constructor(options: TerminatedSessionOptions) {
    const { clock, log, message, proxyId, protocol } = options
    this.#options = options
    this.clock = clock
    this.log = log
    this.#decisionId = this.newDecisionId()
    this.#startedAtMs = clock.now()
    this.#audit = new SessionAudit(
      {
        story: 'database',
        sessionId: message.sessionId,
        kind: protocol.kind,
        serverId: proxyId,
        protocol: protocol.name,
        client: message.source,
        labels: {},
        more: { proxy_id: proxyId },
      },
      (name, code, fields) => options.send({ kind: 'audit', name, code, fields }),
    )
  }

  attach(running: Session): void {
    this.#running = running
  }

  get peer(): Peer | undefined {
    return this.#running?.peer
  }

  get right(): Authorized | undefined {
    return this.#running?.right
  }

  get serverIds(): readonly string[] {
    const agentId = this.#dial?.agentId ?? ''
    return agentId === '' ? [this.#options.proxyId] : [this.#options.proxyId, agentId]
  }

  evict(refusal: Refusal): void {
    if (this.#begun) this.#audit.disconnect(this.peer, this.#access(), refusal.reason)
    this.#running?.evict(refusal)
  }

  /** Gives a client up that has proved nothing. */
  abandon(): void {
    this.#raw?.destroy()
  }

  newDecisionId(): string {
    return newDecisionId(this.clock.now(), randomBytes(10))
  }

  async secureClient(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    const { tls, message, trust, cluster } = this.#options
    this.#raw = raw
    const alpnOptional = message.stage !== ''
    const { socket, chain, authorized, alpn } = await tls.accept(raw, first, { alpnOptional })
    const common = { socket, ...(alpn === undefined ? {} : { alpn }) }
    const context = { cluster, nowMs: this.clock.now(), decisionId: this.#decisionId }
    const identified = identifyUser({ chain, authorized }, trust.snapshot, context)
    if ('refusal' in identified) {
      this.#audit.stranger(identified.audited)
      return { ...common, refusal: identified.refusal }
    }
    const { peer, leaf, keySha256 } = identified
    const target = this.#routeOf(peer)
    if (target === undefined) return { ...common, refusal: this.#unrouted(peer) }
    this.#userCertificate = leaf
    this.keySha256 = keySha256
    this.target = target
    this.#options.proven()
    return { ...common, peer, target }
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const { trust, proxyId, message } = this.#options
    const asked = { what: 'target', session: message.session, target: access.target } as const
    const answer = await this.#options.ask(asked)
    const { snapshot } = trust
    if (snapshot === undefined)
      return { refusal: this.#unavailable('this proxy has no policy from control yet') }
    const target = answer.what === 'target' ? answer.target : undefined
    if (target === undefined) return this.#unknown(peer, access, snapshot)
    this.#audit.resolved(target.labels)
    const outcome = authorize(peer, access, target, snapshot, {
      nowMs: this.clock.now(),
      decisionId: this.#decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: this.keySha256,
      serverIds: [proxyId],
      mode: 'terminate',
    })
    const no = outcome.right === undefined ? outcome.refusal : await this.#leaseFor(outcome.right)
    const decision = { id: this.#decisionId, explanation: outcome.explanation }
    if (this.#over) return { refusal: this.#unavailable('the client has left') }
    this.#audit.start(peer, access, decision, no)
    if (no !== undefined) return { refusal: no }
    if (outcome.right === undefined) return { refusal: this.#unavailable('no decision was made') }
    this.#begun = true
    return { right: outcome.right }
  }

  async dial(right: Authorized, opening: Uint8Array, signal: AbortSignal): Promise<Dialled> {
    const { trust, clock, log, message, cluster } = this.#options
    const { snapshot, host } = trust
    if (snapshot === undefined || host === undefined)
      throw new ProxyError('dial.failed', 'this proxy has no certificate or policy yet')
    const serverName = forwardName(right.target.ref, right.target.label, cluster)
    const { session } = message
    this.#dial = new AgentDial({
      open: this.#openRequest(right, serverName),
      forward: { certificate: this.#userCertificate, permit: new Uint8Array(0) },
      host,
      targetCas: snapshot.cas.target,
      clock,
      log,
      needSpare: (refused) =>
        this.#options.send({
          kind: 'need-spare',
          session,
          agentId: this.#dial?.agentId ?? '',
          ...(refused === undefined ? {} : { refused }),
        }),
      accepted: () => this.#options.send({ kind: 'accepted', session }),
      badAnswer: ({ agentId, spareId }, reason) =>
        this.#options.send({ kind: 'bad-answer', agentId, spareId, reason }),
      keepSession: (agentId, epoch, bytes, fingerprint) =>
        this.#options.send({
          kind: 'agent-tls-session',
          agentId,
          serverName,
          epoch,
          session: bytes,
          fingerprint,
        }),
    })
    const socket = await this.#dial.start(signal)
    const random = this.random(LOGIN_RANDOM_BYTES)
    // Inside our own TLS: towards the protocol's agent half the agent is a database without any.
    const login = {
      right,
      opening,
      certificate: false,
      tls: 'off',
      servername: serverName,
      random,
    } as const
    return { socket, login }
  }

  use(grant: SpareGrant, resume: AgentResume): boolean {
    this.#dial?.use(grant, resume)
    return this.#dial !== undefined
  }

  noSpare(): void {
    this.#dial?.noSpare()
  }

  tap(right: Authorized): Tap {
    this.#tap = sessionTap({
      ...this.#options,
      right,
      host: this.#options.proxyId,
      sid: this.#options.message.sessionId,
      fields: this.#audit.fields(this.peer, right.access),
      snapshot: this.#options.trust.snapshot,
      evict: (refusal) => this.evict(refusal),
    })
    return this.#tap
  }

  audit(code: string, fields: AuditFields): void {
    if (!this.#audit.reported(code, this.peer, this.#access(), fields))
      this.log.error('a session names an audit event nobody knows', { code })
  }

  readonly random = (bytes: number): Uint8Array => randomBytes(bytes)

  signal(key: Uint8Array): void {
    const { address, port } = this.#options.message.source
    this.#options.send({ kind: 'signal', key, address, port })
  }

  /** The agent showed a key of its own: a signal with ours becomes one with that. */
  signalKey(shown: Uint8Array, real: Uint8Array, right: Authorized | undefined): void {
    if (right === undefined) return
    this.#unsignal = this.#options.signals.add(shown, ({ address, port }) => {
      const agentId = this.#dial?.agentId ?? ''
      this.#options.send({ kind: 'signal-agent', agentId, key: real, address, port })
    })
  }

  /** The session is over: tells the log, gives the lease back. */
  ended(reason: string): void {
    this.#unsignal()
    this.#over = true
    this.#releaseLease()
    if (!this.#begun) return
    this.#audit.end(this.peer, this.#access(), {
      reason,
      startedAtMs: this.#startedAtMs,
      nowMs: this.clock.now(),
      counters: this.#running?.counters,
      statements: this.#tap?.statements,
    })
  }

  /** Only a target of the protocol that is spoken here: nothing else can be meant. */
  #routeOf({ identity }: Peer): TargetRef | undefined {
    const { kind, name } = this.#options.protocol
    const { route } = identity
    if (route === undefined || route.kind !== kind) return undefined
    if (route.protocol !== undefined && route.protocol !== name) return undefined
    return { kind: route.kind, name: route.name }
  }

  #unrouted(peer: Peer): Refusal {
    const reason = 'the certificate names no database that this connection could be for'
    this.#audit.stranger({ user: peer.identity.name, user_roles: peer.identity.roles, reason })
    return { decisionId: this.#decisionId, kind: 'identity', reason, next: DB_LOGIN }
  }

  /** The same words as for a target that exists and is hidden. */
  #unknown(peer: Peer, access: Access, snapshot: Snapshot): AuthorizeOutcome {
    const { identity } = peer
    const roles = compileRoles(snapshot.roles)
    const refusal = unknownTargetRefusal(this.#decisionId, access.target.kind, identity, roles)
    this.#audit.start(peer, access, { id: this.#decisionId }, refusal)
    return { refusal }
  }

  async #leaseFor(right: Authorized): Promise<Refusal | undefined> {
    const outcome = await leaseFor(right, (question) => this.#options.ask(question))
    if (outcome === undefined) return undefined
    if ('refusal' in outcome) return outcome.refusal
    this.#lease = outcome.lease
    // The client left meanwhile, and nobody will give it back.
    if (this.#over) this.#releaseLease()
    return undefined
  }

  #openRequest({ target, decisionId }: Authorized, serverName: string): OpenRequest {
    const { message, protocol } = this.#options
    return {
      mode: 'terminate',
      sessionId: message.sessionId,
      decisionId,
      protocol: protocol.name,
      stage: '',
      target: target.ref,
      serverName,
      client: message.source,
      cancelHandle: message.signalHandle,
    }
  }

  #releaseLease(): void {
    const lease = this.#lease
    this.#lease = undefined
    if (lease !== undefined) this.#options.send({ kind: 'release-lease', lease })
  }

  #access(): Access | undefined {
    const { right, target } = this
    if (right !== undefined) return right.access
    return target === undefined ? undefined : { target, principal: '', resource: '' }
  }

  #unavailable(reason: string): Refusal {
    const next = 'Try again in a moment.'
    return { decisionId: this.#decisionId, kind: 'unavailable', reason, next }
  }
}

/** For the nonces of one login. */
const LOGIN_RANDOM_BYTES = 32
