// Spares for sessions whose worker waits for one: from an agent that is linked and takes the session, or one that links in time; and
// what the links hear of how that went. Main thread of a proxy. It knows nothing of tickets or people: whoever may have a spare was
// decided before.

import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { SpareGrant, ToProxyWorker } from '../core/messages.ts'
import { discard } from './handover.ts'
import type { Elsewhere } from './open-spare.ts'
import { pause } from './pause.ts'
import type { PoolThread } from './pool.ts'
import type { LinkedAgent, ProxyLinks } from './proxy-links.ts'

/** A session that needs spares, until it is over. */
export interface Seeker {
  readonly number: number
  readonly thread: PoolThread<ToProxyWorker> | undefined
  /** Whose spare it has, and since when. */
  agentId: string
  spareAtMs: number
  /** Agents that answered that they do not have the target. */
  readonly without: Set<string>
}

export interface Search {
  readonly target: TargetRef
  /** Monotonic. */
  readonly deadlineMs: number
  /** Agents that may serve it. */
  readonly agents: readonly string[]
  /** The session is not over. */
  readonly alive: () => boolean
  readonly message: (spare: SpareGrant) => ToProxyWorker
}

export class SpareSupply {
  readonly #clock: Clock
  readonly #links: ProxyLinks

  constructor(clock: Clock, links: ProxyLinks) {
    this.#clock = clock
    this.#links = links
  }

  /** The spare it had died before an answer, or the agent behind it did not take the session. */
  lost(seeker: Seeker, refused: Elsewhere | undefined): void {
    const { agentId, spareAtMs, without } = seeker
    if (agentId === '') return
    this.#links.ended(agentId)
    seeker.agentId = ''
    if (refused === 'drain') this.#links.drains(agentId)
    else if (refused === 'no-target') without.add(agentId)
    else this.#links.silent(agentId, spareAtMs)
  }

  /** The session goes to this agent, whose spare was taken. */
  given(seeker: Seeker, { agentId }: LinkedAgent): void {
    seeker.agentId = agentId
    seeker.spareAtMs = this.#clock.monotonic()
    this.#links.given(agentId)
  }

  /** The session is over. */
  ended({ agentId }: Seeker): void {
    this.#links.ended(agentId)
  }

  /** Sends the seeker's worker a spare, or `no-spare` when there was none in time. */
  async supply(seeker: Seeker, search: Search): Promise<void> {
    const { agents, target } = search
    while (search.alive()) {
      const leftMs = search.deadlineMs - this.#clock.monotonic()
      // Where all have said no, nobody else will say yes.
      if (leftMs <= 0 || agents.every((id) => seeker.without.has(id))) break
      const agent = this.#links.choose(agents, target, seeker.without)
      if (agent !== undefined && (await this.#giveFrom(agent, seeker, search, leftMs))) return
      if (agent === undefined)
        await Promise.race([this.#links.nextLink(), pause(Math.min(leftMs, 1000))])
    }
    seeker.thread?.post({ kind: 'no-spare', session: seeker.number })
  }

  async #giveFrom(
    agent: LinkedAgent,
    seeker: Seeker,
    search: Search,
    leftMs: number,
  ): Promise<boolean> {
    // Not the whole time left: the agent may be gone and another one may serve.
    const waitMs = Math.min(leftMs, max('spareAcceptDeadlineMs'))
    const taken = await this.#links.pool.want(agent.agentId, undefined, waitMs)
    if (taken === undefined) {
      this.#links.silent(agent.agentId, this.#clock.monotonic())
      return false
    }
    const current = this.#links.get(agent.agentId)
    if (current === undefined || seeker.thread === undefined || !search.alive()) {
      discard(taken.handle)
      return false
    }
    this.given(seeker, current)
    const spare = this.#links.grant(current, taken)
    return seeker.thread.post(search.message(spare), [spare.handle])
  }
}
