// Builds an audit event: common fields, sanitised values, trimmed to its bound with a mark. Total: whatever a caller hands in
// becomes some event, since losing one is worse than a placeholder. Ids and time are arguments; nothing is read from the machine.

import { type Canonical, canonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import { auditRow, UNKNOWN_CODE } from './catalogue.ts'

/** One event as it stands in the log, without the fields of the chain. Values have one canonical text. */
export interface AuditEvent {
  readonly event: string
  readonly code: string
  readonly uid: string
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string
  /** Index inside a session; 0 elsewhere. */
  readonly ei: number
  readonly cluster_name: string
  readonly [field: string]: Canonical
}

/** Where an event comes to be. `uid` is unique. */
export interface EventOrigin {
  readonly uid: string
  readonly timeMs: number
  readonly cluster: string
}

/** Fields by name. Anything may come in; what has no canonical form is written as text. Undefined fields are left out. */
export type EventFields = Readonly<Record<string, unknown>>

const COMMON: ReadonlySet<string> = new Set(['event', 'code', 'uid', 'time', 'cluster_name'])
/** Fields that the chain and control's intake own (core/audit/chain.ts, control/audit/intake.ts). */
const CHAIN: ReadonlySet<string> = new Set(['seq', 'prev', 'writer', 'hash', 'emitter'])
const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/
const DEPTH_MAX = 8
const TRIMMED_BYTES_MIN = 64

/** The event `code` with its fields. A pair that the catalogue lacks becomes the placeholder SLX000W that names it. */
export function auditEvent(
  name: string,
  code: string,
  fields: EventFields,
  origin: EventOrigin,
): AuditEvent {
  const known = auditRow(code)?.name === name
  const claimed = known ? {} : { claimed_event: name, claimed_code: code }
  const kept = new Map<string, Canonical>()
  let dropped = 0
  for (const [field, value] of Object.entries({ ...fields, ...claimed })) {
    if (COMMON.has(field) || CHAIN.has(field) || field === 'ei' || value === undefined) continue
    const room = FIELD_NAME.test(field) && kept.size < max('auditFieldsMax')
    if (room) kept.set(field, plain(value, DEPTH_MAX))
    else dropped += 1
  }
  const ei = fields['ei']
  const common = {
    event: known ? name : 'unknown',
    code: known ? code : UNKNOWN_CODE,
    uid: origin.uid,
    time: new Date(origin.timeMs).toISOString(),
    ei: typeof ei === 'number' && Number.isSafeInteger(ei) && ei >= 0 ? ei : 0,
    cluster_name: origin.cluster,
  }
  const trimmed = bound(kept, max('auditEventBytesMax') - bytesOf(common) - TRIMMED_BYTES_MIN)
  const marks = {
    ...(trimmed.length === 0 ? {} : { trimmed }),
    ...(dropped === 0 ? {} : { dropped_fields: dropped }),
  }
  return { ...Object.fromEntries(kept), ...marks, ...common }
}

/** Cuts the largest fields until all fit. Returns their names: a reader must know what is not whole. */
function bound(fields: Map<string, Canonical>, bytesMax: number): string[] {
  const trimmed = new Set<string>()
  const decision = fields.get('decision')
  if (decision !== undefined && bytesOf(decision) > max('auditDecisionBytesMax')) {
    cut(fields, 'decision', max('auditDecisionBytesMax'))
    trimmed.add('decision')
  }
  const sizes = new Map(
    [...fields].map(([name, value]) => [name, name.length + 4 + bytesOf(value)]),
  )
  let total = [...sizes.values()].reduce((sum, size) => sum + size, 0)
  while (total > bytesMax) {
    const [name, size] = largest(sizes)
    // The mark in `trimmed` and the mark in the text cost too.
    const wanted = size - (total - bytesMax) - 2 * name.length - TRIMMED_BYTES_MIN
    cut(fields, name, Math.max(wanted, TRIMMED_BYTES_MIN))
    trimmed.add(name)
    sizes.delete(name)
    total -= size - (2 * name.length + 8 + bytesOf(fields.get(name) ?? ''))
  }
  return [...trimmed].sort()
}

function largest(sizes: ReadonlyMap<string, number>): readonly [string, number] {
  let found: readonly [string, number] = ['', 0]
  for (const entry of sizes) if (entry[1] > found[1]) found = entry
  return found
}

function cut(fields: Map<string, Canonical>, name: string, bytesMax: number): void {
  const value = fields.get(name) ?? ''
  const text = typeof value === 'string' ? value : canonicalJson(value)
  const whole = bytesOf(text)
  let bytes = 2
  let kept = ''
  for (const character of text) {
    bytes += bytesOf(character) - 2
    if (bytes > bytesMax - 40) break
    kept += character
  }
  fields.set(name, `${kept}… (${whole} bytes)`)
}

/** The nearest value with a canonical form. */
function plain(value: unknown, depth: number): Canonical {
  switch (typeof value) {
    case 'string':
      return value.toWellFormed()
    case 'boolean':
      return value
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : String(value)
    case 'object':
      return value === null ? 'null' : plainObject(value, depth)
    case 'bigint':
    case 'undefined':
    case 'symbol':
    case 'function':
      return String(value).toWellFormed()
  }
}

function plainObject(value: object, depth: number): Canonical {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'NaN' : value.toISOString()
  if (value instanceof Error) return value.message.toWellFormed()
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (depth === 0) return '…'
  if (Array.isArray(value)) return value.map((item: unknown) => plain(item, depth - 1))
  const members: [string, Canonical][] = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([name, member]) => [name.toWellFormed(), plain(member, depth - 1)])
  return Object.fromEntries(members)
}

function bytesOf(value: Canonical): number {
  return Buffer.byteLength(canonicalJson(value))
}
