// The proxy's main thread: puts the listener, the links, the spares and the worker threads together, keeps trust and ticket
// keys fresh, and stops in order. It hands connections on and never touches a session byte.

import { randomBytes } from 'node:crypto'

import { hostOfAddress } from '../core/cert/public-name.ts'
import { max } from '../core/limits.ts'
import type {
  FromProxyWorker,
  SocketHandle,
  ToProxyWorker,
  TrustMessage,
} from '../core/messages.ts'
import { matchLock } from '../core/policy/locks.ts'
import { SSH_ALPN } from '../core/ssh/way-in.ts'
import { LINK_ALPN } from '../core/tunnel/link.ts'
import { protocols } from '../protocols/registry.ts'
import { queueBytesMax } from './audit-queue.ts'
import { ControlFeed } from './control-feed.ts'
import { descriptorLimit } from './descriptors.ts'
import type { ApiReply } from './front.ts'
import { discard } from './handover.ts'
import { handoverSelfTest } from './handover-check.ts'
import { Ledger } from './ledger.ts'
import { auditRefusedLink, auditRefusedSpare } from './link-audit.ts'
import type { Arrival } from './arrival.ts'
import { Listener } from './listener.ts'
import { pause } from './pause.ts'
import { Pool, type PoolThread } from './pool.ts'
import { ProxyLinks } from './proxy-links.ts'
import type { ProxyOptions, ProxyReport } from './proxy-options.ts'
import { ProxySessions } from './proxy-sessions.ts'
import { ProxySignals } from './proxy-signals.ts'
import type { ProxyThreadData } from './proxy-thread.ts'
import { siblingModule } from '../core/sibling.ts'
import { keepHeard, keepLost } from './session-keeping.ts'
import { auditStrangers } from './strangers.ts'
import { Terminations } from './terminations.ts'
import { auditRefused, TrustFeed } from './trust-feed.ts'
import { type HostKeys, ownKeys, type SshHostKeys } from './trust.ts'
import { unfinishedBounds } from './unfinished.ts'

/** ALPN of connections to control, relayed unread. */
const CONTROL_ALPN = 'sluice-control'

type Thread = PoolThread<ToProxyWorker>

export class Proxy {
  readonly ledger: Ledger = new Ledger()
  readonly #options: ProxyOptions
  readonly #feed: TrustFeed
  readonly #workers: Pool<ToProxyWorker, FromProxyWorker>
  readonly #links: ProxyLinks
  readonly #signals: ProxySignals
  readonly #sessions: ProxySessions
  readonly #terminations: Terminations
  readonly #listener: Listener
  readonly #control: ControlFeed
  readonly #timers: NodeJS.Timeout[] = []
  readonly #resumption = new Map<string, Uint8Array>()
  #host: HostKeys
  #front: HostKeys
  #sshHost: SshHostKeys | undefined
  readonly #publicHost: string
  #numbers = 0

