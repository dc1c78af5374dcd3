// Between a session's notes and its tap: counts what was taken, and waits for a full tap once, whichever side of the session met
// it; waking it must not multiply the waits. Before there is a right there is no tap, and notes pass.

import type { Tap } from '../core/protocol.ts'

export interface TapGateEvents {
  /** What was refused may be offered again. */
  ready(): void
  /** The tap cannot go on, so neither can the session. */
  failed(error: unknown): void
}

export class TapGate {
  readonly #events: TapGateEvents
  #tap: Tap | undefined
  #waits = false
  #notes = 0

  constructor(events: TapGateEvents) {
    this.#events = events
  }

  /** Notes that were taken. */
  get notes(): number {
    return this.#notes
  }

  open(tap: Tap): void {
    this.#tap = tap
  }

  note(code: number, chunk: Uint8Array, from: number, to: number, rest: number): boolean {
    if (this.#tap === undefined) return true
    if (this.#tap.put(code, chunk, from, to, rest)) {
      this.#notes++
      return true
    }
    if (!this.#waits) this.#wait(this.#tap)
    return false
  }

  seal(reason: string): Promise<void> {
    return this.#tap?.seal(reason) ?? Promise.resolve()
  }

  #wait(tap: Tap): void {
    this.#waits = true
    tap
      .ready()
      .then(() => {
        this.#waits = false
        this.#events.ready()
      })
      .catch((error: unknown) => this.#events.failed(error))
  }
}
