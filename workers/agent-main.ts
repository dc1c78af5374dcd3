// The agent's main thread: one link to each proxy, the sockets of opened spares on their way to worker threads, the inventory it
// announces, the certificates towards its databases, its audit spool. It accepts no connection and never parses a session byte.

import { randomBytes } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type {
  AgentAnswer,
  AgentQuestion,
  AgentTarget,
  FromAgentWorker,
  ToAgentWorker,
  TrustMessage,
} from '../core/messages.ts'
import type { SavedTrust } from '../core/snapshot-keeper.ts'
import type { AuditCheckpoint, LightSnapshot } from '../core/snapshot.ts'
import { siblingModule } from '../core/sibling.ts'
import type { Anchor } from './anchor.ts'
import { AgentLinks } from './agent-links.ts'
import type { AgentThreadData } from './agent-thread.ts'
import { pause } from './pause.ts'
import { DbCertificates, type IssuedCertificate } from './db-certificates.ts'
import { release } from './handover.ts'
import { handoverSelfTest } from './handover-check.ts'
import { Ledger } from './ledger.ts'
import type { OpenedSpare } from './link-spares.ts'
import { Pool, type PoolThread } from './pool.ts'
import { Staleness } from './staleness.ts'
import { auditRefused, TrustFeed } from './trust-feed.ts'
import type { HostKeys } from './trust.ts'

/** What the agent says of its own knowledge. */
export interface AgentHeld {
  readonly checkpoint?: AuditCheckpoint
  readonly trustedAtMs: number
}

/** What the agent asks of control; made by the composition root. Rejects with `control.unavailable` when control is away. */
export interface AgentControl {
  /** Announces targets; the reply says which names are ours and holds the certificate for them. */
  announce(targets: readonly AnnouncedTarget[], held: AgentHeld): Promise<Announcement>
  dbClient(
    target: TargetRef,
    principal: string,
    userCertificate: Uint8Array,
  ): Promise<IssuedCertificate>
  takeLease(
    user: { issuer: string; name: string },
    decisionId: string,
    connectionsMax: number,
  ): Promise<string>
  keepLease(lease: string): Promise<void>
  releaseLease(lease: string): Promise<void>
}

export type AnnouncedTarget = Omit<AgentTarget, 'label'>

export interface Announcement {
  readonly accepted: readonly { readonly name: string; readonly label: string }[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
  /** For all accepted names, PEM. */
  readonly keys?: HostKeys
}

export interface AgentOptions {
  readonly agentId: string
  readonly cluster: string
  readonly hostname: string
  readonly version: string
  readonly threads: number
  readonly targets: readonly AnnouncedTarget[]
  readonly host: HostKeys
  readonly hostCas: readonly Uint8Array[]
  /** `host:port` of the proxies known at start; snapshots name the rest. */
  readonly proxies: readonly string[]
  readonly control: AgentControl
  readonly saved: SavedTrust
  readonly save: (saved: SavedTrust) => void
  readonly anchor: Anchor
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
  readonly clock: Clock
  readonly log: Logger
}

type Thread = PoolThread<ToAgentWorker>

export class Agent {
  readonly ledger: Ledger = new Ledger()
  readonly #options: AgentOptions
  readonly #feed: TrustFeed
  readonly #workers: Pool<ToAgentWorker, FromAgentWorker>
  readonly #links: AgentLinks
  readonly #staleness: Staleness
  readonly #certificates: DbCertificates
  readonly #leases = new Map<string, Thread>()
  readonly #timers: NodeJS.Timeout[] = []
  #host: HostKeys
  #targets: readonly AnnouncedTarget[]
  #served: { targets: readonly AgentTarget[]; keys: HostKeys } | undefined
  #resumption: Uint8Array = randomBytes(48)
  #sessions = 0
  #stopped = false

