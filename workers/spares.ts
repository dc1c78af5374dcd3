// The shared pool of parked spares in a proxy's main thread (design section 6): connections that agents dialled ahead, each to be
// used by one session. A parked spare is read, because a socket that is not read notices neither FIN nor junk; an agent says
// nothing before it was opened, so any byte ends it. The pool opens no connection and knows no link: it says what it lacks.

import { randomInt } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { SocketHandle } from '../core/messages.ts'
import { discard, release } from './handover.ts'
import type { Ledger } from './ledger.ts'
import { DialRate } from './dial-rate.ts'

/** A spare on its way to a session. */
export interface TakenSpare {
  readonly handle: SocketHandle
  readonly spareId: string
}

/** Why a parked spare was dropped. */
export type SpareEnd =
  | 'ended'
  | 'error'
  | 'spoke'
  | 'aged'
  | 'over-limit'
  | 'agent-gone'
  | 'suspect'
  | 'closed'

export interface SparePoolOptions {
  readonly clock: Clock
  readonly ledger: Ledger
  /** The agent has fewer spares than wanted: `ask` says how many more to request. */
  readonly onShort?: (agentId: string) => void
  /** 0 ≤ value < 1; spreads the ages of spares. */
  readonly random?: () => number
}

interface Spare {
  readonly socket: net.Socket
  readonly spareId: string
  readonly parkedAtMs: number
  readonly untilMs: number
  readonly drop: (end: SpareEnd) => void
}

interface Waiting {
  readonly give: (spare: TakenSpare | undefined) => void
}

/** What the pool knows of one agent. */
interface Stock {
  /** In the order of parking: the newest is used first, since it is the least likely to have died in silence. */
  readonly parked: Set<Spare>
  readonly waiting: Set<Waiting>
  readonly rate: DialRate
  linked: boolean
  asked: number
  askedAtMs: number
}

export class SparePool {
  readonly #options: SparePoolOptions
  readonly #stocks = new Map<string, Stock>()
  readonly #ends = new Map<SpareEnd, number>()
  #total = 0
  #sweep: NodeJS.Timeout | undefined

  constructor(options: SparePoolOptions) {
    this.#options = options
    options.ledger.watch('spares', () => this.#total)
    options.ledger.watch('spare agents', () => this.#stocks.size)
  }

  /** The agent has a link: from now on its spares are kept at the number wanted. */
  link(agentId: string): void {
    this.#stock(agentId).linked = true
    this.#options.onShort?.(agentId)
  }

  /** Takes over a connection whose preface was good. False when it was over a limit and closed. */
  park(socket: net.Socket, agentId: string, spareId: string): boolean {
    const stock = this.#stock(agentId)
    stock.asked = Math.max(0, stock.asked - 1)
    const full = stock.parked.size >= max('sparesPerAgentMax')
    if (full || this.#total >= max('sparesTotalMax') || socket.destroyed) {
      socket.destroy()
      this.#count('over-limit')
      return false
    }
    const [waiting] = stock.waiting
    if (waiting !== undefined) return this.#giveAtOnce(stock, waiting, socket, spareId)
    this.#watch(stock, agentId, socket, spareId)
    return true
  }

  /** The newest living spare of the agent. */
  take(agentId: string): TakenSpare | undefined {
    const stock = this.#stock(agentId)
    stock.rate.note(this.#options.clock.monotonic())
    const taken = this.#takeFrom(stock)
    this.#short(agentId, stock)
    return taken
  }

  /** Like `take`, but waits for a spare to be parked: undefined after the deadline, the signal, or when too many wait. */
  want(
    agentId: string,
    signal?: AbortSignal,
    deadlineMs: number = max('handshakeDeadlineMs'),
  ): Promise<TakenSpare | undefined> {
    const stock = this.#stock(agentId)
    const now = this.take(agentId)
    if (now !== undefined || signal?.aborted === true) return Promise.resolve(now)
    if (stock.waiting.size >= max('spareWaitingMax')) return Promise.resolve(undefined)
    const { promise, resolve } = Promise.withResolvers<TakenSpare | undefined>()
    const held = this.#options.ledger.hold('spare waits')
    const give = (spare: TakenSpare | undefined): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
      stock.waiting.delete(waiting)
      held()
      resolve(spare)
    }
    const stop = (): void => give(undefined)
    const timer = setTimeout(stop, deadlineMs)
    const waiting: Waiting = { give }
    signal?.addEventListener('abort', stop)
    stock.waiting.add(waiting)
    this.#short(agentId, stock)
    return promise
  }

  /** How many spares of this agent should be parked now: a few, the dials of one refill time, and those who wait. */
  wanted(agentId: string): number {
    const stock = this.#stocks.get(agentId)
    if (stock === undefined) return max('sparesIdle')
    const perMs = stock.rate.perMs(this.#options.clock.monotonic())
    const ahead = Math.round(perMs * max('spareRefillMs'))
    return Math.min(max('sparesPerAgentMax'), max('sparesIdle') + ahead + stock.waiting.size)
  }

  /** How many to request of the agent now; notes them, so that a second call does not request them again. */
  ask(agentId: string): number {
    const stock = this.#stocks.get(agentId)
    if (stock === undefined || !stock.linked) return 0
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - stock.askedAtMs > max('spareAskedMs')) stock.asked = 0
    const missing = this.wanted(agentId) - stock.parked.size - stock.asked
    if (missing <= 0) return 0
    stock.asked += missing
    stock.askedAtMs = nowMs
    return missing
  }

  parked(agentId: string): number {
    return this.#stocks.get(agentId)?.parked.size ?? 0
  }

  /** The agent's link is gone, and its key with it: none of its spares can be opened any more. Those who wait go on waiting. */
  unlink(agentId: string): void {
    const stock = this.#stocks.get(agentId)
    if (stock === undefined) return
    stock.linked = false
    stock.asked = 0
    for (const spare of stock.parked) spare.drop('agent-gone')
    this.#forget(agentId, stock)
  }

  /**
   * A spare of this agent, taken at `takenAtMs`, died without a sign. Whatever cut it off cut those parked before it as well:
   * a client that had to try them one after the other would not live to see a good one.
   */
  distrust(agentId: string, takenAtMs: number): void {
    const stock = this.#stocks.get(agentId)
    if (stock === undefined) return
    for (const spare of stock.parked) if (spare.parkedAtMs <= takenAtMs) spare.drop('suspect')
  }

  /** Closes every spare and lets nobody wait. */
  close(): void {
    for (const [agentId, stock] of this.#stocks) {
      for (const spare of stock.parked) spare.drop('closed')
      for (const waiting of stock.waiting) waiting.give(undefined)
      this.#stocks.delete(agentId)
    }
    clearTimeout(this.#sweep)
    this.#sweep = undefined
  }

  /** How many spares ended in each way, for metrics. */
  ends(): Readonly<Partial<Record<SpareEnd, number>>> {
    return Object.fromEntries(this.#ends)
  }

  #takeFrom(stock: Stock): TakenSpare | undefined {
    for (const spare of [...stock.parked].reverse()) {
      const taken = this.#unpark(stock, spare)
      if (taken !== undefined) return taken
    }
    return undefined
  }

  #unpark(stock: Stock, spare: Spare): TakenSpare | undefined {
    stock.parked.delete(spare)
    this.#total--
    return this.#released(spare.socket, spare.spareId)
  }

  #released(socket: net.Socket, spareId: string): TakenSpare | undefined {
    const released = release(socket)
    if (released === undefined) return undefined
    if (released.rest.length === 0) return { handle: released.handle, spareId }
    discard(released.handle)
    this.#count('spoke')
    return undefined
  }

  #giveAtOnce(stock: Stock, waiting: Waiting, socket: net.Socket, spareId: string): boolean {
    const taken = this.#released(socket, spareId)
    if (taken === undefined) return false
    stock.waiting.delete(waiting)
    waiting.give(taken)
    return true
  }

