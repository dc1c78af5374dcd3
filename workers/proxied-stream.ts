// One SSH session that ends at a proxy: where the cluster records in its proxies, and for servers without an agent. The services its
// protocol asks: who proved a key here (the person whose login opened the way, and nobody else), whether they may, the server that does
// the work, the recorder of its terminals. An agent decides again on what is forwarded to it; a stock sshd believes the certificate
// that control makes for this one login.

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { authorize, type Authorized } from '../core/login.ts'
import type { AgentResume, SpareGrant } from '../core/messages.ts'
import type { ProxyAnswer } from '../core/questions.ts'
import { refuseVisitor } from '../core/passage.ts'
import { readPermit } from '../core/permit.ts'
import type { Access, AuditFields, Peer, Refusal, StreamingProtocol } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { SshServerAccess, SshServices } from '../core/ssh/services.ts'
import type { AuditQueue } from './audit-queue.ts'
import { type IdentifiedSsh, identifySsh, loginRefusal } from './identify-ssh.ts'
import type { Visitor } from './node-passage.ts'
import type { Recorders } from './recorders.ts'
import type { AuthorizeOutcome, Session } from './session.ts'
import { SessionAudit } from './session-audit.ts'
import { leaseFor } from './session-lease.ts'
import { ServerReach, type ServerReachOptions } from './server-reach.ts'
import { recordingRule } from './statement-tap.ts'
import { StreamEvents } from './stream-events.ts'
import { type ClientEnd, runStreaming, type StreamServices } from './streaming.ts'
import { recordTerminal } from './terminal-recorder.ts'
import { systemTimers, type Timers } from './timers.ts'

export interface ProxiedStreamOptions extends ServerReachOptions {
  readonly proxyId: string
  readonly protocol: StreamingProtocol
  readonly queue: AuditQueue
  readonly recorders: Recorders
  readonly visitor: Visitor
}

const NO_POLICY = 'this proxy has no policy from control yet'

export class ProxiedStream implements StreamServices {
  readonly clock: Clock
  readonly timers: Timers = systemTimers
  readonly log: Logger
  readonly ssh: SshServices
  keySha256 = ''
  readonly #options: ProxiedStreamOptions
  readonly #audit: SessionAudit
  readonly #identified = new Map<Peer, IdentifiedSsh>()
  readonly #startedAtMs: number
  readonly #server: ServerReach
  #running: Session | undefined
  #events: StreamEvents | undefined
  #permit: Uint8Array = new Uint8Array(0)
  #lease: string | undefined
  #begun = false
  #over = false

