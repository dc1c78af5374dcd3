// The way of one person from a proxy's worker to an agent that serves a node: what the name stands for, whether they may know of it,
// and a spare whose agent took the session. The SSH that follows is theirs and the agent's: nothing of it is read here, and no right to
// a target comes of it. Used by each way in: the line before SSH, and the outer SSH of a jump.

import { randomBytes } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type {
  FromProxyWorker,
  OpenRequest,
  RelayCounters,
  Source,
  SpareGrant,
} from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import { type PassageContext, refuseNode, refuseVisitor } from '../core/passage.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import { newDecisionId } from '../core/ulid.ts'
import { SessionAudit } from './session-audit.ts'
import { type AcceptedSpare, SpareDial } from './spare-dial.ts'
import type { Trust } from './trust.ts'

export interface NodePassageOptions {
  readonly proxyId: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  /** Number and id of the session, as main knows it. */
  readonly session: number
  readonly sessionId: string
  readonly source: Source
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
}

/** Somebody whose login certificate was verified. */
export interface Visitor {
  readonly peer: Peer
  readonly keySha256: string
}

export class NodePassage {
  readonly decisionId: string
  readonly #options: NodePassageOptions
  readonly #audit: SessionAudit
  #dial: SpareDial | undefined
  #accepted = false
  #agentId = ''

  constructor(options: NodePassageOptions) {
    const { clock, session: _, sessionId, proxyId, source } = options
    this.#options = options
    this.decisionId = newDecisionId(clock.now(), randomBytes(10))
    this.#audit = new SessionAudit(
      {
        story: 'ssh',
        sessionId,
        kind: 'node',
        serverId: proxyId,
        protocol: 'ssh',
        client: source,
        labels: {},
        more: { proxy_id: proxyId },
      },
      (name, code, fields) => options.send({ kind: 'audit', name, code, fields }),
    )
  }

  /** Hosts it runs through. */
  get serverIds(): readonly string[] {
    const { proxyId } = this.#options
    return this.#agentId === '' ? [proxyId] : [proxyId, this.#agentId]
  }

  stranger(fields: Readonly<Record<string, unknown>>): void {
    this.#audit.stranger(fields)
  }

  /** Why somebody is not served, whatever node they want. */
  refuses(visitor: Visitor): Refusal | undefined {
    const { snapshot } = this.#options.trust
    if (snapshot === undefined) return this.#unavailable(NO_POLICY)
    const refusal = refuseVisitor(visitor.peer, snapshot, this.#context(visitor))
    if (refusal !== undefined) this.#denied(visitor, '', refusal)
    return refusal
  }

  /** What the name stands for, if they may know of it. */
  async find(visitor: Visitor, node: string): Promise<Target | Refusal> {
    const { identity } = visitor.peer
    const user = `${identity.issuer}/${identity.name}`
    const { session } = this.#options
    const answer = await this.#options.ask({ what: 'node', session, user, node })
    const { snapshot } = this.#options.trust
    if (snapshot === undefined) return this.#unavailable(NO_POLICY)
    const refusal =
      answer.what === 'node'
        ? refuseNode(visitor.peer, answer.target, snapshot, this.#context(visitor))
        : this.#limit(answer.what === 'no' ? answer.message : NO_ANSWER)
    const target = answer.what === 'node' ? answer.target : undefined
    if (refusal === undefined && target !== undefined) return target
    const no = refusal ?? this.#unavailable(NO_ANSWER)
    this.#denied(visitor, node, no)
    return no
  }

  /** A spare whose agent has the session. Rejects with `dial.*`, whose message may be shown. */
  async open(visitor: Visitor, target: Target, signal: AbortSignal): Promise<AcceptedSpare> {
    const { session, clock, log } = this.#options
    const send = (message: FromProxyWorker): void => this.#options.send(message)
    const dial = new SpareDial({
      open: this.#request(target),
      clock,
      log,
      needSpare: (refused) =>
        send({
          kind: 'need-spare',
          session,
          agentId: dial.agentId,
          ...(refused === undefined ? {} : { refused }),
        }),
      badAnswer: ({ agentId, spareId }, reason) =>
        send({ kind: 'bad-answer', agentId, spareId, reason }),
    })
    this.#dial = dial
    const spare = await dial.start(signal)
    this.#agentId = spare.agentId
    this.#accepted = true
    send({ kind: 'accepted', session })
    this.#told('SLR001I', {
      ...person(visitor),
      decision_id: this.decisionId,
      target_kind: target.ref.kind,
      target_name: target.ref.name,
      'addr.trusted': this.#options.source.trusted,
    })
    return spare
  }

  use(grant: SpareGrant): boolean {
    return this.#dial?.use(grant) ?? false
  }

  noSpare(): void {
    this.#dial?.noSpare()
  }

  ended(reason: string, counters: RelayCounters): void {
    if (!this.#accepted) return
    const { fromClientBytes, fromTargetBytes } = counters
    const bytes = { bytes_from_client: fromClientBytes, bytes_from_target: fromTargetBytes }
    this.#told('SLR002I', { reason, ...bytes })
  }

  #told(code: string, fields: Readonly<Record<string, unknown>>): void {
    const { sessionId, source } = this.#options
    this.#options.send({
      kind: 'audit',
      name: 'session.relay',
      code,
      fields: {
        sid: sessionId,
        agent_id: this.#agentId,
        'addr.remote': `${source.address}:${source.port}`,
        ...fields,
      },
    })
  }

  #denied({ peer }: Visitor, node: string, refusal: Refusal): void {
    const access = { target: { kind: 'node', name: node }, principal: '', resource: '' } as const
    this.#audit.start(peer, access, { id: this.decisionId }, refusal)
  }

  #request(target: Target): OpenRequest {
    const { sessionId, source } = this.#options
    return {
      mode: 'relay',
      sessionId,
      decisionId: this.decisionId,
      protocol: target.protocol,
      stage: '',
      target: target.ref,
      serverName: '',
      client: source,
      cancelHandle: 0,
    }
  }

  #context({ keySha256 }: Visitor): PassageContext {
    const { clock, proxyId } = this.#options
    return {
      nowMs: clock.now(),
      decisionId: this.decisionId,
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256,
      serverIds: [proxyId],
    }
  }

  #limit(reason: string): Refusal {
    return { decisionId: this.decisionId, kind: 'limit', reason, next: 'Wait a moment.' }
  }

  #unavailable(reason: string): Refusal {
    const next = 'Try again in a moment.'
    return { decisionId: this.decisionId, kind: 'unavailable', reason, next }
  }
}

const NO_POLICY = 'this proxy has no policy from control yet'
const NO_ANSWER = 'the name could not be looked up'

/** What people are told: why, and what to do next. */
export function sentenceOf({ reason, next }: Refusal): string {
  return `${reason}. ${next}`
}

function person({ peer }: Visitor): Readonly<Record<string, unknown>> {
  const { name, kind, roles } = peer.identity
  return { user: name, user_kind: kind === 'bot' ? 2 : 1, user_roles: roles }
}
