// Tells a target that its session was signalled: a connection of its own, made as the session's was, for the one message. One runs
// at a time; more that come meanwhile become one more, since the target may have begun something new by then.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { FramedProtocol } from '../core/protocol.ts'
import { type Dialled, runHalf } from './target-login.ts'
import type { Timers } from './timers.ts'

const MINUTE_MS = 60_000
const NOTHING = new Uint8Array(0)

export interface TargetSignalOptions {
  readonly protocol: FramedProtocol
  readonly right: Authorized
  /** The target's own name for the session. */
  readonly real: Uint8Array
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  dial(right: Authorized, opening: Uint8Array, signal: AbortSignal): Promise<Dialled>
  /** What came of it; `count` includes those that were not told of since. */
  told(outcome: { from: string; count: number; success: boolean; error?: string }): void
}

export class TargetSignal {
  readonly #options: TargetSignalOptions
  readonly #over = new AbortController()
  #running = false
  /** Where one that waits came from. */
  #next: string | undefined
  #count = 0
  /** Events of this minute, and when it began. */
  #events = 0
  #sinceMs = Number.NEGATIVE_INFINITY

  constructor(options: TargetSignalOptions) {
    this.#options = options
  }

  tell(from: string): void {
    if (this.#over.signal.aborted) return
    this.#count++
    this.#next = from
    if (!this.#running) void this.#run()
  }

  /** The session is over: nothing of it is left to be told. */
  end(): void {
    this.#next = undefined
    this.#over.abort()
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#next !== undefined) {
      const from = this.#next
      this.#next = undefined
      const error = await this.#deliver().catch((reason: unknown) => String(reason))
      this.#report(from, error)
    }
    this.#running = false
  }

  /** Undefined, or why the target was not told. */
  async #deliver(): Promise<string | undefined> {
    const { protocol, right, real, clock, timers, log, dial } = this.#options
    if (protocol.signal === undefined) return 'this protocol has no signals'
    const deadline = new AbortController()
    const cancel = timers.after(max('signalDeadlineMs'), () => deadline.abort())
    const signal = AbortSignal.any([this.#over.signal, deadline.signal])
    try {
      const dialled = await dial(right, NOTHING, signal)
      const half = protocol.signal(dialled.login, real)
      const services = { log, nowMs: clock.now(), audit: () => {} }
      const { socket } = await runHalf(half, dialled, services, signal)
      socket.destroy()
      return undefined
    } finally {
      cancel()
    }
  }

  #report(from: string, error: string | undefined): void {
    const { clock, told } = this.#options
    const nowMs = clock.monotonic()
    if (nowMs - this.#sinceMs >= MINUTE_MS) {
      this.#sinceMs = nowMs
      this.#events = 0
    }
    if (++this.#events > max('signalEventsMax')) return
    const success = error === undefined
    told({ from, count: this.#count, success, ...(success ? {} : { error }) })
    this.#count = 0
  }
}
