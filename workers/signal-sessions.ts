// The sessions of one worker thread that signals reach, by the key their clients were shown. Keys are compared in constant time,
// and a session that was guessed at is deaf for a while, whichever way the guesses came.

import { timingSafeEqual } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Source } from '../core/messages.ts'
import { handleOf } from '../core/tunnel/signal.ts'
import { SignalGate } from './signal-gate.ts'

/** Where a signal came from. */
export type SignalFrom = Pick<Source, 'address' | 'port'>

interface Entry {
  readonly key: Uint8Array
  readonly deliver: (from: SignalFrom) => void
}

export class SignalSessions {
  readonly #sessions = new Map<number, Set<Entry>>()
  readonly #gate: SignalGate

  constructor(clock: Clock) {
    this.#gate = new SignalGate({ clock, wrongMax: max('signalWrongPerSlotMax'), waitingMax: 0 })
  }

  get size(): number {
    let size = 0
    for (const entries of this.#sessions.values()) size += entries.size
    return size
  }

  /** `deliver` is told where a signal with this key came from. The result ends it: the session is over. */
  add(key: Uint8Array, deliver: (from: SignalFrom) => void): () => void {
    const handle = handleOf(key)
    if (handle === undefined) return () => {}
    const entry: Entry = { key, deliver }
    const entries = this.#sessions.get(handle) ?? new Set()
    this.#sessions.set(handle, entries.add(entry))
    return () => {
      entries.delete(entry)
      if (entries.size === 0 && this.#sessions.get(handle) === entries) this.#end(handle)
    }
  }

  /** True when a session here knows the key; it is told. */
  signal(key: Uint8Array, from: SignalFrom): boolean {
    const handle = handleOf(key)
    const entries = handle === undefined ? undefined : this.#sessions.get(handle)
    if (entries === undefined) return false
    let hit: Entry | undefined
    this.#gate.enter(String(handle), (settle) => {
      // All are compared: how long it takes says nothing of which one it was.
      for (const entry of entries) if (sameKey(entry.key, key)) hit = entry
      settle(hit !== undefined)
    })
    hit?.deliver(from)
    return hit !== undefined
  }

  /** What was counted against the last session goes with it: the handle may name another one soon. */
  #end(handle: number): void {
    this.#sessions.delete(handle)
    this.#gate.forget(String(handle))
  }
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
