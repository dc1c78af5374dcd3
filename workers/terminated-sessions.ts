// The terminated sessions of one proxy worker (docs/decisions/0005): their TLS server, under the proxy's own certificate and the user
// CA alone, the sessions that live, and those whose client has proved nothing yet, which are bounded. Locks, expiry and the drain
// end sessions in their own protocol's words.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromProxyWorker, ToProxyWorker } from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { FramedProtocol, Protocol } from '../core/protocol.ts'
import type { AuditQueue } from './audit-queue.ts'
import { adopt, discard } from './handover.ts'
import { LiveSessions } from './live-sessions.ts'
import { runFramed } from './perform.ts'
import type { Recorders } from './recorders.ts'
import type { SignalSessions } from './signal-sessions.ts'
import { type TerminateMessage, TerminatedSession } from './terminated-session.ts'
import { TlsServer, type TlsServerState } from './tls.ts'
import type { Trust } from './trust.ts'

export interface TerminatedSessionsOptions {
  readonly cluster: string
  readonly proxyId: string
  readonly protocols: readonly Protocol[]
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  /** Statements of this thread, on their way to the spool. */
  readonly queue: AuditQueue
  /** Of this thread. */
  readonly recorders: Recorders
  /** Those of this thread that signals reach. */
  readonly signals: SignalSessions
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
}

export class TerminatedSessions {
  readonly #options: TerminatedSessionsOptions
  readonly #sessions = new Map<number, TerminatedSession>()
  readonly #live: LiveSessions<TerminatedSession>
  /** In the order they came. */
  readonly #unproven = new Set<TerminatedSession>()
  #tls: TlsServer | undefined

  constructor(options: TerminatedSessionsOptions) {
    this.#options = options
    this.#live = new LiveSessions({ trust: options.trust, clock: options.clock, host: 'proxy' })
    options.trust.onChange((what) => {
      if (what !== 'locks' && what !== 'beacon') this.#renewServer()
    })
    this.#renewServer()
  }

  get size(): number {
    return this.#sessions.size
  }

  /** A client whose hello has come. */
  open(message: TerminateMessage): void {
    const protocol = this.#protocol(message.protocol)
    if (protocol === undefined || this.#tls === undefined) {
      discard(message.client)
      this.#ended(message.session, 'this proxy cannot serve it yet')
      return
    }
    const session: TerminatedSession = new TerminatedSession({
      ...this.#options,
      protocol,
      message,
      tls: this.#tls,
      proven: () => this.#unproven.delete(session),
    })
    this.#makeRoom()
    this.#sessions.set(message.session, session)
    this.#unproven.add(session)
    this.#live.add(session)
    const { stage, first, signalHandle } = message
    const start = { stage, first, signalHandle }
    const running = runFramed(protocol, adopt(message.client), start, session)
    session.attach(running)
    void running.done.then((reason) => {
      this.#sessions.delete(message.session)
      this.#unproven.delete(session)
      this.#live.delete(session)
      session.ended(reason)
      this.#ended(message.session, reason, running.counters)
    })
  }

  /** A spare that main found for a session. False when the session is none of these. */
  use({ session: number, spare, resume }: Extract<ToProxyWorker, { kind: 'spare' }>): boolean {
    return resume === undefined ? false : (this.#sessions.get(number)?.use(spare, resume) ?? false)
  }

  noSpare(number: number): void {
    this.#sessions.get(number)?.noSpare()
  }

  /** Says goodbye to all of them; resolves when the connections are closed. */
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

  #ended(
    session: number,
    reason: string,
    counters = { fromClientBytes: 0, fromTargetBytes: 0 },
  ): void {
    const { fromClientBytes, fromTargetBytes } = counters
    this.#options.send({
      kind: 'ended',
      session,
      reason,
      counters: { fromClientBytes, fromTargetBytes },
    })
  }

  #protocol(name: string): FramedProtocol | undefined {
    const found = this.#options.protocols.find((protocol) => protocol.name === name)
    return found?.shape === 'framed' ? found : undefined
  }

  #renewServer(): void {
    const state = this.#serverState()
    if (state === undefined) return
    if (this.#tls !== undefined) return this.#tls.replace(state)
    const alpn = this.#options.protocols.flatMap((protocol) => protocol.alpn)
    this.#tls = new TlsServer({ purpose: 'user', alpn }, state)
  }

  #serverState(): TlsServerState | undefined {
    const { host, snapshot } = this.#options.trust
    const ticketKeys = this.#options.trust.resumptionKeys('user')
    if (host === undefined || snapshot === undefined || ticketKeys === undefined) return undefined
    return { ...host, clientCas: snapshot.cas.user, trustRevision: snapshot.revision, ticketKeys }
  }
}
