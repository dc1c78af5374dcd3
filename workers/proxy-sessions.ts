// Relayed sessions as the proxy's main thread sees them: from a server name to an agent's spare in a worker's hands, and the
// count of what is open. The routing ticket is a turnstile only; whoever passes it reaches an agent, never a target.

import { randomBytes, randomUUID } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type {
  FromProxyWorker,
  OpenRequest,
  SocketHandle,
  Source,
  ToProxyWorker,
} from '../core/messages.ts'
import type { Passage } from '../core/protocol.ts'
import type { Inventory } from '../core/inventory.ts'
import type { LockSet } from '../core/snapshot.ts'
import {
  checkTicket,
  splitServerName,
  subjectTag,
  type TicketCheck,
  type TicketKey,
} from '../core/tunnel/ticket.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { Elsewhere } from './open-spare.ts'
import { discard, farewell } from './handover.ts'
import type { Ledger } from './ledger.ts'
import type { Pool, PoolThread } from './pool.ts'
import type { ProxyLinks } from './proxy-links.ts'
import type { SignalOwner } from './proxy-signals.ts'
import type { SignalSlots } from './signal-slots.ts'
import { SpareSupply } from './spare-supply.ts'
import { type Dial, TicketGate } from './tickets.ts'
import { alert, ALERTS } from './tls-alert.ts'

/** A TLS connection that names a target, as the listener hands it on. */
export interface Caller {
  readonly handle: SocketHandle
  readonly first: Uint8Array
  readonly serverName: string
  readonly protocol: string
  readonly stage: string
  readonly source: Source
}

export interface ProxySessionsOptions {
  readonly cluster: string
  readonly clock: Clock
  readonly ledger: Ledger
  readonly log: Logger
  readonly links: ProxyLinks
  readonly slots: SignalSlots<SignalOwner>
  readonly workers: Pool<ToProxyWorker, FromProxyWorker>
  readonly ticketKeys: () => readonly TicketKey[]
  readonly inventory: () => Inventory | undefined
  readonly lockSet: () => LockSet
  /** Sessions of all kinds are numbered together: workers and main name them by it. */
  readonly newNumber: () => number
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
}

interface Session {
  readonly number: number
  readonly sessionId: string
  /** What cancel requests name it by; 0: none reaches it. */
  readonly signalHandle: number
  readonly passage: Passage
  readonly subjectTag: string
  readonly source: Source
  readonly startedAtMs: number
  thread: PoolThread<ToProxyWorker> | undefined
  dial: Dial | undefined
  agentId: string
  /** When the spare it has now was given to it. */
  spareAtMs: number
  accepted: boolean
  /** Agents that answered that they do not have the target. */
  readonly without: Set<string>
}

type GoodTicket = Exclude<TicketCheck, { verdict: 'bad' }>
type Denial = Extract<OpenRequest, { mode: 'deny' }>['denial']

export class ProxySessions {
  readonly #options: ProxySessionsOptions
  readonly #gate: TicketGate
  readonly #supply: SpareSupply
  readonly #sessions = new Map<number, Session>()
  readonly #sweep: NodeJS.Timeout
  readonly #farewells = new Set<NodeJS.Timeout>()
  #lockedTags: { revision: number; keys: number; tags: ReadonlySet<string> } | undefined
  /** Strangers: no good ticket, or no such target. Counted alike. */
  strangers = 0