  constructor(options: ProxiedStreamOptions) {
    const { clock, log, sessionId, proxyId, source, target } = options
    this.#options = options
    this.clock = clock
    this.log = log
    this.#startedAtMs = clock.now()
    this.#server = new ServerReach(options)
    this.ssh = this.#services()
    this.#audit = new SessionAudit(
      {
        story: 'ssh',
        sessionId,
        kind: target.ref.kind,
        serverId: proxyId,
        protocol: target.protocol,
        client: source,
        labels: target.labels,
        more: {
          proxy_id: proxyId,
          server_hostname: target.ref.name,
          // No other host tells of it.
          ...(target.address === undefined ? {} : { server_addr: target.address }),
        },
      },
      (name, code, fields) => options.send({ kind: 'audit', name, code, fields }),
    )
  }

  get peer(): Peer | undefined {
    return this.#running?.peer
  }

  get right(): Authorized | undefined {
    return this.#running?.right
  }

  get agentId(): string {
    return this.#server.agentId
  }

  get counters(): Session['counters'] | undefined {
    return this.#running?.counters
  }

  /** Serves the client, whose SSH begins on this connection. Never rejects. */
  async run(client: ClientEnd): Promise<string> {
    const { protocol, target } = this.#options
    this.#running = runStreaming(protocol, client, { stage: '', target: target.ref }, this)
    const reason = await this.#running.done
    this.#over = true
    this.#releaseLease()
    this.#events?.flush()
    if (this.#begun)
      this.#audit.end(this.peer, this.#access(), {
        reason,
        startedAtMs: this.#startedAtMs,
        nowMs: this.clock.now(),
        counters: this.#running.counters,
      })
    // Told once: whoever proved no key, or was refused before a decision, was here nevertheless.
    else
      this.#audit.undecided(
        target.ref,
        this.#options.decisionId,
        `it ended before anything was asked for: ${reason}`,
      )
    return reason
  }

  evict(refusal: Refusal): void {
    if (this.#begun) this.#audit.disconnect(this.peer, this.#access(), refusal.reason)
    this.#running?.evict(refusal)
  }

  use(grant: SpareGrant, resume: AgentResume): boolean {
    return this.#server.use(grant, resume)
  }

  noSpare(): void {
    this.#server.noSpare()
  }

  newDecisionId(): string {
    return this.#options.decisionId
  }

  identify(certificate: Uint8Array): Peer | Refusal {
    const { trust, cluster, source, decisionId, visitor } = this.#options
    const context = { cluster, nowMs: this.clock.now(), decisionId, client: source }
    const identified = identifySsh(certificate, trust.snapshot, context)
    if ('refusal' in identified) {
      this.#audit.stranger(identified.audited)
      return identified.refusal
    }
    const { identity } = identified.peer
    const opened = visitor.peer.identity
    if (identity.issuer !== opened.issuer || identity.name !== opened.name) {
      const reason = 'the SSH certificate is another person’s than the login that opened the way'
      this.#audit.stranger({ user: identity.name, reason })
      return { decisionId, kind: 'identity', reason, next: 'Log in again: tsh login.' }
    }
    this.#identified.set(identified.peer, identified)
    return identified.peer
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const { trust, decisionId } = this.#options
    const identified = this.#identified.get(peer)
    const { snapshot } = trust
    if (identified === undefined || snapshot === undefined)
      return { refusal: this.#unavailable(NO_POLICY) }
    this.keySha256 = identified.keySha256
    const outcome = await this.#decide(identified, access, snapshot)
    if (this.#over) return { refusal: this.#unavailable('the client has left') }
    const { no, explanation } = outcome
    const decision = { id: decisionId, ...(explanation === undefined ? {} : { explanation }) }
    this.#audit.start(peer, access, decision, no)
    if (no !== undefined || outcome.right === undefined)
      return { refusal: no ?? this.#unavailable('no decision was made') }
    this.#begun = true
    this.#events = this.#eventsOf(peer, outcome.right, snapshot)
    return { right: outcome.right }
  }

  audit(code: string, fields: AuditFields): void {
    if (this.#events !== undefined) return this.#events.tell(code, fields)
    if (!this.#audit.reported(code, this.peer, this.#access(), fields))
      this.log.error('a session names an audit event nobody knows', { code })
  }

  async #decide(
    identified: IdentifiedSsh,
    access: Access,
    snapshot: Snapshot,
  ): Promise<{
    readonly right?: Authorized
    readonly no?: Refusal | undefined
    readonly explanation?: NonNullable<ReturnType<typeof authorize>>['explanation']
  }> {
    const { target, proxyId, decisionId } = this.#options
    const bad =
      loginRefusal(identified, access.principal, decisionId) ??
      this.#refusedHere(identified, snapshot)
    if (bad !== undefined) return { no: bad }
    const { certificate } = identified
    const { principal } = access
    const asked = { what: 'permit', target: target.ref, principal, certificate } as const
    const answer = await this.#options.ask(asked)
    if (answer.what !== 'permit') return { no: this.#refusedBy(answer) }
    this.#permit = answer.permit
    const { permit } = readPermit(answer.permit, snapshot.signers)
    const outcome = authorize(identified.peer, access, target, snapshot, {
      nowMs: this.clock.now(),
      decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: identified.keySha256,
      serverIds: [proxyId],
      mode: 'terminate',
      ...(permit === undefined ? {} : { permit }),
    })
    const { explanation, right } = outcome
    if (right === undefined) return { no: outcome.refusal, explanation }
    return { right, explanation, no: await this.#leaseFor(right) }
  }

  /** What this proxy knows itself: control is not asked, and the person hears what to do about it. */
  #refusedHere({ peer, keySha256 }: IdentifiedSsh, snapshot: Snapshot): Refusal | undefined {
    // A certificate that is routed here may be: the decision says so.
    if (peer.identity.route !== undefined) return undefined
    const { proxyId, decisionId } = this.#options
    return refuseVisitor(peer, snapshot, {
      nowMs: this.clock.now(),
      decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256,
      serverIds: [proxyId],
    })
  }

  #refusedBy(answer: ProxyAnswer): Refusal {
    const no = answer.what === 'no' ? answer : undefined
    if (no?.kind !== 'refused') return this.#unavailable(no?.message ?? 'control gave no permit')
    const { decisionId } = this.#options
    const reason = no.message.replace(/\.$/, '')
    return { decisionId, kind: 'policy', reason, next: 'Ask an administrator.' }
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

  #releaseLease(): void {
    const lease = this.#lease
    this.#lease = undefined
    if (lease !== undefined) this.#options.send({ kind: 'release-lease', lease })
  }

  #services(): SshServices {
    const { trust, cluster, recorders, proxyId } = this.#options
    return {
      timers: this.timers,
      environment: {},
      auditRoom: () => this.#events?.room(),
      hostKeys: trust.sshHost,
      reach: (right, signal) => this.#reach(right, signal),
      record: (right, start) =>
        recordTerminal({
          timers: this.timers,
          cluster,
          host: proxyId,
          clock: this.clock,
          recorders,
          snapshot: trust.snapshot,
          right,
          start,
          evict: (refusal) => this.evict(refusal),
        }),
    }
  }

  #reach(right: Authorized, signal: AbortSignal): Promise<SshServerAccess> {
    const { snapshot } = this.#options.trust
    if (right !== this.right || snapshot === undefined)
      throw new ProxyError('protocol.violation', 'a server is reached for the right of its session')
    const forward = { certificate: this.#certificateOf(right), permit: this.#permit }
    return this.#server.reach(right, forward, snapshot, signal)
  }

  #certificateOf(right: Authorized): Uint8Array {
    for (const { peer, certificate } of this.#identified.values())
      if (peer.facts.fingerprint === right.facts.fingerprint) return certificate
    throw new ProxyError('protocol.violation', 'a right without its certificate')
  }

  #eventsOf(peer: Peer, right: Authorized, { config }: Snapshot): StreamEvents {
    const { cluster, queue } = this.#options
    const { decisionId } = right
    return new StreamEvents({
      cluster,
      clock: this.clock,
      queue,
      rule: recordingRule(config.recording, right.grant),
      fields: { ...this.#audit.fields(peer, right.access), decision_id: decisionId },
      end: (reason, next) => this.evict({ decisionId, kind: 'unavailable', reason, next }),
    })
  }

  #access(): Access {
    const { target } = this.#options
    return this.right?.access ?? { target: target.ref, principal: '', resource: '' }
  }

  #unavailable(reason: string): Refusal {
    const { decisionId } = this.#options
    return { decisionId, kind: 'unavailable', reason, next: 'Try again in a moment.' }
  }
}

/** What a thread needs for them beside what every way in has. */
export type ProxiedParts = Pick<ProxiedStreamOptions, 'protocol' | 'queue' | 'recorders' | 'guard'>
