// Whether locks still reach whoever enforces them: one is set on a person, who is then refused, and lifted, and they are let in.
// The surest sign that trust is not stale: control's word, the proxy's carriage and the agent's belief all take part.

import assert from 'node:assert/strict'

import type { Cluster } from '../fixtures/cluster.ts'
import { eventually } from '../faults/eventually.ts'

/** Design section 7: a second after control's commit wherever beacons arrive; a busy machine needs more. */
const REACHED_MS = 15_000
const NAME = 'fault-matrix'

interface Tried {
  readonly served: boolean
  readonly words: string
}

export class Locks {
  readonly #cluster: Cluster
  readonly #user: string
  readonly #trial: () => Promise<Tried>

  /** `trial` is a new session of the user. */
  constructor(cluster: Cluster, user: string, trial: () => Promise<Tried>) {
    this.#cluster = cluster
    this.#user = user
    this.#trial = trial
  }

  async set(): Promise<void> {
    await this.#cluster.admin.call('resource-create', {
      kind: 'lock',
      document: {
        kind: 'lock',
        version: 'v2',
        metadata: { name: NAME },
        spec: { target: { user: this.#user }, message: 'locked by the fault matrix' },
      },
    })
  }

  async lift(): Promise<void> {
    await this.#cluster.admin.call('resource-delete', { kind: 'lock', name: NAME })
  }

  /** Set, obeyed, lifted, and that is obeyed too. */
  async obeyed(): Promise<void> {
    await this.set()
    let words = ''
    const becomes = async (wanted: boolean): Promise<boolean> => {
      const tried = await this.#trial()
      words = tried.words
      return tried.served === wanted
    }
    try {
      await eventually(
        () => becomes(false),
        REACHED_MS,
        () => `the lock is obeyed: ${words}`,
      )
      assert.match(words, /lock/)
    } finally {
      await this.lift()
    }
    await eventually(
      () => becomes(true),
      REACHED_MS,
      () => `the lifted lock is forgotten: ${words}`,
    )
  }
}
