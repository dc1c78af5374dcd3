// Token buckets per key: how many anonymous calls one source, and one connection, may make. Bounded in keys: the least recently
// used bucket goes first, and a key that is gone begins with a full bucket.

import { LRUCache } from 'lru-cache'

import type { Clock } from '../../core/clock.ts'

const KEYS_MAX = 50_000
const MINUTE_MS = 60_000

interface Bucket {
  left: number
  filledAtMs: number
}

export class RateGate {
  readonly #buckets = new LRUCache<string, Bucket>({ max: KEYS_MAX })
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Spends one of `perMinute`. False when there is none left. */
  take(key: string, perMinute: number): boolean {
    const nowMs = this.#clock.monotonic()
    const bucket = this.#buckets.get(key) ?? { left: perMinute, filledAtMs: nowMs }
    const filled = bucket.left + ((nowMs - bucket.filledAtMs) / MINUTE_MS) * perMinute
    bucket.left = Math.min(perMinute, filled)
    bucket.filledAtMs = nowMs
    this.#buckets.set(key, bucket)
    if (bucket.left < 1) return false
    bucket.left--
    return true
  }
}
