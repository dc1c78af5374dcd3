// Tells a target that its session was signalled: a connection of its own, made as the session's was, for the one message. One runs
// at a time; more that come meanwhile become one more, since the target may have begun something new by then.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type { AuditFields, FramedProtocol } from '../core/protocol.ts'
import type { PerformServices } from './session.ts'
import type { SignalSessions } from './signal-sessions.ts'
import { runHalf } from './target-login.ts'
import type { Timers } from './timers.ts'

const MINUTE_MS = 60_000
const NOTHING = new Uint8Array(0)

/** What came of a signal from there. `count`: of all since the last outcome that was told. */
export interface SignalOutcome extends AuditFields {
  readonly cancelled_from: string
  readonly count: number
  readonly success: boolean
  readonly error?: string
}

export interface TargetSignalOptions {
  readonly protocol: FramedProtocol
  readonly right: Authorized
  /** The target's own name for the session. */
  readonly real: Uint8Array
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  readonly dial: PerformServices['dial']
  readonly told: (outcome: SignalOutcome) => void
}

/** Puts a session in the reach of signals with the key `shown`; the result takes it out again. */
export function reachable(
  signals: SignalSessions,
  shown: Uint8Array,
  options: TargetSignalOptions,
): () => void {
  const target = new TargetSignal(options)
  const forget = signals.add(shown, ({ address, port }) => target.tell(`${address}:${port}`))
  return () => {
    forget()
    target.end()
  }
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
    told({ cancelled_from: from, count: this.#count, success, ...(success ? {} : { error }) })
    this.#count = 0
  }
}
