// Signals as the agent's main thread routes them: what proxies send, to all its worker threads, one of which may hold the session;
// what a session of its own brought inside TLS, to its threads first and then to the proxies the handle may be of, since the
// session may run at another agent. It knows no secret.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { SignalAnswer, SignalFound, ToAgentWorker } from '../core/messages.ts'
import type { LinkFrame } from '../core/tunnel/link.ts'
import { handleOf } from '../core/tunnel/signal.ts'
import type { AgentLinks } from './agent-links.ts'
import type { Ledger } from './ledger.ts'
import type { PoolThread } from './pool.ts'
import { auditDeaf } from './proxy-signals.ts'
import { SignalGate } from './signal-gate.ts'
import { SignalRounds } from './signal-rounds.ts'
import { sourceKey } from './source.ts'
import type { Timers } from './timers.ts'

type Thread = PoolThread<ToAgentWorker>
type SignalFrame = Extract<LinkFrame, { type: 'signal' }>

export interface AgentSignalsOptions {
  readonly clock: Clock
  readonly timers: Timers
  readonly ledger: Ledger
  readonly threads: () => readonly Thread[]
  readonly links: () => Pick<AgentLinks, 'proxiesOf' | 'send'>
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
}

export class AgentSignals {
  readonly #options: AgentSignalsOptions
  readonly #rounds: SignalRounds
  readonly #sources: SignalGate

  constructor(options: AgentSignalsOptions) {
    const { clock, timers, ledger, audit } = options
    this.#options = options
    this.#rounds = new SignalRounds(clock, timers)
    this.#sources = new SignalGate({
      clock,
      wrongMax: max('signalWrongPerSourceMax'),
      waitingMax: max('signalsWaitingMax'),
      onDeaf: (source) => auditDeaf(audit, source),
    })
    ledger.watch('signals', () => this.#rounds.size)
  }

  /** A frame of the proxy at `address`. */
  fromProxy(address: string, frame: LinkFrame): void {
    if (frame.type === 'signal-answer')
      return this.#rounds.answered(`proxy ${address}`, frame.id, frame.hit)
    if (frame.type !== 'signal') return
    // The proxy counts its sources, and each session counts for itself.
    void this.#askThreads(frame).then((hit) =>
      this.#options.links().send(address, { type: 'signal-answer', id: frame.id, hit }),
    )
  }

  /** A client of ours brought a signal inside TLS. */
  fromThread({ key, address, port }: SignalFound): void {
    this.#sources.enter(sourceKey(address), (settle) => {
      void this.#find({ key, address, port }).then(settle)
    })
  }

  answered(thread: Thread, message: SignalAnswer): void {
    this.#rounds.answered(`thread ${thread.id}`, message.id, message.hit)
  }

  /** Forgets who guessed long ago. */
  sweep(): void {
    this.#sources.sweep()
  }

  async #find(signal: Omit<SignalFrame, 'type' | 'id'>): Promise<boolean> {
    const handle = handleOf(signal.key)
    if (handle === undefined) return false
    if (await this.#askThreads(signal)) return true
    const links = this.#options.links()
    const proxies = new Map(links.proxiesOf(handle).map((address) => [`proxy ${address}`, address]))
    return await this.#rounds.ask(proxies.keys(), (name, id) =>
      links.send(proxies.get(name) ?? '', { type: 'signal', id, ...signal }),
    )
  }

  #askThreads({ key, address, port }: Omit<SignalFrame, 'type' | 'id'>): Promise<boolean> {
    const threads = new Map(this.#options.threads().map((each) => [`thread ${each.id}`, each]))
    return this.#rounds.ask(
      threads.keys(),
      (name, id) => threads.get(name)?.post({ kind: 'signal', id, key, address, port }) === true,
    )
  }
}
