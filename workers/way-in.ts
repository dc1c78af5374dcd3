// One client on its way to a node's SSH (core/ssh/way-in.ts): TLS under the proxy's own name, a login certificate, one line that names
// the node; then the client's SSH runs to the agent and is not read here. Whoever may not pass hears a sentence. What ends a way in
// that is open cannot be said in it: the agent says it, and a moment later it is cut.

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
  ToProxyWorker,
} from '../core/messages.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import { readWanted, writeWayInAnswer } from '../core/ssh/way-in.ts'
import { adopt, lastWord } from './handover.ts'
import { identifyUser } from './identify-user.ts'
import type { LiveSession } from './live-sessions.ts'
import { NodePassage, sentenceOf, type Visitor } from './node-passage.ts'
import { type ProxiedParts, ProxiedStream } from './proxied-stream.ts'
import type { Relay } from './relay.ts'
import { relayTls } from './tls-relay.ts'
import { Deadlines, systemTimers } from './timers.ts'
import type { TlsServer } from './tls.ts'
import type { Trust } from './trust.ts'

export type WayInMessage = Extract<ToProxyWorker, { kind: 'way-in' }>

export interface WayInOptions {
  readonly cluster: string
  readonly proxyId: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  readonly tls: TlsServer
  readonly message: WayInMessage
  readonly proxied: ProxiedParts
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
  /** The client has shown a good certificate. */
  proven(): void
}

const NOTHING: RelayCounters = { fromClientBytes: 0, fromTargetBytes: 0 }
const NO_BYTES = new Uint8Array(0)

export class WayIn implements LiveSession {
  readonly #options: WayInOptions
  readonly #passage: NodePassage
  readonly #deadlines: Deadlines<'login' | 'farewell'>
  readonly #giveUp = new AbortController()
  #raw: net.Socket | undefined
  #visitor: Visitor | undefined
  #target: Target | undefined
  #relay: Relay | undefined
  /** Where SSH ends here. */
  #stream: ProxiedStream | undefined
  #keySha256 = ''
  /** Why it must not go on, before it was open. */
  #evicted: Refusal | undefined

  constructor(options: WayInOptions) {
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
    // Empty until a key was proved inside: until then a lock on the login's own key must find it.
    return this.#stream?.keySha256 || this.#keySha256
  }

  get target(): Target['ref'] {
    // A lock on a person holds before they named a node.
    return this.#target?.ref ?? { kind: 'node', name: '' }
  }

  get serverIds(): readonly string[] {
    const agentId = this.#stream?.agentId ?? ''
    return agentId === '' ? this.#passage.serverIds : [...this.#passage.serverIds, agentId]
  }

