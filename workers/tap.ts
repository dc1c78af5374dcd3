// The tap of sessions that nobody records: counts what passed and keeps nothing. The recorder puts its own in this place.

import type { Tap } from '../core/protocol.ts'

export class CountingTap implements Tap {
  messages = 0
  bytes = 0

  put(_code: number, _bytes: Uint8Array, from: number, to: number): boolean {
    this.messages++
    this.bytes += to - from
    return true
  }

  ready(): Promise<void> {
    return Promise.resolve()
  }

  seal(): Promise<void> {
    return Promise.resolve()
  }
}
