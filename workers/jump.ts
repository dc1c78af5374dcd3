// One client with the outer SSH of a jump (`ssh -J user@proxy login@node`) at a proxy's worker: it proves a login's SSH certificate to
// this proxy, asks for one node, and its inner SSH runs to the agent unread, exactly as behind the line of the other way in. Where SSH
// ends at proxies the inner one ends here, as if it had come by that line.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { type Authorized, modeFor } from '../core/login.ts'
import type {
  AgentResume,
  FromProxyWorker,
  ProxyAnswer,
  ProxyQuestion,
  RelayCounters,
  SpareGrant,
} from '../core/messages.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import type { ByteStream } from '../core/stream.ts'
import { serveJump } from '../protocols/registry.ts'
import { adopt } from './handover.ts'
import { identifySsh } from './identify-ssh.ts'
import { joined } from './joined.ts'
import type { LiveSession } from './live-sessions.ts'
import { NodePassage, sentenceOf, type Visitor } from './node-passage.ts'
import { type ProxiedParts, ProxiedStream } from './proxied-stream.ts'
import { socketStream } from './socket-stream.ts'
import { Deadlines, systemTimers } from './timers.ts'
import type { Trust } from './trust.ts'
import type { WayInMessage } from './way-in.ts'

export interface JumpOptions {
  readonly cluster: string
  readonly proxyId: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  readonly message: WayInMessage
  readonly proxied: ProxiedParts
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
  /** The client has shown a good certificate. */
  proven(): void
}

const ONE_NODE = 'one connection of this kind leads to one node: connect again for another'
const NO_POLICY = 'this proxy has no policy from control yet'

export class Jump implements LiveSession {
  readonly #options: JumpOptions
  readonly #passage: NodePassage
  readonly #deadlines: Deadlines<'farewell'>
  readonly #giveUp = new AbortController()
  readonly #ending = new AbortController()
  #client: net.Socket | undefined
  #node: net.Socket | undefined
  /** Where SSH ends here: the inner one, and its end. */
  #stream: ProxiedStream | undefined
  #served: Promise<string> | undefined
  #keySha256 = ''
  #visitor: Visitor | undefined
  #target: Target | undefined
  #asked = false
  /** A key was shown that proved nothing. */
  #unproved = false

  constructor(options: JumpOptions) {
    this.#options = options
    const { session, sessionId, source } = options.message
    this.#passage = new NodePassage({ ...options, session, sessionId, source })
    this.#deadlines = new Deadlines(options.clock, systemTimers)
  }

  get peer(): Peer | undefined {
    return this.#stream?.peer ?? this.#visitor?.peer
  }

  get right(): Authorized | undefined {
    return this.#stream?.right
  }

  get keySha256(): string {
    return this.#stream?.keySha256 || this.#keySha256
  }

  get target(): Target['ref'] {
    return this.#target?.ref ?? { kind: 'node', name: '' }
  }

  get serverIds(): readonly string[] {
    const agentId = this.#stream?.agentId ?? ''
    return agentId === '' ? this.#passage.serverIds : [...this.#passage.serverIds, agentId]
  }

  /** Resolves with the reason when it is over, and never rejects. */
  async run(): Promise<{ readonly reason: string; readonly counters: RelayCounters }> {
    const { message, trust, log } = this.#options
    const client = adopt(message.client, message.first)
    this.#client = client
    const stream = socketStream(client)
    const services = {
      timers: systemTimers,
      hostKeys: trust.sshHost,
      admit: (certificate: Uint8Array) => Promise.resolve(this.#admit(certificate)),
      unproved: () => {
        this.#unproved = true
      },
      open: (node: string) => this.#open(node),
    }
    if (trust.sshHost.length > 0)
      await serveJump(stream, services, this.#ending.signal).catch((error: unknown) =>
        log.debug('a jump failed', { error: String(error) }),
      )
    this.#giveUp.abort()
    this.#deadlines.clear()
    // Once for a connection, however often it tried; whoever was let in after all is known.
    if (this.#unproved && this.#visitor === undefined)
      this.#passage.stranger({ reason: 'it proved no certificate' })
    this.#node?.destroy()
    client.destroy()
    await this.#served
    const counters = this.#stream?.counters ?? {
      fromClientBytes: this.#node?.bytesWritten ?? 0,
      fromTargetBytes: this.#node?.bytesRead ?? 0,
    }
    this.#passage.ended('closed', counters)
    return { reason: 'closed', counters }
  }

  /** Whoever has the inner SSH says why there; the outer line is ended a moment later. */
  evict(refusal: Refusal): void {
    this.#giveUp.abort()
    const end = (): void => this.#ending.abort(sentenceOf(refusal))
    this.#stream?.evict(refusal)
    const inside = this.#stream ?? (refusal.kind === 'lock' ? this.#node : undefined)
    if (inside === undefined) end()
    else this.#deadlines.after('farewell', max('lockFarewellMs'), end)
  }

  abandon(): void {
    this.#client?.destroy()
  }

  use(grant: SpareGrant, resume: AgentResume | undefined): boolean {
    if (this.#stream === undefined) return this.#passage.use(grant)
    return resume !== undefined && this.#stream.use(grant, resume)
  }

  noSpare(): void {
    if (this.#stream === undefined) this.#passage.noSpare()
    else this.#stream.noSpare()
  }

  #admit(certificate: Uint8Array): string | undefined {
    const { trust, cluster, clock, message } = this.#options
    const { decisionId } = this.#passage
    const context = { cluster, nowMs: clock.now(), decisionId, client: message.source }
    const identified = identifySsh(certificate, trust.snapshot, context)
    if ('refusal' in identified) {
      this.#passage.stranger(identified.audited)
      return sentenceOf(identified.refusal)
    }
    const { peer, keySha256 } = identified
    const visitor = { peer, keySha256 }
    const no = this.#passage.refuses(visitor)
    if (no !== undefined) return sentenceOf(no)
    this.#visitor = visitor
    this.#keySha256 = keySha256
    this.#options.proven()
    return undefined
  }

  async #open(node: string): Promise<ByteStream> {
    const visitor = this.#visitor
    if (visitor === undefined) throw new ProxyError('protocol.violation', 'nobody is known')
    if (this.#asked) throw new ProxyError('limit.exceeded', ONE_NODE)
    this.#asked = true
    const target = await this.#passage.find(visitor, node.slice(0, max('nameLengthMax')))
    if ('reason' in target) throw new ProxyError('policy.denied', sentenceOf(target))
    const { snapshot } = this.#options.trust
    if (snapshot === undefined) throw new ProxyError('dial.failed', NO_POLICY)
    this.#target = target
    if (modeFor(target, snapshot.config) === 'terminate') return this.#end(visitor, target)
    const within = AbortSignal.any([
      this.#giveUp.signal,
      AbortSignal.timeout(max('handshakeDeadlineMs')),
    ])
    const { socket, rest } = await this.#passage.open(visitor, target, within)
    this.#node = socket
    const stream = socketStream(socket)
    // Not back into the socket: one that lost all its listeners forgets what it is given between two of its owners.
    if (rest.length > 0) stream.unread(rest)
    return stream
  }

  /** The inner SSH ends here. */
  #end(visitor: Visitor, target: Target): ByteStream {
    const { message, proxied } = this.#options
    const { session, sessionId, source } = message
    const { decisionId } = this.#passage
    const wish = { session, sessionId, source, decisionId, visitor, target }
    const [outside, inside] = joined()
    this.#stream = new ProxiedStream({ ...this.#options, ...proxied, ...wish })
    this.#served = this.#stream.run(inside)
    return socketStream(outside)
  }
}
