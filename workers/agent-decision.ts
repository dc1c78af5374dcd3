// Whether one session may be, as an agent decides it: the identity somebody showed, the right, the lease that goes with it, and what
// the audit log hears of begin and end. The same for protocols of either shape. Every verdict comes from core (verify, login).

import { randomBytes } from 'node:crypto'

import type { TargetRef } from '../core/identity.ts'
import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { authorize, type Authorized, type SessionMode } from '../core/login.ts'
import type { ServedTarget } from '../core/agent-target.ts'
import type { FromAgentWorker } from '../core/messages.ts'
import type { AgentAnswer, AgentQuestion } from '../core/questions.ts'
import { readPermit } from '../core/permit.ts'
import type { Access, Peer, Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import type { OpenFrame } from '../core/tunnel/open.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { AuthorizeOutcome, SessionCounters } from './session.ts'
import { SessionAudit } from './session-audit.ts'
import { leaseFor } from './session-lease.ts'
import type { Trust } from './trust.ts'

export interface AgentDecisionOptions {
  readonly cluster: string
  readonly agentId: string
  readonly hostname: string
  readonly trust: Trust
  readonly clock: Clock
  readonly frame: OpenFrame
  readonly target: ServedTarget
  readonly proxyId: string
  ask(question: AgentQuestion): Promise<AgentAnswer>
  send(message: FromAgentWorker): void
}

/** Who was recognised, and by which key. */
export interface Recognised {
  readonly peer: Peer
  readonly keySha256: string
}

/** Who somebody was said to be, and why that was not believed. */
export interface NotRecognised {
  readonly refusal: Refusal
  readonly audited: Readonly<Record<string, unknown>>
}

/** How a session went. */
export interface SessionOver {
  readonly reason: string
  readonly peer: Peer | undefined
  readonly access: Access
  readonly counters: SessionCounters | undefined
  readonly statements?: number | undefined
}

export class AgentDecision {
  readonly mode: SessionMode
  /** The proxy has decided under the frame's id already when it terminates; this end's decision is another. */
  readonly id: string
  readonly audit: SessionAudit
  readonly serverIds: readonly string[]
  keySha256 = ''
  /** What the proxy brought in place of a route; empty: nothing. */
  permit: Uint8Array = new Uint8Array(0)
  readonly #options: AgentDecisionOptions
  readonly #startedAtMs: number
  #lease: string | undefined
  #begun = false
  #over = false

  constructor(options: AgentDecisionOptions) {
    const { clock, frame, proxyId, agentId } = options
    this.#options = options
    this.serverIds = [agentId, proxyId]
    this.mode = frame.mode === 'terminate' ? 'terminate' : 'relay'
    this.id = this.mode === 'relay' ? frame.decisionId : newDecision(clock)
    this.audit = auditOf(options, this.mode)
    this.#startedAtMs = clock.now()
  }

  /** It was allowed, and the log heard so. */
  get begun(): boolean {
    return this.#begun
  }

  get target(): TargetRef {
    return this.#options.frame.target
  }

  /** Takes over who was recognised, or tells of somebody who was not. */
  identified<T extends Recognised | NotRecognised>(identified: T): T {
    if ('refusal' in identified) {
      this.audit.stranger(identified.audited)
      this.audit.undecided(this.target, this.id, identified.refusal.reason)
    } else this.keySha256 = identified.keySha256
    return identified
  }

  async authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    const { trust, target } = this.#options
    const { snapshot } = trust
    if (snapshot === undefined)
      return { refusal: this.unavailable('this agent has no policy from control yet') }
    const { permit } = readPermit(this.permit, snapshot.signers)
    const outcome = authorize(peer, access, this.#resolved(target), snapshot, {
      nowMs: this.#options.clock.now(),
      decisionId: this.id,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: this.keySha256,
      serverIds: this.serverIds,
      mode: this.mode,
      ...(permit === undefined ? {} : { permit }),
    })
    const no = outcome.right === undefined ? outcome.refusal : await this.#leaseFor(outcome.right)
    const decision = { id: this.id, explanation: outcome.explanation }
    if (this.#over) return { refusal: this.unavailable('the client has left') }
    this.audit.start(peer, access, decision, no)
    if (no !== undefined) return { refusal: no }
    if (outcome.right === undefined) return { refusal: this.unavailable('no decision was made') }
    this.#begun = true
    return { right: outcome.right }
  }

  /** It is ended from outside. */
  evicted(peer: Peer | undefined, access: Access, reason: string): void {
    if (this.#begun) this.audit.disconnect(peer, access, reason)
  }

  /** The session is over: tells the log, gives the lease back. */
  ended({ reason, peer, access, counters, statements }: SessionOver): void {
    this.#over = true
    this.#releaseLease()
    if (!this.#begun) {
      // The proxy told of it when this agent took the spare: so does the agent, though nobody asked for anything.
      const why = `it ended before anything was asked for: ${reason}`
      return this.audit.undecided(this.target, this.id, why)
    }
    this.audit.end(peer, access, {
      reason,
      startedAtMs: this.#startedAtMs,
      nowMs: this.#options.clock.now(),
      counters,
      statements,
    })
  }

  unavailable(reason: string): Refusal {
    return { decisionId: this.id, kind: 'unavailable', reason, next: 'Try again in a moment.' }
  }

  newId(): string {
    return newDecision(this.#options.clock)
  }

  /** In terminate mode the proxy has taken it. */
  async #leaseFor(right: Authorized): Promise<Refusal | undefined> {
    if (this.mode === 'terminate') return undefined
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

  #resolved(target: ServedTarget): Target {
    const { ref, protocol, labels, label } = target
    return { ref, protocol, labels, label, agents: [this.#options.agentId] }
  }
}

function newDecision(clock: Clock): string {
  return newDecisionId(clock.now(), randomBytes(10))
}

function auditOf(options: AgentDecisionOptions, mode: SessionMode): SessionAudit {
  const { frame, agentId, hostname, proxyId, target } = options
  const through = mode === 'relay' ? { proxy_id: proxyId } : { forwarded_by: proxyId }
  const { kind } = target.ref
  const own = kind === 'node' ? 'ssh' : 'database'
  return new SessionAudit(
    {
      story: mode === 'relay' ? own : 'forward',
      sessionId: frame.sessionId,
      kind,
      serverId: agentId,
      protocol: target.protocol,
      client: frame.client,
      labels: target.labels,
      more: { server_hostname: hostname, ...through },
    },
    (name, code, fields) => options.send({ kind: 'audit', name, code, fields }),
  )
}
