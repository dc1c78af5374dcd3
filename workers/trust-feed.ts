// The main thread's half of trust: takes signed messages from whoever carried them, believes what the keeper believes, and
// hands its worker threads each change. Messages are kept as they came, so that a proxy can pass them on to its agents.

import type { Clock } from '../core/clock.ts'
import { Inventory } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { TrustMessage } from '../core/messages.ts'
import { decodeSnapshot, type SignedMessage } from '../core/snapshot-codec.ts'
import { type Kept, type SavedTrust, SnapshotKeeper } from '../core/snapshot-keeper.ts'
import type { AuditCheckpoint, LightSnapshot, LockSet, SnapshotClass } from '../core/snapshot.ts'
import type { Anchor } from './anchor.ts'

export interface TrustFeedOptions {
  readonly class: SnapshotClass
  readonly saved: SavedTrust
  readonly save: (saved: SavedTrust) => void
  readonly clock: Clock
  readonly log: Logger
  /** Every change, in the order it must be applied. */
  readonly onChange: (message: TrustMessage) => void
  /** A message that lies about its origin or goes back; `carrier` says who brought it. */
  readonly onRefused: (refused: Extract<Kept, { kind: 'refused' }>, carrier: string) => void
  readonly anchor: Anchor
  /** What is believed, as control signed it: for whoever judges by himself. */
  readonly onHeld?: (message: SignedMessage) => void
  /** Proxies: pass this on to agents. */
  readonly onForward?: (message: SignedMessage) => void
}

export class TrustFeed {
  readonly #options: TrustFeedOptions
  readonly #keeper: SnapshotKeeper
  /** Newest messages agents want, by type. */
  readonly #forward = new Map<string, SignedMessage>()
  #snapshot: LightSnapshot | undefined
  #locks: LockSet = { revision: 0, locks: [], generations: {} }
  #inventory: Inventory | undefined
  #skewSaidAtMs = Number.NEGATIVE_INFINITY

  constructor(options: TrustFeedOptions) {
    this.#options = options
    this.#keeper = new SnapshotKeeper(options)
  }

  /** Applies what was saved before the restart, so that sessions open while control is away. */
  restore(): void {
    for (const kept of this.#keeper.restore()) this.#apply(kept, 'disk')
  }

  get snapshot(): LightSnapshot | undefined {
    return this.#snapshot
  }

  get lockSet(): LockSet {
    return this.#locks
  }

  get inventory(): Inventory | undefined {
    return this.#inventory
  }

  /** Revisions a watch should begin after. */
  get held(): {
    readonly revision: number
    readonly lockRevision: number
    readonly inventory: number
  } {
    return this.#keeper.held
  }

  /** Control's time of the newest beacon of which everything is held; 0 before the first. */
  get trustedAtMs(): number {
    return this.#keeper.freshAtMs
  }

  staleMs(): number {
    return this.#keeper.staleMs()
  }

  get checkpoint(): AuditCheckpoint | undefined {
    return this.#options.anchor.checkpoint
  }

  /** What a newly linked agent must hear, locks first. */
  get forwarded(): readonly SignedMessage[] {
    return ['locks', 'snapshot', 'beacon'].flatMap((type) => this.#forward.get(type) ?? [])
  }

  accept(message: SignedMessage, carrier: string): void {
    const kept = this.#keeper.accept(message)
    if (kept.kind !== 'refused') {
      this.#remember(message, kept)
      this.#options.onHeld?.(message)
    }
    this.#apply(kept, carrier)
  }

  /** All current trust as messages: what a new worker thread starts with. */
  current(): readonly TrustMessage[] {
    const snapshot: readonly TrustMessage[] =
      this.#snapshot === undefined ? [] : [{ kind: 'snapshot', snapshot: this.#snapshot }]
    return [
      { kind: 'locks', lockSet: this.#locks },
      ...snapshot,
      { kind: 'beacon', atMs: this.#keeper.freshAtMs },
    ]
  }

  #remember(message: SignedMessage, kept: Kept): void {
    const { onForward } = this.#options
    if (onForward === undefined || message.type === 'inventory') return
    // A proxy is sent both classes; agents get theirs.
    if (message.type === 'snapshot' && (kept.kind === 'snapshot' || !forAgents(message))) return
    this.#forward.set(message.type, message)
    onForward(message)
  }

  #apply(kept: Kept, carrier: string): void {
    const { onChange, onRefused } = this.#options
    switch (kept.kind) {
      case 'snapshot':
        this.#snapshot = kept.snapshot
        return onChange({ kind: 'snapshot', snapshot: kept.snapshot })
      case 'locks':
        this.#locks = kept.lockSet
        return onChange({ kind: 'locks', lockSet: kept.lockSet })
      case 'beacon':
        this.#noteSkew(kept.skewMs)
        if (kept.beacon.checkpoint !== undefined) this.#options.anchor.take(kept.beacon.checkpoint)
        return onChange({ kind: 'beacon', atMs: this.#keeper.freshAtMs })
      case 'inventory-base':
        this.#inventory = new Inventory(shared(kept.base), kept.revision)
        return
      case 'inventory-delta':
        this.#inventory?.apply(kept.delta)
        return
      case 'other':
        return
      case 'refused':
        onRefused(kept, carrier)
    }
  }

  /** A clock that is off breaks every date check; say so once a minute, with both times. */
  #noteSkew(skewMs: number): void {
    const { clock, log } = this.#options
    if (Math.abs(skewMs) < max('clockSkewWarnMs')) return
    if (clock.monotonic() - this.#skewSaidAtMs < max('clockSkewRefuseMs')) return
    this.#skewSaidAtMs = clock.monotonic()
    const here = new Date(clock.now()).toISOString()
    const there = new Date(clock.now() - skewMs).toISOString()
    log.warn('this machine’s clock differs from control’s', { here, control: there })
  }
}

type Audit = (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void

/** Tells the audit log of a message that was refused, and who carried it: another host, `control` itself, or `disk`. */
export function auditRefused(
  audit: Audit,
  { code, reason, type }: Extract<Kept, { kind: 'refused' }>,
  carrier: string,
): void {
  const event = code === 'snapshot.rolled-back' ? 'SLS002E' : 'SLS001E'
  audit('snapshot.refused', event, { proxy_id: carrier, kind: type, reason })
}

function forAgents(message: SignedMessage): boolean {
  return decodeSnapshot(message.body).class === 'agent'
}

/** One copy of the base for all threads of the process. */
function shared(base: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(base.length))
  bytes.set(base)
  return bytes
}
