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

/** The base for these targets. Costs tens of milliseconds for 10,000: a thread that serves uses `inventorySteps`. */
export function buildInventory(targets: readonly Target[]): Uint8Array {
  const steps = inventorySteps(targets)
  for (;;) {
    const step = steps.next()
    if (step.done === true) return step.value
  }
}

/** The same in steps of a few milliseconds; between them the caller does other work. */
export function* inventorySteps(targets: readonly Target[]): Generator<undefined, Uint8Array> {
  const records: Buffer[] = []
  for (const target of targets) {
    records.push(Buffer.from(JSON.stringify(target)))
    if (records.length % STEP === 0) yield
  }
  const byLabel = yield* sortedKeys(targets, ({ label }) => label)
  const byName = yield* sortedKeys(targets, ({ ref }) => ref.name)
  const tables = HEAD_BYTES + 2 * targets.length * ROW_BYTES
  const rows = [...byLabel, ...byName]
  const keys = rows.reduce((sum, { key }) => sum + Buffer.byteLength(key), tables)
  const base = Buffer.alloc(records.reduce((sum, record) => sum + record.length, keys))
  base.writeUInt32BE(MAGIC, 0)
  base.writeUInt32BE(targets.length, 4)
  const places: number[] = []
  let end = tables
  for (const record of records) {
    places.push(end)
    base.set(record, end)
    end += record.length
  }
  yield
  for (const [row, { key, index }] of rows.entries()) {
    const at = HEAD_BYTES + row * ROW_BYTES
    base.writeUInt32BE(end, at)
    const length = base.write(key, end)
    base.writeUInt32BE(length, at + 4)
    base.writeUInt32BE(places[index] ?? 0, at + 8)
    base.writeUInt32BE(records[index]?.length ?? 0, at + 12)
    end += length
    if (row % STEP === 0) yield
  }
  return base
}

const STEP = 500

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
      const target = this.#unchangedAt(row)
      if (target !== undefined) yield target
    }
    for (const target of this.#byName.values()) if (target !== undefined) yield target
  }

  /** So many places from one on, and the place behind them; undefined: that was all. A base that came meanwhile may repeat or miss some. */
  page(
    from: number,
    count: number,
  ): { readonly targets: readonly Target[]; readonly next?: number } {
    const changed = [...this.#byName.values()]
    const end = this.#count + changed.length
    const to = Math.min(end, from + count)
    const targets: Target[] = []
    for (let at = from; at < to; at++) {
      const target = at < this.#count ? this.#unchangedAt(at) : changed[at - this.#count]
      if (target !== undefined) targets.push(target)
    }
    return to < end ? { targets, next: to } : { targets }
  }

  #unchangedAt(row: number): Target | undefined {
    return this.#byName.has(this.#keyAt(1, row).toString()) ? undefined : this.#recordAt(1, row)
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
  const { ref, protocol, labels, agents, label, address } = value
  const kind = TARGET_KINDS.find((each) => isRecord(ref) && each === ref['kind'])
  const name = isRecord(ref) ? ref['name'] : undefined
  if (kind === undefined || typeof name !== 'string') throw damaged()
  if (typeof protocol !== 'string' || typeof label !== 'string') throw damaged()
  if (!isStrings(agents) || !isLabels(labels)) throw damaged()
  if (address !== undefined && typeof address !== 'string') throw damaged()
  const target = { ref: { kind, name }, protocol, labels, agents, label }
  return address === undefined ? target : { ...target, address }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch {
    throw damaged()
  }
}

interface KeyRow {
  readonly key: string
  readonly index: number
}

/** Keys in the order of their UTF-8 bytes: runs of one step each, then merged two by two. */
function* sortedKeys(
  targets: readonly Target[],
  nameOf: (target: Target) => string,
): Generator<undefined, readonly KeyRow[]> {
  let runs: (readonly KeyRow[])[] = []
  for (let from = 0; from < targets.length; from += STEP) {
    const slice = targets.slice(from, from + STEP)
    const rows = slice.map((target, at) => ({
      key: `${target.ref.kind}\0${nameOf(target)}`,
      index: from + at,
    }))
    runs.push(rows.sort((a, b) => compareKeys(a.key, b.key)))
    yield
  }
  while (runs.length > 1) {
    const merged: (readonly KeyRow[])[] = []
    for (let at = 0; at < runs.length; at += 2) {
      merged.push(merge(runs[at] ?? [], runs[at + 1] ?? []))
      yield
    }
    runs = merged
  }
  return runs[0] ?? []
}

function merge(a: readonly KeyRow[], b: readonly KeyRow[]): readonly KeyRow[] {
  const out: KeyRow[] = []
  let at = 0
  for (const row of a) {
    for (let next = b[at]; next !== undefined && compareKeys(next.key, row.key) < 0; next = b[++at])
      out.push(next)
    out.push(row)
  }
  return out.concat(b.slice(at))
}

const SURROGATE = /[\ud800-\udfff]/

/** Strings compare by UTF-16 units, which is the order of UTF-8 bytes unless surrogates are in them. */
function compareKeys(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return a < b ? -1 : a > b ? 1 : 0
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