  /** Resolves with the reason when it is over, and never rejects. */
  async run(): Promise<{ readonly reason: string; readonly counters: RelayCounters }> {
    const { message, log } = this.#options
    const raw = adopt(message.client)
    this.#raw = raw
    this.#deadlines.after('login', max('handshakeDeadlineMs'), () => this.#late())
    const reason = await this.#serve(raw).catch((error: unknown) => {
      log.debug('a way in did not open', { error: String(error) })
      return error instanceof ProxyError ? error.message : 'failed inside Sluice'
    })
    this.#deadlines.clear()
    this.#giveUp.abort()
    const counters = this.#relay?.counters() ?? this.#stream?.counters ?? NOTHING
    this.#passage.ended(reason, counters)
    return { reason, counters }
  }

  evict(refusal: Refusal): void {
    if (this.#evicted !== undefined) return
    this.#evicted = refusal
    if (this.#stream !== undefined) return this.#stream.evict(refusal)
    this.#giveUp.abort()
    const cut = (): void => this.#relay?.abort(refusal.reason)
    if (this.#relay === undefined) return
    if (refusal.kind === 'lock') this.#deadlines.after('farewell', max('lockFarewellMs'), cut)
    else cut()
  }

  /** Gives a client up that has proved nothing. */
  abandon(): void {
    this.#raw?.destroy()
  }

  use(grant: SpareGrant, resume: AgentResume | undefined): boolean {
    if (this.#stream === undefined) return this.#passage.use(grant)
    return resume !== undefined && this.#stream.use(grant, resume)
  }

  noSpare(): void {
    if (this.#stream === undefined) this.#passage.noSpare()
    else this.#stream.noSpare()
  }

  #late(): void {
    this.#giveUp.abort()
    if (this.#visitor === undefined) this.#raw?.destroy()
  }

  async #serve(raw: net.Socket): Promise<string> {
    const { tls, message } = this.#options
    const { socket, chain, authorized } = await tls.accept(raw, message.first)
    socket.on('error', () => {})
    const known = this.#identify(chain, authorized)
    if ('reason' in known) return refused(socket, known)
    const { signal } = this.#giveUp
    const wanted = await readLine(socket, signal)
    if (wanted === undefined) {
      if (this.#evicted !== undefined) return refused(socket, this.#evicted)
      socket.destroy()
      return 'no node was named'
    }
    const target = await this.#passage.find(known, wanted.node)
    if ('reason' in target) return refused(socket, target)
    this.#target = target
    return await this.#pass(socket, known, target, wanted.rest)
  }

  #identify(chain: readonly Uint8Array[], authorized: boolean): Visitor | Refusal {
    const { trust, cluster, clock } = this.#options
    const { decisionId } = this.#passage
    const context = { cluster, nowMs: clock.now(), decisionId, login: 'tsh login' }
    const identified = identifyUser({ chain, authorized }, trust.snapshot, context)
    if ('refusal' in identified) {
      this.#passage.stranger(identified.audited)
      return identified.refusal
    }
    const { peer, keySha256 } = identified
    const visitor = { peer, keySha256 }
    const no = this.#passage.refuses(visitor)
    if (no !== undefined) return no
    this.#visitor = visitor
    this.#keySha256 = keySha256
    this.#options.proven()
    return visitor
  }

  async #pass(
    socket: net.Socket,
    visitor: Visitor,
    target: Target,
    first: Uint8Array,
  ): Promise<string> {
    const { trust, clock } = this.#options
    const { snapshot } = trust
    if (snapshot !== undefined && modeFor(target, snapshot.config) === 'terminate')
      return await this.#end(socket, visitor, target, first)
    const spare = await this.#passage
      .open(visitor, target, this.#giveUp.signal)
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
    const no = this.#evicted
    if (spare instanceof Error || no !== undefined || socket.destroyed) {
      if (!(spare instanceof Error)) spare.socket.destroy()
      return refused(socket, no ?? unreachable(this.#passage.decisionId, spare))
    }
    this.#deadlines.drop('login')
    socket.write(writeWayInAnswer({ open: true }))
    this.#relay = relayTls(socket, spare.socket, {
      clock,
      timers: systemTimers,
      toClient: spare.rest,
      toTarget: first,
    })
    return await this.#relay.done
  }

  /** SSH ends here: the cluster records in its proxies, or the server has no agent. */
  async #end(
    socket: net.Socket,
    visitor: Visitor,
    target: Target,
    first: Uint8Array,
  ): Promise<string> {
    const { proxied, message, trust } = this.#options
    if (this.#evicted !== undefined) return refused(socket, this.#evicted)
    const { decisionId } = this.#passage
    if (trust.sshHost.length === 0)
      return refused(socket, unreachable(decisionId, new ProxyError('dial.failed', NO_HOST_KEY)))
    this.#deadlines.drop('login')
    const { session, sessionId, source } = message
    const wish = { session, sessionId, source, decisionId, visitor, target }
    this.#stream = new ProxiedStream({ ...this.#options, ...proxied, ...wish })
    socket.write(writeWayInAnswer({ open: true }))
    if (first.length > 0) socket.unshift(first)
    return await this.#stream.run(socket)
  }
}

const NO_HOST_KEY = 'control has not certified this proxy’s SSH host key yet'

/** Says no, and why; the reason is the session's end. */
function refused(socket: net.Socket, refusal: Refusal): string {
  const [away, sentence] = [refusal.kind === 'unavailable', sentenceOf(refusal)]
  lastWord(socket, writeWayInAnswer({ open: false, away, sentence }))
  return refusal.reason
}

function unreachable(decisionId: string, error: unknown): Refusal {
  const why = error instanceof ProxyError ? error.message : 'the agent could not be reached'
  const next = 'Try again in a moment.'
  return { decisionId, kind: 'unavailable', reason: `the node is not reached: ${why}`, next }
}

interface Wanted {
  readonly node: string
  /** Behind the line: the client's own SSH. */
  readonly rest: Uint8Array
}

/** The client's line. Undefined: it is none, it left, or it was not said in time. The socket is paused afterwards. */
function readLine(socket: net.Socket, signal: AbortSignal): Promise<Wanted | undefined> {
  const { promise, resolve } = Promise.withResolvers<Wanted | undefined>()
  let held: Uint8Array = NO_BYTES
  const leave = (wanted: Wanted | undefined): void => {
    socket.off('data', look).off('end', gone).off('close', gone)
    signal.removeEventListener('abort', gone)
    socket.pause()
    resolve(wanted)
  }
  const gone = (): void => leave(undefined)
  const look = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const reading = readWanted(held)
    if (reading.verdict === 'more') return
    if (reading.verdict === 'bad') return gone()
    leave({ node: reading.value, rest: held.subarray(reading.end) })
  }
  if (signal.aborted || socket.destroyed) gone()
  else {
    socket.on('data', look).on('end', gone).on('close', gone)
    signal.addEventListener('abort', gone, { once: true })
  }
  return promise
}
