// The preface of a spare: the one message an agent sends on a connection it dialled ahead (design section 6).
// The proxy process makes it under a key nobody else has and gives it to the agent over the link; the agent presents it
// once, within seconds, and then stays silent until it is opened. The codec knows no sockets; a guard refuses replays.

import { createHmac, timingSafeEqual } from 'node:crypto'
import type { ErrorCode } from '../errors.ts'
import { max } from '../limits.ts'
import { FieldReader, FieldWriter } from './fields.ts'

// First byte above ASCII, unlike TLS (16), SSH and HTTP (letters), PostgreSQL and RDP (00, 03), PROXY v2 (0d).
const MAGIC = Uint8Array.of(0xd5, 0x53, 0x4c, 0x50)
const VERSION = 1
// magic (4) | version (1) | length of what follows (2) | body | MAC (32)
const HEAD_BYTES = 7
const MAC_BYTES = 32

/** Bytes of the nonce that makes each ticket single. */
export const SPARE_NONCE_BYTES = 16

export interface SpareClaims {
  readonly agentId: string
  readonly proxyId: string
  readonly spareId: string
  readonly issuedAtMs: number
  readonly nonce: Uint8Array
}

/** A preface as read; nothing in it is true before `checkSpareTicket`. */
export interface SparePreface extends SpareClaims {
  readonly signed: Uint8Array
  readonly mac: Uint8Array
}

export type PrefaceReading =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'no' }
  | { readonly verdict: 'preface'; readonly preface: SparePreface; readonly end: number }

export type SpareCheck = { readonly ok: true } | { readonly ok: false; readonly code: ErrorCode }

/** The bytes an agent presents, whole. */
export function mintSpareTicket(key: Uint8Array, claims: SpareClaims): Uint8Array {
  if (claims.nonce.length !== SPARE_NONCE_BYTES) throw new RangeError('a spare nonce has 16 bytes')
  const body = new FieldWriter()
    .text(claims.agentId)
    .text(claims.proxyId)
    .text(claims.spareId)
    .u64(claims.issuedAtMs)
    .raw(claims.nonce)
    .bytes()
  const head = new FieldWriter()
    .raw(MAGIC)
    .u8(VERSION)
    .u16(body.length + MAC_BYTES)
  const signed = head.raw(body).bytes()
  if (signed.length + MAC_BYTES > max('sparePrefaceBytesMax'))
    throw new RangeError('the ids of a spare ticket are too long')
  return Buffer.concat([signed, prefaceMac(key, signed)])
}

/** Recognise a preface at the start of a connection. Total; keeps nothing. */
export function readPreface(first: Uint8Array): PrefaceReading {
  const known = Math.min(first.length, MAGIC.length)
  for (let at = 0; at < known; at++) if (first[at] !== MAGIC[at]) return { verdict: 'no' }
  if (first.length > MAGIC.length && first[MAGIC.length] !== VERSION) return { verdict: 'no' }
  if (first.length < HEAD_BYTES) return { verdict: 'more' }
  const end = HEAD_BYTES + new FieldReader(first.subarray(5, HEAD_BYTES)).u16()
  if (end > max('sparePrefaceBytesMax') || end < HEAD_BYTES + MAC_BYTES) return { verdict: 'no' }
  if (first.length < end) return { verdict: 'more' }
  const preface = parsePreface(first.subarray(0, end))
  return preface === undefined ? { verdict: 'no' } : { verdict: 'preface', preface, end }
}

/** Whether this process made the ticket, lately. Whether it was used before is the guard's to say, afterwards. */
export function checkSpareTicket(
  key: Uint8Array,
  preface: SparePreface,
  nowMs: number,
): SpareCheck {
  if (!timingSafeEqual(prefaceMac(key, preface.signed), preface.mac))
    return { ok: false, code: 'frame.bad-mac' }
  if (Math.abs(nowMs - preface.issuedAtMs) > max('frameClockSkewMs'))
    return { ok: false, code: 'frame.replayed' }
  return { ok: true }
}

function parsePreface(view: Uint8Array): SparePreface | undefined {
  // A copy: the preface outlives the chunk it arrived in.
  const bytes = Uint8Array.from(view)
  const macAt = bytes.length - MAC_BYTES
  const fields = new FieldReader(bytes.subarray(HEAD_BYTES, macAt))
  const preface = {
    agentId: fields.text(),
    proxyId: fields.text(),
    spareId: fields.text(),
    issuedAtMs: fields.u64(),
    nonce: fields.raw(SPARE_NONCE_BYTES),
    signed: bytes.subarray(0, macAt),
    mac: bytes.subarray(macAt),
  }
  return fields.done ? preface : undefined
}

function prefaceMac(key: Uint8Array, signed: Uint8Array): Buffer {
  return createHmac('sha256', key).update('sluice spare preface v1\0').update(signed).digest()
}

/**
 * Remembers what was used while it could be used again. Bounded by time and by count; when full it refuses, because
 * forgetting would admit a replay. Runs on the wall clock the tickets were dated with.
 */
export class ReplayGuard {
  readonly #seen = new Map<string, number>()
  readonly #keepMs: number
  readonly #countMax: number

  constructor(windowMs: number, countMax: number) {
    // A ticket may be dated up to one window ahead, and is good for one window after that.
    this.#keepMs = 2 * windowMs
    this.#countMax = countMax
  }

  get size(): number {
    return this.#seen.size
  }

  /** True the first time within the window. */
  admit(id: string, nowMs: number): boolean {
    for (const [old, untilMs] of this.#seen) {
      if (untilMs >= nowMs) break
      this.#seen.delete(old)
    }
    if (this.#seen.has(id) || this.#seen.size >= this.#countMax) return false
    this.#seen.set(id, nowMs + this.#keepMs)
    return true
  }
}
