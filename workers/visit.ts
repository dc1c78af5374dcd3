// One person on their way to a node's SSH at a proxy's worker, whichever way they came in: who they proved to be, which node they
// named, where their SSH ends. It is what locks are matched with; how somebody is let in, told no and cut is the way's own (way-in.ts,
// jump.ts).

import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import { type Authorized, modeFor } from '../core/login.ts'
import type { AgentResume, FromProxyWorker, SpareGrant, ToProxyWorker } from '../core/messages.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { Target } from '../core/snapshot.ts'
import type { LiveSession } from './live-sessions.ts'
import { NodePassage, type Visitor } from './node-passage.ts'
import { type ProxiedParts, ProxiedStream } from './proxied-stream.ts'
import { Deadlines, systemTimers } from './timers.ts'
import type { Trust } from './trust.ts'

export type WayInMessage = Extract<ToProxyWorker, { kind: 'way-in' }>

export interface VisitOptions {
  readonly cluster: string
  readonly proxyId: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  readonly message: WayInMessage
  /** For SSH that ends here. */
  readonly proxied: ProxiedParts
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
  /** The client has shown a good certificate. */
  proven(): void
}

/** What a certificate says of whoever showed it. */
export type Shown =
  | Visitor
  | { readonly refusal: Refusal; readonly audited: Readonly<Record<string, unknown>> }

export class Visit implements LiveSession {
  readonly passage: NodePassage
  readonly deadlines: Deadlines<'login' | 'farewell'>
  /** Ends what is tried for them. */
  readonly giveUp: AbortController = new AbortController()
  readonly #options: VisitOptions
  readonly #evict: (refusal: Refusal) => void
  #visitor: Visitor | undefined
  #target: Target | undefined
  #stream: ProxiedStream | undefined

  /** `evict`: the way's own end. */
  constructor(options: VisitOptions, evict: (refusal: Refusal) => void) {
    this.#options = options
    this.#evict = evict
    const { session, sessionId, source } = options.message
    this.passage = new NodePassage({ ...options, session, sessionId, source })
    this.deadlines = new Deadlines(options.clock, systemTimers)
  }

  /** Whoever was let in. */
  get visitor(): Visitor | undefined {
    return this.#visitor
  }

  /** Where SSH ends here. */
  get stream(): ProxiedStream | undefined {
    return this.#stream
  }

  get peer(): Peer | undefined {
    return this.#stream?.peer ?? this.#visitor?.peer
  }

  get right(): Authorized | undefined {
    return this.#stream?.right
  }

  get keySha256(): string {
    // Empty until a key was proved inside: until then a lock on the login's own key must find it.
    return this.#stream?.keySha256 || (this.#visitor?.keySha256 ?? '')
  }

  get entered(): Visitor | undefined {
    return this.#visitor
  }

  get target(): Target['ref'] {
    // A lock on a person holds before they named a node.
    return this.#target?.ref ?? { kind: 'node', name: '' }
  }

  get serverIds(): readonly string[] {
    const agentId = this.#stream?.agentId ?? ''
    return agentId === '' ? this.passage.serverIds : [...this.passage.serverIds, agentId]
  }

  evict(refusal: Refusal): void {
    this.#evict(refusal)
  }

  use(grant: SpareGrant, resume: AgentResume | undefined): boolean {
    if (this.#stream === undefined) return this.passage.use(grant)
    return resume !== undefined && this.#stream.use(grant, resume)
  }

  noSpare(): void {
    if (this.#stream === undefined) this.passage.noSpare()
    else this.#stream.noSpare()
  }

  /** Lets in whoever showed a good certificate and has nothing against them. */
  admit(shown: Shown): Visitor | Refusal {
    if ('refusal' in shown) {
      this.passage.stranger(shown.audited)
      return shown.refusal
    }
    const visitor = { peer: shown.peer, keySha256: shown.keySha256 }
    const no = this.passage.refuses(visitor)
    if (no !== undefined) return no
    this.#visitor = visitor
    this.#options.proven()
    return visitor
  }

  /** What the name stands for that they typed, if they may know of it. */
  async find(visitor: Visitor, node: string): Promise<Target | Refusal> {
    const target = await this.passage.find(visitor, node)
    if (!('reason' in target)) this.#target = target
    return target
  }

  /** The cluster records in its proxies, or the server has no agent. */
  endsHere(target: Target): boolean {
    const { snapshot } = this.#options.trust
    return snapshot !== undefined && modeFor(target, snapshot.config) === 'terminate'
  }

  /** Their SSH with such a node: it runs on what the stream is given. */
  end(visitor: Visitor, target: Target): ProxiedStream {
    const { message, proxied } = this.#options
    const { session, sessionId, source } = message
    const { decisionId } = this.passage
    const wish = { session, sessionId, source, decisionId, visitor, target }
    this.#stream = new ProxiedStream({ ...this.#options, ...proxied, ...wish })
    return this.#stream
  }

  /** Nothing is tried or waited for any more. */
  close(): void {
    this.deadlines.clear()
    this.giveUp.abort()
  }
}
