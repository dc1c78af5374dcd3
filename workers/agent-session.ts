// One session at the agent, as the services its performer asks: who the client is, whether it may, how the target is reached,
// what the audit log hears. Every verdict comes from core (verify, login); this file only fetches and reports.

import { randomBytes } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized, SessionMode } from '../core/login.ts'
import { authorize } from '../core/login.ts'
import type { AgentAnswer, AgentQuestion, AgentTarget, FromAgentWorker } from '../core/messages.ts'
import type { TargetRef } from '../core/identity.ts'
import { readPermit } from '../core/permit.ts'
import type { Access, AuditFields, FramedProtocol, Peer, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot, Target } from '../core/snapshot.ts'
import type { OpenFrame } from '../core/tunnel/open.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { AuditQueue } from './audit-queue.ts'
import { acceptForwarded } from './forwarded-client.ts'
import { identifyUser, type Shown } from './identify-user.ts'
import type { LiveSession } from './live-sessions.ts'
import type { Recorders } from './recorders.ts'
import type { AuthorizeOutcome, PerformServices, SecuredClient, Session } from './session.ts'
import { SessionAudit } from './session-audit.ts'
import { leaseFor } from './session-lease.ts'
import { sessionTap } from './session-tap.ts'
import type { SignalSessions } from './signal-sessions.ts'
import { CountingTap } from './tap.ts'
import { dialTarget } from './target-dial.ts'
import type { Dialled } from './target-login.ts'
import { reachable } from './target-signal.ts'
import { systemTimers, type Timers } from './timers.ts'
import type { TlsClientOptions } from './tls-client.ts'
import type { TlsServer } from './tls.ts'
import type { Trust } from './trust.ts'

export interface AgentSessionOptions {
  readonly cluster: string
  readonly agentId: string
  readonly hostname: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  readonly frame: OpenFrame
  readonly target: AgentTarget
  readonly proxyId: string
  /** Whoever comes on the spare: clients in relay mode, the proxy in terminate mode. */
  readonly tls: TlsServer
  readonly protocol: FramedProtocol
  readonly queue: AuditQueue
  readonly signals: SignalSessions
  readonly recorders: Recorders
  ask(question: AgentQuestion): Promise<AgentAnswer>
  send(message: FromAgentWorker): void
}

export class AgentSession implements PerformServices, LiveSession {
  readonly clock: Clock
  readonly timers: Timers = systemTimers
  readonly log: Logger
  readonly target: TargetRef
  readonly serverIds: readonly string[]
  keySha256 = ''
  readonly #options: AgentSessionOptions
  readonly #mode: SessionMode
  readonly #audit: SessionAudit
  /** The proxy has decided under the frame's id already when it terminates; this end's decision is another. */
  readonly #decisionId: string
  readonly #startedAtMs: number
  #running: Session | undefined
  #userCertificate: Uint8Array = new Uint8Array(0)
  /** What the proxy brought in place of a route; empty: nothing. */
  #permit: Uint8Array = new Uint8Array(0)
  #lease: string | undefined
  #tap: ReturnType<typeof sessionTap> | undefined
  #begun = false
  #over = false
  /** Takes the session out of the reach of signals. */
  #unsignal: () => void = () => {}

