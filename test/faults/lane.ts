// One direction of a connection that a fault proxy carries: what comes from one socket goes to the other, late, slowly, damaged, cut
// or not at all. Keeps backpressure: it reads no further than a bounded queue, so a stalled lane stalls its sender.

import type net from 'node:net'

/** What is wrong with a lane; everything absent: nothing. */
export interface LaneFault {
  /** Every byte leaves this much later. */
  readonly delayMs?: number
  readonly bytesPerSecond?: number
  /** Nothing is read or written any more; ends wait too. */
  readonly stalled?: boolean
  /** Bytes and ends vanish. */
  readonly silent?: boolean
  /** The byte this far behind what has passed comes out with all its bits turned over. */
  readonly corruptAt?: number
}

/** Bytes on their way through a lane; then its sender waits. */
const QUEUED_BYTES_MAX = 1024 * 1024
/** A slow lane sends this often. */
const SLICE_MS = 50

interface Piece {
  /** Undefined: the sender ended. */
  readonly bytes: Buffer | undefined
  readonly dueMs: number
}

export class Lane {
  /** Taken over by the receiving socket so far. */
  passedBytes = 0
  readonly #from: net.Socket
  readonly #to: net.Socket
  #fault: LaneFault = {}
  #queue: Piece[] = []
  #queuedBytes = 0
  #corruptAt = -1
  #timer: NodeJS.Timeout | undefined
  #draining = false

  constructor(from: net.Socket, to: net.Socket) {
    this.#from = from
    this.#to = to
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.on('end', () => this.#take(undefined))
    to.on('close', () => this.close())
  }

  set fault(fault: LaneFault) {
    this.#fault = fault
    this.#corruptAt = fault.corruptAt === undefined ? -1 : this.passedBytes + fault.corruptAt
    if (fault.silent === true) this.#forget()
    // A timer may have been set for a slower lane.
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#pump()
  }

  get silent(): boolean {
    return this.#fault.silent === true
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#forget()
  }

  #take(bytes: Buffer | undefined): void {
    if (this.silent) return
    this.#queue.push({ bytes, dueMs: performance.now() + (this.#fault.delayMs ?? 0) })
    this.#queuedBytes += bytes?.length ?? 0
    this.#pump()
  }

  #forget(): void {
    this.#queue = []
    this.#queuedBytes = 0
  }

  /** Sends what may leave now; comes back by a timer or a drained socket for the rest. */
  #pump(): void {
    while (!this.#waits()) {
      const piece = this.#queue.shift()
      if (piece === undefined) break
      if (piece.bytes === undefined) this.#to.end()
      else this.#send(piece.bytes, piece.dueMs)
    }
    if (this.#queuedBytes >= QUEUED_BYTES_MAX || this.#fault.stalled === true) this.#from.pause()
    else if (!this.#from.destroyed) this.#from.resume()
  }

  #waits(): boolean {
    const [head] = this.#queue
    if (this.#fault.stalled === true || this.#draining || this.#timer !== undefined) return true
    const leftMs = (head?.dueMs ?? 0) - performance.now()
    if (leftMs > 0) this.#later(leftMs)
    return leftMs > 0
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#pump()
    }, ms)
  }

  #send(bytes: Buffer, dueMs: number): void {
    const { bytesPerSecond } = this.#fault
    const most =
      bytesPerSecond === undefined
        ? bytes.length
        : Math.max(1, Math.floor((bytesPerSecond * SLICE_MS) / 1000))
    if (bytes.length > most) this.#queue.unshift({ bytes: bytes.subarray(most), dueMs })
    if (bytesPerSecond !== undefined) this.#later(SLICE_MS)
    const piece = this.#damaged(bytes.subarray(0, most))
    this.#queuedBytes -= piece.length
    this.passedBytes += piece.length
    if (this.#to.destroyed || this.#to.writableEnded || this.#to.write(piece)) return
    this.#draining = true
    this.#to.once('drain', () => {
      this.#draining = false
      this.#pump()
    })
  }

  #damaged(piece: Buffer): Buffer {
    const at = this.#corruptAt - this.passedBytes
    if (at < 0 || at >= piece.length) return piece
    this.#corruptAt = -1
    const copy = Buffer.from(piece)
    copy[at] = (copy[at] ?? 0) ^ 0xff
    return copy
  }
}
