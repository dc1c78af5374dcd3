// Whether a target answers, as its agents find out by connecting to it: how often, how patiently, and what a row of results means.
// Pure: workers/health-checks.ts connects and keeps time, control says which check applies to which target.

import { max } from './limits.ts'

/** `unknown`: not checked yet, or not checked at all. */
export const HEALTH_STATUSES = ['healthy', 'unhealthy', 'unknown'] as const
export type HealthStatus = (typeof HEALTH_STATUSES)[number]

export interface HealthCheck {
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Good results in a row that make an unhealthy target healthy again; the first one ever counts at once. */
  readonly healthyThreshold: number
  /** Bad results in a row that make a healthy target unhealthy. */
  readonly unhealthyThreshold: number
}

export interface TargetHealth {
  readonly status: HealthStatus
  /** Why it is not healthy; empty when it is. */
  readonly reason: string
  readonly sinceMs: number
}

export const DEFAULT_HEALTH_CHECK: HealthCheck = {
  intervalMs: max('healthIntervalMs'),
  timeoutMs: max('healthTimeoutMs'),
  healthyThreshold: 2,
  unhealthyThreshold: 1,
}

/** The results of one target so far. */
export class HealthRecord {
  #health: TargetHealth
  #good = 0
  #bad = 0

  constructor(nowMs: number) {
    this.#health = { status: 'unknown', reason: 'not checked yet', sinceMs: nowMs }
  }

  get health(): TargetHealth {
    return this.#health
  }

  /** Takes a result in: a reason when the target did not answer. True when the status changed. */
  note(
    problem: string | undefined,
    { healthyThreshold, unhealthyThreshold }: HealthCheck,
    nowMs: number,
  ): boolean {
    const { status } = this.#health
    if (problem === undefined) {
      this.#good++
      this.#bad = 0
      const needed = status === 'unknown' ? 1 : healthyThreshold
      return this.#good >= needed && this.#set('healthy', '', nowMs)
    }
    this.#bad++
    this.#good = 0
    const needed = status === 'unknown' ? 1 : unhealthyThreshold
    return this.#bad >= needed && this.#set('unhealthy', problem, nowMs)
  }

  /** The newest reason is kept; only a change of status is news. */
  #set(status: HealthStatus, reason: string, nowMs: number): boolean {
    const changed = this.#health.status !== status
    this.#health = { status, reason, sinceMs: changed ? nowMs : this.#health.sinceMs }
    return changed
  }
}
