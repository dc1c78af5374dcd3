// The health checks of one agent: a connection to each of its targets now and then, closed again at once. Runs in the agent's main
// thread, spread by jitter and bounded in how many are open; what the results mean is core/health.ts. Sends no byte to a target.

import type { Clock } from '../core/clock.ts'
import { type HealthCheck, HealthRecord, type TargetHealth } from '../core/health.ts'
import { max } from '../core/limits.ts'
import type { DialledTarget } from './target-dial.ts'
import type { Timers } from './timers.ts'

export interface CheckedTarget extends DialledTarget {
  /** Absent: nobody wants it checked. */
  readonly check?: HealthCheck
}

export interface HealthChecksOptions {
  readonly clock: Clock
  readonly timers: Timers
  /** 0 ≤ value < 1, for jitter. */
  readonly random: () => number
  /** Connects and lets go. Rejects when the target does not answer, or `signal` aborts. */
  readonly connect: (target: DialledTarget, signal: AbortSignal) => Promise<void>
  /** The status of a target changed. */
  readonly changed: () => void
}

interface Watched {
  readonly target: CheckedTarget
  readonly check: HealthCheck
  readonly record: HealthRecord
  /** Ends its timer and its connect. */
  readonly stopping: AbortController
  cancel: () => void
}

export class HealthChecks {
  readonly #options: HealthChecksOptions
  readonly #watched = new Map<string, Watched>()
  readonly #waiting = new Set<Watched>()
  #open = 0

  constructor(options: HealthChecksOptions) {
    this.#options = options
  }

  /** Connections of checks that are open now. */
  get open(): number {
    return this.#open
  }

  get size(): number {
    return this.#watched.size
  }

  /** Checks these targets from now on, and no others. What is known of one that stays as it was is kept. */
  watch(targets: readonly CheckedTarget[]): void {
    const wanted = new Map(targets.map((target) => [target.ref.name, target]))
    for (const [name, watched] of this.#watched)
      if (!sameTarget(watched.target, wanted.get(name))) this.#drop(name, watched)
    for (const target of targets) {
      const { check, ref } = target
      if (check !== undefined && !this.#watched.has(ref.name)) this.#add(target, check)
    }
  }

  /** What is known of each target that is checked, by name. */
  reports(): readonly (TargetHealth & { readonly name: string })[] {
    return [...this.#watched].map(([name, { record }]) => ({ name, ...record.health }))
  }

  /** `kind/name` of targets that do not answer, for proxies: bounded. */
  unhealthy(): readonly string[] {
    return [...this.#watched.values()]
      .filter(({ record }) => record.health.status === 'unhealthy')
      .slice(0, max('unhealthyToldMax'))
      .map(({ target }) => `${target.ref.kind}/${target.ref.name}`)
  }

  stop(): void {
    for (const [name, watched] of this.#watched) this.#drop(name, watched)
  }

  #add(target: CheckedTarget, check: HealthCheck): void {
    const record = new HealthRecord(this.#options.clock.now())
    const watched: Watched = {
      target,
      check,
      record,
      stopping: new AbortController(),
      cancel: () => {},
    }
    this.#watched.set(target.ref.name, watched)
    // Soon, but not all at once: an agent's first list may be long.
    this.#plan(watched, this.#options.random() * Math.min(check.intervalMs, FIRST_WITHIN_MS))
  }

  #drop(name: string, watched: Watched): void {
    this.#watched.delete(name)
    this.#waiting.delete(watched)
    watched.cancel()
    watched.stopping.abort()
  }

  #plan(watched: Watched, inMs: number): void {
    watched.cancel = this.#options.timers.after(inMs, () => this.#due(watched))
  }

  #due(watched: Watched): void {
    if (this.#open >= max('healthChecksAtOnceMax')) this.#waiting.add(watched)
    else void this.#check(watched)
  }

  async #check(watched: Watched): Promise<void> {
    const { timers, connect, clock, random, changed } = this.#options
    const { target, check, record, stopping } = watched
    this.#open++
    const late = new AbortController()
    const cancel = timers.after(check.timeoutMs, () => late.abort())
    const problem = await connect(target, AbortSignal.any([late.signal, stopping.signal])).then(
      () => undefined,
      (error: unknown) => reasonOf(error),
    )
    cancel()
    this.#open--
    if (!stopping.signal.aborted) {
      if (record.note(problem, check, clock.now())) changed()
      // Somebody waits for one that does not answer: it is asked more often.
      const well = record.health.status === 'healthy'
      const pauseMs = well ? check.intervalMs : Math.min(check.intervalMs, max('healthRecheckMs'))
      this.#plan(watched, pauseMs * (0.9 + 0.2 * random()))
    }
    const [next] = this.#waiting
    if (next === undefined) return
    this.#waiting.delete(next)
    void this.#check(next)
  }
}

const FIRST_WITHIN_MS = 2000

function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.slice(0, max('healthReasonCharsMax')) || 'it failed without a reason'
}

function sameTarget(known: CheckedTarget, wanted: CheckedTarget | undefined): boolean {
  return wanted !== undefined && JSON.stringify(facts(known)) === JSON.stringify(facts(wanted))
}

function facts({ host, port, guard, check }: CheckedTarget): object {
  return { host, port, guard, check }
}
