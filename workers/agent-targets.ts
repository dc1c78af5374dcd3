// What an agent serves: the databases of its own file, and those that control gives it out of `db` resources. Announced to control
// each minute, when a snapshot says that something changed, and when a target's health did; control's answer is what is served.
// A database that is gone ends no session.

import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import type { HealthCheck, TargetHealth } from '../core/health.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { isDialled } from '../core/agent-target.ts'
import type { AgentTarget, AnnouncedTarget, DialGuard, ServedTarget } from '../core/agent-target.ts'
import type { LabelMatch } from '../core/policy/role.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { AuditCheckpoint } from '../core/snapshot.ts'
import { HealthChecks } from './health-checks.ts'
import { pause } from './pause.ts'
import { dialTarget } from './target-dial.ts'
import type { Timers } from './timers.ts'
import type { HostKeys } from './trust.ts'

/** What the agent's file says. */
export interface OwnTargets {
  readonly targets: readonly AnnouncedTarget[]
  /** Labels of resources it would serve too. */
  readonly selectors: readonly LabelMatch[]
  /** What those may not name. */
  readonly guard: DialGuard
}

/** What the agent says of its own knowledge. */
export interface AgentHeld {
  readonly checkpoint?: AuditCheckpoint
  readonly trustedAtMs: number
  readonly lockRevision: number
  /** Recordings that control does not have whole. */
  readonly recordingsAtRisk?: number
}

/** What an agent tells control each time. */
export interface AgentWord extends Pick<OwnTargets, 'targets' | 'selectors'> {
  readonly health: readonly (TargetHealth & { readonly name: string })[]
  readonly held: AgentHeld
}

export interface Announcement {
  readonly accepted: readonly {
    readonly kind: TargetRef['kind']
    readonly name: string
    readonly label: string
    readonly check?: HealthCheck
  }[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
  /** Accepted ones that the agent's file does not have. */
  readonly dynamic: readonly Omit<AgentTarget, 'guard' | 'label'>[]
  /** When resources, stored passwords or health checks changed last. */
  readonly revision: number
  /** Locks that are newer than what the agent holds. */
  readonly locks?: SignedMessage
  /** For all accepted names, PEM. */
  readonly keys?: HostKeys
}

export interface Served {
  readonly targets: readonly ServedTarget[]
  readonly keys: HostKeys
}

export interface AgentTargetsOptions {
  readonly own: OwnTargets
  readonly clock: Clock
  readonly timers: Timers
  /** 0 ≤ value < 1, for jitter. */
  readonly random: () => number
  readonly log: Logger
  readonly held: () => AgentHeld
  /** Rejects with `control.unavailable` when control is away. */
  readonly announce: (word: AgentWord) => Promise<Announcement>
  readonly serve: (served: Served) => void
  /** From control itself, when no proxy carried them. */
  readonly locks: (message: SignedMessage) => void
  /** Control answered, whatever it was. */
  readonly answered: () => void
  /** Resources or stored passwords changed at control: what is cached of it is to be asked for again. */
  readonly outdated: () => void
  /** Proxies are to hear of a target's health. */
  readonly healthChanged: () => void
}

export class AgentTargets {
  readonly #options: AgentTargetsOptions
  readonly #health: HealthChecks
  readonly #stopping = new AbortController()
  #own: OwnTargets
  #served: Served | undefined
  #revision: number | undefined
  /** The announcement under way, and whether another one must follow it. */
  #announcing: Promise<void> | undefined
  #again = false
  /** Ends the wait before an announcement that a snapshot calls for. */
  #cancel: (() => void) | undefined
  #wanted = 0

