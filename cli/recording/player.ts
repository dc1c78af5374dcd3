// Replays a terminal at its pace, and obeys keys: space holds it, arrows go ten seconds back or on, + and - change the speed, q ends it.
// To go back it clears the terminal and shows everything up to there again at once. A timeline of statements is shown without waiting.

import type { Clock } from '../../core/clock.ts'
import type { RecordingEvent } from '../../core/recording/events.ts'
import type { Damage } from '../../core/recording/verify.ts'
import type { Key, Keys } from '../keys.ts'
import { gapMs, type Pace, Playhead } from './pace.ts'
import type { RecordingReader } from './read.ts'
import { TextWriter } from './text.ts'

export interface PlayerOptions {
  /** The recording from its beginning; asked again to go back. */
  readonly open: () => RecordingReader
  readonly pace: Pace
  readonly clock: Clock
  /** Keys of the person, when there is one: asked for once, for a terminal's recording. */
  readonly keys: (pressed: (key: Key) => void) => Keys | undefined
  /** Resolves then, or as soon as the signal says so. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  readonly out: (text: string) => Promise<void>
}

const SEEK_MS = 10_000
/** Timers count in 31 bits, and somebody who pauses may come back late. */
const WAIT_MS_MAX = 60_000
/** Clears the terminal and all its modes. */
const CLEAR = '\u{1b}c'
/** Leaves the other screen, and resets modes and colours: the recording stopped in the middle of something. */
const SETTLE = '\u{1b}[?1047l\u{1b}[!p\u{1b}[0m\r\n'
const SIZE_MAX = 1000

type Outcome = 'end' | 'quit' | 'again'

export class Player {
  readonly #options: PlayerOptions
  readonly #head: Playhead
  #keys: Keys | undefined
  #asked = false
  readonly #quit = Promise.withResolvers<'quit'>()
  /** To be shown from the beginning again. */
  #again = false
  #over = false
  #changed = new AbortController()

  constructor(options: PlayerOptions) {
    this.#options = options
    this.#head = new Playhead(options.clock, options.pace.speed)
  }

  /** Damages that were met; none when it was not played to its end. */
  async play(): Promise<readonly Damage[]> {
    const { open, out } = this.#options
    try {
      for (;;) {
        const reader = open()
        const outcome = await this.#pass(reader)
        if (outcome === 'end') return reader.damages
        await out(outcome === 'again' ? CLEAR : SETTLE)
        if (outcome === 'quit') return []
      }
    } finally {
      this.#keys?.close()
    }
  }

  async #pass(reader: RecordingReader): Promise<Outcome> {
    const { pace, out } = this.#options
    const writer = new TextWriter()
    let beforeMs: number | undefined
    let atMs = 0
    const events = reader.events()
    for (;;) {
      // Who quits does not wait for a source that stands still.
      const step = await Promise.race([events.next(), this.#quit.promise])
      if (step === 'quit') return 'quit'
      if (step.done === true) return 'end'
      const event = step.value
      atMs += gapMs(beforeMs ?? event.atMs, event.atMs, pace.skipIdle)
      beforeMs = event.atMs
      if (reader.header?.kind === 'ssh') {
        this.#listen()
        const outcome = await this.#until(atMs)
        if (outcome !== 'due') return outcome
      }
      const text = this.#sizeHint(event) + this.#ours(event, writer.event(event))
      if (text !== '') await out(text)
    }
  }

  /** A raw terminal adds nothing to a line feed, which what was recorded relies on: our own line needs its return. */
  #ours({ kind }: RecordingEvent, text: string): string {
    return kind === 'start' && this.#keys !== undefined ? text.replace('\n', '\r\n') : text
  }

  async #until(atMs: number): Promise<'due' | 'quit' | 'again'> {
    const { sleep } = this.#options
    for (;;) {
      if (this.#over) return 'quit'
      if (this.#again) {
        this.#again = false
        return 'again'
      }
      const leftMs = this.#head.leftMs(atMs)
      if (leftMs <= 0) return 'due'
      await sleep(Math.min(leftMs, WAIT_MS_MAX), this.#changed.signal)
    }
  }

  #listen(): void {
    if (this.#asked) return
    this.#asked = true
    this.#keys = this.#options.keys((key) => this.#pressed(key))
  }

  #pressed(key: Key): void {
    switch (key) {
      case 'space':
        this.#head.togglePause()
        break
      case 'left':
        this.#head.seek(-SEEK_MS)
        this.#again = true
        break
      case 'right':
        this.#head.seek(SEEK_MS)
        break
      case 'plus':
        this.#head.faster(1)
        break
      case 'minus':
        this.#head.faster(-1)
        break
      case 'quit':
      case 'end':
        this.#over = true
        this.#quit.resolve('quit')
        break
    }
    this.#changed.abort()
    this.#changed = new AbortController()
  }

  /** Asks the person's own terminal for the size that was recorded: a drawing made for another one falls to pieces. */
  #sizeHint(event: RecordingEvent): string {
    if (this.#keys === undefined || event.kind !== 'resize') return ''
    const { columns, rows } = event
    const sane = [columns, rows].every((each) => each >= 1 && each <= SIZE_MAX)
    return sane ? `\u{1b}[8;${rows};${columns}t` : ''
  }
}
