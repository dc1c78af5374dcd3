// Whether beacons of control still come, and everything they name with them: a carrier that withholds a message makes this agent
// stale, and only the agent itself can tell. Says so at once when it begins and when it ends, and audits a silence beyond the bound
// at which strict locking refuses. It refuses nothing itself.

import { max } from '../core/limits.ts'
import type { TrustFeed } from './trust-feed.ts'

export interface StalenessOptions {
  readonly feed: Pick<TrustFeed, 'staleMs' | 'snapshot'>
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
  /** It became stale, or fresh. */
  readonly onChange: () => void
}

export class Staleness {
  readonly #options: StalenessOptions
  #stale = true
  #audited = false

  constructor(options: StalenessOptions) {
    this.#options = options
  }

  /** Looks; called each second. */
  check(): void {
    const { feed, audit, onChange } = this.#options
    const silentMs = feed.staleMs()
    const stale = silentMs > max('trustLagMaxMs')
    if (stale !== this.#stale) {
      this.#stale = stale
      onChange()
    }
    const silent = silentMs > max('stalenessMaxMs')
    // Before the first beacon there is no silence to measure.
    if (silent && !this.#audited && Number.isFinite(silentMs)) {
      const mode = feed.snapshot?.config.lockingMode
      audit('snapshot.stale', 'SLS003W', { silent_ms: silentMs, locking_mode: mode })
    }
    this.#audited = silent
  }
}
