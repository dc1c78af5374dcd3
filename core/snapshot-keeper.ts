// What a proxy or an agent believes of control's messages, whoever carried them: signed by a signer it knows, of its class, and
// never older than what it has seen. A beacon counts as fresh only when the locks and the snapshot it names are held, so a
// carrier that withholds a lock makes its receivers stale. Pure: saving and time come in as arguments.

import { hash } from 'node:crypto'
import { zstdDecompressSync } from 'node:zlib'

import { type SnapshotType, verifySigned } from './cert/signed.ts'
import type { Clock } from './clock.ts'
import type { ErrorCode } from './errors.ts'
import { errorCode } from './errors.ts'
import type { InventoryDelta } from './inventory.ts'
import { max } from './limits.ts'
import {
  decodeBeacon,
  decodeInventory,
  decodeLocks,
  decodeSnapshot,
  type SignedMessage,
} from './snapshot-codec.ts'
import {
  type Beacon,
  beaconAgeMs,
  type LightSnapshot,
  type LockSet,
  type SnapshotClass,
} from './snapshot.ts'

interface SavedMessage {
  readonly body: string
  readonly signature: string
}

/** What survives a restart: plain JSON. Revisions never go back; the newest messages serve while control is away. */
export interface SavedTrust {
  /** SPKI, base64. */
  readonly signers: readonly string[]
  readonly revision: number
  readonly lockRevision: number
  readonly snapshot?: SavedMessage
  readonly locks?: SavedMessage
}

export type Kept =
  | { readonly kind: 'snapshot'; readonly snapshot: LightSnapshot }
  | { readonly kind: 'locks'; readonly lockSet: LockSet }
  /** `fresh` is false while a newer snapshot or lock set is announced and not here. */
  | {
      readonly kind: 'beacon'
      readonly beacon: Beacon
      readonly fresh: boolean
      readonly skewMs: number
    }
  | { readonly kind: 'inventory-base'; readonly revision: number; readonly base: Uint8Array }
  | { readonly kind: 'inventory-delta'; readonly delta: InventoryDelta }
  /** Valid, and nothing new or not for this class: pass it on. */
  | { readonly kind: 'other' }
  | {
      readonly kind: 'refused'
      readonly code: ErrorCode
      readonly type: SnapshotType
      readonly reason: string
    }

export interface KeeperOptions {
  readonly class: SnapshotClass
  readonly saved: SavedTrust
  readonly clock: Clock
  /** Called before a newer snapshot or lock set is used; durable when it returns, or as soon as a full disk takes it. Must not throw. */
  readonly save: (saved: SavedTrust) => void
}