  constructor(options: ProxySessionsOptions) {
    this.#options = options
    this.#gate = new TicketGate(options.clock)
    this.#supply = new SpareSupply(options.clock, options.links)
    options.ledger.watch('relayed sessions', () => this.#sessions.size)
    options.ledger.watch('routing tickets', () => this.#gate.size)
    this.#sweep = setInterval(() => this.#gate.sweep(), max('ticketSweepMs'))
    this.#sweep.unref()
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Routes one caller. Every way out closes the handle or gives it to a worker. */
  open(caller: Caller): void {
    const { cluster, clock, ticketKeys, inventory } = this.#options
    const split = splitServerName(caller.serverName, cluster)
    if (split === undefined) return this.#stranger(caller)
    const check = checkTicket(ticketKeys(), split.ticket, split.rest, clock.now())
    const target = inventory()?.byLabel(split.kind, split.label)
    if (check.verdict === 'bad' || target === undefined) return this.#stranger(caller)
    const passage: Omit<Passage, 'agentId'> = { target: target.ref, ticketId: check.ticketId }
    this.#admit(caller, check, passage, target.agents)
  }

  accepted(number: number): void {
    const session = this.#sessions.get(number)
    if (session === undefined || session.accepted) return
    session.accepted = true
    session.dial?.leave()
    // It may hold what the caller waited with, its hello too.
    session.dial = undefined
    this.#options.links.answered(session.agentId)
    this.#options.audit('session.relay', 'SLR001I', relayFields(session))
  }

  /** A worker lost the spare of a session before it was accepted, or the agent behind it did not take the session. */
  needSpare(number: number, refused?: Elsewhere): void {
    const session = this.#sessions.get(number)
    if (session === undefined) return
    this.#supply.lost(session, refused)
    void this.#seek(session)
  }

  ended(
    number: number,
    reason: string,
    counters: { fromClientBytes: number; fromTargetBytes: number },
  ): void {
    const session = this.#sessions.get(number)
    if (session === undefined) return
    this.#forget(session)
    session.dial?.leave()
    session.thread?.leave()
    this.#supply.ended(session)
    if (!session.accepted) return
    const { clock, audit } = this.#options
    audit('session.relay', 'SLR002I', {
      ...relayFields(session),
      reason,
      bytes_from_client: counters.fromClientBytes,
      bytes_from_target: counters.fromTargetBytes,
      duration_ms: Math.round(clock.monotonic() - session.startedAtMs),
    })
  }

  /** A worker thread is gone with its sockets: its sessions are over. */
  lost(thread: PoolThread<ToProxyWorker>): void {
    const nothing = { fromClientBytes: 0, fromTargetBytes: 0 }
    for (const session of this.#sessions.values())
      if (session.thread === thread) this.ended(session.number, 'worker thread ended', nothing)
  }

  /**
   * Ends the relayed sessions of people who are locked now, a moment later: the agent ends them too and can say why, which a cut
   * would overtake. Every other kind of lock acts at the agent.
   */
  enforceLocks(): void {
    const tags = this.#locked()
    const locked = [...this.#sessions.values()].filter(({ subjectTag }) => tags.has(subjectTag))
    if (locked.length === 0) return
    const timer = setTimeout(() => {
      this.#farewells.delete(timer)
      this.#cutLocked(locked)
    }, max('lockFarewellMs'))
    this.#farewells.add(timer)
  }

  #cutLocked(sessions: readonly Session[]): void {
    const tags = this.#locked()
    const byThread = new Map<PoolThread<ToProxyWorker>, number[]>()
    for (const session of sessions) {
      if (this.#sessions.get(session.number) !== session) continue
      if (session.thread === undefined || !tags.has(session.subjectTag)) continue
      const numbers = byThread.get(session.thread) ?? []
      byThread.set(session.thread, [...numbers, session.number])
    }
    for (const [thread, numbers] of byThread)
      thread.post({ kind: 'cut-sessions', sessions: numbers, reason: 'lock' })
  }

  close(): void {
    clearInterval(this.#sweep)
    for (const timer of this.#farewells) clearTimeout(timer)
  }

  #admit(
    caller: Caller,
    check: GoodTicket,
    passage: Omit<Passage, 'agentId'>,
    agents: readonly string[],
  ): void {
    const number = this.#options.newNumber()
    const agentId = (): string => this.#sessions.get(number)?.agentId ?? ''
    const session: Session = {
      signalHandle: this.#options.slots.take({ kind: 'agent', agentId }),
      number,
      sessionId: randomUUID(),
      passage: { ...passage, agentId: '' },
      subjectTag: check.subjectTag,
      source: caller.source,
      startedAtMs: this.#options.clock.monotonic(),
      thread: undefined,
      dial: undefined,
      agentId: '',
      spareAtMs: 0,
      accepted: false,
      without: new Set(),
    }
    this.#sessions.set(number, session)
    const denial = this.#denial(check)
    session.dial = this.#gate.enter(check.ticketId, () =>
      this.#start(session, caller, agents, denial),
    )
    if (session.dial === undefined) this.#overLimit(session, caller, agents, check.ticketId)
  }

  #forget({ number, signalHandle }: Session): void {
    this.#sessions.delete(number)
    this.#options.slots.free(signalHandle)
  }

  /** Too many dials of one ticket: said by the agent too, to as many as it can take without harm to others. */
  #overLimit(session: Session, caller: Caller, agents: readonly string[], ticketId: string): void {
    session.dial = this.#gate.refuse(ticketId)
    if (session.dial === undefined) {
      this.#forget(session)
      return farewell(caller.handle, alert(ALERTS.internalError))
    }
    this.#start(session, caller, agents, {
      kind: 'limit',
      reason: 'too many connections of one login are being opened at once',
      next: 'Wait for those to be accepted, or open connections more slowly.',
    })
  }

  #start(
    session: Session,
    caller: Caller,
    agents: readonly string[],
    denial: Denial | undefined,
  ): void {
    const agent = this.#options.links.choose(agents, session.passage.target)
    const thread = this.#options.workers.least()
    // A caller that waited for its turn longer than a handshake may last is gone, or gives up now.
    const late = this.#options.clock.monotonic() - session.startedAtMs > max('handshakeDeadlineMs')
    if (thread === undefined || late) {
      discard(caller.handle)
      this.#forget(session)
      queueMicrotask(() => session.dial?.leave())
      return
    }
    session.thread = thread
    thread.enter()
    const open = this.#openRequest(session, caller, denial)
    const taken = agent === undefined ? undefined : this.#options.links.pool.take(agent.agentId)
    const base = {
      kind: 'relay',
      session: session.number,
      client: caller.handle,
      first: caller.first,
      open,
    } as const
    if (agent === undefined || taken === undefined) {
      thread.post({ ...base, agentId: agent?.agentId ?? '' }, [caller.handle])
      void this.#seek(session, agents)
      return
    }
    this.#supply.given(session, agent)
    const spare = this.#options.links.grant(agent, taken)
    thread.post({ ...base, agentId: agent.agentId, spare }, [caller.handle, spare.handle])
  }

