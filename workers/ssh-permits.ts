// Permits of control for SSH that ends at this proxy (core/permit.ts), kept for as long as each holds, so that whoever came before can
// come again while control is away. While it is there it is asked each time: what it refuses now is over. The agent decides again on
// every permit, on its own locks and policy. Lives in the proxy's main thread.

import { hash } from 'node:crypto'

import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { permitEndMs } from '../core/permit.ts'
import type { SshWish } from './proxy-options.ts'

interface Kept {
  readonly permit: Uint8Array
  readonly endsAtMs: number
}

export class SshPermits {
  readonly #clock: Clock
  readonly #ask: (wish: SshWish) => Promise<Uint8Array>
  /** Insertion order is age: the oldest goes first when full. */
  readonly #kept = new Map<string, Kept>()

  constructor(clock: Clock, ask: (wish: SshWish) => Promise<Uint8Array>) {
    this.#clock = clock
    this.#ask = ask
  }

  get size(): number {
    return this.#kept.size
  }

  /** Rejects as control does when it says no, and when it is away and nothing that holds is kept. */
  async get(wish: SshWish): Promise<Uint8Array> {
    const key = keyOf(wish)
    try {
      const permit = await within(max('controlAskMs'), this.#ask(wish))
      this.#keep(key, permit)
      return permit
    } catch (error) {
      const kept = this.#kept.get(key)
      const away = ['control.unavailable', 'dial.failed'].includes(errorCode(error) ?? '')
      if (away && kept !== undefined && this.#clock.now() < kept.endsAtMs) return kept.permit
      this.#kept.delete(key)
      throw error
    }
  }

  #keep(key: string, permit: Uint8Array): void {
    this.#kept.delete(key)
    const endsAtMs = permitEndMs(permit)
    if (endsAtMs === undefined) return
    this.#kept.set(key, { permit, endsAtMs })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > max('sshPermitsKeptMax') && oldest !== undefined)
      this.#kept.delete(oldest)
  }
}

/** Control decided for this login too, though the permit does not name it. */
function keyOf({ target, principal, certificate }: SshWish): string {
  return JSON.stringify([target.kind, target.name, principal, hash('sha256', certificate, 'hex')])
}

/** Rejects as if control were away when it does not answer in time; the question goes on. */
async function within<T>(ms: number, asked: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const text = 'Control does not answer.'
  const timer = setTimeout(() => reject(new ProxyError('control.unavailable', text)), ms)
  asked.catch(() => {})
  try {
    return await Promise.race([asked, promise])
  } finally {
    clearTimeout(timer)
  }
}
