// The recorder of one session: gathers its events, makes chunks of them and hands these to the main thread, which has the file. One
// chunk is on its way at a time, so that what the disk refused can be offered again or left out without breaking the chain. Holds the
// rule of design section 9: a sync mode waits for the disk; else a full queue slows the session, and only a full or broken disk ends
// it (`strict`) or leaves a counted gap (`best_effort`). Never more memory than its bound, never a loss that is not counted.

import { freeAllOf, freeBytes } from '../core/bytes/free.ts'
import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { FromRecorder, ToRecorder } from '../core/messages.ts'
import type { RecordingEvent } from '../core/recording/events.ts'
import {
  compressPacked,
  type RecordingHeader,
  type RecordingPosition,
  sealChunk,
  writeHead,
} from '../core/recording/format.ts'
import { EventPacker, fitsIn } from '../core/recording/packer.ts'
import type { Recorder } from '../core/recording/timeline.ts'
import type { RecordingShare } from './recorders.ts'
import type { RecordingRule } from './statement-tap.ts'
import { Deadlines, type Timers } from './timers.ts'

export interface RecorderOptions {
  readonly header: RecordingHeader
  readonly rule: RecordingRule
  readonly clock: Clock
  readonly timers: Timers
  readonly share: RecordingShare
  readonly send: (message: FromRecorder) => void
  /** For what is long enough to be felt. */
  readonly compress: Compress
  /** Ends the session for this reason, in its protocol's words. May be called again for one that is ending. */
  readonly end: (reason: string, next: string) => void
  /** The end is on the disk, or nothing of it will ever be. */
  readonly done: () => void
}

/** Calls `done` once, at once or later. */
export type Compress = (packed: Uint8Array, done: (payload: Uint8Array) => void) => void

/** The chunk that is on its way. */
type Flight = Compressing | Sent

interface Compressing extends Held {
  readonly phase: 'compressing'
  readonly last: boolean
  readonly startMs: number
  readonly packed: Uint8Array
}

interface Sent extends Held {
  readonly phase: 'sent'
  /** Without its bytes, which are copied each time it is sent. */
  readonly message: Omit<FromRecorder, 'bytes'>
  readonly file: Uint8Array
  readonly position: RecordingPosition
}

interface Held {
  /** Held for it in memory. */
  readonly bytes: number
  /** What is lost when the disk does not take it. */
  readonly events: number
}

/** Less is compressed at once: it takes less than the turn of the loop that it would save. */
const ASIDE_BYTES = 16 * 1024

/** By the option that says so: a role may have one for SSH alone. */
const NOT_KEPT = {
  ssh: 'its recording could not be kept, and record_session is strict for SSH',
  db: 'its recording could not be kept, and record_session.default is strict',
} as const
const ASK_OPERATOR = 'Ask whoever runs Sluice to look at the disk of the agent or proxy.'
const UNWANTED = 'there is a recording of a session with this id, which nobody writes twice'
const TOO_LONG = 'its recording is longer than recordingBytesMax'

export class SessionRecorder implements Recorder {
  /** Called when the thread stops: whoever gathers something for this recorder hands it over. */
  beforeClose: () => void = () => {}
  readonly #options: RecorderOptions
  readonly #head: Uint8Array
  readonly #sync: boolean
  readonly #deadlines: Deadlines<'batch' | 'stall' | 'retry'>
  #position: RecordingPosition
  /** Events that wait for their chunk, packed: of each chunk that is to come. */
  #pending: EventPacker[] = []
  #pendingBytes = 0
  /** Waits among them, in the last. */
  #end: RecordingEvent | undefined
  #flight: Flight | undefined
  /** Events to be told of as a gap. */
  #lost = 0
  #written = 0
  #endTries = 0
  /** The disk did nothing with the last chunk for too long. */
  #stalled = false
  /** It is as long as it may be: only a gap and the end follow. */
  #cut = false
  #sealing = false
  #over = false
  #waiting: (() => void)[] = []
  #sealed: (() => void)[] = []

