// Sessions whose outer line ends at this proxy, as its main thread sees them: terminated ones, and SSH on its way in. Hands each client
// to a worker, answers what only main knows (the target a name stands for, a lease of control's, a spare of one of the target's
// agents), and keeps the count of what is open. It decides nothing: the worker does, and the agent again.

import { randomUUID } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import type { Inventory } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromProxyWorker, SocketHandle, ToProxyWorker } from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { ClusterConfig, Target } from '../core/snapshot.ts'
import { forwardName } from '../core/tunnel/forward.ts'
import { AgentResumption } from './agent-resumption.ts'
import { discard } from './handover.ts'
import { HeldLeases, type LeaseControl } from './held-leases.ts'
import type { Elsewhere } from './open-spare.ts'
import type { Ledger } from './ledger.ts'
import { NodeGate } from './node-gate.ts'
import { NodeNames } from './node-names.ts'
import type { Pool, PoolThread } from './pool.ts'
import type { SshControl } from './proxy-options.ts'
import type { ProxyLinks } from './proxy-links.ts'
import type { Caller } from './proxy-sessions.ts'
import type { SignalOwner } from './proxy-signals.ts'
import type { SignalSlots } from './signal-slots.ts'
import { type Seeker, SpareSupply } from './spare-supply.ts'
import { SshPermits } from './ssh-permits.ts'
import type { Dial } from './tickets.ts'

export interface TerminationsOptions {
  readonly cluster: string
  readonly clock: Clock
  readonly ledger: Ledger
  readonly log: Logger
  readonly links: ProxyLinks
  readonly workers: Pool<ToProxyWorker, FromProxyWorker>
  readonly control: LeaseControl & SshControl
  readonly inventory: () => Inventory | undefined
  /** What decides on leases while control is away. */
  readonly connectionsMode: () => ClusterConfig['maxConnectionsMode']
  readonly slots: SignalSlots<SignalOwner>
  readonly newNumber: () => number
}

type Thread = PoolThread<ToProxyWorker>
type NodeQuestion = Extract<ProxyQuestion, { what: 'node' }>
type NodesQuestion = Extract<ProxyQuestion, { what: 'nodes' }>
type NodesAnswer = Extract<ProxyAnswer, { what: 'nodes' }>

interface Termination extends Seeker {
  readonly thread: Thread
  readonly signalHandle: number
  target: Target | undefined
  /** What a person's wish for a node counts by, until an agent took it. */
  dial: Dial | undefined
  /** The same of a wish for a list, while it waits for its turn. */
  listing: Dial | undefined
}

export class Terminations {
  readonly #options: TerminationsOptions
  readonly #sessions = new Map<number, Termination>()
  readonly #supply: SpareSupply
  readonly #permits: SshPermits
  readonly #leases: HeldLeases<Thread>
  readonly #resumption = new AgentResumption()
  readonly #keeping: NodeJS.Timeout
  readonly #names: NodeNames
  readonly #gate: NodeGate