  constructor(options: AgentSessionOptions) {
    const { clock, log, frame, proxyId, agentId } = options
    this.#options = options
    this.clock = clock
    this.log = log
    this.target = frame.target
    this.serverIds = [agentId, proxyId]
    this.#mode = frame.mode === 'terminate' ? 'terminate' : 'relay'
    this.#decisionId = this.#mode === 'relay' ? frame.decisionId : this.newDecisionId()
    this.#audit = auditOf(options, this.#mode)
    this.#startedAtMs = clock.now()
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

  evict(refusal: Refusal): void {
    if (this.#begun) this.#audit.disconnect(this.peer, this.#access(), refusal.reason)
    this.#running?.evict(refusal)
  }

  newDecisionId(): string {
    return newDecisionId(this.clock.now(), randomBytes(10))
  }

  secureClient(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    return this.#mode === 'relay' ? this.#met(raw, first) : this.#forwarded(raw, first)
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const { trust, target } = this.#options
    const { snapshot } = trust
    if (snapshot === undefined)
      return { refusal: this.#unavailable('this agent has no policy from control yet') }
    const { permit } = readPermit(this.#permit, snapshot.signers)
    const outcome = authorize(peer, access, this.#resolved(target), snapshot, {
      nowMs: this.clock.now(),
      decisionId: this.#decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: this.keySha256,
      serverIds: this.serverIds,
      mode: this.#mode,
      ...(permit === undefined ? {} : { permit }),
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
    const { target, trust } = this.#options
    const answer = await this.#options.ask({
      what: 'db-client',
      target: right.access.target,
      principal: right.access.principal,
      userCertificate: this.#userCertificate,
    })
    if (answer.what !== 'db-client') throw dialFailed(answer)
    const socket = await dialTarget(target, signal)
    const { mode, serverName } = target.tls
    const login = {
      right,
      opening,
      certificate: true,
      tls: mode,
      servername: serverName,
      ...(answer.certificate.stored === undefined ? {} : { stored: answer.certificate.stored }),
      random: this.random(LOGIN_RANDOM_BYTES),
    }
    const tls = mode === 'off' ? undefined : targetTls(target, trust.snapshot, answer.certificate)
    return { socket, login, ...(tls === undefined ? {} : { tls }) }
  }

  tap(right: Authorized): Tap {
    // In terminate mode the proxy reads the session, and tells of its statements.
    if (this.#mode === 'terminate') return new CountingTap()
    this.#tap = sessionTap({
      ...this.#options,
      right,
      host: this.#options.agentId,
      sid: this.#options.frame.sessionId,
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
    const { address, port } = this.#options.frame.client
    this.#options.send({ kind: 'signal', key, address, port })
  }

  signalKey(shown: Uint8Array, real: Uint8Array, right: Authorized | undefined): void {
    if (right === undefined) return
    const { protocol, signals } = this.#options
    const { clock, timers, log } = this
    this.#unsignal = reachable(signals, shown, {
      protocol,
      right,
      real,
      clock,
      timers,
      log,
      dial: (...dial) => this.dial(...dial),
      told: (outcome) => this.audit('SLR005I', { ...outcome }),
    })
  }

  /** The session is over: tells the log, gives the lease back. */
  ended(reason: string): void {
    this.#unsignal()
    this.#over = true
    this.#releaseLease()
    if (!this.#begun) {
      // The proxy told of it when this agent took the spare: so does the agent, though nobody asked for anything.
      const why = `it ended before anything was asked for: ${reason}`
      return this.#audit.undecided(this.target, this.#decisionId, why)
    }
    this.#audit.end(this.peer, this.#access(), {
      reason,
      startedAtMs: this.#startedAtMs,
      nowMs: this.clock.now(),
      counters: this.#running?.counters,
      statements: this.#tap?.statements,
    })
  }

