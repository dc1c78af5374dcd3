// The handles of a proxy's sessions: one slot each for as long as the session lives. A slot is used again as late as possible, so
// that a late message for a session that is over rarely meets another one (whose secret it does not know).

import { randomInt } from 'node:crypto'

import { SIGNAL_SLOTS, signalHandle } from '../core/tunnel/signal.ts'

export class SignalSlots<Owner> {
  readonly #proxyId: string
  readonly #slots: number
  readonly #owners = new Map<number, Owner>()
  #slot: number

  constructor(proxyId: string, slots: number = SIGNAL_SLOTS, lastSlot: number = randomInt(slots)) {
    this.#proxyId = proxyId
    this.#slots = slots
    this.#slot = lastSlot
  }

  get size(): number {
    return this.#owners.size
  }

  /** A handle for this session; 0 when all are taken, and no signal reaches it. */
  take(owner: Owner): number {
    if (this.#owners.size >= this.#slots - 1) return 0
    do this.#slot = (this.#slot + 1) % this.#slots
    while (this.#slot === 0 || this.#owners.has(signalHandle(this.#proxyId, this.#slot)))
    const handle = signalHandle(this.#proxyId, this.#slot)
    this.#owners.set(handle, owner)
    return handle
  }

  owner(handle: number): Owner | undefined {
    return this.#owners.get(handle)
  }

  /** The session is over. */
  free(handle: number): void {
    this.#owners.delete(handle)
  }
}
