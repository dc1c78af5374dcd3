// One session at the agent, as the services its performer asks: who the client is, whether it may, how the target is reached,
// what the audit log hears. Every verdict comes from core (verify, login); this file only fetches and reports.

import { randomBytes } from 'node:crypto'
import type net from 'node:net'

import { auditRow } from '../core/audit/catalogue.ts'
import { auditedIdentity, verifyPeer } from '../core/cert/verify.ts'
import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import { authorize } from '../core/login.ts'
import type { AgentAnswer, AgentQuestion, AgentTarget, FromAgentWorker } from '../core/messages.ts'
import type { Explanation } from '../core/policy/explain.ts'
import type { Access, AuditFields, FramedProtocol, Peer, Refusal, Tap } from '../core/protocol.ts'
import type { Snapshot, Target } from '../core/snapshot.ts'
import type { OpenFrame } from '../core/tunnel/open.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { AuditQueue } from './audit-queue.ts'
import type { AuthorizeOutcome, PerformServices, SecuredClient, Session } from './session.ts'
import { recordingRule, StatementTap } from './statement-tap.ts'
import { CountingTap } from './tap.ts'
import { dialTarget } from './target-dial.ts'
import type { Dialled } from './target-login.ts'
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
  readonly tls: TlsServer
  readonly protocol: FramedProtocol
  readonly queue: AuditQueue
  ask(question: AgentQuestion): Promise<AgentAnswer>
  send(message: FromAgentWorker): void
}

export class AgentSession implements PerformServices {
  readonly clock: Clock
  readonly timers: Timers = systemTimers
  readonly log: Logger
  readonly frame: OpenFrame
  readonly proxyId: string
  keySha256 = ''
  readonly #options: AgentSessionOptions
  readonly #startedAtMs: number
  #running: Session | undefined
  #userCertificate: Uint8Array = new Uint8Array(0)
  #lease: string | undefined
  #tap: StatementTap | undefined
  #begun = false
  /** The log heard that it began, or was denied. */
  #told = false