  /** Relay mode: the client's own TLS ends here. */
  async #met(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    const { frame, tls } = this.#options
    const options = { serverName: frame.serverName, alpnOptional: frame.stage !== '' }
    const { socket, chain, authorized, alpn } = await tls.accept(raw, first, options)
    return {
      socket,
      ...(alpn === undefined ? {} : { alpn }),
      ...this.#identify({ chain, authorized }),
    }
  }

  /** Terminate mode: whoever the proxy speaks for. The proxy itself is refused without a word of the client's protocol. */
  async #forwarded(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    const { frame, proxyId, tls, trust, protocol } = this.#options
    const [alpn] = protocol.alpn
    const { snapshot } = trust
    if (snapshot === undefined) throw new ProxyError('snapshot.stale', 'there is no policy yet')
    const { serverName } = frame
    const by = { proxyId, serverName, snapshot, nowMs: this.clock.now() }
    const forwarded = await acceptForwarded(tls, raw, first, by).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error)
      this.#audit.undecided(this.target, this.#decisionId, reason)
      throw error
    })
    this.#permit = forwarded.permit
    const identified = this.#identify({ chain: [forwarded.certificate], authorized: true })
    return { socket: forwarded.socket, ...(alpn === undefined ? {} : { alpn }), ...identified }
  }

  #identify(shown: Shown): { readonly peer: Peer } | { readonly refusal: Refusal } {
    const { trust, cluster } = this.#options
    const context = { cluster, nowMs: this.clock.now(), decisionId: this.#decisionId }
    const identified = identifyUser(shown, trust.snapshot, context)
    if ('peer' in identified) {
      this.#userCertificate = identified.leaf
      this.keySha256 = identified.keySha256
      return { peer: identified.peer }
    }
    const { audited, refusal } = identified
    this.#audit.stranger(audited)
    this.#audit.undecided(this.target, this.#decisionId, refusal.reason)
    return { refusal }
  }

  /** In terminate mode the proxy has taken it. */
  async #leaseFor(right: Authorized): Promise<Refusal | undefined> {
    if (this.#mode === 'terminate') return undefined
    const outcome = await leaseFor(right, (question) => this.#options.ask(question))
    if (outcome === undefined) return undefined
    if ('refusal' in outcome) return outcome.refusal
    this.#lease = outcome.lease
    // The client left meanwhile, and nobody will give it back.
    if (this.#over) this.#releaseLease()
    return undefined
  }

  #releaseLease(): void {
    const lease = this.#lease
    this.#lease = undefined
    if (lease !== undefined) this.#options.send({ kind: 'release-lease', lease })
  }

  #access(): Access {
    return this.right?.access ?? { target: this.target, principal: '', resource: '' }
  }

  #resolved(target: AgentTarget): Target {
    const { ref, protocol, labels, label } = target
    return { ref, protocol, labels, label, agents: [this.#options.agentId] }
  }

  #unavailable(reason: string): Refusal {
    return {
      decisionId: this.#decisionId,
      kind: 'unavailable',
      reason,
      next: 'Try again in a moment.',
    }
  }
}

/** For the nonces of one login: a SCRAM nonce has 18. */
const LOGIN_RANDOM_BYTES = 32

function auditOf(options: AgentSessionOptions, mode: SessionMode): SessionAudit {
  const { frame, agentId, hostname, proxyId, target } = options
  const through = mode === 'relay' ? { proxy_id: proxyId } : { forwarded_by: proxyId }
  return new SessionAudit(
    {
      story: mode === 'relay' ? 'database' : 'forward',
      sessionId: frame.sessionId,
      serverId: agentId,
      protocol: target.protocol,
      client: frame.client,
      labels: target.labels,
      more: { server_hostname: hostname, ...through },
    },
    (name, code, fields) => options.send({ kind: 'audit', name, code, fields }),
  )
}

function dialFailed(answer: AgentAnswer): ProxyError {
  const message =
    answer.what === 'no' ? answer.message : 'no certificate for the database was issued'
  return new ProxyError('dial.failed', message, { side: 'us' })
}

function targetTls(
  target: AgentTarget,
  snapshot: Snapshot | undefined,
  own: { certificate: string; key: string },
): TlsClientOptions {
  const { mode, serverName, ca, trustSystemRoots } = target.tls
  const verify = mode === 'verify-full' ? 'full' : mode === 'verify-ca' ? 'ca' : 'none'
  const cas = ca === undefined ? (snapshot?.cas.db ?? []) : [ca]
  return {
    serverName,
    verify,
    ...(trustSystemRoots ? {} : { cas }),
    certificate: own.certificate,
    key: own.key,
    minVersion: 'TLSv1.2',
  }
}