  constructor(options: AgentTargetsOptions) {
    this.#options = options
    this.#own = options.own
    this.#health = new HealthChecks({
      clock: options.clock,
      timers: options.timers,
      random: options.random,
      connect: async (target, signal) =>
        void (await dialTarget(target, signal).catch(shortly)).destroy(),
      changed: () => {
        options.healthChanged()
        void this.announce()
      },
    })
  }

  get served(): Served | undefined {
    return this.#served
  }

  get unhealthy(): readonly string[] {
    return this.#health.unhealthy()
  }

  /** The file as it is now. */
  async replace(own: OwnTargets): Promise<void> {
    this.#own = own
    await this.announce()
  }

  /** Until control answered once, however long that takes. */
  async begin(): Promise<void> {
    const { signal } = this.#stopping
    let pauseMs = max('redialMinMs')
    while (!signal.aborted && this.#revision === undefined) {
      await this.announce()
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))
    }
  }

  /** A snapshot says when control's side changed last. Many agents hear it at once, so each waits a little. */
  heard(revision: number | undefined): void {
    if (revision === undefined || this.#revision === undefined) return
    if (revision <= this.#revision) return
    this.#wanted = Math.max(this.#wanted, revision)
    if (this.#cancel !== undefined) return
    const { timers, random } = this.#options
    this.#cancel = timers.after(random() * max('targetsAskSpreadMs'), () => {
      this.#cancel = undefined
      if ((this.#revision ?? 0) < this.#wanted) void this.announce()
    })
  }

  /** Tells control and takes its answer over. One at a time; one that is asked for meanwhile follows. */
  async announce(): Promise<void> {
    if (this.#announcing !== undefined) {
      this.#again = true
      return await this.#announcing
    }
    this.#announcing = this.#announceAll().finally(() => {
      this.#announcing = undefined
    })
    return await this.#announcing
  }

  stop(): void {
    this.#stopping.abort()
    this.#cancel?.()
    this.#health.stop()
  }

  async #announceAll(): Promise<void> {
    do {
      this.#again = false
      await this.#announceOnce()
    } while (this.#again && !this.#stopping.signal.aborted)
  }

  async #announceOnce(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const { announce, held, log } = this.#options
    const own = this.#own
    try {
      const { targets, selectors } = own
      const reply = await announce({
        targets,
        selectors,
        health: this.#health.reports(),
        held: held(),
      })
      for (const { name, reason } of reply.refused)
        log.error('a target is not ours to serve', { target: name, reason })
      this.#take(own, reply)
    } catch (error) {
      const { message, away } = failureOf(error)
      // Control being away is told by the links; anything else stays until somebody does something.
      if (away) log.debug('control did not hear the inventory', { error: message })
      else log.warn('control did not take the inventory', { error: message })
    }
  }

  #take(own: OwnTargets, reply: Announcement): void {
    if (this.#stopping.signal.aborted) return
    if (reply.locks !== undefined) this.#options.locks(reply.locks)
    if (this.#revision !== undefined && this.#revision !== reply.revision) this.#options.outdated()
    this.#revision = reply.revision
    const keys = reply.keys ?? this.#served?.keys
    if (keys !== undefined) this.#serve(own, reply, keys)
    this.#options.answered()
  }

  #serve(own: OwnTargets, reply: Announcement, keys: HostKeys): void {
    const accepted = new Map(reply.accepted.map((each) => [keyOf(each), each]))
    const all = [
      ...own.targets,
      ...reply.dynamic.map((target) => ({ ...target, guard: own.guard })),
    ]
    const targets = all.flatMap((target) => {
      const label = accepted.get(keyOf(target.ref))?.label
      return label === undefined ? [] : [{ ...target, label }]
    })
    this.#served = { targets, keys }
    const dialled = targets.filter(isDialled)
    this.#health.watch(dialled.map((target) => withCheck(target, accepted.get(keyOf(target.ref)))))
    this.#options.serve(this.#served)
  }
}

/** A node may be called like a database. */
function keyOf({ kind, name }: Pick<TargetRef, 'kind' | 'name'>): string {
  return `${kind}/${name}`
}

/** Beside the name of the target the reason alone is enough. */
function shortly(error: unknown): never {
  if (!(error instanceof ProxyError)) throw error
  throw new Error(error.detail ?? error.message)
}

function withCheck(
  target: AgentTarget,
  accepted: Announcement['accepted'][number] | undefined,
): AgentTarget & { readonly check?: HealthCheck } {
  return accepted?.check === undefined ? target : { ...target, check: accepted.check }
}

export function failureOf(error: unknown): { readonly message: string; readonly away: boolean } {
  const code = errorCode(error)
  return {
    message: error instanceof Error ? error.message : String(error),
    away: code === 'control.unavailable' || code === 'dial.failed',
  }
}
