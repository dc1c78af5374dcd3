// The first bytes on a spare in each direction (design section 6): the proxy's open frame, then the agent's accept or
// refusal. Both are MACed under the link's key with direction and spare in the MAC, and the MAC is checked before any
// field is looked at. Mode, target, server name and client address of a session come from this frame and nothing else.

import { createHmac, timingSafeEqual } from 'node:crypto'
import type { ErrorCode } from '../errors.ts'
import { TARGET_KINDS } from '../identity.ts'
import type { TargetRef } from '../identity.ts'
import { max } from '../limits.ts'
import type { Refusal } from '../protocol.ts'
import { FieldReader, FieldWriter } from './fields.ts'

// magic (4) | version (1) | kind (1) | length of body and MAC (2) | body | MAC (32)
const MAGIC = Uint8Array.of(0xd5, 0x53, 0x4c, 0x4f)
const VERSION = 1
const HEAD_BYTES = 8
const MAC_BYTES = 32
const KIND = { open: 1, accept: 2, refuse: 3 } as const

const MODES = ['relay', 'terminate', 'deny'] as const
const DENIALS = ['policy', 'lock', 'limit', 'expired', 'unavailable', 'identity'] as const
/** Why an agent does not serve an opened spare. */
export const AGENT_REFUSALS = ['no-target', 'mode', 'protocol', 'expired', 'busy', 'drain'] as const
export type AgentRefusal = (typeof AGENT_REFUSALS)[number]

interface OpenFields {
  readonly sessionId: string
  readonly decisionId: string
  /** Engine id, and where its recognition left the handshake. */
  readonly protocol: string
  readonly stage: string
  readonly target: TargetRef
  /** What the client must ask for by SNI, lower-cased. */
  readonly serverName: string
  /** `trusted`: the proxy saw the address itself, or in a header from a network it trusts. */
  readonly client: { readonly address: string; readonly port: number; readonly trusted: boolean }
  /** Process id PostgreSQL clients are shown: 12 bits of proxy, 20 bits of slot. 0: none. */
  readonly cancelHandle: number
  readonly spareId: string
  readonly expiresAtMs: number
}

/** `deny`: end TLS and say this in the client's protocol, nothing else. */
export type OpenFrame = OpenFields &
  (
    | { readonly mode: 'relay' | 'terminate' }
    | { readonly mode: 'deny'; readonly denial: Omit<Refusal, 'decisionId'> }
  )

export type Answer =
  | { readonly kind: 'accept' }
  | { readonly kind: 'refuse'; readonly reason: AgentRefusal; readonly text: string }

export type FrameReading<T> =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'bad'; readonly code: ErrorCode }
  | { readonly verdict: 'frame'; readonly frame: T; readonly end: number }

/** `late`: from the proxy, and past its moment. The clocks differ, or it was held back on the way. */
export type OpenReading =
  | FrameReading<OpenFrame>
  | { readonly verdict: 'late'; readonly frame: OpenFrame }

/** What the agent knows of the spare it dialled. */
export interface SpareOpened {
  readonly key: Uint8Array
  readonly spareId: string
  readonly nowMs: number
}

/** What an answer belongs to. */
export interface AnswerTo {
  readonly spareId: string
  readonly sessionId: string
}

export function writeOpen(key: Uint8Array, frame: OpenFrame): Uint8Array {
  const fields = new FieldWriter()
    .text(frame.sessionId)
    .text(frame.decisionId)
    .u8(MODES.indexOf(frame.mode) + 1)
    .text(frame.protocol)
    .text(frame.stage)
    .u8(TARGET_KINDS.indexOf(frame.target.kind) + 1)
    .text(frame.target.name)
    .text(frame.serverName)
    .text(frame.client.address)
    .u16(frame.client.port)
    .u8(frame.client.trusted ? 2 : 1)
    .u32(frame.cancelHandle)
    .text(frame.spareId)
    .u64(frame.expiresAtMs)
  if (frame.mode === 'deny') {
    const { kind, reason, next } = frame.denial
    fields
      .u8(DENIALS.indexOf(kind) + 1)
      .text(reason)
      .text(next)
  }
  return seal(key, KIND.open, fields.bytes(), frame.spareId, max('openFrameBytesMax'))
}

/** The agent's first look at an opened spare. `end` is where the client's own bytes begin. */
export function readOpen(first: Uint8Array, spare: SpareOpened): OpenReading {
  const reading = unseal(first, [KIND.open], spare.key, spare.spareId, max('openFrameBytesMax'))
  if (reading.verdict !== 'frame') return reading
  const frame = parseOpen(reading.frame.body)
  if (frame === undefined) return { verdict: 'bad', code: 'frame.malformed' }
  if (frame.spareId !== spare.spareId) return { verdict: 'bad', code: 'frame.replayed' }
  if (frame.expiresAtMs < spare.nowMs) return { verdict: 'late', frame }
  return { verdict: 'frame', frame, end: reading.end }
}