  /** Gets a spare for a session whose worker waits. */
  async #seek(
    session: Session,
    agents: readonly string[] = this.#agentsOf(session),
  ): Promise<void> {
    const { number, passage } = session
    await this.#supply.supply(session, {
      target: passage.target,
      deadlineMs: session.startedAtMs + max('handshakeDeadlineMs'),
      agents,
      alive: () => this.#sessions.has(number),
      message: (spare) => ({ kind: 'spare', session: number, spare }),
    })
  }

  #agentsOf(session: Session): readonly string[] {
    const { kind, name } = session.passage.target
    return this.#options.inventory()?.byName(kind, name)?.agents ?? []
  }

  #openRequest(session: Session, caller: Caller, denial: Denial | undefined): OpenRequest {
    const { clock } = this.#options
    const fields = {
      sessionId: session.sessionId,
      decisionId: newDecisionId(clock.now(), randomBytes(10)),
      protocol: caller.protocol,
      stage: caller.stage,
      target: session.passage.target,
      serverName: caller.serverName.toLowerCase(),
      client: caller.source,
      cancelHandle: session.signalHandle,
    }
    return denial === undefined ? { ...fields, mode: 'relay' } : { ...fields, mode: 'deny', denial }
  }

  #denial(check: GoodTicket): Denial | undefined {
    if (check.verdict === 'expired')
      return {
        kind: 'expired',
        reason: 'the login that this connection was made with has expired',
        next: 'Log in again: tsh login, then tsh db login.',
      }
    if (!this.#locked().has(check.subjectTag)) return undefined
    return {
      kind: 'lock',
      reason: 'a lock is in force for this user',
      next: 'Ask an administrator: tctl get locks.',
    }
  }

  /** Tags of locked users under each ticket key; computed once per lock set. */
  #locked(): ReadonlySet<string> {
    const { lockSet, ticketKeys, clock } = this.#options
    const { revision, locks } = lockSet()
    const keys = ticketKeys()
    if (this.#lockedTags?.revision === revision && this.#lockedTags.keys === keys.length)
      return this.#lockedTags.tags
    const nowMs = clock.now()
    const users = locks.flatMap(({ target, expiresAtMs }) => {
      const only = Object.keys(target).length === 1
      return only && target.user !== undefined && (expiresAtMs ?? Infinity) > nowMs
        ? [target.user]
        : []
    })
    const tags = new Set(
      users.flatMap((user) => keys.map(({ key }) => subjectTag(key, 'local', user))),
    )
    this.#lockedTags = { revision, keys: keys.length, tags }
    return tags
  }

  /** No good ticket, or no such target: one answer for both, after the same work. */
  #stranger(caller: Caller): void {
    this.strangers++
    farewell(caller.handle, alert(ALERTS.unrecognizedName))
  }
}

function relayFields(session: Session): Readonly<Record<string, unknown>> {
  const { sessionId, passage, agentId, source } = session
  return {
    sid: sessionId,
    target_kind: passage.target.kind,
    target_name: passage.target.name,
    ticket_id: passage.ticketId,
    agent_id: agentId,
    'addr.remote': `${source.address}:${source.port}`,
    'addr.trusted': source.trusted,
  }
}
