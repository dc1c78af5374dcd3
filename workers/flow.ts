// Backpressure between the two sides of a session (recipe 2): when a side does not take what is written to it, whoever makes
// those bytes stops being read, until everything was taken. A session never sees any of it.

import { max } from '../core/limits.ts'
import type { Side } from '../core/protocol.ts'
import type { SideStream } from './side.ts'

const SIDES: readonly Side[] = ['client', 'target']

export class Flow {
  readonly #sides: Readonly<Record<Side, SideStream>>
  /** By the side that takes no more: who must stop. */
  readonly #stopped: Readonly<Record<Side, Set<Side>>> = { client: new Set(), target: new Set() }

  constructor(sides: Readonly<Record<Side, SideStream>>) {
    this.#sides = sides
  }

  /** `from`: whose bytes caused it, absent for an event. A side that does not read the answers to itself is stopped, too. */
  write(to: Side, pieces: readonly Uint8Array[], from: Side | undefined): void {
    const side = this.#sides[to]
    side.write(pieces)
    if (from !== undefined && side.bufferedBytes > max('sessionBufferedBytesMax'))
      this.#stopped[to].add(from)
  }

  drained(side: Side): void {
    this.#stopped[side].clear()
    this.apply()
  }

  /** A side is read when nobody waits for the other to drain and the session has consumed what it was shown. */
  apply(): void {
    for (const side of SIDES) {
      const stopped = this.#stopped.client.has(side) || this.#stopped.target.has(side)
      this.#sides[side].flow(!stopped && this.#sides[side].held.length === 0)
    }
  }
}
