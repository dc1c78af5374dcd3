// How often one person may ask for nodes, counted over all workers of a proxy: as a routing ticket is bounded (tickets.ts), so is a
// login certificate. A dial of theirs counts until an agent took the session; those that wait begin when another was accepted. Names
// that stand for nothing are asked for at the same price.

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Ledger } from './ledger.ts'
import { type Dial, TicketGate } from './tickets.ts'

export class NodeGate {
  readonly #gate: TicketGate
  readonly #sweep: NodeJS.Timeout

  constructor(clock: Clock, ledger: Ledger) {
    this.#gate = new TicketGate(clock)
    ledger.watch('people asking for nodes', () => this.#gate.size)
    this.#sweep = setInterval(() => this.#gate.sweep(), max('ticketSweepMs'))
    this.#sweep.unref()
  }

  /**
   * `entered` hears of the dial at once, also of one that waits; resolves when its turn has come. Rejects with `limit.exceeded`, also
   * for one that leaves while it waits.
   */
  enter(user: string, entered: (dial: Dial) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const dial = this.#gate.enter(user, resolve)
      if (dial === undefined) return reject(tooMany())
      return entered({
        leave() {
          dial.leave()
          reject(tooMany())
        },
      })
    })
  }

  close(): void {
    clearInterval(this.#sweep)
  }
}

function tooMany(): ProxyError {
  const text = 'too many nodes are asked for by this user at once'
  return new ProxyError('limit.exceeded', text, { next: 'Wait a moment.' })
}
