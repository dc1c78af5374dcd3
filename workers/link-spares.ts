// The agent's end of spares: dials what a proxy orders over its link, presents the ticket, and waits. The first byte that
// comes is the proxy's open frame; the socket is handed over with it at once, because nobody else may read it. An agent
// says nothing on a spare before that, so all it watches for here is its end.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { SpareOrder } from '../core/tunnel/link-frame.ts'
import { Deadlines } from './timers.ts'
import type { Timers } from './timers.ts'

/** A spare somebody wants: to be taken in this very call. */
export interface OpenedSpare {
  readonly socket: net.Socket
  readonly first: Uint8Array
  readonly spareId: string
  readonly proxyId: string
  /** `K` of the link the spare was ordered over. */
  readonly key: Uint8Array
}

export interface LinkSparesOptions {
  readonly proxyId: string
  readonly key: Uint8Array
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  readonly connect: () => net.Socket
  readonly opened: (spare: OpenedSpare) => void
}

export class LinkSpares {
  readonly #options: LinkSparesOptions
  readonly #deadlines: Deadlines<string>
  readonly #sockets = new Map<string, net.Socket>()
  readonly #idle = new Set<string>()

  constructor(options: LinkSparesOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.clock, options.timers)
  }

  get idle(): number {
    return this.#idle.size
  }

  get size(): number {
    return this.#sockets.size
  }

  dial(orders: readonly SpareOrder[]): void {
    for (const order of orders) this.#dial(order)
  }

  /** The link is gone, and its key: none of them can be opened any more. */
  close(): void {
    for (const spareId of this.#sockets.keys()) this.#drop(spareId)
  }

  #dial({ spareId, preface }: SpareOrder): void {
    const { connect, log } = this.#options
    if (this.#sockets.has(spareId) || this.#sockets.size >= max('sparesPerAgentMax')) {
      log.warn('a spare order is over the limit', { spares: this.#sockets.size })
      return
    }
    const socket = connect()
    this.#sockets.set(spareId, socket)
    const drop = (): void => this.#drop(spareId)
    socket.on('error', drop)
    socket.on('end', drop)
    socket.on('close', drop)
    socket.once('connect', () => this.#present(spareId, socket, preface))
    this.#deadlines.after(spareId, max('handshakeDeadlineMs'), drop)
  }

  #present(spareId: string, socket: net.Socket, preface: Uint8Array): void {
    const { opened, proxyId, key } = this.#options
    socket.setNoDelay(true)
    socket.setKeepAlive(
      true,
      max('spareKeepAliveMs'),
      max('spareKeepAliveIntervalMs'),
      max('spareKeepAliveProbesMax'),
    )
    // The proxy drops it before; this is for a proxy that has forgotten it.
    this.#deadlines.after(spareId, 2 * max('spareAgeMaxMs'), () => this.#drop(spareId))
    socket.once('data', (first: Buffer) => {
      this.#forget(spareId)
      opened({ socket, first, spareId, proxyId, key })
    })
    socket.write(preface)
    this.#idle.add(spareId)
  }

  #drop(spareId: string): void {
    const socket = this.#sockets.get(spareId)
    if (socket === undefined) return
    this.#forget(spareId)
    socket.destroy()
  }

  #forget(spareId: string): void {
    const socket = this.#sockets.get(spareId)
    this.#sockets.delete(spareId)
    this.#deadlines.drop(spareId)
    // Its new owner listens for itself.
    socket?.removeAllListeners()
    socket?.on('error', () => {})
    this.#idle.delete(spareId)
  }
}
