// The recorders of one thread, by session, and the memory they share. Each leaves when its end is on the disk, which may be after its
// session: the answers of the main thread go through here. It decides nothing of its own.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { FromRecorder, ToRecorder } from '../core/messages.ts'
import type { RecordingHeader } from '../core/recording/format.ts'
import { Compressor } from './compressor.ts'
import { type Compress, SessionRecorder } from './recorder.ts'
import type { RecordingRule } from './statement-tap.ts'
import type { Timers } from './timers.ts'

export interface RecordersOptions {
  readonly clock: Clock
  readonly timers: Timers
  /** Its bytes may be transferred. */
  readonly send: (message: FromRecorder) => void
  /** For tests: in the same turn, instead of beside the event loop. */
  readonly compress?: Compress
}

/** What all recorders of a thread hold in memory. */
export class RecordingShare {
  #bytes = 0
  #waiting: (() => void)[] = []

  get bytes(): number {
    return this.#bytes
  }

  get full(): boolean {
    return this.#bytes >= max('recordingThreadBytesMax')
  }

  take(bytes: number): void {
    this.#bytes += bytes
  }

  give(bytes: number): void {
    const was = this.full
    this.#bytes -= bytes
    if (was && !this.full) for (const wake of this.#waiting.splice(0)) wake()
  }

  /** `wake` is called once, when there is room again; at no time when there is room now. */
  whenRoom(wake: () => void): void {
    if (this.full) this.#waiting.push(wake)
  }
}

export class Recorders {
  readonly share: RecordingShare = new RecordingShare()
  readonly #options: RecordersOptions
  readonly #compressor = new Compressor()
  readonly #bySid = new Map<string, SessionRecorder>()

  constructor(options: RecordersOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#bySid.size
  }

  /** Undefined when a session of this id is being recorded: two must not write one file. */
  open(
    header: RecordingHeader,
    rule: RecordingRule,
    end: (reason: string, next: string) => void,
  ): SessionRecorder | undefined {
    const { sid } = header
    if (this.#bySid.has(sid)) return undefined
    const done = (): void => void this.#bySid.delete(sid)
    const { share } = this
    const compress = this.#options.compress ?? this.#compressor.compress
    const recorder = new SessionRecorder({
      ...this.#options,
      compress,
      header,
      rule,
      share,
      end,
      done,
    })
    this.#bySid.set(sid, recorder)
    return recorder
  }

  kept(message: ToRecorder): void {
    this.#bySid.get(message.sid)?.answered(message)
  }

  close(): void {
    for (const recorder of this.#bySid.values()) recorder.close()
    this.#bySid.clear()
    this.#compressor.close()
  }
}
