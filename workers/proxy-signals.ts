// Signals as the proxy's main thread routes them: from a bare connection, a worker or an agent to whoever holds the session, by the
// handle alone. It knows no secret and compares nothing; whoever guesses is counted, and hears nothing either way.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { SignalFromProxyWorker, Source, ToProxyWorker } from '../core/messages.ts'
import type { LinkFrame } from '../core/tunnel/link.ts'
import { handleOf, isHandleOf } from '../core/tunnel/signal.ts'
import type { Ledger } from './ledger.ts'
import type { PoolThread } from './pool.ts'
import type { ProxyLinks } from './proxy-links.ts'
import { SignalGate, type Settle } from './signal-gate.ts'
import { SignalRounds } from './signal-rounds.ts'
import { SignalSlots } from './signal-slots.ts'
import { sourceKey } from './source.ts'
import { systemTimers, type Timers } from './timers.ts'

type Thread = PoolThread<ToProxyWorker>
type From = Pick<Source, 'address' | 'port'>
type SignalFrame = Extract<LinkFrame, { type: 'signal' }>

/** Who holds a session: its agent, or the worker its client's TLS ends in. */
export type SignalOwner =
  | { readonly kind: 'agent'; readonly agentId: () => string }
  | { readonly kind: 'thread'; readonly thread: Thread }

export interface ProxySignalsOptions {
  readonly proxyId: string
  readonly clock: Clock
  /** Of the event loop unless given. */
  readonly timers?: Timers
  readonly ledger: Ledger
  readonly links: Pick<ProxyLinks, 'agents' | 'get' | 'send'>
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
}

export class ProxySignals {
  readonly slots: SignalSlots<SignalOwner>
  readonly #options: ProxySignalsOptions
  readonly #rounds: SignalRounds
  readonly #sources: SignalGate
  readonly #agents: SignalGate
  readonly #sessions: SignalGate
  readonly #broadcasts: SignalGate

  constructor(options: ProxySignalsOptions) {
    const { proxyId, clock, timers = systemTimers, ledger, audit } = options
    this.#options = options
    this.slots = new SignalSlots(proxyId)
    this.#rounds = new SignalRounds(clock, timers)
    const waitingMax = max('signalsWaitingMax')
    const onDeaf = (source: string): void => auditDeaf(audit, source)
    const of = { clock, waitingMax }
    this.#sources = new SignalGate({ ...of, wrongMax: max('signalWrongPerSourceMax'), onDeaf })
    this.#agents = new SignalGate({ ...of, wrongMax: max('signalWrongPerAgentMax'), onDeaf })
    this.#sessions = new SignalGate({
      clock,
      waitingMax: 0,
      wrongMax: max('signalWrongPerSlotMax'),
    })
    this.#broadcasts = new SignalGate({
      clock,
      waitingMax: 0,
      wrongMax: max('signalBroadcastsMax'),
    })
    ledger.watch('signal slots', () => this.slots.size)
    ledger.watch('signals', () => this.#rounds.size)
  }

  /** A signal of a stranger: in clear, or inside TLS that ended here. */
  heard(key: Uint8Array, from: From): void {
    this.#sources.enter(sourceKey(from.address), (settle) => this.#route(key, from, settle))
  }

  /** An agent met a signal that none of its own sessions knows, or answers one. */
  fromAgent(agentId: string, frame: LinkFrame): void {
    if (frame.type === 'signal-answer')
      return this.#rounds.answered(agentName(agentId), frame.id, frame.hit)
    if (frame.type !== 'signal') return
    const answer = (hit: boolean): void =>
      this.#options.links.send(agentId, { type: 'signal-answer', id: frame.id, hit })
    const entered = this.#agents.enter(agentName(agentId), (settle) =>
      this.#route(
        frame.key,
        frame,
        (hit) => {
          settle(hit)
          answer(hit)
        },
        agentId,
      ),
    )
    if (!entered) answer(false)
  }

  fromWorker(thread: Thread, message: SignalFromProxyWorker): void {
    switch (message.kind) {
      case 'signal':
        return this.heard(message.key, message)
      case 'signal-answer':
        return this.#rounds.answered(threadName(thread), message.id, message.hit)
      case 'signal-agent':
        // The worker compared the key its client was shown; this one is of its agent, and needs no counting.
        void this.#askAgents([message.agentId], message.key, message)
    }
  }

  /** Forgets who guessed long ago. */
  sweep(): void {
    for (const gate of [this.#sources, this.#agents, this.#sessions, this.#broadcasts]) gate.sweep()
  }

  /** `asker`: the agent that asks; it has none of its own. */
  #route(key: Uint8Array, from: From, settle: Settle, asker?: string): void {
    const handle = handleOf(key)
    if (handle === undefined) return settle(false)
    const owner = this.slots.owner(handle)
    if (owner !== undefined) return this.#toOwner(owner, handle, key, from, settle)
    // An agent asks the proxy a handle names; what that one does not know, it does not look for elsewhere.
    if (asker !== undefined) return settle(false)
    return this.#toAll(handle, key, from, settle)
  }

  #toOwner(owner: SignalOwner, handle: number, key: Uint8Array, from: From, settle: Settle): void {
    const entered = this.#sessions.enter(String(handle), (settleSession) => {
      const asked =
        owner.kind === 'agent'
          ? this.#askAgents([owner.agentId()], key, from)
          : this.#askThread(owner.thread, key, from)
      void asked.then((hit) => {
        settleSession(hit)
        settle(hit)
      })
    })
    if (!entered) settle(false)
  }

  /** The session was made through another proxy, perhaps one with the same bits, and may be any linked agent's. */
  #toAll(handle: number, key: Uint8Array, from: From, settle: Settle): void {
    const agents = this.#options.links.agents.map(({ agentId }) => agentId)
    const own = isHandleOf(handle, this.#options.proxyId)
    // Counted as spent whatever comes of it, so that no number of sources makes the links carry more.
    const entered = this.#broadcasts.enter(own ? 'own' : 'others', (spend) => {
      spend(false)
      void this.#askAgents(agents, key, from).then(settle)
    })
    if (!entered) settle(false)
  }

  #askAgents(agentIds: readonly string[], key: Uint8Array, from: From): Promise<boolean> {
    const { links } = this.#options
    const byName = new Map(agentIds.map((agentId) => [agentName(agentId), agentId]))
    return this.#rounds.ask(byName.keys(), (name, id) => {
      const agentId = byName.get(name) ?? ''
      if (links.get(agentId) === undefined) return false
      const { address, port } = from
      const frame: SignalFrame = { type: 'signal', id, key, address, port }
      links.send(agentId, frame)
      return true
    })
  }

  #askThread(thread: Thread, key: Uint8Array, from: From): Promise<boolean> {
    const { address, port } = from
    return this.#rounds.ask([threadName(thread)], (_, id) =>
      thread.post({ kind: 'signal', id, key, address, port }),
    )
  }
}

/** Once per source and minute: somebody guesses. */
export function auditDeaf(audit: ProxySignalsOptions['audit'], source: string): void {
  audit('db.session.cancel', 'SLR005W', {
    'addr.remote': source,
    success: false,
    reason: 'too many cancel requests with keys of no session: not heard for a minute',
  })
}

function agentName(agentId: string): string {
  return `agent ${agentId}`
}

function threadName({ id }: { readonly id: number }): string {
  return `thread ${id}`
}
