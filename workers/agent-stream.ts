// One SSH session at the agent, as the services its streaming protocol asks: who the client is, whether it may be this login, the
// machine it gets, the recorder of its terminals. In relay mode the client's SSH ends here, and its key is proved here; in terminate
// mode it ended at the proxy, which proves itself by TLS first and then says for whom it speaks. Verdicts come from core.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { Access, AuditFields, Peer, Refusal, StreamingProtocol } from '../core/protocol.ts'
import type { Machine } from '../core/ssh/machine.ts'
import type {
  ForwardedClient,
  NodeSwitches,
  SshKeyPair,
  SshServices,
  SshTargetAccess,
  TerminalRecorder,
  TerminalStart,
} from '../core/ssh/services.ts'
import { AgentDecision, type AgentDecisionOptions } from './agent-decision.ts'
import { acceptForwarded } from './forwarded-client.ts'
import { type IdentifiedSsh, identifySsh, loginRefusal } from './identify-ssh.ts'
import type { AuditQueue } from './audit-queue.ts'
import type { LiveSession } from './live-sessions.ts'
import type { Recorders } from './recorders.ts'
import type { AuthorizeOutcome, Session } from './session.ts'
import { runStreaming, type StreamServices } from './streaming.ts'
import { recordingRule } from './statement-tap.ts'
import { StreamEvents } from './stream-events.ts'
import { recordTerminal } from './terminal-recorder.ts'
import { systemTimers, type Timers } from './timers.ts'
import type { TlsServer } from './tls.ts'

/** What a login of this machine is asked for with: whoever carries it out decides again. */
export interface MachineWish {
  readonly right: Authorized
  /** The person's SSH certificate, wire bytes. */
  readonly certificate: Uint8Array
  readonly client: { readonly address: string; readonly port: number }
  readonly sessionId: string
  /** The proxy that ended the client's SSH, and control's permit for it. */
  readonly proxy?: { readonly id: string; readonly permit: Uint8Array }
}

/** Opens this machine for one login. Rejects with a sentence for the person. */
export type OpenMachine = (wish: MachineWish) => Promise<Machine>

export interface AgentStreamOptions extends AgentDecisionOptions {
  readonly log: Logger
  readonly protocol: StreamingProtocol
  /** Whoever forwards, in terminate mode. */
  readonly tls: TlsServer | undefined
  readonly hostKeys: readonly SshKeyPair[]
  readonly switches: NodeSwitches
  readonly openMachine: OpenMachine
  readonly recorders: Recorders
  readonly queue: AuditQueue
}

export class AgentStream implements StreamServices, LiveSession {
  readonly clock: Clock
  readonly timers: Timers = systemTimers
  readonly log: Logger
  readonly target: TargetRef
  readonly serverIds: readonly string[]
  readonly #options: AgentStreamOptions
  readonly #decision: AgentDecision
  readonly #identified = new Map<Peer, IdentifiedSsh>()
  #forwarded: ForwardedClient | undefined
  #running: Session | undefined
  /** Ended before it ran: while the proxy still said for whom. */
  #evicted: Refusal | undefined
  #raw: net.Socket | undefined
  #machine: Machine | undefined
  #events: StreamEvents | undefined

