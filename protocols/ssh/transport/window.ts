// The inbound windows of all channels of a connection (RFC 4254, section 5.2): what a peer may send that nobody has read. A channel
// begins small and doubles while its reader keeps up; together they never pass sshUnreadBytesMax. Pure arithmetic.

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

  /** Bytes were read. Returns how much more the peer may now be told to send, 0 while half of the window is still open. */
  read(bytes: number): number {
    this.#unread -= bytes
    if (this.#open > this.#size / 2) return 0
    if (this.#unread < this.#size / 2) this.#grow()
    const grant = this.#size - this.#open - this.#unread
    this.#open += grant
    return grant
  }

  /** The channel is over: its window is another's. */
  release(): void {
    this.#budget.give(this.#size)
    this.#size = 0
    this.#open = 0
  }

  #grow(): void {
    const more = Math.min(this.#size, max('sshWindowBytesMax') - this.#size)
    if (more > 0 && this.#budget.take(more)) this.#size += more
  }
}
