// The ways in to nodes that one proxy worker holds open: their TLS server, under the proxy's own certificate and the user CA alone,
// those that live, and those whose client has proved nothing yet, which are bounded.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromProxyWorker, ToProxyWorker } from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import { SSH_ALPN } from '../core/ssh/way-in.ts'
import { discard } from './handover.ts'
import { Jump } from './jump.ts'
import { LiveSessions } from './live-sessions.ts'
import { TlsServer, type TlsServerState } from './tls.ts'
import type { ProxiedParts } from './proxied-stream.ts'
import type { Trust } from './trust.ts'
import type { Visit, WayInMessage } from './visit.ts'
import { WayIn } from './way-in.ts'

export interface WaysInOptions {
  readonly cluster: string
  readonly proxyId: string
  /** `host:port` as clients name this proxy. */
  readonly publicAddress: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  /** For SSH that ends here. */
  readonly proxied: ProxiedParts
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
}

type Way = WayIn | Jump

const NOTHING = { fromClientBytes: 0, fromTargetBytes: 0 }

export class WaysIn {
  readonly #options: WaysInOptions
  readonly #ways = new Map<number, Way>()
  readonly #live: LiveSessions<Visit>
  /** In the order they came. */
  readonly #unproven = new Set<Way>()
  #tls: TlsServer | undefined

  constructor(options: WaysInOptions) {
    this.#options = options
    this.#live = new LiveSessions({ trust: options.trust, clock: options.clock, host: 'proxy' })
    options.trust.onChange((what) => {
      if (what !== 'locks' && what !== 'beacon') this.#renewServer()
    })
    this.#renewServer()
  }

  get size(): number {
    return this.#ways.size
  }

  /** A client whose hello has come. */
  open(message: WayInMessage): void {
    const { session } = message
    if (this.#tls === undefined) {
      discard(message.client)
      return this.#ended(session, 'this proxy cannot serve it yet', NOTHING)
    }
    const proven = (): void => void this.#unproven.delete(way)
    const way: Way =
      message.begins === 'ssh'
        ? new Jump({ ...this.#options, message, proven })
        : new WayIn({ ...this.#options, tls: this.#tls, message, proven })
    this.#makeRoom()
    this.#ways.set(session, way)
    this.#unproven.add(way)
    this.#live.add(way.visit)
    void way.run().then(({ reason, counters }) => {
      this.#ways.delete(session)
      this.#unproven.delete(way)
      this.#live.delete(way.visit)
      this.#ended(session, reason, counters)
    })
  }

  /** A spare that main found. False when it is for none of these. */
  use({ session, spare, resume }: Extract<ToProxyWorker, { kind: 'spare' }>): boolean {
    const way = this.#ways.get(session)
    if (way === undefined) return false
    if (!way.visit.use(spare, resume)) discard(spare.handle)
    return true
  }

  noSpare(session: number): void {
    this.#ways.get(session)?.visit.noSpare()
  }

  /** Cuts all of them; resolves when the connections are closed. */
  async stop(): Promise<void> {
    await this.#live.drain(0)
    await this.#live.gone()
    await this.#tls?.destroyAll()
  }

  /** Strangers may wait for each other, never keep out who has a certificate for longer than a handshake. */
  #makeRoom(): void {
    const [oldest] = this.#unproven
    if (this.#unproven.size < max('unprovenSessionsPerWorkerMax') || oldest === undefined) return
    this.#unproven.delete(oldest)
    oldest.abandon()
  }

  #ended(session: number, reason: string, counters: typeof NOTHING): void {
    this.#options.send({ kind: 'ended', session, reason, counters })
  }

  #renewServer(): void {
    const state = this.#serverState()
    if (state === undefined) return
    if (this.#tls === undefined)
      this.#tls = new TlsServer({ purpose: 'ssh', alpn: [SSH_ALPN] }, state)
    else this.#tls.replace(state)
  }

  #serverState(): TlsServerState | undefined {
    const { host, snapshot } = this.#options.trust
    const ticketKeys = this.#options.trust.resumptionKeys('ssh')
    if (host === undefined || snapshot === undefined || ticketKeys === undefined) return undefined
    return { ...host, clientCas: snapshot.cas.user, trustRevision: snapshot.revision, ticketKeys }
  }
}
