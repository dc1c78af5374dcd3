// Trust state on its way out: builds snapshots, lock sets, beacons and the inventory from the cache, has the signer sign them, and
// hands them to the watchers. Locks go out in a message of their own as soon as they are committed; snapshots are gathered for a
// moment; the inventory is one base and small changes, built in steps so that no call waits for it (docs/decisions/0004-control.md).

import { hash } from 'node:crypto'
import { promisify } from 'node:util'
import { zstdCompress } from 'node:zlib'

import type { SnapshotType } from '../core/cert/signed.ts'
import type { TargetRef } from '../core/identity.ts'
import { inventorySteps } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import {
  encodeBeacon,
  encodeInventory,
  encodeLocks,
  encodeSnapshot,
} from '../core/snapshot-codec.ts'
import type { AuditCheckpoint, LightSnapshot, SnapshotClass, Target } from '../core/snapshot.ts'
import type { WatchItem, WatchRequest } from './api/messages.ts'
import type { Base } from './base.ts'
import type { Cache, Change } from './cache.ts'
import { asTarget } from './certificates.ts'
import { Coalescer } from './coalescer.ts'
import { keySegments } from './store/contract.ts'
import { publish, type Published, Watcher } from './watchers.ts'

export interface SnapshotParts {
  readonly base: Base
  readonly cache: Cache
  readonly checkpoint: () => AuditCheckpoint | undefined
}

interface Inventory {
  readonly revision: number
  readonly base: Published
  readonly changes: readonly Published[]
}

const compress = promisify(zstdCompress)

export class Snapshots {
  readonly #parts: SnapshotParts
  readonly #watchers = new Set<Watcher>()
  /** Store keys of targets whose change is not out yet. */
  readonly #changedTargets = new Set<string>()
  readonly #work: Readonly<Record<Change, Coalescer>>
  #locks: { readonly revision: number; readonly message: Published } | undefined
  #light: { readonly revision: number; readonly messages: readonly Published[] } | undefined
  #inventory: Inventory | undefined
  #beacon: Published | undefined
  #timer: NodeJS.Timeout | undefined
  #locked: () => void = () => {}
  #beaconAtMs = 0