  constructor(options: ProxyOptions) {
    this.#options = options
    this.#host = options.host
    this.#front = options.front
    this.#sshHost = options.sshHost
    const { clock, log, saved, save, anchor, audit } = options
    this.#feed = new TrustFeed({
      class: 'proxy',
      saved,
      save,
      anchor,
      clock,
      log,
      onChange: (message) => this.#trustChanged(message),
      onRefused: (refused, carrier) => auditRefused(audit, refused, carrier),
      onForward: (message) => this.#links.broadcast(message),
    })
    this.#workers = new Pool({
      entry: siblingModule(import.meta.url, 'proxy-thread'),
      count: options.threads,
      data: () => this.#threadData(),
      clock,
      log,
      onMessage: (thread, message) => this.#heard(thread, message),
      onLost: (thread) => this.#lost(thread),
    })
    this.#links = new ProxyLinks({
      proxyId: options.proxyId,
      clock,
      ledger: this.ledger,
      log,
      trust: () => this.#feed.forwarded,
      onReplayed: (preface) => auditRefusedSpare(audit, { ...preface, reason: 'frame.replayed' }),
    })
    this.#signals = new ProxySignals({ ...options, ledger: this.ledger, links: this.#links })
    this.#sessions = new ProxySessions({
      cluster: options.cluster,
      clock,
      ledger: this.ledger,
      log,
      links: this.#links,
      slots: this.#signals.slots,
      workers: this.#workers,
      ticketKeys: () => this.#control.ticketKeys,
      inventory: () => this.#feed.inventory,
      lockSet: () => this.#feed.lockSet,
      newNumber: () => ++this.#numbers,
      audit,
    })
    this.#terminations = this.#makeTerminations()
    this.#publicHost = hostOfAddress(options.publicAddress).toLowerCase()
    this.#listener = this.#makeListener()
    this.#control = new ControlFeed({
      control: options.control,
      feed: this.#feed,
      log,
      report: () => this.#report(),
    })
  }

  get ready(): boolean {
    return this.#control.ready
  }

  get counters(): {
    readonly listener: Listener['counters']
    readonly strangers: number
    readonly refusedSpares: number
    readonly spareEnds: Readonly<Record<string, number>>
  } {
    return {
      listener: this.#listener.counters,
      strangers: this.#sessions.strangers,
      refusedSpares: this.#links.refusedSpares,
      spareEnds: this.#links.pool.ends(),
    }
  }

  /** Resolves with the public port when it serves. */
  async start(): Promise<number> {
    await handoverSelfTest()
    this.#feed.restore()
    this.#drawResumptionKeys()
    await this.#workers.start()
    this.#every(max('resumptionKeysMs'), () => this.#drawResumptionKeys())
    this.#every(max('signalSweepMs'), () => this.#signals.sweep())
    this.#control.start()
    return await this.#listener.listen(this.#options.listen)
  }

  /** A renewed certificate of this proxy. */
  replaceHost(host: HostKeys): void {
    this.#host = host
    this.#terminations.forgetTls()
    this.#workers.broadcast({ kind: 'host', ...host })
  }

  /** A new certificate of this proxy’s SSH host key. */
  replaceSshHost(keys: SshHostKeys): void {
    this.#sshHost = keys
    this.#workers.broadcast({ kind: 'ssh-host', ...keys })
  }

  /** A new certificate of the HTTP front. */
  replaceFront(front: HostKeys): void {
    this.#front = front
    this.#workers.broadcast({ kind: 'front-keys', ...front })
  }

  /** No new connections; sessions go on until `deadlineMs`. */
  async drain(deadlineMs: number): Promise<void> {
    this.#listener.close()
    for (const timer of this.#timers) clearInterval(timer)
    for (const { agentId } of this.#links.agents)
      this.#links.send(agentId, { type: 'drain', reason: 'the proxy stops', deadlineMs })
    const endMs = this.#options.clock.monotonic() + deadlineMs
    const open = (): number => this.#sessions.size + this.#terminations.size
    while (open() > 0 && this.#options.clock.monotonic() < endMs) await pause(100)
    this.#control.stop()
    this.#links.close()
    this.#sessions.close()
    await this.#workers.stop()
    this.#terminations.close()
  }

  #makeTerminations(): Terminations {
    const { cluster, clock, log, control } = this.#options
    return new Terminations({
      cluster,
      clock,
      ledger: this.ledger,
      log,
      links: this.#links,
      slots: this.#signals.slots,
      workers: this.#workers,
      control,
      inventory: () => this.#feed.inventory,
      connectionsMode: () => this.#feed.snapshot?.config.maxConnectionsMode ?? 'best_effort',
      newNumber: () => ++this.#numbers,
    })
  }

  #makeListener(): Listener {
    const { publicAddress, proxyProtocol, perSourceMax, clock, audit } = this.#options
    const bounds = unfinishedBounds(descriptorLimit())
    return new Listener({
      recognisers: protocols,
      publicAddress,
      proxyProtocol,
      bounds: perSourceMax === undefined ? bounds : { ...bounds, perSourceMax },
      clock,
      ledger: this.ledger,
      onArrival: (arrival) => this.#arrived(arrival),
      onStrangers: (summary) => auditStrangers(audit, summary),
    })
  }

  #arrived(arrival: Arrival): void {
    switch (arrival.kind) {
      case 'tls':
        return this.#arrivedTls(arrival)
      case 'spare':
        this.#links.park(arrival.socket, arrival.preface)
        return
      case 'protocol':
        if (arrival.protocol === 'ssh') return this.#terminations.enter(arrival, 'ssh')
        return discard(arrival.handle)
      case 'signal':
        return this.#signals.heard(arrival.key, arrival.source)
    }
  }

  #arrivedTls(arrival: Extract<Arrival, { kind: 'tls' }>): void {
    const { handle, first, source, alpn, serverName, stage } = arrival
    if (stage === '' && alpn.includes(LINK_ALPN))
      return this.#give({ kind: 'link', client: handle, first, source }, handle)
    if (stage === '' && alpn.includes(CONTROL_ALPN))
      return this.#give(
        { kind: 'control', session: ++this.#numbers, client: handle, first },
        handle,
      )
    const ours = serverName === undefined || serverName === this.#publicHost
    if (stage === '' && alpn.includes(SSH_ALPN) && ours)
      return this.#terminations.enter(arrival, 'tls')
    if (arrival.protocol !== undefined) {
      const caller = { handle, first, source, stage, protocol: arrival.protocol }
      // The name chooses the mode: ours, or none (an address is no name), ends here; a target's ends at its agent.
      if (serverName === undefined || ours) return this.#terminations.open(caller)
      return this.#sessions.open({ ...caller, serverName })
    }
    return this.#give({ kind: 'front', client: handle, first, source }, handle)
  }

  #give(message: ToProxyWorker, handle: SocketHandle): void {
    const thread = this.#workers.least()
    if (thread === undefined) discard(handle)
    else thread.post(message, [handle])
  }

  #heard(thread: Thread, message: FromProxyWorker): void {
    switch (message.kind) {
      case 'link-up':
        return this.#linkUp(thread, message)
      case 'link-down':
        return this.#links.down(message.agentId, thread, message.reason)
      case 'from-agent':
        this.#links.heard(message.agentId, message.frame)
        return this.#signals.fromAgent(message.agentId, message.frame)
      case 'signal':
      case 'signal-answer':
      case 'signal-agent':
        return this.#signals.fromWorker(thread, message)
      case 'need-spare':
        this.#terminations.needSpare(message.session, message.refused)
        return this.#sessions.needSpare(message.session, message.refused)
      case 'question':
        void this.#terminations.answer(thread, message.id, message.question)
        return
      case 'statements':
      case 'statements-lost':
      case 'recording':
        return keepHeard(this.#options, thread, message)
      case 'release-lease':
        return this.#terminations.releaseLease(message.lease)
      case 'agent-tls-session':
        return this.#terminations.keepTls(message)
      case 'audit':
        return this.#options.audit(message.name, message.code, message.fields)
      case 'accepted':
        this.#terminations.accepted(message.session)
        return this.#sessions.accepted(message.session)
      case 'bad-answer':
        return auditRefusedSpare(this.#options.audit, message)
      case 'ended':
        this.#terminations.ended(message.session)
        return this.#sessions.ended(message.session, message.reason, message.counters)
      case 'refused-link':
        return auditRefusedLink(this.#options.audit, message)
      case 'ask':
        void this.#ask(thread, message)
        return
      case 'drained':
    }
  }

  #linkUp(thread: Thread, message: Extract<FromProxyWorker, { kind: 'link-up' }>): void {
    this.#links.up(message, thread)
    this.#control.report()
  }

  async #ask(thread: Thread, message: Extract<FromProxyWorker, { kind: 'ask' }>): Promise<void> {
    const { id, method, path, body } = message
    const reply = await this.#options.control.call(method, path, body).catch(() => UNAVAILABLE)
    thread.post({ kind: 'answer', id, ...reply })
  }

  #lost(thread: Thread): void {
    this.#links.lost(thread)
    this.#sessions.lost(thread)
    this.#terminations.lost(thread)
    keepLost(this.#options, thread)
  }

  #trustChanged(message: TrustMessage): void {
    this.#workers.broadcast(message)
    if (message.kind === 'snapshot') this.#options.onSnapshot?.(message.snapshot)
    if (message.kind === 'locks' || message.kind === 'snapshot') this.#terminations.forgetTls()
    if (message.kind !== 'locks') return
    this.#drawResumptionKeys()
    this.#sessions.enforceLocks()
    const nowMs = this.#options.clock.now()
    for (const { agentId } of this.#links.agents)
      if (matchLock(message.lockSet, { serverIds: [agentId] }, nowMs) !== undefined)
        this.#links.cut(agentId, 'locked')
  }

  #threadData(): ProxyThreadData {
    const { cluster, proxyId, publicAddress, controlAddresses, pages, gateway, guard } =
      this.#options
    const keys: readonly TrustMessage[] = [...this.#resumption].map(([purpose, bytes]) => ({
      kind: 'resumption-keys',
      purpose,
      keys: bytes,
    }))
    return {
      cluster,
      proxyId,
      publicAddress,
      controlAddresses,
      front: this.#front,
      pages,
      gateway,
      guard,
      trust: [...ownKeys(this.#host, this.#sshHost), ...keys, ...this.#feed.current()],
      auditBytesMax: queueBytesMax(this.#options.threads),
    }
  }

  /** New session ticket keys: nothing resumes over a lock, or for longer than an hour. */
  #drawResumptionKeys(): void {
    for (const purpose of ['link', 'front', 'user', 'ssh']) {
      const keys = randomBytes(48)
      this.#resumption.set(purpose, keys)
      this.#workers.broadcast({ kind: 'resumption-keys', purpose, keys })
    }
  }

  #report(): ProxyReport {
    const agents = this.#links.agents
    const { checkpoint } = this.#feed
    return {
      ...(checkpoint === undefined ? {} : { checkpoint }),
      linkedAgents: agents.map(({ agentId }) => agentId),
      lockRevision: this.#feed.lockSet.revision,
      agentLockRevisions: Object.fromEntries(
        agents.map((agent) => [agent.agentId, agent.lockRevision]),
      ),
    }
  }

  #every(ms: number, action: () => void): void {
    this.#timers.push(setInterval(action, ms))
  }
}

const UNAVAILABLE: ApiReply = {
  status: 503,
  body: JSON.stringify({
    error: { code: 'control.unavailable', message: 'Control cannot be reached now.' },
  }),
}