  constructor(options: TerminationsOptions) {
    this.#options = options
    this.#supply = new SpareSupply(options.clock, options.links)
    this.#names = new NodeNames(options.cluster, options.inventory)
    this.#gate = new NodeGate(options.clock, options.ledger)
    const { control, connectionsMode: mode, log } = options
    this.#leases = new HeldLeases({ control, mode, log })
    this.#permits = new SshPermits(options.clock, (wish) => control.sshPermit(wish))
    options.ledger.watch('terminated sessions', () => this.#sessions.size)
    options.ledger.watch('permits for SSH', () => this.#permits.size)
    options.ledger.watch('leases', () => this.#leases.size)
    this.#keeping = setInterval(() => void this.#leases.keep(), max('leaseTtlMs') / 2)
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Every way out closes the handle or gives it to a worker. */
  open({ handle, first, protocol, stage, source }: Omit<Caller, 'serverName'>): void {
    this.#begin(handle, true, (ids, signalHandle) => ({
      kind: 'terminate',
      ...ids,
      client: handle,
      first,
      stage,
      protocol,
      source,
      signalHandle,
    }))
  }

  /** Somebody on their way to a node. The same holds for the handle. */
  enter(
    { handle, first, source }: Pick<Caller, 'handle' | 'first' | 'source'>,
    begins: 'tls' | 'ssh',
  ): void {
    const common = { kind: 'way-in', begins, client: handle, first, source } as const
    this.#begin(handle, false, (ids) => ({ ...common, ...ids }))
  }

  #begin(
    handle: SocketHandle,
    signals: boolean,
    message: (ids: { session: number; sessionId: string }, signalHandle: number) => ToProxyWorker,
  ): void {
    const thread = this.#options.workers.least()
    if (thread === undefined) return discard(handle)
    const number = this.#options.newNumber()
    const signalHandle = signals ? this.#options.slots.take({ kind: 'thread', thread }) : 0
    this.#sessions.set(number, {
      number,
      thread,
      signalHandle,
      target: undefined,
      agentId: '',
      spareAtMs: 0,
      without: new Set(),
      dial: undefined,
      listing: undefined,
    })
    thread.enter()
    thread.post(message({ session: number, sessionId: randomUUID() }, signalHandle), [handle])
  }

  async answer(thread: Thread, id: number, question: ProxyQuestion): Promise<void> {
    const answer = await this.#find(thread, question).catch((error: unknown) => asNo(error))
    const told = thread.post({ kind: 'told', id, answer })
    // The thread ended meanwhile: nobody will give it back.
    if (!told && answer.what === 'lease') this.#leases.release(answer.lease)
  }

  /** A worker wants a spare; had it one before, that one died before the agent accepted. */
  needSpare(number: number, refused?: Elsewhere): void {
    const session = this.#sessions.get(number)
    if (session === undefined) return
    this.#supply.lost(session, refused)
    void this.#seek(session)
  }

  accepted(number: number): void {
    const session = this.#sessions.get(number)
    if (session === undefined) return
    session.dial?.leave()
    session.dial = undefined
    this.#options.links.answered(session.agentId)
  }

  keepTls(message: Extract<FromProxyWorker, { kind: 'agent-tls-session' }>): void {
    this.#resumption.keep(message)
  }

  releaseLease(lease: string): void {
    this.#leases.release(lease)
  }

  /** Trust, locks or this proxy's certificate changed. */
  forgetTls(): void {
    this.#resumption.forget()
  }

  ended(number: number): void {
    const session = this.#sessions.get(number)
    if (session === undefined) return
    this.#sessions.delete(number)
    session.dial?.leave()
    session.listing?.leave()
    this.#options.slots.free(session.signalHandle)
    session.thread.leave()
    this.#supply.ended(session)
  }

  /** A worker thread is gone with its sockets: its sessions are over. */
  lost(thread: Thread): void {
    for (const session of this.#sessions.values())
      if (session.thread === thread) this.ended(session.number)
    this.#leases.lost(thread)
  }

  close(): void {
    clearInterval(this.#keeping)
    this.#gate.close()
  }

  async #find(thread: Thread, question: ProxyQuestion): Promise<ProxyAnswer> {
    switch (question.what) {
      case 'target': {
        const { kind, name } = question.target
        const target = this.#options.inventory()?.byName(kind, name)
        const session = this.#sessions.get(question.session)
        if (session !== undefined) session.target = target
        return { what: 'target', ...(target === undefined ? {} : { target }) }
      }
      case 'node':
        return { what: 'node', ...(await this.#node(question)) }
      case 'nodes':
        return await this.#nodes(question)
      case 'permit':
        return { what: 'permit', permit: await this.#permits.get(question) }
      case 'openssh':
        return { what: 'openssh', certificate: await this.#options.control.openssh(question) }
      case 'lease': {
        const { what, ...wish } = question
        return { what, lease: await this.#leases.take(thread, wish) }
      }
    }
  }

  /** A session that is over by then holds nothing. */
  async #node({ session: number, user, node }: NodeQuestion): Promise<{ target?: Target }> {
    const session = this.#sessions.get(number)
    if (session === undefined || session.dial !== undefined) return {}
    await this.#gate.enter(user, (dial) => {
      session.dial = dial
    })
    const target = await this.#names.find(node)
    session.target = target
    return target === undefined ? {} : { target }
  }

  /** A piece of a list costs what a name does; whose session is over has no list to be shown. */
  async #nodes({ session: number, user, from }: NodesQuestion): Promise<NodesAnswer> {
    const { inventory, links } = this.#options
    const session = this.#sessions.get(number)
    if (session === undefined || session.listing !== undefined) return { what: 'nodes', nodes: [] }
    await this.#gate.enter(user, (dial) => {
      session.listing = dial
    })
    passTurn(session)
    const { targets, next } = inventory()?.page(from, max('nodesPageMax')) ?? { targets: [] }
    const nodes = targets.flatMap((target) => {
      if (target.ref.kind !== 'node') return []
      const { address, agents } = target
      return [
        {
          target,
          online: address !== undefined || agents.some((id) => links.get(id) !== undefined),
        },
      ]
    })
    return { what: 'nodes', nodes, ...(next === undefined ? {} : { next }) }
  }

  async #seek(session: Termination): Promise<void> {
    const { number, target } = session
    const { clock, cluster } = this.#options
    if (target === undefined) {
      session.thread.post({ kind: 'no-spare', session: number })
      return
    }
    const serverName = forwardName(target.ref, target.label, cluster)
    await this.#supply.supply(session, {
      target: target.ref,
      deadlineMs: clock.monotonic() + max('handshakeDeadlineMs'),
      agents: target.agents,
      alive: () => this.#sessions.has(number),
      message: (spare) => {
        const resume = this.#resumption.for(spare.agentId, serverName)
        return { kind: 'spare', session: number, spare, resume }
      },
    })
  }
}

/** It is this one's turn, and the next one's after it: nothing of a list waits for an agent. */
function passTurn(session: Termination): void {
  session.listing?.leave()
  session.listing = undefined
}

function asNo(error: unknown): ProxyAnswer {
  const message = error instanceof Error ? error.message : String(error)
  const code = errorCode(error)
  return code === 'control.unavailable' || code === 'dial.failed'
    ? { what: 'no', kind: 'unavailable', message }
    : { what: 'no', kind: 'refused', message }
}
