// The agent's main thread: one link to each proxy, the sockets of opened spares on their way to worker threads, the inventory it
// announces, the certificates towards its databases, its audit spool. It accepts no connection and never parses a session byte.

import { randomBytes, randomInt } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromAgentWorker, ToAgentWorker, TrustMessage } from '../core/messages.ts'
import type { AgentAnswer, AgentQuestion } from '../core/questions.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { SavedTrust } from '../core/snapshot-keeper.ts'
import type { ClusterConfig, LightSnapshot } from '../core/snapshot.ts'
import { siblingModule } from '../core/sibling.ts'
import type { Anchor } from './anchor.ts'
import { AgentLinks } from './agent-links.ts'
import { AgentSignals } from './agent-signals.ts'
import { AgentTargets, failureOf } from './agent-targets.ts'
import type { AgentHeld, AgentWord, Announcement, OwnTargets } from './agent-targets.ts'
import type { NodeOptions } from './agent-node.ts'
import type { AgentThreadData } from './agent-thread.ts'
import { pause } from './pause.ts'
import { queueBytesMax } from './audit-queue.ts'
import { DbCertificates, type IssuedCertificate } from './db-certificates.ts'
import { release } from './handover.ts'
import { handoverSelfTest } from './handover-check.ts'
import { HeldLeases, type LeaseControl } from './held-leases.ts'
import { Ledger } from './ledger.ts'
import type { OpenedSpare } from './link-spares.ts'
import { Pool, type PoolThread } from './pool.ts'
import { keepHeard, keepLost, type Keeping } from './session-keeping.ts'
import { Staleness } from './staleness.ts'
import { systemTimers } from './timers.ts'
import { auditRefused, TrustFeed } from './trust-feed.ts'
import { type HostKeys, ownKeys, type SshHostKeys } from './trust.ts'

/** What the agent asks of control; made by the composition root. Rejects with `control.unavailable` when control is away. */
export interface AgentControl extends LeaseControl {
  /** Announces targets; the reply says which names are ours and holds the certificate for them. */
  announce(word: AgentWord): Promise<Announcement>
  dbClient(
    target: TargetRef,
    principal: string,
    userCertificate: Uint8Array,
  ): Promise<IssuedCertificate>
}

export interface AgentOptions extends Keeping {
  readonly agentId: string
  readonly cluster: string
  readonly hostname: string
  readonly version: string
  readonly threads: number
  readonly own: OwnTargets
  readonly host: HostKeys
  /** Absent until control has certified one: then `replaceSshHost`. */
  readonly sshHost?: SshHostKeys
  /** Absent: this machine is no node. */
  readonly node?: NodeOptions
  /** Each snapshot that is believed. */
  readonly onSnapshot?: (snapshot: LightSnapshot) => void
  /** Signed messages that are believed, as they came. */
  readonly onHeld?: (message: SignedMessage) => void
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
type ConnectionsMode = ClusterConfig['maxConnectionsMode']

export class Agent {
  readonly ledger: Ledger = new Ledger()
  readonly #options: AgentOptions
  readonly #feed: TrustFeed
  readonly #workers: Pool<ToAgentWorker, FromAgentWorker>
  readonly #links: AgentLinks
  readonly #signals: AgentSignals
  readonly #staleness: Staleness
  readonly #certificates: DbCertificates
  readonly #leases: HeldLeases<Thread>
  readonly #targets: AgentTargets
  readonly #timers: NodeJS.Timeout[] = []
  readonly #resumption = new Map<string, Uint8Array>()
  #host: HostKeys
  #sshHost: SshHostKeys | undefined
  #sessions = 0
  #linked = false