  constructor(options: AgentOptions) {
    this.#options = options
    this.#host = options.host
    this.#targets = options.targets
    const { clock, log, saved, save, anchor, audit, control } = options
    this.#feed = new TrustFeed({
      class: 'agent',
      saved,
      save,
      anchor,
      clock,
      log,
      onChange: (message) => this.#trustChanged(message),
      onRefused: (refused, proxy) => auditRefused(audit, refused, proxy),
    })
    this.#staleness = new Staleness({
      feed: this.#feed,
      audit,
      onChange: () => void this.#announce(),
    })
    this.#links = new AgentLinks({
      ...options,
      feed: this.#feed,
      host: () => this.#host,
      sessions: () => this.#sessions,
      opened: (spare) => this.#opened(spare),
    })
    this.#certificates = new DbCertificates(clock, (...pair) => control.dbClient(...pair), log)
    this.#workers = new Pool({
      entry: siblingModule(import.meta.url, 'agent-thread'),
      count: options.threads,
      data: () => this.#threadData(),
      clock,
      log,
      onMessage: (thread, message) => this.#heard(thread, message),
      onLost: (thread) => this.#lost(thread),
    })
    this.ledger.watch('sessions', () => this.#sessions)
    this.ledger.watch('leases', () => this.#leases.size)
    this.ledger.watch('links', () => this.#links.up)
  }

  /** Linked to a proxy, and allowed to serve what it announced. */
  get ready(): boolean {
    return this.#links.up > 0 && this.#served !== undefined
  }

  get sessions(): number {
    return this.#sessions
  }

  get linkedProxies(): number {
    return this.#links.up
  }

  async start(): Promise<void> {
    await handoverSelfTest()
    this.#feed.restore()
    await this.#workers.start()
    this.#every(max('resumptionKeysMs'), () => this.#drawResumptionKeys())
    this.#every(max('inventoryIntervalMs'), () => void this.#announce())
    this.#every(max('leaseTtlMs') / 2, () => void this.#keepLeases())
    this.#every(max('trustCheckMs'), () => this.#staleness.check())
    void this.#announceUntilHeard()
  }

  /** A renewed certificate of this agent. */
  replaceHost(host: HostKeys): void {
    this.#host = host
    this.#workers.broadcast({ kind: 'host', ...host })
  }

  /** Databases as the configuration names them now. Sessions with one that is gone go on. */
  async replaceTargets(targets: readonly AnnouncedTarget[]): Promise<void> {
    this.#targets = targets
    await this.#announce()
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#stopped = true
    for (const timer of this.#timers) clearInterval(timer)
    this.#links.drain(deadlineMs)
    this.#workers.broadcast({ kind: 'drain', deadlineMs })
    const endMs = this.#options.clock.monotonic() + deadlineMs
    while (this.#sessions > 0 && this.#options.clock.monotonic() < endMs) await pause(100)
    this.#links.stop()
    await this.#workers.stop()
  }

  #opened(spare: OpenedSpare): void {
    const released = release(spare.socket)
    const thread = this.#workers.least()
    if (released === undefined || thread === undefined) return
    const { spareId, proxyId, key } = spare
    const first =
      released.rest.length === 0 ? spare.first : Buffer.concat([spare.first, released.rest])
    thread.post({ kind: 'spare', client: released.handle, first, spareId, proxyId, key }, [
      released.handle,
    ])
  }

  #heard(thread: Thread, message: FromAgentWorker): void {
    switch (message.kind) {
      case 'ask':
        void this.#answer(thread, message.id, message.question)
        return
      case 'audit':
        return this.#options.audit(message.name, message.code, message.fields)
      case 'session-opened':
        this.#sessions++
        return thread.enter()
      case 'session-ended':
        this.#sessions--
        return thread.leave()
      case 'release-lease':
        this.#leases.delete(message.lease)
        void this.#options.control.releaseLease(message.lease).catch(() => {})
        return
      case 'drained':
    }
  }

  async #answer(thread: Thread, id: number, question: AgentQuestion): Promise<void> {
    const answer = await this.#find(thread, question).catch((error: unknown) => asNo(error))
    thread.post({ kind: 'answer', id, answer })
  }

  async #find(thread: Thread, question: AgentQuestion): Promise<AgentAnswer> {
    switch (question.what) {
      case 'db-client': {
        const { target, principal, userCertificate } = question
        return {
          what: 'db-client',
          certificate: await this.#certificates.get(target, principal, userCertificate),
        }
      }
      case 'lease': {
        const { issuer, user: name, decisionId, connectionsMax } = question
        const lease = await this.#options.control.takeLease(
          { issuer, name },
          decisionId,
          connectionsMax,
        )
        this.#leases.set(lease, thread)
        return { what: 'lease', lease }
      }
    }
  }

  /** A crashed thread ends its sessions; their leases go back at once. */
  #lost(thread: Thread): void {
    this.#sessions -= thread.load
    for (const [lease, holder] of this.#leases) {
      if (holder !== thread) continue
      this.#leases.delete(lease)
      void this.#options.control.releaseLease(lease).catch(() => {})
    }
  }

  async #keepLeases(): Promise<void> {
    for (const lease of this.#leases.keys())
      await this.#options.control
        .keepLease(lease)
        .catch((error: unknown) =>
          this.#options.log.debug('lease not kept', { error: String(error) }),
        )
  }

  async #announceUntilHeard(): Promise<void> {
    let pauseMs = max('redialMinMs')
    while (!this.#stopped && this.#served === undefined) {
      await this.#announce()
      await pause(pauseMs)
      pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))
    }
  }

  async #announce(): Promise<void> {
    const { control, log } = this.#options
    const targets = this.#targets
    try {
      const { checkpoint, trustedAtMs } = this.#feed
      const held = { trustedAtMs, ...(checkpoint === undefined ? {} : { checkpoint }) }
      const reply = await control.announce(targets, held)
      for (const { name, reason } of reply.refused)
        log.error('a target is not ours to serve', { target: name, reason })
      const keys = reply.keys ?? this.#served?.keys
      if (keys !== undefined) this.#serve(reply, keys)
    } catch (error) {
      const { message, away } = failureOf(error)
      // Control being away is told by the links; anything else stays until somebody does something.
      if (away) log.debug('control did not hear the inventory', { error: message })
      else log.warn('control did not take the inventory', { error: message })
    }
  }

  #serve(reply: Announcement, keys: HostKeys): void {
    const labels = new Map(reply.accepted.map(({ name, label }) => [name, label]))
    const targets = this.#targets.flatMap((target) => {
      const label = labels.get(target.ref.name)
      return label === undefined ? [] : [{ ...target, label }]
    })
    const first = this.#served === undefined
    this.#served = { targets, keys }
    this.#workers.broadcast({ kind: 'targets', targets, ...keys })
    if (first) this.#link()
  }

  /** Not before targets are served: a linked agent is offered sessions, and would have to refuse them. */
  #link(): void {
    this.#links.linkTo([
      ...this.#options.proxies,
      ...(this.#feed.snapshot?.proxies ?? []).map(({ address }) => address),
    ])
  }

  #trustChanged(message: TrustMessage): void {
    this.#workers.broadcast(message)
    if (message.kind === 'beacon') return
    if (message.kind === 'locks') this.#drawResumptionKeys()
    if (message.kind === 'snapshot') this.#snapshotChanged(message.snapshot)
    this.#links.recheck()
  }

  #snapshotChanged({ proxies }: LightSnapshot): void {
    if (this.#served !== undefined && proxies.length > 0)
      this.#links.linkTo(proxies.map(({ address }) => address))
  }

  /** Nothing resumes over a lock, or for longer than an hour. */
  #drawResumptionKeys(): void {
    this.#resumption = randomBytes(48)
    this.#workers.broadcast({ kind: 'resumption-keys', purpose: 'user', keys: this.#resumption })
  }

  #threadData(): AgentThreadData {
    const { cluster, agentId, hostname } = this.#options
    return {
      cluster,
      agentId,
      hostname,
      trust: [
        { kind: 'host', ...this.#host },
        { kind: 'resumption-keys', purpose: 'user', keys: this.#resumption },
        ...this.#feed.current(),
      ],
      targets: this.#served?.targets ?? [],
      ...(this.#served === undefined ? {} : this.#served.keys),
    }
  }

  #every(ms: number, action: () => void): void {
    this.#timers.push(setInterval(action, ms))
  }
}

function failureOf(error: unknown): { readonly message: string; readonly away: boolean } {
  const code = errorCode(error)
  return {
    message: error instanceof Error ? error.message : String(error),
    away: code === 'control.unavailable' || code === 'dial.failed',
  }
}

function asNo(error: unknown): AgentAnswer {
  const { message, away } = failureOf(error)
  return away
    ? {
        what: 'no',
        kind: 'unavailable',
        message: `control cannot be reached, and nothing is cached for this: ${message}`,
      }
    : { what: 'no', kind: 'refused', message }
}
