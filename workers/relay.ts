// Copies bytes between two sockets without looking at them: backpressure, half-close and resets pass from one end to the other.
// Each direction has one read buffer and reads no further while the other side has not taken what was read, so a relay holds
// at most one buffer per direction. One that fills its reads gives the others a turn. It never closes a side that still talks.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { RelayCounters, SocketHandle } from '../core/messages.ts'
import { type BufferPool, ReadBuffer, threadBuffers } from './buffers.ts'
import { adoptForRelay } from './handover.ts'

export interface RelayOptions {
  /** Bytes read from the target already, and from the client. */
  readonly toClient?: Uint8Array
  readonly toTarget?: Uint8Array
  /** Ends the relay when no byte moved either way for this long; 0 or absent: never. */
  readonly idleMsMax?: number
  /** Ends the relay this long from now, whatever moves; absent: never. */
  readonly endsInMs?: number
  readonly clock?: Clock
  readonly buffers?: BufferPool
  /** Full reads in a row of this many bytes end the socket's turn; benches switch it off. */
  readonly turnBytes?: number
}

export interface Relay {
  /** Resolves with the reason when both sockets are closed. Never rejects. */
  readonly done: Promise<string>
  counters(): RelayCounters
  /** Cuts both sides at once: what is on its way is discarded. */
  abort(reason: string): void
}

/** Reasons of a relay's own; `abort` adds the caller's. */
export const RELAY_ENDS = {
  finished: 'finished',
  clientReset: 'client reset',
  targetReset: 'target reset',
  idle: 'idle',
  deadline: 'deadline',
} as const

// Node's longest timer; a longer one would fire at once.
const TIMER_MS_MAX = 2 ** 31 - 1

/** Joins two connections. The handles belong to the relay from here on. */
export function relay(
  client: SocketHandle,
  target: SocketHandle,
  options: RelayOptions = {},
): Relay {
  return new SocketRelay(client, target, options)
}

class SocketRelay implements Relay {
  readonly done: Promise<string>
  readonly #fromClient: Direction
  readonly #fromTarget: Direction
  readonly #sockets: readonly [net.Socket, net.Socket]
  readonly #clock: Clock
  readonly #finish: (reason: string) => void
  #timers: NodeJS.Timeout[] = []
  #open = 2
  #reason: string = RELAY_ENDS.finished

  constructor(client: SocketHandle, target: SocketHandle, options: RelayOptions) {
    const buffers = options.buffers ?? threadBuffers
    const turnBytes = options.turnBytes ?? max('relayTurnBytes')
    this.#clock = options.clock ?? systemClock
    this.#fromClient = new Direction(buffers, turnBytes, this.#clock)
    this.#fromTarget = new Direction(buffers, turnBytes, this.#clock)
    const clientSocket = adoptForRelay(client, this.#fromClient)
    const targetSocket = adoptForRelay(target, this.#fromTarget)
    this.#sockets = [clientSocket, targetSocket]
    const { promise, resolve } = Promise.withResolvers<string>()
    this.done = promise
    this.#finish = resolve
    this.#watch(clientSocket, targetSocket, RELAY_ENDS.clientReset)
    this.#watch(targetSocket, clientSocket, RELAY_ENDS.targetReset)
    this.#startTimers(options)
    this.#fromClient.start(clientSocket, targetSocket, options.toTarget)
    this.#fromTarget.start(targetSocket, clientSocket, options.toClient)
  }

  counters(): RelayCounters {
    return { fromClientBytes: this.#fromClient.bytes, fromTargetBytes: this.#fromTarget.bytes }
  }

  abort(reason: string): void {
    if (this.#open === 0) return
    this.#reason = reason
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #watch(side: net.Socket, other: net.Socket, onReset: string): void {
    side.on('error', () => {
      if (this.#reason === RELAY_ENDS.finished) this.#reason = onReset
      if (!other.destroyed) other.resetAndDestroy()
    })
    side.on('end', () => other.end())
    side.on('close', () => {
      if (--this.#open === 0) this.#ended()
    })
  }

  #ended(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#fromClient.close()
    this.#fromTarget.close()
    this.#finish(this.#reason)
  }

  #startTimers(options: RelayOptions): void {
    const { idleMsMax = 0, endsInMs } = options
    if (endsInMs !== undefined) {
      const ms = Math.min(Math.max(endsInMs, 0), TIMER_MS_MAX)
      this.#timers.push(setTimeout(() => this.abort(RELAY_ENDS.deadline), ms))
    }
    if (idleMsMax > 0) this.#watchIdle(Math.min(idleMsMax, TIMER_MS_MAX))
  }

  #watchIdle(idleMsMax: number): void {
    const fromMs = this.#clock.monotonic()
    this.#fromClient.watchIdle(fromMs)
    this.#fromTarget.watchIdle(fromMs)
    const look = (): void => {
      const lastMs = Math.max(this.#fromClient.lastAtMs, this.#fromTarget.lastAtMs)
      const leftMs = idleMsMax - (this.#clock.monotonic() - lastMs)
      if (leftMs <= 0) this.abort(RELAY_ENDS.idle)
      else this.#timers[slot] = setTimeout(look, leftMs)
    }
    const slot = this.#timers.push(setTimeout(look, idleMsMax)) - 1
  }
}

/** One way: reads from one socket and writes to the other. It is the `Reader` of the socket it reads from. */
class Direction {
  bytes = 0
  lastAtMs = 0
  readonly #read: ReadBuffer
  readonly #turnBytes: number
  readonly #clock: Clock
  #watchesIdle = false
  /** The buffer is still being written from: nothing may be read into it. */
  #blocked = false
  /** Read since the turn began; a read that leaves room ends it. */
  #inTurn = 0
  #from: net.Socket | undefined
  #to: net.Socket | undefined

  constructor(pool: BufferPool, turnBytes: number, clock: Clock) {
    this.#read = new ReadBuffer(pool)
    this.#turnBytes = turnBytes
    this.#clock = clock
  }

  start(from: net.Socket, to: net.Socket, first: Uint8Array | undefined): void {
    this.#from = from
    this.#to = to
    if (first !== undefined && first.length > 0) {
      this.bytes += first.length
      to.write(first)
    }
    from.resume()
  }

  watchIdle(fromMs: number): void {
    this.#watchesIdle = true
    this.lastAtMs = fromMs
  }

  close(): void {
    this.#read.close()
  }

  // Node calls these two without a receiver, so they are fields.
  readonly buffer = (): Uint8Array => this.#read.current

  readonly callback = (count: number, buffer: Uint8Array): boolean => {
    const to = this.#to
    if (to === undefined || to.destroyed) return false
    this.bytes += count
    if (this.#watchesIdle) this.lastAtMs = this.#clock.monotonic()
    to.write(buffer.subarray(0, count), this.#taken)
    // The kernel took all of it at once nearly always; then the buffer is free although the callback comes later.
    if (to.writableLength > 0) {
      this.#blocked = true
      return false
    }
    this.#read.noted(count)
    // A read that leaves room ends the turn of itself. Stopping after those too costs a fifth more per round trip, and half as
    // much again per byte: each stop and start is a call into the kernel.
    this.#inTurn = count < buffer.length ? 0 : this.#inTurn + count
    if (this.#inTurn < this.#turnBytes) return true
    this.#inTurn = 0
    setImmediate(this.#resume)
    return false
  }

  readonly #taken = (): void => {
    if (!this.#blocked || this.#to === undefined || this.#to.writableLength > 0) return
    this.#blocked = false
    this.#resume()
  }

  readonly #resume = (): void => {
    if (this.#from?.destroyed === false) this.#from.resume()
  }
}