  #watch(stock: Stock, agentId: string, socket: net.Socket, spareId: string): void {
    const { clock, random = uniform } = this.#options
    const ageMs = max('spareAgeMaxMs') * (0.75 + 0.25 * random())
    const drop = (end: SpareEnd): void => {
      if (!stock.parked.delete(spare)) return
      this.#total--
      this.#count(end)
      socket.destroy()
      if (end !== 'closed') this.#short(agentId, stock)
    }
    const parkedAtMs = clock.monotonic()
    const spare: Spare = { socket, spareId, parkedAtMs, untilMs: parkedAtMs + ageMs, drop }
    stock.parked.add(spare)
    this.#total++
    socket.setKeepAlive(
      true,
      max('spareKeepAliveMs'),
      max('spareKeepAliveIntervalMs'),
      max('spareKeepAliveProbesMax'),
    )
    socket.on('error', () => drop('error'))
    socket.on('close', () => drop('ended'))
    socket.on('end', () => drop('ended'))
    socket.on('data', () => drop('spoke'))
    socket.resume()
    this.#sweep ??= setTimeout(() => this.#sweepAged(), max('spareSweepMs'))
  }

  #sweepAged(): void {
    const nowMs = this.#options.clock.monotonic()
    for (const [agentId, stock] of this.#stocks) {
      for (const spare of stock.parked) if (spare.untilMs <= nowMs) spare.drop('aged')
      this.#forget(agentId, stock)
      // Also where nothing aged: what was asked for may not have come.
      this.#short(agentId, stock)
    }
    this.#sweep =
      this.#stocks.size === 0 ? undefined : setTimeout(() => this.#sweepAged(), max('spareSweepMs'))
  }

  #stock(agentId: string): Stock {
    const known = this.#stocks.get(agentId)
    if (known !== undefined) return known
    const stock: Stock = {
      parked: new Set(),
      waiting: new Set(),
      rate: new DialRate(max('spareRateWindowMs')),
      linked: false,
      asked: 0,
      askedAtMs: 0,
    }
    this.#stocks.set(agentId, stock)
    this.#sweep ??= setTimeout(() => this.#sweepAged(), max('spareSweepMs'))
    return stock
  }

  /** Nothing can be asked of an agent without a link; `link` comes back to it. */
  #short(agentId: string, stock: Stock): void {
    if (stock.linked) this.#options.onShort?.(agentId)
  }

  /** An agent without a link needs no entry unless somebody waits for it. */
  #forget(agentId: string, stock: Stock): void {
    if (!stock.linked && stock.parked.size === 0 && stock.waiting.size === 0)
      this.#stocks.delete(agentId)
  }

  #count(end: SpareEnd): void {
    this.#ends.set(end, (this.#ends.get(end) ?? 0) + 1)
  }
}

function uniform(): number {
  return randomInt(2 ** 32) / 2 ** 32
}
