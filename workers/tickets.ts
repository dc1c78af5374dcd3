// The turnstile behind a good routing ticket (design section 5): a ticket may be replayed by whoever saw it, so what it can
// cost is bounded here. Per ticket: 8 dials that no agent accepted yet, up to 512 more that wait, 8 refusals, and a rate. It
// grants nothing: the agent ignores tickets.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'

/** One dial that passed or waits. `leave` must be called exactly once, when the agent accepted or the dial ended. */
export interface Dial {
  leave(): void
}

interface Ticket {
  unaccepted: number
  /** Refusals that an agent has not taken yet. */
  refusals: number
  readonly waiting: Set<Waiting>
  /** Token bucket: dials left now, and when it was last filled. */
  left: number
  filledAtMs: number
}

interface Waiting {
  start(): void
}

const MINUTE_MS = 60_000

export class TicketGate {
  readonly #tickets = new Map<string, Ticket>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Tickets with dials in flight; returns to zero when all ended. */
  get size(): number {
    return this.#tickets.size
  }

  /**
   * Lets a dial of this ticket in. `start` runs at once, or when another dial of the ticket was accepted. Returns undefined
   * when the ticket is over a limit: the dial is refused with `limit`.
   */
  enter(ticketId: string, start: () => void): Dial | undefined {
    const ticket = this.#ticket(ticketId)
    if (!this.#spend(ticket) || ticket.waiting.size >= max('ticketWaitingMax')) {
      this.#forget(ticketId, ticket)
      return undefined
    }
    if (ticket.unaccepted >= max('ticketDialsUnacceptedMax'))
      return this.#wait(ticketId, ticket, start)
    ticket.unaccepted++
    start()
    return { leave: once(() => this.#leave(ticketId, ticket)) }
  }

  /**
   * A dial that was not let in may be told so by an agent, which costs a spare and a handshake: as many at once as dials. Undefined:
   * the caller is turned away without words.
   */
  refuse(ticketId: string): Dial | undefined {
    const ticket = this.#ticket(ticketId)
    if (ticket.refusals >= max('ticketRefusalsUnacceptedMax')) return undefined
    ticket.refusals++
    const leave = (): void => {
      ticket.refusals--
      this.#forget(ticketId, ticket)
    }
    return { leave: once(leave) }
  }

  /** Drops buckets that are full again and have nothing in flight. Called by the owner's minute timer. */
  sweep(): void {
    for (const [id, ticket] of this.#tickets) this.#forget(id, ticket)
  }

  #wait(ticketId: string, ticket: Ticket, start: () => void): Dial {
    const waiting: Waiting = { start }
    ticket.waiting.add(waiting)
    const leave = (): void => {
      if (!ticket.waiting.delete(waiting)) this.#leave(ticketId, ticket)
    }
    return { leave: once(leave) }
  }

  #leave(ticketId: string, ticket: Ticket): void {
    ticket.unaccepted--
    const [next] = ticket.waiting
    if (next !== undefined) {
      ticket.waiting.delete(next)
      ticket.unaccepted++
      next.start()
    } else this.#forget(ticketId, ticket)
  }

  #ticket(ticketId: string): Ticket {
    const known = this.#tickets.get(ticketId)
    if (known !== undefined) return known
    const ticket: Ticket = {
      unaccepted: 0,
      refusals: 0,
      waiting: new Set(),
      left: max('ticketDialsPerMinuteMax'),
      filledAtMs: this.#clock.monotonic(),
    }
    this.#tickets.set(ticketId, ticket)
    return ticket
  }

  #spend(ticket: Ticket): boolean {
    this.#fill(ticket)
    if (ticket.left < 1) return false
    ticket.left--
    return true
  }

  #fill(ticket: Ticket): void {
    const nowMs = this.#clock.monotonic()
    const perMinute = max('ticketDialsPerMinuteMax')
    ticket.left = Math.min(
      perMinute,
      ticket.left + ((nowMs - ticket.filledAtMs) / MINUTE_MS) * perMinute,
    )
    ticket.filledAtMs = nowMs
  }

  #forget(ticketId: string, ticket: Ticket): void {
    if (ticket.unaccepted > 0 || ticket.refusals > 0 || ticket.waiting.size > 0) return
    this.#fill(ticket)
    if (ticket.left >= max('ticketDialsPerMinuteMax')) this.#tickets.delete(ticketId)
  }
}

function once(action: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    action()
  }
}
