// Counts connections that turned out to be nothing of ours, and sums them up per source once a minute. A scanner must not be able
// to fill a log, nor the memory with source addresses: beyond a bound the rest is one number.

import { max } from '../core/limits.ts'

export interface StrangerSummary {
  readonly total: number
  readonly sources: readonly { readonly source: string; readonly count: number }[]
  /** Strangers of sources that are not named. */
  readonly others: number
}

export class Strangers {
  readonly #onSummary: (summary: StrangerSummary) => void
  #counts = new Map<string, number>()
  #others = 0
  #timer: NodeJS.Timeout | undefined

  constructor(onSummary: (summary: StrangerSummary) => void) {
    this.#onSummary = onSummary
  }

  note(source: string): void {
    const count = this.#counts.get(source)
    if (count !== undefined) this.#counts.set(source, count + 1)
    else if (this.#counts.size < max('strangerSourcesMax')) this.#counts.set(source, 1)
    else this.#others++
    this.#timer ??= setTimeout(() => this.flush(), max('strangerSummaryMs'))
  }

  /** Says what there is to say now; at the end, too. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const sources = [...this.#counts].map(([source, count]) => ({ source, count }))
    const others = this.#others
    if (sources.length === 0) return
    this.#counts = new Map()
    this.#others = 0
    const total = sources.reduce((sum, { count }) => sum + count, others)
    this.#onSummary({ total, sources: sources.sort((a, b) => b.count - a.count), others })
  }
}

/** One event for each of the busiest sources of a minute, not one per knock. */
export function auditStrangers(
  audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void,
  { total, sources, others }: StrangerSummary,
): void {
  for (const { source, count } of sources.slice(0, max('strangerEventsMax')))
    audit('strangers.summary', 'SLN001W', {
      'addr.remote': source,
      connections: count,
      total,
      others,
    })
}