  constructor(options: AgentSessionOptions) {
    this.#options = options
    this.clock = options.clock
    this.log = options.log
    this.frame = options.frame
    this.proxyId = options.proxyId
    this.#startedAtMs = options.clock.now()
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
    if (this.#begun)
      this.#audit('client.disconnect', 'T3006I', {
        ...this.#sessionFields(this.right),
        reason: refusal.reason,
      })
    this.#running?.evict(refusal)
  }

  newDecisionId(): string {
    return newDecisionId(this.clock.now(), randomBytes(10))
  }

  async secureClient(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    const { frame, tls } = this.#options
    const options = { serverName: frame.serverName, alpnOptional: frame.stage !== '' }
    const { socket, chain, authorized, alpn } = await tls.accept(raw, first, options)
    const common = { socket, ...(alpn === undefined ? {} : { alpn }) }
    const outcome = this.#identify(chain, authorized)
    return 'peer' in outcome
      ? { ...common, peer: outcome.peer }
      : { ...common, refusal: outcome.refusal }
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const { trust, target, agentId, proxyId } = this.#options
    const { snapshot } = trust
    if (snapshot === undefined)
      return { refusal: this.#unavailable('this agent has no policy from control yet') }
    const outcome = authorize(peer, access, this.#resolved(target), snapshot, {
      nowMs: this.clock.now(),
      decisionId: this.frame.decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: this.keySha256,
      serverIds: [agentId, proxyId],
    })
    const no = outcome.right === undefined ? outcome.refusal : await this.#leaseFor(outcome.right)
    this.#auditStart(peer, access, outcome.explanation, no)
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
    const { protocol, queue, cluster, trust, clock } = this.#options
    const { observer } = protocol
    if (observer === undefined) return new CountingTap()
    const tap = new StatementTap({
      observer,
      fields: this.#sessionFields(right),
      cluster,
      clock,
      queue,
      rule: recordingRule(trust.snapshot?.config.recording ?? 'node-sync', right.grant),
      end: (reason, next) =>
        this.evict({ decisionId: right.decisionId, kind: 'unavailable', reason, next }),
    })
    this.#tap = tap
    return tap
  }

  audit(code: string, fields: AuditFields, right: Authorized | undefined): void {
    const name = auditRow(code)?.name
    if (name === undefined) this.log.error('a session names an audit event nobody knows', { code })
    else this.#audit(name, code, { ...this.#sessionFields(right), ...fields })
  }

  readonly random = (bytes: number): Uint8Array => randomBytes(bytes)

  signal(): void {}

  signalKey(): void {}

  /** The session is over: tells the log, gives the lease back. */
  ended(reason: string): void {
    if (this.#lease !== undefined) this.#options.send({ kind: 'release-lease', lease: this.#lease })
    if (!this.#begun) return this.#auditUnbegun(reason)
    const counters = this.#running?.counters
    this.#audit('db.session.end', 'TDB01I', {
      ...this.#sessionFields(this.right),
      reason,
      session_start: new Date(this.#startedAtMs).toISOString(),
      session_stop: new Date(this.clock.now()).toISOString(),
      bytes_from_client: counters?.fromClientBytes,
      bytes_from_target: counters?.fromTargetBytes,
      statements: this.#tap?.statements ?? counters?.notes,
    })
  }

  #identify(
    chain: readonly Uint8Array[],
    authorized: boolean,
  ): { peer: Peer } | { refusal: Refusal } {
    const { trust, cluster } = this.#options
    const want = {
      cas: trust.snapshot?.cas.user ?? [],
      purpose: 'client',
      type: 'user',
      cluster,
    } as const
    const verified = verifyPeer(chain, want, this.clock.now())
    if (verified.ok && authorized && verified.identity.type === 'user') {
      const [leaf] = chain
      if (leaf !== undefined) this.#userCertificate = leaf
      this.keySha256 = verified.keySha256
      return { peer: { identity: verified.identity, facts: verified.facts } }
    }
    const reason = verified.ok ? 'the certificate was not accepted' : verified.reason
    this.#audit('auth', 'T3007W', {
      ...auditedIdentity(verified.identity),
      reason,
      server_id: this.#options.agentId,
      'addr.remote': this.#remote(),
    })
    return {
      refusal: {
        decisionId: this.frame.decisionId,
        kind: !verified.ok && verified.code === 'cert.expired' ? 'expired' : 'identity',
        reason: chain.length === 0 ? 'no client certificate was presented' : reason,
        next: 'Log in again: tsh login, then tsh db login.',
      },
    }
  }

  /** `max_connections`: taken beside the first byte, by the process that verified the certificate. */
  async #leaseFor(right: Authorized): Promise<Refusal | undefined> {
    const { connectionsMax } = right.grant
    if (connectionsMax === 0) return undefined
    const { issuer, name } = right.identity
    const question = {
      what: 'lease',
      issuer,
      user: name,
      decisionId: right.decisionId,
      connectionsMax,
    } as const
    const answer = await this.#options.ask(question)
    if (answer.what === 'lease') {
      this.#lease = answer.lease
      return undefined
    }
    const message = answer.what === 'no' ? answer.message : 'no lease was given'
    if (answer.what === 'no' && answer.kind === 'unavailable') return this.#unavailable(message)
    return {
      decisionId: right.decisionId,
      kind: 'limit',
      reason: message,
      next: 'End another session of yours, or ask for a higher max_connections.',
    }
  }

  #resolved(target: AgentTarget): Target {
    const { ref, protocol, labels, label } = target
    return { ref, protocol, labels, label, agents: [this.#options.agentId] }
  }

  #unavailable(reason: string): Refusal {
    return {
      decisionId: this.frame.decisionId,
      kind: 'unavailable',
      reason,
      next: 'Try again in a moment.',
    }
  }

  #auditStart(peer: Peer, access: Access, explanation: Explanation, no: Refusal | undefined): void {
    this.#told = true
    const fields = {
      ...this.#personFields(peer, access),
      decision_id: this.frame.decisionId,
      decision: explanation,
      success: no === undefined,
      certificate_serial: peer.facts.serial,
      with_mfa: peer.identity.mfaAtMs !== undefined,
    }
    if (no === undefined) return this.#audit('db.session.start', 'TDB00I', fields)
    if (no.kind === 'limit')
      this.#audit('session.rejected', 'T1006W', { ...fields, reason: no.reason })
    return this.#audit('db.session.start', 'TDB00W', {
      ...fields,
      error: no.reason,
      message: no.next,
    })
  }

  /** The proxy told of a relayed session when this agent took it: so does the agent, though nobody asked for anything. */
  #auditUnbegun(reason: string): void {
    if (this.#told) return
    this.#audit('db.session.start', 'TDB00W', {
      ...this.#sessionFields(this.right),
      proxy_id: this.proxyId,
      db_service: this.frame.target.name,
      decision_id: this.frame.decisionId,
      success: false,
      error: `it ended before anything was asked for: ${reason}`,
    })
  }

  #sessionFields(right: Authorized | undefined): Readonly<Record<string, unknown>> {
    const { peer } = this
    if (peer === undefined)
      return {
        sid: this.frame.sessionId,
        server_id: this.#options.agentId,
        'addr.remote': this.#remote(),
      }
    return this.#personFields(
      peer,
      right?.access ?? { target: this.frame.target, principal: '', resource: '' },
    )
  }

  #personFields(peer: Peer, access: Access): Readonly<Record<string, unknown>> {
    const { agentId, hostname, target, proxyId } = this.#options
    const { identity } = peer
    return {
      user: identity.name,
      user_kind: identity.kind === 'bot' ? 2 : 1,
      user_roles: identity.roles,
      db_service: access.target.name,
      db_protocol: target.protocol,
      db_user: access.principal,
      db_name: access.resource,
      db_labels: target.labels,
      sid: this.frame.sessionId,
      server_id: agentId,
      server_hostname: hostname,
      proxy_id: proxyId,
      'addr.remote': this.#remote(),
      'addr.trusted': this.frame.client.trusted,
    }
  }

  #remote(): string {
    const { address, port } = this.frame.client
    return `${address}:${port}`
  }

  #audit(name: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.send({ kind: 'audit', name, code, fields })
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