export class SnapshotKeeper {
  readonly #options: KeeperOptions
  #saved: SavedTrust
  #signers: readonly Uint8Array[]
  /** Revisions held in this process; 0 before the first message. */
  #held = { revision: 0, lockRevision: 0, inventory: 0 }
  #newest: Beacon | undefined
  #freshAtMs = 0

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#saved = options.saved
    this.#signers = options.saved.signers.map((text) => Buffer.from(text, 'base64'))
  }

  /** Revisions to ask a watch to begin after. */
  get held(): {
    readonly revision: number
    readonly lockRevision: number
    readonly inventory: number
  } {
    return this.#held
  }

  /** What was saved before the restart, as messages to accept first. */
  restore(): readonly Kept[] {
    const { locks, snapshot } = this.#saved
    const again = (type: SnapshotType, message: SavedMessage | undefined): readonly Kept[] =>
      message === undefined ? [] : [this.accept({ type, ...fromSaved(message) })]
    return [...again('locks', locks), ...again('snapshot', snapshot)]
  }

  /** Milliseconds since control's newest fresh beacon; Infinity before the first. */
  staleMs(): number {
    return this.#freshAtMs === 0
      ? Infinity
      : beaconAgeMs(this.#freshAtMs, this.#options.clock.now())
  }

  /** Control's time of the newest fresh beacon; 0 before the first. */
  get freshAtMs(): number {
    return this.#freshAtMs
  }

  accept(message: SignedMessage): Kept {
    const { type, body, signature } = message
    if (
      body.length > max('snapshotBytesMax') ||
      !verifySigned(type, body, signature, this.#signers)
    )
      return refused('snapshot.forged', type, 'it has no valid signature of control')
    try {
      switch (type) {
        case 'snapshot':
          return this.#snapshot(message)
        case 'locks':
          return this.#locks(message)
        case 'beacon':
          return this.#beacon(decodeBeacon(body))
        case 'inventory':
          return this.#inventory(message)
      }
    } catch (error) {
      if (errorCode(error) === undefined || !(error instanceof Error)) throw error
      return refused('snapshot.forged', type, error.message)
    }
  }

  #snapshot(message: SignedMessage): Kept {
    const snapshot = decodeSnapshot(message.body)
    if (snapshot.class !== this.#options.class) return { kind: 'other' }
    const { revision } = snapshot
    if (revision < this.#saved.revision)
      return rolledBack('snapshot', revision, this.#saved.revision)
    if (revision === this.#held.revision) return { kind: 'other' }
    if (snapshot.signers.length === 0)
      return refused('snapshot.forged', 'snapshot', 'it names no signer')
    this.#save({
      ...this.#saved,
      revision,
      signers: snapshot.signers.map((spki) => Buffer.from(spki).toString('base64')),
      snapshot: toSaved(message),
    })
    this.#signers = snapshot.signers
    this.#held = { ...this.#held, revision }
    this.#freshen()
    return { kind: 'snapshot', snapshot }
  }

  #locks(message: SignedMessage): Kept {
    const lockSet = decodeLocks(message.body)
    const { revision } = lockSet
    if (revision < this.#saved.lockRevision)
      return rolledBack('locks', revision, this.#saved.lockRevision)
    if (revision === this.#held.lockRevision && revision !== 0) return { kind: 'other' }
    this.#save({ ...this.#saved, lockRevision: revision, locks: toSaved(message) })
    this.#held = { ...this.#held, lockRevision: revision }
    this.#freshen()
    return { kind: 'locks', lockSet }
  }

  #beacon(beacon: Beacon): Kept {
    const skewMs = this.#options.clock.now() - beacon.timeMs
    // Of the future: one of the two clocks is wrong. Kept, it would pass for news until that time has come.
    if (skewMs < -max('clockSkewRefuseMs')) return { kind: 'beacon', beacon, fresh: false, skewMs }
    // A repeated beacon is no news: staleness counts from the time it was signed.
    if (this.#newest !== undefined && beacon.timeMs <= this.#newest.timeMs) return { kind: 'other' }
    this.#newest = beacon
    const fresh = this.#freshen()
    return { kind: 'beacon', beacon, fresh, skewMs }
  }

  #inventory({ body, payload }: SignedMessage): Kept {
    const manifest = decodeInventory(body)
    if (this.#options.class !== 'proxy') return { kind: 'other' }
    if (manifest.revision <= this.#held.inventory) return { kind: 'other' }
    if (manifest.kind === 'delta') {
      if (manifest.from !== this.#held.inventory)
        return refused('snapshot.stale', 'inventory', 'it does not follow the base that is held')
      this.#held = { ...this.#held, inventory: manifest.revision }
      return { kind: 'inventory-delta', delta: manifest }
    }
    const base = inflate(payload, manifest.bytes)
    if (base === undefined || hash('sha256', base, 'hex') !== manifest.sha256)
      return refused('snapshot.forged', 'inventory', 'its bytes are not the ones control signed')
    this.#held = { ...this.#held, inventory: manifest.revision }
    return { kind: 'inventory-base', revision: manifest.revision, base }
  }

  #freshen(): boolean {
    const beacon = this.#newest
    if (beacon === undefined) return false
    const { revision, lockRevision } = this.#held
    if (beacon.snapshotRevision > revision || beacon.lockRevision > lockRevision) return false
    this.#freshAtMs = Math.max(this.#freshAtMs, beacon.timeMs)
    return true
  }

  #save(saved: SavedTrust): void {
    this.#options.save(saved)
    this.#saved = saved
  }
}

// zlib takes no smaller piece.
const ZSTD_CHUNK_BYTES_MIN = 64

function inflate(payload: Uint8Array | undefined, bytes: number): Buffer | undefined {
  if (payload === undefined || bytes > max('snapshotBytesMax')) return undefined
  try {
    // In one piece, and room for a byte too many: collecting small pieces takes twice as long, and all the while nothing else runs.
    const chunkSize = Math.max(bytes + 1, ZSTD_CHUNK_BYTES_MIN)
    const base = zstdDecompressSync(payload, { maxOutputLength: bytes, chunkSize })
    return base.length === bytes ? base : undefined
  } catch {
    return undefined
  }
}

function toSaved({ body, signature }: SignedMessage): SavedMessage {
  return {
    body: Buffer.from(body).toString('base64'),
    signature: Buffer.from(signature).toString('base64'),
  }
}

function fromSaved({ body, signature }: SavedMessage): { body: Uint8Array; signature: Uint8Array } {
  return { body: Buffer.from(body, 'base64'), signature: Buffer.from(signature, 'base64') }
}

function rolledBack(type: SnapshotType, revision: number, seen: number): Kept {
  return refused(
    'snapshot.rolled-back',
    type,
    `it is revision ${revision}, and ${seen} was seen before`,
  )
}

function refused(code: ErrorCode, type: SnapshotType, why: string): Kept {
  return { kind: 'refused', code, type, reason: `A ${type} message is refused: ${why}.` }
}