  constructor(parts: SnapshotParts) {
    this.#parts = parts
    const failed = (error: unknown): void =>
      parts.base.log.error('snapshot not published', { error: String(error) })
    const light = new Coalescer(() => this.#publishLight(), max('snapshotGatherMs'), failed)
    this.#work = {
      locks: new Coalescer(() => this.#publishLocks(), 0, failed),
      light,
      // Agents are only told that there is something to ask for.
      targets: light,
      inventory: new Coalescer(() => this.#publishInventory(), max('snapshotGatherMs'), failed),
    }
  }

  /**
   * Publishes everything once, then whenever something changes, and a beacon each second. `locked` is called when a lock set
   * is out: connections of control's own are judged again.
   */
  async start(locked: () => void): Promise<void> {
    this.#locked = locked
    await this.#publishLocks()
    await this.#publishLight()
    await this.#publishInventory()
    await this.#publishBeacon()
    this.#parts.cache.onChange((change) => this.#work[change].poke())
    this.#timer = setInterval(() => {
      this.#publishBeacon().catch((error: unknown) =>
        this.#parts.base.log.warn('beacon not published', { error: String(error) }),
      )
    }, max('beaconIntervalMs'))
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(Object.values(this.#work).map((each) => each.close()))
  }

  /** Revisions that are out: what receivers should hold. */
  get published(): {
    readonly snapshot: number
    readonly locks: number
    readonly inventory: number
  } {
    return {
      snapshot: this.#light?.revision ?? 0,
      locks: this.#locks?.revision ?? 0,
      inventory: this.#inventory?.revision ?? 0,
    }
  }

  /** When the newest beacon went out. */
  get beaconAtMs(): number {
    return this.#beaconAtMs
  }

  get watchers(): number {
    return this.#watchers.size
  }

  /** Resolves when every lock committed so far is out. */
  async locksOut(): Promise<void> {
    await this.#work.locks.idle()
  }

  /** The newest locks, for an agent that says it holds older ones. */
  locksAfter(revision: number | undefined): WatchItem | undefined {
    const newer = revision !== undefined && (this.#locks?.revision ?? 0) > revision
    return newer ? this.#locks?.message.item : undefined
  }

  /** Messages newer than what the caller holds, then all that follow. Ends when the caller is too slow or gone. */
  async *watch(request: WatchRequest, signal: AbortSignal): AsyncGenerator<WatchItem, undefined> {
    const watcher = new Watcher(request.class)
    watcher.begin(this.#since(request))
    this.#watchers.add(watcher)
    try {
      for (;;) {
        const item = await watcher.next(signal)
        if (item === undefined) return
        yield item
      }
    } finally {
      this.#watchers.delete(watcher)
    }
  }

  /** Locks first: nothing a receiver learns later may be acted upon without them. */
  #since(request: WatchRequest): readonly Published[] {
    const { revision = 0, locks = 0, inventory = 0 } = request
    const light = (this.#light?.revision ?? 0) > revision ? (this.#light?.messages ?? []) : []
    const lockSet =
      this.#locks !== undefined && this.#locks.revision > locks ? [this.#locks.message] : []
    return [
      ...lockSet,
      ...light,
      ...(request.class === 'proxy' ? this.#inventorySince(inventory) : []),
      ...(this.#beacon === undefined ? [] : [this.#beacon]),
    ]
  }

  #inventorySince(held: number): readonly Published[] {
    const current = this.#inventory
    if (current === undefined || held === current.revision) return []
    return [current.base, ...current.changes]
  }

  async #publishLocks(): Promise<void> {
    const { lockSet } = this.#parts.cache
    const message = publish(await this.#signed('locks', encodeLocks(lockSet)))
    this.#locks = { revision: lockSet.revision, message }
    this.#send(message)
    // A host that is locked is cut off now, and hears of it before: whoever else hears of locks through it would hear of none.
    await turn()
    this.#locked()
  }

  async #publishLight(): Promise<void> {
    const { snapshot } = this.#parts.cache
    const { revision } = snapshot
    const { issuedAtMs, cas, ssh, signers, roles, config, proxies } = snapshot
    const { targetsRevision } = this.#parts.cache
    const messages: Published[] = []
    for (const only of ['agent', 'proxy'] as const satisfies readonly SnapshotClass[]) {
      const light: LightSnapshot = {
        revision,
        class: only,
        issuedAtMs,
        cas,
        ...(ssh === undefined ? {} : { ssh }),
        signers,
        roles,
        config,
        targetsRevision,
        proxies,
      }
      messages.push(publish(await this.#signed('snapshot', encodeSnapshot(light)), only))
    }
    this.#light = { revision, messages }
    for (const message of messages) this.#send(message)
  }

  async #publishBeacon(): Promise<void> {
    const { base, checkpoint } = this.#parts
    const { snapshot, locks } = this.published
    const latest = checkpoint()
    const body = encodeBeacon({
      snapshotRevision: snapshot,
      lockRevision: locks,
      timeMs: base.clock.now(),
      ...(latest === undefined ? {} : { checkpoint: latest }),
    })
    this.#beacon = publish(await this.#signed('beacon', body))
    this.#beaconAtMs = base.clock.now()
    this.#send(this.#beacon)
  }

  /** The first time, and every so many changes, a base; else what changed since. */
  async #publishInventory(): Promise<void> {
    const { cache } = this.#parts
    const revision = cache.inventoryRevision
    for (const key of cache.takeChangedTargets()) this.#changedTargets.add(key)
    const keys = [...this.#changedTargets]
    const before = this.#inventory
    if (before !== undefined && keys.length === 0) return
    const large = keys.length > max('inventoryChangeTargetsMax')
    if (before === undefined || large || before.changes.length >= max('inventoryChangesMax')) {
      const targets = [...cache.targets()].map(asTarget)
      const base = publish(await this.#base(targets, revision), 'proxy')
      this.#inventory = { revision, base, changes: [] }
      this.#send(base)
    } else {
      const { put, remove } = this.#changes(keys)
      const body = encodeInventory({ kind: 'delta', from: before.revision, revision, put, remove })
      const change = publish(await this.#signed('inventory', body), 'proxy')
      this.#inventory = { ...before, revision, changes: [...before.changes, change] }
      this.#send(change)
    }
    // Only now: a signer that was away must not cost a change.
    for (const key of keys) this.#changedTargets.delete(key)
  }

  #changes(keys: readonly string[]): { put: readonly Target[]; remove: readonly TargetRef[] } {
    const put: Target[] = []
    const remove: TargetRef[] = []
    for (const key of keys) {
      const record = this.#parts.cache.targetAt(key)
      if (record === undefined) remove.push(refOf(key))
      else put.push(asTarget(record))
    }
    return { put, remove }
  }

  async #base(targets: readonly Target[], revision: number): Promise<WatchItem> {
    const steps = inventorySteps(targets)
    let step = steps.next()
    while (step.done !== true) {
      await turn()
      step = steps.next()
    }
    const base = step.value
    const sha256 = hash('sha256', base, 'hex')
    const body = encodeInventory({ kind: 'base', revision, sha256, bytes: base.length })
    const payload = await compress(base)
    return { ...(await this.#signed('inventory', body)), payload: payload.toString('base64') }
  }

  async #signed(type: SnapshotType, body: Uint8Array): Promise<WatchItem> {
    const signature = await this.#parts.base.signer.signSnapshot({ type, body })
    return {
      type,
      body: Buffer.from(body).toString('base64'),
      signature: Buffer.from(signature).toString('base64'),
    }
  }

  #send(message: Published): void {
    for (const watcher of this.#watchers) watcher.push(message)
  }
}

function refOf(key: string): TargetRef {
  const [, kind, name = ''] = keySegments(key)
  // Written by targetKey from a ref of this kind.
  return { kind: kind as TargetRef['kind'], name }
}

/** Other work of the event loop goes first. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
