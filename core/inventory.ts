// The inventory of targets as proxies hold it (docs/decisions/0004-control.md): one base of bytes, built in control and read in place
// from shared memory, with a small overlay of changes. Lookup by label and by name costs a binary search and one JSON record; no
// object per target is kept. Heartbeats and liveness are never in it.
//
// Layout, big-endian: magic 'SLI1' (4) | count (4) | by label: count × row | by name: count × row | keys and records
// row: key offset (4) | key length (4) | record offset (4) | record length (4). Rows are sorted by the bytes of their keys.

import { ProxyError } from './errors.ts'
import { TARGET_KINDS } from './identity.ts'
import type { TargetKind, TargetRef } from './identity.ts'
import type { Target } from './snapshot.ts'

const MAGIC = 0x534c4931
const HEAD_BYTES = 8
const ROW_BYTES = 16

/** Changes to the inventory of revision `from`. */
export interface InventoryDelta {
  readonly from: number
  readonly revision: number
  readonly put: readonly Target[]
  readonly remove: readonly TargetRef[]
}

/** The base for these targets. Costs tens of milliseconds for 10,000: not for a thread that serves. */
export function buildInventory(targets: readonly Target[]): Uint8Array {
  const records = targets.map((target) => Buffer.from(JSON.stringify(target)))
  const byLabel = sorted(targets.map((target) => keyOf(target.ref.kind, target.label)))
  const byName = sorted(targets.map((target) => keyOf(target.ref.kind, target.ref.name)))
  const tables = HEAD_BYTES + 2 * targets.length * ROW_BYTES
  const size = [...byLabel, ...byName].reduce((sum, { key }) => sum + key.length, tables)
  const base = Buffer.alloc(records.reduce((sum, record) => sum + record.length, size))
  base.writeUInt32BE(MAGIC, 0)
  base.writeUInt32BE(targets.length, 4)
  let end = tables
  const add = (bytes: Uint8Array): number => {
    base.set(bytes, end)
    end += bytes.length
    return end - bytes.length
  }
  const places = records.map((record) => ({ at: add(record), length: record.length }))
  let row = HEAD_BYTES
  for (const { key, index } of [...byLabel, ...byName]) {
    base.writeUInt32BE(add(key), row)
    base.writeUInt32BE(key.length, row + 4)
    base.writeUInt32BE(places[index]?.at ?? 0, row + 8)
    base.writeUInt32BE(places[index]?.length ?? 0, row + 12)
    row += ROW_BYTES
  }
  return base
}

/** Reads a base in place; changes lie over it. */
export class Inventory {
  readonly #base: Buffer
  readonly #count: number
  // undefined: removed since the base was built.
  readonly #byLabel = new Map<string, Target | undefined>()
  readonly #byName = new Map<string, Target | undefined>()
  #revision: number

  /** `base` may lie in shared memory. Throws `snapshot.forged` when it is no base. */
  constructor(base: Uint8Array, revision: number) {
    this.#base = Buffer.from(base.buffer, base.byteOffset, base.byteLength)
    const whole = this.#base.length >= HEAD_BYTES && this.#base.readUInt32BE(0) === MAGIC
    this.#count = whole ? this.#base.readUInt32BE(4) : 0
    if (!whole || HEAD_BYTES + 2 * this.#count * ROW_BYTES > this.#base.length) throw damaged()
    this.#revision = revision
  }

  get revision(): number {
    return this.#revision
  }

  byLabel(kind: TargetKind, label: string): Target | undefined {
    const key = `${kind}\0${label}`
    return this.#byLabel.has(key) ? this.#byLabel.get(key) : this.#find(0, key)
  }

  byName(kind: TargetKind, name: string): Target | undefined {
    const key = `${kind}\0${name}`
    return this.#byName.has(key) ? this.#byName.get(key) : this.#find(1, key)
  }

  /** Lays a change over the base. False when it does not follow: ask for a new base. */
  apply(delta: InventoryDelta): boolean {
    if (delta.from !== this.#revision) return false
    for (const ref of delta.remove) this.#remove(ref)
    for (const target of delta.put) {
      this.#remove(target.ref)
      this.#byLabel.set(`${target.ref.kind}\0${target.label}`, target)
      this.#byName.set(`${target.ref.kind}\0${target.ref.name}`, target)
    }
    this.#revision = delta.revision
    return true
  }

  /** Every target, changed ones last. For listings, not for lookups. */
  *targets(): Generator<Target, undefined> {
    for (let row = 0; row < this.#count; row++) {
      const key = this.#keyAt(1, row).toString()
      if (!this.#byName.has(key)) yield this.#recordAt(1, row)
    }
    for (const target of this.#byName.values()) if (target !== undefined) yield target
  }

  #remove(ref: TargetRef): void {
    const old = this.byName(ref.kind, ref.name)
    if (old !== undefined) this.#byLabel.set(`${ref.kind}\0${old.label}`, undefined)
    this.#byName.set(`${ref.kind}\0${ref.name}`, undefined)
  }

  #find(table: 0 | 1, text: string): Target | undefined {
    const key = Buffer.from(text)
    let low = 0
    let high = this.#count - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const order = Buffer.compare(key, this.#keyAt(table, middle))
      if (order === 0) return this.#recordAt(table, middle)
      if (order < 0) high = middle - 1
      else low = middle + 1
    }
    return undefined
  }

  #keyAt(table: 0 | 1, row: number): Buffer {
    return this.#slice(HEAD_BYTES + (table * this.#count + row) * ROW_BYTES)
  }

  #recordAt(table: 0 | 1, row: number): Target {
    const bytes = this.#slice(HEAD_BYTES + (table * this.#count + row) * ROW_BYTES + 8)
    return readTarget(parse(bytes))
  }

  #slice(at: number): Buffer {
    const from = this.#base.readUInt32BE(at)
    const to = from + this.#base.readUInt32BE(at + 4)
    if (to > this.#base.length) throw damaged()
    return this.#base.subarray(from, to)
  }
}

/** Throws `snapshot.forged` for anything that is not a target. */
export function readTarget(value: unknown): Target {
  if (!isRecord(value) || !isRecord(value['ref']) || !isRecord(value['labels'])) throw damaged()
  const { ref, protocol, labels, agents, label } = value
  const kind = TARGET_KINDS.find((each) => isRecord(ref) && each === ref['kind'])
  const name = isRecord(ref) ? ref['name'] : undefined
  if (kind === undefined || typeof name !== 'string') throw damaged()
  if (typeof protocol !== 'string' || typeof label !== 'string') throw damaged()
  if (!isStrings(agents) || !isLabels(labels)) throw damaged()
  return { ref: { kind, name }, protocol, labels, agents, label }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw damaged()
  }
}

function keyOf(kind: TargetKind, name: string): Buffer {
  return Buffer.from(`${kind}\0${name}`)
}

function sorted(keys: readonly Buffer[]): readonly { key: Buffer; index: number }[] {
  return keys.map((key, index) => ({ key, index })).sort((a, b) => Buffer.compare(a.key, b.key))
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function isLabels(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((item) => typeof item === 'string')
}

function damaged(): ProxyError {
  return new ProxyError('snapshot.forged', 'The inventory is damaged.')
}