export function writeAnswer(key: Uint8Array, to: AnswerTo, answer: Answer): Uint8Array {
  const fields = new FieldWriter().text(to.sessionId)
  if (answer.kind === 'refuse')
    fields.u8(AGENT_REFUSALS.indexOf(answer.reason) + 1).text(answer.text)
  return seal(key, KIND[answer.kind], fields.bytes(), to.spareId, max('acceptFrameBytesMax'))
}

/** The proxy's first look at what an agent says. `end` is where the target's own bytes begin. */
export function readAnswer(first: Uint8Array, key: Uint8Array, to: AnswerTo): FrameReading<Answer> {
  const kinds = [KIND.accept, KIND.refuse]
  const reading = unseal(first, kinds, key, to.spareId, max('acceptFrameBytesMax'))
  if (reading.verdict !== 'frame') return reading
  const fields = new FieldReader(reading.frame.body)
  const sessionId = fields.text()
  const answer = parseAnswer(reading.frame.kind, fields)
  if (answer === undefined || !fields.done) return { verdict: 'bad', code: 'frame.malformed' }
  if (sessionId !== to.sessionId) return { verdict: 'bad', code: 'frame.replayed' }
  return { verdict: 'frame', frame: answer, end: reading.end }
}

function parseOpen(body: Uint8Array): OpenFrame | undefined {
  const fields = new FieldReader(body)
  const sessionId = fields.text()
  const decisionId = fields.text()
  const mode = fields.choice(MODES)
  const protocol = fields.text()
  const stage = fields.text()
  const kind = fields.choice(TARGET_KINDS)
  const name = fields.text()
  const open = {
    sessionId,
    decisionId,
    protocol,
    stage,
    serverName: fields.text(),
    client: {
      address: fields.text(),
      port: fields.u16(),
      trusted: fields.choice([false, true]) ?? false,
    },
    cancelHandle: fields.u32(),
    spareId: fields.text(),
    expiresAtMs: fields.u64(),
  }
  const denial = mode === 'deny' ? parseDenial(fields) : undefined
  if (!fields.done || mode === undefined || kind === undefined) return undefined
  const whole = { ...open, target: { kind, name } }
  if (mode !== 'deny') return { ...whole, mode }
  return denial === undefined ? undefined : { ...whole, mode, denial }
}

function parseDenial(fields: FieldReader): Omit<Refusal, 'decisionId'> | undefined {
  const kind = fields.choice(DENIALS)
  const reason = fields.text()
  const next = fields.text()
  return kind === undefined ? undefined : { kind, reason, next }
}

function parseAnswer(kind: number, fields: FieldReader): Answer | undefined {
  if (kind === KIND.accept) return { kind: 'accept' }
  const reason = fields.choice(AGENT_REFUSALS)
  const text = fields.text()
  return reason === undefined ? undefined : { kind: 'refuse', reason, text }
}

function seal(
  key: Uint8Array,
  kind: number,
  body: Uint8Array,
  spareId: string,
  bytesMax: number,
): Uint8Array {
  const head = new FieldWriter()
    .raw(MAGIC)
    .u8(VERSION)
    .u8(kind)
    .u16(body.length + MAC_BYTES)
  const signed = head.raw(body).bytes()
  if (signed.length + MAC_BYTES > bytesMax) throw new RangeError('a tunnel frame is too long')
  return Buffer.concat([signed, frameMac(key, signed, spareId)])
}

function unseal(
  first: Uint8Array,
  kinds: readonly number[],
  key: Uint8Array,
  spareId: string,
  bytesMax: number,
): FrameReading<{ kind: number; body: Uint8Array }> {
  const malformed = { verdict: 'bad', code: 'frame.malformed' } as const
  const known = Math.min(first.length, MAGIC.length)
  for (let at = 0; at < known; at++) if (first[at] !== MAGIC[at]) return malformed
  if (first.length > 4 && first[4] !== VERSION) return malformed
  const kind = first[5] ?? 0
  if (first.length > 5 && !kinds.includes(kind)) return malformed
  if (first.length < HEAD_BYTES) return { verdict: 'more' }
  const end = HEAD_BYTES + new FieldReader(first.subarray(6, HEAD_BYTES)).u16()
  if (end > bytesMax || end < HEAD_BYTES + MAC_BYTES) return malformed
  if (first.length < end) return { verdict: 'more' }
  const macAt = end - MAC_BYTES
  const mac = frameMac(key, first.subarray(0, macAt), spareId)
  if (!timingSafeEqual(mac, first.subarray(macAt, end)))
    return { verdict: 'bad', code: 'frame.bad-mac' }
  return { verdict: 'frame', frame: { kind, body: first.subarray(HEAD_BYTES, macAt) }, end }
}

// The kind byte inside `signed` is the direction: only proxies send 1, only agents 2 and 3.
function frameMac(key: Uint8Array, signed: Uint8Array, spareId: string): Buffer {
  const direction = signed[5] === KIND.open ? 'to agent' : 'to proxy'
  const about = new FieldWriter().text(`sluice open v1 ${direction}`).text(spareId).bytes()
  return createHmac('sha256', key).update(about).update(signed).digest()
}
