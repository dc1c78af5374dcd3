// One client on its way to a node's SSH (core/ssh/way-in.ts): TLS under the proxy's own name, a login certificate, one line that names
// the node; then the client's SSH runs to the agent and is not read here. Whoever may not pass hears a sentence. What ends a way in
// that is open cannot be said in it: the agent says it, and a moment later it is cut.

import type net from 'node:net'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { RelayCounters } from '../core/messages.ts'
import type { Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import { readWanted, writeWayInAnswer } from '../core/ssh/way-in.ts'
import { adopt, lastWord } from './handover.ts'
import { identifyUser } from './identify-user.ts'
import { sentenceOf, type Visitor } from './node-passage.ts'
import type { Relay } from './relay.ts'
import { relayTls } from './tls-relay.ts'
import { systemTimers } from './timers.ts'
import type { TlsServer } from './tls.ts'
import { Visit, type VisitOptions } from './visit.ts'

export interface WayInOptions extends VisitOptions {
  readonly tls: TlsServer
}

const NOTHING: RelayCounters = { fromClientBytes: 0, fromTargetBytes: 0 }
const NO_BYTES = new Uint8Array(0)

export class WayIn {
  readonly visit: Visit
  readonly #options: WayInOptions
  #raw: net.Socket | undefined
  #relay: Relay | undefined
  /** Why it must not go on, before it was open. */
  #evicted: Refusal | undefined

  constructor(options: WayInOptions) {
    this.#options = options
    this.visit = new Visit(options, (refusal) => this.#evict(refusal))
  }

  /** Resolves with the reason when it is over, and never rejects. */
  async run(): Promise<{ readonly reason: string; readonly counters: RelayCounters }> {
    const { message, log } = this.#options
    const { visit } = this
    const raw = adopt(message.client)
    this.#raw = raw
    visit.deadlines.after('login', max('handshakeDeadlineMs'), () => this.#late())
    const reason = await this.#serve(raw).catch((error: unknown) => {
      log.debug('a way in did not open', { error: String(error) })
      return error instanceof ProxyError ? error.message : 'failed inside Sluice'
    })
    visit.close()
    const counters = this.#relay?.counters() ?? visit.stream?.counters ?? NOTHING
    visit.passage.ended(reason, counters)
    return { reason, counters }
  }

  /** Gives a client up that has proved nothing. */
  abandon(): void {
    this.#raw?.destroy()
  }

  #evict(refusal: Refusal): void {
    if (this.#evicted !== undefined) return
    this.#evicted = refusal
    const { stream, giveUp, deadlines } = this.visit
    if (stream !== undefined) return stream.evict(refusal)
    giveUp.abort()
    const cut = (): void => this.#relay?.abort(refusal.reason)
    if (this.#relay === undefined) return
    if (refusal.kind === 'lock') deadlines.after('farewell', max('lockFarewellMs'), cut)
    else cut()
  }

  #late(): void {
    this.visit.giveUp.abort()
    if (this.visit.visitor === undefined) this.#raw?.destroy()
  }

  async #serve(raw: net.Socket): Promise<string> {
    const { tls, message } = this.#options
    const { socket, chain, authorized } = await tls.accept(raw, message.first)
    socket.on('error', () => {})
    const known = this.#identify(chain, authorized)
    if ('reason' in known) return refused(socket, known)
    const { signal } = this.visit.giveUp
    const wanted = await readLine(socket, signal)
    if (wanted === undefined) {
      if (this.#evicted !== undefined) return refused(socket, this.#evicted)
      socket.destroy()
      return 'no node was named'
    }
    const target = await this.visit.find(known, wanted.node)
    if ('reason' in target) return refused(socket, target)
    return await this.#pass(socket, known, target, wanted.rest)
  }

  #identify(chain: readonly Uint8Array[], authorized: boolean): Visitor | Refusal {
    const { trust, cluster, clock } = this.#options
    const { decisionId } = this.visit.passage
    const context = { cluster, nowMs: clock.now(), decisionId, login: 'tsh login' }
    return this.visit.admit(identifyUser({ chain, authorized }, trust.snapshot, context))
  }

  async #pass(
    socket: net.Socket,
    visitor: Visitor,
    target: Target,
    first: Uint8Array,
  ): Promise<string> {
    const { visit } = this
    if (visit.endsHere(target)) return await this.#end(socket, visitor, target, first)
    const spare = await visit.passage
      .open(visitor, target, visit.giveUp.signal)
      .catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))))
    const no = this.#evicted
    if (spare instanceof Error || no !== undefined || socket.destroyed) {
      if (!(spare instanceof Error)) spare.socket.destroy()
      return refused(socket, no ?? unreachable(visit.passage.decisionId, spare))
    }
    visit.deadlines.drop('login')
    socket.write(writeWayInAnswer({ open: true }))
    this.#relay = relayTls(socket, spare.socket, {
      clock: this.#options.clock,
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
    if (this.#evicted !== undefined) return refused(socket, this.#evicted)
    const { visit } = this
    if (this.#options.trust.sshHost.length === 0)
      return refused(
        socket,
        unreachable(visit.passage.decisionId, new ProxyError('dial.failed', NO_HOST_KEY)),
      )
    visit.deadlines.drop('login')
    const stream = visit.end(visitor, target)
    socket.write(writeWayInAnswer({ open: true }))
    if (first.length > 0) socket.unshift(first)
    return await stream.run(socket)
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
