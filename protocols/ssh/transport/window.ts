// The inbound windows of all channels of a connection (RFC 4254, section 5.2): what a peer may send that nobody has read. A channel's
// begins small, doubles while its reader has to wait for more and eases while it does not, so that what lies unread is what keeps the
// reader busy; together they never pass sshUnreadBytesMax. Pure arithmetic.

import { max } from '../../../core/limits.ts'

/** What all windows of one connection share. */
export class WindowBudget {
  #left = max('sshUnreadBytesMax')

  /** False: there is not so much left, and nothing was taken. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false
    this.#left -= bytes
    return true
  }

  give(bytes: number): void {
    this.#left += bytes
  }
}

export class InboundWindow {
  readonly #budget: WindowBudget
  /** Of the window when nothing is unread. */
  #size: number
  /** What the peer may still send. */
  #open: number
  #unread = 0
  #starved = false

  private constructor(budget: WindowBudget, size: number) {
    this.#budget = budget
    this.#size = size
    this.#open = size
  }

  /** Undefined: the connection's budget is used up. */
  static of(budget: WindowBudget): InboundWindow | undefined {
    const size = max('sshWindowStartBytes')
    return budget.take(size) ? new InboundWindow(budget, size) : undefined
  }

  get size(): number {
    return this.#size
  }

  /** Bytes came. False: more than the peer was allowed. */
  arrive(bytes: number): boolean {
    if (bytes > this.#open) return false
    this.#open -= bytes
    this.#unread += bytes
    return true
  }

  /** The reader found nothing and waits. */
  starve(): void {
    this.#starved = true
  }

  /** Bytes were read. Returns how much more the peer may now be told to send: 0 until it is half of the window, so that it is told seldom. */
  read(bytes: number): number {
    this.#unread -= bytes
    if (this.#closed < this.#size / 2) return 0
    if (this.#starved) this.#grow()
    else this.#ease()
    this.#starved = false
    const grant = this.#closed
    this.#open += grant
    return grant
  }

  /** The channel is over: its window is another's. */
  release(): void {
    this.#budget.give(this.#size)
    this.#size = 0
    this.#open = 0
  }

  /** What was read and not granted again. */
  get #closed(): number {
    return this.#size - this.#open - this.#unread
  }

  #grow(): void {
    const more = Math.min(this.#size, max('sshWindowBytesMax') - this.#size)
    if (more > 0 && this.#budget.take(more)) this.#size += more
  }

  /** By a quarter: at most a half is open or unread now, so a grant is left. */
  #ease(): void {
    const less = Math.min(Math.floor(this.#size / 4), this.#size - max('sshWindowStartBytes'))
    this.#budget.give(less)
    this.#size -= less
  }
}