  constructor(options: RecorderOptions) {
    this.#options = options
    this.#sync = options.rule === 'sync'
    this.#deadlines = new Deadlines(options.clock, options.timers)
    const { bytes, position } = writeHead(options.header)
    this.#head = bytes
    this.#position = position
  }

  get full(): boolean {
    if (this.#over || this.#cut) return false
    if (this.#sync) return this.#flight !== undefined || this.#pending.length > 0
    return !this.#stalled && this.#isBeyond()
  }

  ready(): Promise<void> {
    if (!this.full) return Promise.resolve()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#options.share.whenRoom(() => this.#wake())
    })
  }

  /** Its bytes are copied. One that fits in no chunk counts as lost. */
  add(event: RecordingEvent): void {
    if (this.#over || this.#sealing) return
    const unfit = this.#cut || !fitsIn(event, max('recordingBatchBytesMax'))
    // What is told of while the disk stands still: its session goes on by its rule, and memory does not grow.
    if (event.kind !== 'end' && (unfit || (this.#stalled && this.#isBeyond()))) {
      this.#lost++
      return
    }
    if (event.kind === 'end') this.#end = event
    this.#pack(event)
    // Somebody waits for it in a sync mode; a turn of the loop lets its neighbours come along.
    const now = this.#sync || this.#pendingBytes >= max('recordingBatchBytesMax')
    this.#soon(now ? 0 : max('recordingBatchMs'))
  }

  /** Packed at once: no object of it is left. */
  #pack(event: RecordingEvent): void {
    let packer = this.#pending.at(-1)
    const room = max('recordingBatchBytesMax') - (packer?.bytes ?? 0)
    if (packer === undefined || !fitsIn(event, room)) {
      packer = new EventPacker()
      this.#pending.push(packer)
    }
    const before = packer.bytes
    packer.add(event)
    this.#pendingBytes += packer.bytes - before
    this.#options.share.take(packer.bytes - before)
  }

  /** Nothing follows. Waits for the disk, but not for one that is broken: the end is offered to it again when nobody waits. */
  seal(): Promise<void> {
    this.#sealing = true
    if (this.#over || this.#stalled) return Promise.resolve()
    return new Promise((resolve) => {
      this.#sealed.push(resolve)
      this.#flush()
    })
  }

  answered({ seq, outcome }: ToRecorder): void {
    const flight = this.#flight
    if (flight?.phase !== 'sent' || flight.message.seq !== seq) return
    this.#deadlines.drop('stall')
    this.#stalled = false
    switch (outcome) {
      case 'kept':
        return this.#kept(flight)
      case 'refused':
        return this.#refused(flight)
      case 'unwanted':
        this.#options.end(UNWANTED, 'Connect again.')
        return this.#finish()
    }
  }

  /** The thread stops: what was gathered goes on its way, and nothing is tried again. */
  close(): void {
    this.beforeClose()
    const flight = this.#flight
    if (flight?.phase === 'compressing') this.#compressed(flight, compressPacked(flight.packed))
    this.#flush()
    this.#deadlines.clear()
    this.#tellSealed()
  }

  #kept(flight: Sent): void {
    this.#land(flight)
    this.#position = flight.position
    this.#written += flight.file.length
    if (flight.message.last) return this.#finish()
    if (this.#written >= max('recordingBytesMax') && !this.#cut) this.#cutOff()
    if (this.#sync || this.#sealing || this.#pendingBytes >= max('recordingBatchBytesMax'))
      this.#flush()
    else if (this.#pending.length > 0) this.#soon(max('recordingBatchMs'))
    return this.#wake()
  }

  #refused(flight: Sent): void {
    if (flight.message.last) this.#tellSealed()
    // Nobody waits for the end; it must not be offered for ever.
    if (flight.message.last && ++this.#endTries >= max('recordingEndTriesMax'))
      return this.#finish()
    if (this.#sync || flight.message.last)
      return this.#deadlines.after('retry', max('recordingRetryMs'), () => this.#post(flight))
    this.#land(flight)
    this.#lost += flight.events
    if (this.#options.rule === 'strict')
      this.#options.end(NOT_KEPT[this.#options.header.kind], ASK_OPERATOR)
    this.#soon(max('recordingRetryMs'))
    return this.#wake()
  }

  #soon(ms: number): void {
    if (this.#flight !== undefined || (ms > 0 && this.#deadlines.has('batch'))) return
    this.#deadlines.after('batch', ms, () => this.#flush())
  }

  #flush(): void {
    this.#deadlines.drop('batch')
    if (this.#flight !== undefined || this.#over) return
    if (this.#pending.length === 0 && this.#lost === 0) return
    const { startMs, packed, bytes, events } = this.#take()
    const last = this.#end !== undefined && this.#pending.length === 0
    const flight: Flight = { phase: 'compressing', last, startMs, packed, bytes, events }
    this.#flight = flight
    this.#watch()
    if (packed.length < ASIDE_BYTES) return this.#compressed(flight, compressPacked(packed))
    return this.#options.compress(packed, (payload) => {
      // It may have been sent by `close`.
      if (this.#flight !== flight) return
      this.#compressed(flight, payload)
      freeAllOf(packed)
    })
  }

  #compressed({ last, startMs, bytes, events }: Compressing, payload: Uint8Array): void {
    const chunk = sealChunk(this.#position, last ? 'end' : 'events', startMs, payload)
    const { position } = chunk
    const { seq, hash } = position
    const { sid } = this.#options.header
    const message = { kind: 'recording', sid, seq, last, hash } as const
    const file = seq === 1 ? Buffer.concat([this.#head, chunk.bytes]) : chunk.bytes
    const flight: Sent = { phase: 'sent', message, file, position, bytes, events }
    this.#flight = flight
    this.#post(flight)
  }

  /** The next chunk: a gap comes before what follows it, the end with what came last, so that a short session is one chunk. */
  #take(): Omit<Compressing, 'phase' | 'last'> {
    const packer = this.#pending.shift() ?? new EventPacker()
    const { bytes, count } = packer
    const lost = this.#lost
    this.#lost = 0
    this.#pendingBytes -= bytes
    const startMs = count > 0 ? packer.startMs : Math.max(0, Math.round(this.#options.clock.now()))
    return { startMs, packed: packer.chunk(lost), bytes, events: count + lost }
  }

  #post(flight: Sent): void {
    this.#watch()
    // The copy moves to the main thread: what is offered again must still be here.
    this.#options.send({ ...flight.message, bytes: new Uint8Array(flight.file) })
  }

  #watch(): void {
    this.#deadlines.after('stall', max('recordingStallMs'), () => this.#stall())
  }

  #stall(): void {
    this.#stalled = true
    if (this.#options.rule === 'strict')
      this.#options.end(NOT_KEPT[this.#options.header.kind], ASK_OPERATOR)
    if (this.#sealing) this.#tellSealed()
    this.#wake()
  }

  /** From here on the disk counts as full. */
  #cutOff(): void {
    this.#cut = true
    const held = this.#pending.reduce((sum, { count }) => sum + count, 0)
    this.#lost += held - (this.#end === undefined ? 0 : 1)
    this.#dropPending()
    if (this.#end !== undefined) this.#pack(this.#end)
    if (this.#options.rule !== 'best_effort') this.#options.end(TOO_LONG, 'Connect again.')
  }

  #finish(): void {
    this.#over = true
    this.#deadlines.clear()
    if (this.#flight !== undefined) this.#land(this.#flight)
    this.#dropPending()
    this.#tellSealed()
    this.#wake()
    this.#options.done()
  }

  #dropPending(): void {
    this.#options.share.give(this.#pendingBytes)
    this.#pending = []
    this.#pendingBytes = 0
  }

  #land(flight: Flight): void {
    this.#flight = undefined
    this.#options.share.give(flight.bytes)
    if (flight.phase === 'sent') freeBytes(flight.file)
  }

  #isBeyond(): boolean {
    const held = this.#pendingBytes + (this.#flight?.bytes ?? 0)
    return held >= max('recordingQueueBytesMax') || this.#options.share.full
  }

  #tellSealed(): void {
    for (const resolve of this.#sealed.splice(0)) resolve()
  }

  #wake(): void {
    if (this.full) return
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