  constructor(options: AgentStreamOptions) {
    const { clock, log, frame } = options
    this.#options = options
    this.clock = clock
    this.log = log
    this.target = frame.target
    this.#decision = new AgentDecision(options)
    this.serverIds = this.#decision.serverIds
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

  get ssh(): SshServices {
    const forwarded = this.#forwarded
    return {
      timers: this.timers,
      switches: this.#options.switches,
      // Whoever starts programs knows what they are told of the session.
      environment: {},
      auditRoom: () => this.#events?.room(),
      hostKeys: this.#options.hostKeys,
      ...(forwarded === undefined ? {} : { forwarded }),
      reach: (right, signal) => this.#reach(right, signal),
      record: (right, start) => this.#record(right, start),
    }
  }

  /** Serves the client on an accepted spare; resolves with the reason when all of it is over. Never rejects. */
  async run(spare: net.Socket, first: Uint8Array): Promise<string> {
    this.#raw = spare
    const reason = await this.#serve(spare, first).catch((error: unknown) => {
      this.log.info('a session did not begin', { error: String(error) })
      spare.destroy()
      return error instanceof ProxyError ? error.message : 'failed inside Sluice'
    })
    this.#machine?.end()
    this.#events?.flush()
    this.#decision.ended({
      reason,
      peer: this.peer,
      access: this.#access(),
      counters: this.#running?.counters,
    })
    return reason
  }

  evict(refusal: Refusal): void {
    this.#decision.evicted(this.peer, this.#access(), refusal.reason)
    if (this.#running !== undefined) return this.#running.evict(refusal)
    this.#evicted = refusal
    this.#raw?.destroy()
  }

  newDecisionId(): string {
    return this.#decision.newId()
  }

  identify(certificate: Uint8Array): Peer | Refusal {
    const { trust, cluster, frame } = this.#options
    const { id: decisionId } = this.#decision
    const context = { cluster, nowMs: this.clock.now(), decisionId, client: frame.client }
    const identified = this.#decision.identified(identifySsh(certificate, trust.snapshot, context))
    if ('refusal' in identified) return identified.refusal
    this.#identified.set(identified.peer, identified)
    return identified.peer
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const identified = this.#identified.get(peer)
    if (identified === undefined) return { refusal: this.#decision.unavailable('nobody is known') }
    // One certificate is decided about at a time, and this is the one.
    this.#decision.keySha256 = identified.keySha256
    const no = loginRefusal(identified, access.principal, this.#decision.id)
    if (no !== undefined) {
      this.#decision.audit.start(peer, access, { id: this.#decision.id }, no)
      return { refusal: no }
    }
    const outcome = await this.#decision.authorize(peer, access)
    if ('right' in outcome) this.#events = this.#eventsOf(peer, outcome.right)
    return outcome
  }

  audit(code: string, fields: AuditFields): void {
    if (this.#events !== undefined) return this.#events.tell(code, fields)
    if (!this.#decision.audit.reported(code, this.peer, this.#access(), fields))
      this.log.error('a session names an audit event nobody knows', { code })
  }

  async #serve(spare: net.Socket, first: Uint8Array): Promise<string> {
    const { frame, protocol } = this.#options
    const client =
      this.#decision.mode === 'relay' ? met(spare, first) : await this.#forwardedOn(spare, first)
    this.#running = runStreaming(
      protocol,
      client,
      { stage: frame.stage, target: frame.target },
      this,
    )
    if (this.#evicted !== undefined) this.#running.evict(this.#evicted)
    return await this.#running.done
  }

  /** Terminate mode: whoever the proxy speaks for. The proxy itself is refused without a word of SSH. */
  async #forwardedOn(spare: net.Socket, first: Uint8Array): Promise<net.Socket> {
    const { frame, proxyId, tls, trust } = this.#options
    const { snapshot } = trust
    if (snapshot === undefined || tls === undefined)
      throw new ProxyError('snapshot.stale', 'there is no policy yet')
    const { serverName } = frame
    const by = { proxyId, serverName, snapshot, nowMs: this.clock.now() }
    const forwarded = await acceptForwarded(tls, spare, first, by).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error)
      this.#decision.audit.undecided(this.target, this.#decision.id, reason)
      throw error
    })
    this.#decision.permit = forwarded.permit
    this.#forwarded = { certificate: forwarded.certificate }
    return forwarded.socket
  }

  async #reach(right: Authorized, signal: AbortSignal): Promise<SshTargetAccess> {
    if (right !== this.right || this.#machine !== undefined)
      throw new ProxyError(
        'protocol.violation',
        'a machine is opened once, for the right of its session',
      )
    const { frame, openMachine, proxyId } = this.#options
    const certificate = this.#certificateOf(right)
    const { sessionId, client } = frame
    const { mode, permit } = this.#decision
    const proxy = mode === 'terminate' ? { proxy: { id: proxyId, permit } } : {}
    const machine = await openMachine({ right, certificate, client, sessionId, ...proxy })
    if (signal.aborted) {
      // Whoever waited for it is gone: nobody else would end it.
      machine.end()
      throw new ProxyError('dial.failed', 'the session is over')
    }
    this.#machine = machine
    return { kind: 'machine', machine }
  }

  #eventsOf(peer: Peer, right: Authorized): StreamEvents {
    const { cluster, queue, trust } = this.#options
    // Unknown means the strictest: whoever has no configuration waits for the disk.
    const mode = trust.snapshot?.config.recording ?? 'node-sync'
    const { decisionId } = right
    return new StreamEvents({
      cluster,
      clock: this.clock,
      queue,
      rule: recordingRule(mode, right.grant),
      fields: { ...this.#decision.audit.fields(peer, right.access), decision_id: decisionId },
      end: (reason, next) => this.evict({ decisionId, kind: 'unavailable', reason, next }),
    })
  }

  #certificateOf(right: Authorized): Uint8Array {
    for (const { peer, certificate } of this.#identified.values())
      if (peer.facts.fingerprint === right.facts.fingerprint) return certificate
    throw new ProxyError('protocol.violation', 'a right without its certificate')
  }

  #record(right: Authorized, start: TerminalStart): TerminalRecorder | Refusal | undefined {
    // In terminate mode the proxy reads the session, and records it.
    if (this.#decision.mode === 'terminate') return undefined
    const { agentId, cluster, recorders, trust } = this.#options
    return recordTerminal({
      timers: this.timers,
      cluster,
      host: agentId,
      clock: this.clock,
      recorders,
      snapshot: trust.snapshot,
      right,
      start,
      evict: (refusal) => this.evict(refusal),
    })
  }

  #access(): Access {
    return this.right?.access ?? { target: this.target, principal: '', resource: '' }
  }
}

/** Relay mode: the bytes behind the open frame are the client's own. */
function met(spare: net.Socket, first: Uint8Array): net.Socket {
  if (first.length > 0) spare.unshift(first)
  return spare
}
