// The frames of a link, and what each must look like after it was unpacked: every field there, of its type and inside its
// bound, and no other field. One table row per frame; a type without a row does not exist.

import { max } from '../limits.ts'

/** Kinds of signed values, those that must travel first in front. */
export const SIGNED_KINDS = ['locks', 'beacon', 'snapshot'] as const
export type SignedKind = (typeof SIGNED_KINDS)[number]

/** A value control signed: `body` is the exact text the signature covers. */
export interface Signed {
  readonly kind: SignedKind
  readonly body: Uint8Array
  readonly signature: Uint8Array
}

/** One part of a signed value. All parts of one value carry its signature. */
export interface SignedPart {
  readonly type: 'signed'
  readonly kind: SignedKind
  readonly part: number
  readonly parts: number
  readonly body: Uint8Array
  readonly signature: Uint8Array
}

export type LinkFrame =
  /** Agent, first: who it is and what its clock says. */
  | {
      readonly type: 'hello'
      readonly version: number
      readonly agentId: string
      readonly software: string
      readonly services: readonly string[]
      readonly nowMs: number
    }
  /** Proxy, first: the link is up. */
  | { readonly type: 'welcome'; readonly proxyId: string; readonly nowMs: number }
  /** Agent: what it serves and believes. */
  | {
      readonly type: 'heartbeat'
      readonly sessions: number
      readonly idleSpares: number
      readonly snapshotRevision: number
      readonly lockRevision: number
      /** `kind/name` of targets that do not answer it. */
      readonly unhealthy: readonly string[]
    }
  | { readonly type: 'ping'; readonly id: number; readonly sentMs: number }
  | { readonly type: 'pong'; readonly id: number; readonly sentMs: number; readonly nowMs: number }
  /** Proxy: how many idle spares it wants parked. The agent checks it against what it holds and answers with a heartbeat. */
  | { readonly type: 'want'; readonly spares: number }
  /** Proxy: dial these now, one spare each. */
  | { readonly type: 'tickets'; readonly tickets: readonly SpareOrder[] }
  /** Proxy: somebody waits for this one. */
  | { readonly type: 'dial-now'; readonly ticket: SpareOrder }
  /** Either: no new sessions through this link, which ends by itself. */
  | { readonly type: 'drain'; readonly reason: string; readonly deadlineMs: number }
  | SignedPart
  /**
   * Either: whose session is this for? To an agent: one of yours. To a proxy: one that you relay to another agent. Answered by
   * `signal-answer` with the same id, whether a session knew the key.
   */
  | {
      readonly type: 'signal'
      readonly id: number
      readonly key: Uint8Array
      /** Where it came from, for the audit log. */
      readonly address: string
      readonly port: number
    }
  | { readonly type: 'signal-answer'; readonly id: number; readonly hit: boolean }
  /** Either, last: why the link ends. */
  | { readonly type: 'refused'; readonly code: string; readonly text: string }

/** A single-use spare ticket with the id its open frame will name. */
export interface SpareOrder {
  readonly spareId: string
  readonly preface: Uint8Array
}

type Check = (value: unknown) => boolean
type Shape = Readonly<Record<string, Check>>

const TEXT_MAX = 256
const SERVICES_MAX = 32
const SIGNATURE_BYTES_MAX = 256

const text: Check = (value) => typeof value === 'string' && value.length <= TEXT_MAX
const count: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0
// Clocks and deadlines may carry a fraction: performance clocks do.
const time: Check = (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0
const bytes =
  (lengthMax: number): Check =>
  (value) =>
    value instanceof Uint8Array && value.length <= lengthMax
const list =
  (item: Check, lengthMax: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= lengthMax && value.every(item)
const shape =
  (fields: Shape): Check =>
  (value) =>
    hasShape(value, fields)

const order = shape({ spareId: text, preface: bytes(max('sparePrefaceBytesMax')) })

const SHAPES: Readonly<Record<LinkFrame['type'], Shape>> = {
  hello: {
    version: count,
    agentId: text,
    software: text,
    services: list(text, SERVICES_MAX),
    nowMs: time,
  },
  welcome: { proxyId: text, nowMs: time },
  heartbeat: {
    sessions: count,
    idleSpares: count,
    snapshotRevision: count,
    lockRevision: count,
    unhealthy: list(text, max('unhealthyToldMax')),
  },
  ping: { id: count, sentMs: time },
  pong: { id: count, sentMs: time, nowMs: time },
  want: { spares: count },
  tickets: { tickets: list(order, max('sparesPerAgentMax')) },
  'dial-now': { ticket: order },
  drain: { reason: text, deadlineMs: time },
  signed: {
    kind: (value) => SIGNED_KINDS.some((kind) => kind === value),
    part: count,
    parts: (value) => count(value) && Number(value) >= 1 && Number(value) <= partsMax(),
    body: bytes(max('linkSignedPartBytes')),
    signature: bytes(SIGNATURE_BYTES_MAX),
  },
  signal: { id: count, key: bytes(max('signalKeyBytesMax')), address: text, port: count },
  'signal-answer': { id: count, hit: (value) => typeof value === 'boolean' },
  refused: { code: text, text },
}

/** The frame, or undefined when `value` is none. */
export function linkFrameOf(value: unknown): LinkFrame | undefined {
  if (typeof value !== 'object' || value === null || !('type' in value)) return undefined
  const { type, ...fields } = value
  if (typeof type !== 'string' || !Object.hasOwn(SHAPES, type)) return undefined
  const known = SHAPES[type as LinkFrame['type']]
  return hasShape(fields, known) ? (value as LinkFrame) : undefined
}

function hasShape(value: unknown, fields: Shape): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const entries = Object.entries(value)
  return (
    entries.length === Object.keys(fields).length &&
    entries.every(([name, field]) => Object.hasOwn(fields, name) && fields[name]?.(field) === true)
  )
}

function partsMax(): number {
  return Math.ceil(max('snapshotBytesMax') / max('linkSignedPartBytes'))
}
