// Copies bytes between two sockets of which at least one is TLS, without looking at them: what relay.ts is where neither is. Half-close
// and backpressure pass from one end to the other; a side that is gone takes the other along. For SSH whose outer line ends here and
// whose inner one does not: the bytes are the client's and the agent's own.

import type net from 'node:net'

import { max } from '../core/limits.ts'
import type { RelayCounters } from '../core/messages.ts'
import type { Side } from '../core/protocol.ts'
import { Flow } from './flow.ts'
import { type Relay, RELAY_ENDS } from './relay.ts'
import { SideStream } from './side.ts'
import { Deadlines, type Timers } from './timers.ts'
import type { Clock } from '../core/clock.ts'

export interface TlsRelayOptions {
  readonly clock: Clock
  readonly timers: Timers
  /** Bytes read from the target already, and from the client. */
  readonly toClient: Uint8Array
  readonly toTarget: Uint8Array
}

/** Joins two connections, which belong to the relay from here on. */
export function relayTls(client: net.Socket, target: net.Socket, options: TlsRelayOptions): Relay {
  return new TlsRelay(client, target, options)
}

class TlsRelay implements Relay {
  readonly done: Promise<string>
  readonly #settle: (reason: string) => void
  readonly #sides: Readonly<Record<Side, SideStream>>
  readonly #flow: Flow
  readonly #deadlines: Deadlines<'half-closed' | 'linger'>
  readonly #ended = new Set<Side>()
  #over = false

  constructor(client: net.Socket, target: net.Socket, options: TlsRelayOptions) {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.done = promise
    this.#settle = resolve
    this.#deadlines = new Deadlines(options.clock, options.timers)
    this.#sides = { client: this.#side('client', 'target'), target: this.#side('target', 'client') }
    this.#flow = new Flow(this.#sides)
    this.#sides.client.attach(client)
    this.#sides.target.attach(target)
    this.#pass('client', 'target', options.toTarget)
    this.#pass('target', 'client', options.toClient)
  }

  counters(): RelayCounters {
    const { client, target } = this.#sides
    return { fromClientBytes: client.receivedBytes, fromTargetBytes: target.receivedBytes }
  }

  abort(reason: string): void {
    if (this.#over) return
    this.#over = true
    this.#deadlines.clear()
    for (const side of [this.#sides.client, this.#sides.target]) side.destroy()
    this.#settle(reason)
  }

  #side(from: Side, to: Side): SideStream {
    return new SideStream({
      data: (chunk) => this.#write(from, to, chunk),
      ended: () => this.#endedBy(from, to),
      gone: (error) => this.#goneBy(from, error),
      drained: () => this.#flow.drained(from),
    })
  }

  #pass(from: Side, to: Side, first: Uint8Array): void {
    if (first.length === 0) return
    this.#sides[from].receivedBytes += first.length
    this.#write(from, to, first)
  }

  #write(from: Side, to: Side, chunk: Uint8Array): void {
    if (this.#over) return
    this.#flow.write(to, [chunk], from)
    this.#flow.apply()
  }

  #endedBy(from: Side, to: Side): void {
    if (this.#over || this.#ended.has(from)) return
    this.#ended.add(from)
    if (this.#ended.has(to)) return this.#finish()
    this.#sides[to].end()
    this.#deadlines.after('half-closed', max('halfClosedMsMax'), () => this.abort(`${from} closed`))
  }

  #goneBy(side: Side, error: Error | undefined): void {
    // It said its last byte before: what it said still leaves on the other side.
    if (this.#ended.has(side) && error === undefined) return
    this.abort(side === 'client' ? RELAY_ENDS.clientReset : RELAY_ENDS.targetReset)
  }

  /** Both said their last byte: what is written leaves, then both close. */
  #finish(): void {
    this.#over = true
    this.#deadlines.clear()
    let open = 2
    const closed = (): void => {
      if (--open > 0) return
      this.#deadlines.clear()
      this.#settle(RELAY_ENDS.finished)
    }
    this.#deadlines.after('linger', max('sessionLingerMs'), () => {
      for (const side of [this.#sides.client, this.#sides.target]) side.destroy()
      this.#settle(RELAY_ENDS.finished)
    })
    this.#sides.client.linger(closed)
    this.#sides.target.linger(closed)
  }
}
