// A TCP proxy that goes wrong on purpose, between any two parts of a system under test: it delays, slows, stalls, cuts, half-closes,
// resets, damages and silences the connections it carries, those of this moment or those to come. It knows no protocol: a
// connection is told apart by its first byte alone.

import net from 'node:net'

import { atEnd, type Cleanup } from '../fixtures/files.ts'
import { listen } from '../fixtures/net.ts'
import { Lane, type LaneFault } from './lane.ts'

/** `near` is the end that dialled, `far` the one it wanted. */
export type Way = 'to-far' | 'to-near'

export type Fault =
  | { readonly kind: 'delay'; readonly ms: number; readonly way?: Way }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number; readonly way?: Way }
  /** Backpressure for ever: nothing is read, nothing is written, no end is told. */
  | { readonly kind: 'stall'; readonly way?: Way }
  /** As a NAT table that forgot the connection: bytes and ends vanish, and both ends stay open. */
  | { readonly kind: 'silence'; readonly way?: Way }
  /** Counted from what has passed. */
  | { readonly kind: 'corrupt'; readonly at: number; readonly way: Way }
  /** Both ends see the other's end, at once. */
  | { readonly kind: 'cut' }
  /** One end sees the other's end; the other way goes on. */
  | { readonly kind: 'half-close'; readonly way: Way }
  | { readonly kind: 'reset' }

export type Which = (carried: Carried) => boolean

/** First byte of a TLS record that holds a ClientHello. */
const TLS_HANDSHAKE = 0x16

export const everything: Which = () => true
/** Connections that begin with something else than TLS; none before its first byte. */
export const beginsWithoutTls: Which = ({ firstByte }) =>
  firstByte !== undefined && firstByte !== TLS_HANDSHAKE

export class FaultProxy {
  readonly port: number
  readonly #carried: Set<Carried>
  readonly #rules: Set<Rule>

  private constructor(port: number, carried: Set<Carried>, rules: Set<Rule>) {
    this.port = port
    this.#carried = carried
    this.#rules = rules
  }

  /** Carries connections of a port of its own to `port` of loopback. */
  static async start(cleanup: Cleanup, port: number): Promise<FaultProxy> {
    const carried = new Set<Carried>()
    const rules = new Set<Rule>()
    atEnd(cleanup, () => {
      for (const each of carried) each.inflict({ kind: 'reset' })
    })
    const listening = await listen(cleanup, (near) => {
      const each = new Carried(near, port, () => {
        for (const { which, fault } of rules) if (which(each)) each.inflict(fault)
      })
      carried.add(each)
      void each.gone.then(() => carried.delete(each))
    })
    return new FaultProxy(listening.port, carried, rules)
  }

  /** Connections that are carried now and still pass bytes. */
  count(which: Which = everything): number {
    return [...this.#carried].filter((each) => !each.silent && which(each)).length
  }

  /** Does it to the connections of this moment; returns to how many. Later ones are carried as before. */
  inflict(fault: Fault, which: Which = everything): number {
    const some = [...this.#carried].filter(which)
    for (const each of some) each.inflict(fault)
    return some.length
  }

  /** Does it to every connection to come, at its first byte, until the returned function is called. */
  rule(fault: Fault, which: Which = everything): () => void {
    const rule = { fault, which }
    this.#rules.add(rule)
    return () => void this.#rules.delete(rule)
  }

  /** No rule and no lasting fault any more; what is cut stays cut. */
  heal(): void {
    this.#rules.clear()
    for (const each of this.#carried) each.heal()
  }
}

interface Rule {
  readonly which: Which
  readonly fault: Fault
}

/** One connection: two sockets and a lane each way. */
export class Carried {
  /** Of the end that dialled; undefined before it came. */
  firstByte: number | undefined
  /** Resolves when both sockets are closed. */
  readonly gone: Promise<unknown>
  readonly #near: net.Socket
  readonly #far: net.Socket
  readonly #lanes: Readonly<Record<Way, Lane>>

  constructor(near: net.Socket, port: number, begun: () => void) {
    this.#near = near
    this.#far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    near.once('data', (bytes: Buffer) => {
      this.firstByte = bytes[0]
      begun()
    })
    this.#lanes = { 'to-far': new Lane(near, this.#far), 'to-near': new Lane(this.#far, near) }
    this.#joinEnds(near, this.#far)
    this.#joinEnds(this.#far, near)
    const closed = (socket: net.Socket): Promise<void> =>
      new Promise((resolve) => socket.once('close', () => resolve()))
    this.gone = Promise.all([closed(near), closed(this.#far)])
  }

  /** Nothing passes either way. */
  get silent(): boolean {
    return this.#lanes['to-far'].silent && this.#lanes['to-near'].silent
  }

  passedBytes(way: Way): number {
    return this.#lanes[way].passedBytes
  }

  heal(): void {
    for (const lane of Object.values(this.#lanes)) if (!lane.silent) lane.fault = {}
  }

  inflict(fault: Fault): void {
    switch (fault.kind) {
      case 'delay':
        return this.#lasting({ delayMs: fault.ms }, fault.way)
      case 'slow':
        return this.#lasting({ bytesPerSecond: fault.bytesPerSecond }, fault.way)
      case 'stall':
        return this.#lasting({ stalled: true }, fault.way)
      case 'silence':
        return this.#lasting({ silent: true }, fault.way)
      case 'corrupt':
        return this.#lasting({ corruptAt: fault.at }, fault.way)
      case 'half-close':
        return void (fault.way === 'to-far' ? this.#far : this.#near).end()
      case 'cut':
        for (const socket of [this.#near, this.#far]) socket.destroy()
        return
      case 'reset':
        for (const socket of [this.#near, this.#far]) socket.resetAndDestroy()
    }
  }

  #lasting(fault: LaneFault, way: Way | undefined): void {
    for (const each of ['to-far', 'to-near'] as const)
      if (way === undefined || way === each) this.#lanes[each].fault = fault
  }

  /** The loss of one socket reaches the other, unless nothing passes any more. */
  #joinEnds(from: net.Socket, to: net.Socket): void {
    from.on('error', () => {})
    from.on('close', (failed) => {
      if (this.silent || to.destroyed) return
      if (failed) to.resetAndDestroy()
      // An orderly end went through the lane; a socket that closed without one was cut.
      else if (!from.readableEnded) to.destroy()
    })
  }
}
