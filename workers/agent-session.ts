// One session at the agent, as the services its performer asks: who the client is, whether it may, how the target is reached,
// what the audit log hears. Every verdict comes from core (verify, login); this file only fetches and reports.

import { randomBytes } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { AgentTarget } from '../core/agent-target.ts'
import type { FromAgentWorker } from '../core/messages.ts'
import type { AgentAnswer, AgentQuestion } from '../core/questions.ts'
import type { TargetRef } from '../core/identity.ts'
import type { Access, AuditFields, FramedProtocol, Peer, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { OpenFrame } from '../core/tunnel/open.ts'
import { AgentDecision } from './agent-decision.ts'
import type { AuditQueue } from './audit-queue.ts'
import { acceptForwarded } from './forwarded-client.ts'
import { identifyUser, type Shown } from './identify-user.ts'
import type { LiveSession } from './live-sessions.ts'
import type { Recorders } from './recorders.ts'
import type { AuthorizeOutcome, PerformServices, SecuredClient, Session } from './session.ts'
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
  readonly #options: AgentSessionOptions
  readonly #decision: AgentDecision
  #running: Session | undefined
  #userCertificate: Uint8Array = new Uint8Array(0)
  #tap: ReturnType<typeof sessionTap> | undefined
  /** Takes the session out of the reach of signals. */
  #unsignal: () => void = () => {}

  constructor(options: AgentSessionOptions) {
    const { clock, log, frame } = options
    this.#options = options
    this.clock = clock
    this.log = log
    this.target = frame.target
    this.#decision = new AgentDecision(options)
    this.serverIds = this.#decision.serverIds
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

  get keySha256(): string {
    return this.#decision.keySha256
  }

  evict(refusal: Refusal): void {
    this.#decision.evicted(this.peer, this.#access(), refusal.reason)
    this.#running?.evict(refusal)
  }

  newDecisionId(): string {
    return this.#decision.newId()
  }

  secureClient(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    return this.#decision.mode === 'relay' ? this.#met(raw, first) : this.#forwarded(raw, first)
  }

  authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    return this.#decision.authorize(peer, access)
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
    if (this.#decision.mode === 'terminate') return new CountingTap()
    this.#tap = sessionTap({
      ...this.#options,
      right,
      host: this.#options.agentId,
      sid: this.#options.frame.sessionId,
      fields: this.#decision.audit.fields(this.peer, right.access),
      snapshot: this.#options.trust.snapshot,
      evict: (refusal) => this.evict(refusal),
    })
    return this.#tap
  }

  audit(code: string, fields: AuditFields): void {
    if (!this.#decision.audit.reported(code, this.peer, this.#access(), fields))
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
    this.#decision.ended({
      reason,
      peer: this.peer,
      access: this.#access(),
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
      this.#decision.audit.undecided(this.target, this.#decision.id, reason)
      throw error
    })
    this.#decision.permit = forwarded.permit
    const identified = this.#identify({ chain: [forwarded.certificate], authorized: true })
    return { socket: forwarded.socket, ...(alpn === undefined ? {} : { alpn }), ...identified }
  }

  #identify(shown: Shown): { readonly peer: Peer } | { readonly refusal: Refusal } {
    const { trust, cluster } = this.#options
    const context = { cluster, nowMs: this.clock.now(), decisionId: this.#decision.id }
    const identified = this.#decision.identified(identifyUser(shown, trust.snapshot, context))
    if ('refusal' in identified) return { refusal: identified.refusal }
    this.#userCertificate = identified.leaf
    return { peer: identified.peer }
  }

  #access(): Access {
    return this.right?.access ?? { target: this.target, principal: '', resource: '' }
  }
}

/** For the nonces of one login: a SCRAM nonce has 18. */
const LOGIN_RANDOM_BYTES = 32

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