  constructor(options: AgentOptions) {
    this.#options = options
    this.#host = options.host
    this.#sshHost = options.sshHost
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
      ...(options.onHeld === undefined ? {} : { onHeld: options.onHeld }),
    })
    this.#staleness = new Staleness({
      feed: this.#feed,
      audit,
      onChange: () => void this.#targets.announce(),
    })
    this.#links = new AgentLinks({
      ...options,
      feed: this.#feed,
      host: () => this.#host,
      sessions: () => this.#sessions,
      unhealthy: () => this.#targets.unhealthy,
      opened: (spare) => this.#opened(spare),
      lockedOut: () => void this.#targets.announce(),
      signalled: (address, frame) => this.#signals.fromProxy(address, frame),
    })
    this.#signals = this.#makeSignals()
    this.#certificates = new DbCertificates(clock, (...pair) => control.dbClient(...pair), log)
    this.#leases = new HeldLeases({ control, mode: () => this.#connectionsMode, log })
    this.#targets = new AgentTargets({
      own: options.own,
      clock,
      timers: systemTimers,
      random: () => randomInt(2 ** 32) / 2 ** 32,
      log,
      held: () => this.#held(),
      announce: (word) => control.announce(word),
      serve: ({ targets, keys }) => this.#workers.broadcast({ kind: 'targets', targets, ...keys }),
      locks: (message) => this.#feed.accept(message, 'control'),
      answered: () => this.#answered(),
      outdated: () => this.#certificates.outdate(),
      healthChanged: () => this.#links.tell(),
    })
    this.#workers = new Pool({
      entry: siblingModule(import.meta.url, 'agent-thread'),
      count: options.threads,
      data: () => this.#threadData(),
      clock,
      log,
      onMessage: (thread, message) => this.#heard(thread, message),
      onLost: (thread) => this.#lost(thread),
    })
    this.#count()
  }

  /** Linked to a proxy, and allowed to serve what it announced. */
  get ready(): boolean {
    return this.#links.up > 0 && this.#targets.served !== undefined
  }

  /** What decides on leases while control is away. */
  get #connectionsMode(): ConnectionsMode {
    return this.#feed.snapshot?.config.maxConnectionsMode ?? 'best_effort'
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
    this.#drawResumptionKeys()
    await this.#workers.start()
    this.#every(max('resumptionKeysMs'), () => this.#drawResumptionKeys())
    this.#every(max('signalSweepMs'), () => this.#signals.sweep())
    this.#every(max('inventoryIntervalMs'), () => void this.#targets.announce())
    this.#every(max('leaseTtlMs') / 2, () => void this.#leases.keep())
    this.#every(max('trustCheckMs'), () => this.#staleness.check())
    void this.#targets.begin()
  }

  /** A renewed certificate of this agent. */
  replaceHost(host: HostKeys): void {
    this.#host = host
    this.#workers.broadcast({ kind: 'host', ...host })
  }

  /** A new certificate of this machine's SSH host key. */
  replaceSshHost(keys: SshHostKeys): void {
    this.#sshHost = keys
    this.#workers.broadcast({ kind: 'ssh-host', ...keys })
  }

  /** Databases as the configuration names them now. Sessions with one that is gone go on. */
  async replaceTargets(own: OwnTargets): Promise<void> {
    await this.#targets.replace(own)
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#targets.stop()
    for (const timer of this.#timers) clearInterval(timer)
    this.#links.drain(deadlineMs)
    this.#workers.broadcast({ kind: 'drain', deadlineMs })
    const endMs = this.#options.clock.monotonic() + deadlineMs
    while (this.#sessions > 0 && this.#options.clock.monotonic() < endMs) await pause(100)
    this.#links.stop()
    await this.#workers.stop()
  }

  #makeSignals(): AgentSignals {
    const { clock, audit } = this.#options
    return new AgentSignals({
      clock,
      timers: systemTimers,
      ledger: this.ledger,
      threads: () => this.#workers.threads,
      links: () => this.#links,
      audit,
    })
  }

  #count(): void {
    this.ledger.watch('sessions', () => this.#sessions)
    this.ledger.watch('leases', () => this.#leases.size)
    this.ledger.watch('links', () => this.#links.up)
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
      case 'signal':
        return this.#signals.fromThread(message)
      case 'signal-answer':
        return this.#signals.answered(thread, message)
      case 'statements':
      case 'statements-lost':
      case 'recording':
        return keepHeard(this.#options, thread, message)
      case 'session-opened':
        this.#sessions++
        return thread.enter()
      case 'session-ended':
        this.#sessions--
        return thread.leave()
      case 'release-lease':
        return this.#leases.release(message.lease)
      case 'drained':
    }
  }

  async #answer(thread: Thread, id: number, question: AgentQuestion): Promise<void> {
    const answer = await this.#find(thread, question).catch((error: unknown) =>
      asNo(error, question.what),
    )
    const told = thread.post({ kind: 'answer', id, answer })
    // The thread ended meanwhile: nobody will give it back.
    if (!told && answer.what === 'lease') this.#leases.release(answer.lease)
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
        const { what, ...wish } = question
        return { what, lease: await this.#leases.take(thread, wish) }
      }
    }
  }

  /** A crashed thread ends its sessions; their leases go back at once. */
  #lost(thread: Thread): void {
    this.#sessions -= thread.load
    this.#leases.lost(thread)
    keepLost(this.#options, thread)
  }

  #held(): AgentHeld {
    const { checkpoint, trustedAtMs, held } = this.#feed
    const { lockRevision } = held
    return { trustedAtMs, lockRevision, ...(checkpoint === undefined ? {} : { checkpoint }) }
  }

  /**
   * Not before control said what is served: a linked agent is offered sessions. One that serves nothing yet is linked all the same,
   * because snapshots tell it when there is something for it.
   */
  #answered(): void {
    if (this.#linked) return
    this.#linked = true
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

  #snapshotChanged(snapshot: LightSnapshot): void {
    const { proxies, targetsRevision } = snapshot
    this.#options.onSnapshot?.(snapshot)
    this.#targets.heard(targetsRevision)
    if (this.#linked && proxies.length > 0)
      this.#links.linkTo(proxies.map(({ address }) => address))
  }

  /** Nothing resumes over a lock, or for longer than an hour. */
  #drawResumptionKeys(): void {
    for (const purpose of ['user', 'session']) {
      const keys = randomBytes(48)
      this.#resumption.set(purpose, keys)
      this.#workers.broadcast({ kind: 'resumption-keys', purpose, keys })
    }
  }

  #threadData(): AgentThreadData {
    const { cluster, agentId, hostname } = this.#options
    const keys: readonly TrustMessage[] = [...this.#resumption].map(([purpose, bytes]) => ({
      kind: 'resumption-keys',
      purpose,
      keys: bytes,
    }))
    return {
      cluster,
      agentId,
      hostname,
      auditBytesMax: queueBytesMax(this.#options.threads),
      trust: [...ownKeys(this.#host, this.#sshHost), ...keys, ...this.#feed.current()],
      ...(this.#options.node === undefined ? {} : { node: this.#options.node }),
      targets: this.#targets.served?.targets ?? [],
      ...this.#targets.served?.keys,
    }
  }

  #every(ms: number, action: () => void): void {
    this.#timers.push(setInterval(action, ms))
  }
}

function asNo(error: unknown, what: AgentQuestion['what']): AgentAnswer {
  const { message, away } = failureOf(error)
  if (!away) return { what: 'no', kind: 'refused', message }
  const why =
    what === 'lease'
      ? message
      : `control cannot be reached, and nothing is cached for this: ${message}`
  return { what: 'no', kind: 'unavailable', message: why }
}
