// Routing tickets: the first label of `<ticket>.<target>.<kind>.<cluster>` (design section 5). Control mints them with
// certificates, proxies check them before anything is handed to an agent. A ticket is sent in clear and may be replayed:
// it keeps strangers off spares and is never authority. It carries no name, only a tag that user locks can be matched with.

import { createHmac, hash, timingSafeEqual } from 'node:crypto'
import { ProxyError } from '../errors.ts'
import { KIND_LABELS, TARGET_KINDS } from '../identity.ts'
import type { TargetKind } from '../identity.ts'
import { max } from '../limits.ts'

// version and key id (1) | expiry, minutes since the epoch (4) | subject tag (8) | MAC (16)
const TICKET_BYTES = 29
const TAG_AT = 5
const MAC_AT = 13
const VERSION = 1
const MINUTE_MS = 60_000

/** Characters of a ticket: 29 bytes in base32 without padding. */
export const TICKET_LENGTH = 47

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
const LDH_LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** A key that tickets are made with. `id` is 0–15; two keys are valid at a time. */
export interface TicketKey {
  readonly id: number
  readonly key: Uint8Array
  readonly notAfterMs: number
}

export interface TicketClaims {
  readonly keyId: number
  readonly expiresAtMs: number
  readonly issuer: string
  readonly user: string
  /** What follows the ticket in the server name: `ticketRest(…)`. */
  readonly rest: string
}

/** What a ticket says before its MAC was checked. */
export interface TicketParts {
  readonly version: number
  readonly keyId: number
  readonly expiresAtMs: number
  /** Lower-case hexadecimal. */
  readonly subjectTag: string
  readonly bytes: Uint8Array
}

export type TicketCheck =
  | {
      readonly verdict: 'good' | 'expired'
      readonly ticketId: string
      readonly subjectTag: string
      readonly expiresAtMs: number
    }
  | { readonly verdict: 'bad' }

export interface SplitName {
  readonly ticket: string
  readonly label: string
  readonly kind: TargetKind
  readonly rest: string
}

/** The ticket for one certificate. The expiry is rounded up: the certificate's own date decides, at the agent. */
export function mintTicket(key: Uint8Array, claims: TicketClaims): string {
  if (claims.keyId < 0 || claims.keyId > 15) throw new RangeError('a ticket key id has four bits')
  const bytes = Buffer.alloc(TICKET_BYTES)
  bytes[0] = (VERSION << 4) | claims.keyId
  bytes.writeUInt32BE(Math.ceil(claims.expiresAtMs / MINUTE_MS), 1)
  bytes.write(subjectTag(key, claims.issuer, claims.user), TAG_AT, 'hex')
  bytes.set(ticketMac(key, bytes.subarray(0, MAC_AT), claims.rest), MAC_AT)
  return base32(bytes)
}

/** The tag of a person under one key. Proxies compute it for locked users; it cannot be turned back. */
export function subjectTag(key: Uint8Array, issuer: string, user: string): string {
  const prf = createHmac('sha256', subkey(key, 'tag'))
  return prf.update(`${issuer}\0${user}`).digest().toString('hex', 0, 8)
}

/** The parts of a ticket, unverified; undefined when it is no ticket. Case does not matter. */
export function readTicket(label: string): TicketParts | undefined {
  const bytes = label.length === TICKET_LENGTH ? unbase32(label.toLowerCase()) : undefined
  if (bytes === undefined) return undefined
  const first = bytes[0] ?? 0
  return {
    version: first >> 4,
    keyId: first & 15,
    expiresAtMs: bytes.readUInt32BE(1) * MINUTE_MS,
    subjectTag: bytes.toString('hex', TAG_AT, MAC_AT),
    bytes,
  }
}

const NO_KEY = new Uint8Array(32)
const NO_TICKET = Buffer.alloc(TICKET_BYTES)

/**
 * Whether one of `keys` made this ticket for this name. Strangers learn nothing from the time it takes: a malformed
 * ticket and an unknown key cost the same MAC as a forged one.
 */
export function checkTicket(
  keys: readonly TicketKey[],
  label: string,
  rest: string,
  nowMs: number,
): TicketCheck {
  const parts = readTicket(label)
  const found = keys.find((key) => key.id === parts?.keyId && nowMs < key.notAfterMs)
  const bytes = parts?.bytes ?? NO_TICKET
  const mac = ticketMac(found?.key ?? NO_KEY, bytes.subarray(0, MAC_AT), rest)
  const equal = timingSafeEqual(mac, bytes.subarray(MAC_AT))
  if (!equal || parts === undefined || found === undefined || parts.version !== VERSION)
    return { verdict: 'bad' }
  return {
    verdict: nowMs < parts.expiresAtMs ? 'good' : 'expired',
    // A hash, because the id goes into logs and the ticket itself opens the turnstile.
    ticketId: hash('sha256', bytes, 'hex').slice(0, 32),
    subjectTag: parts.subjectTag,
    expiresAtMs: parts.expiresAtMs,
  }
}

/** `<target label>.<kind label>.<cluster>`, lower-cased: the part of a server name that a ticket is bound to. */
export function ticketRest(label: string, kindLabel: string, cluster: string): string {
  return `${label}.${kindLabel}.${cluster}`.toLowerCase()
}

/** The whole server name a client connects to. */
export function serverName(
  ticket: string,
  label: string,
  kindLabel: string,
  cluster: string,
): string {
  const name = `${ticket}.${ticketRest(label, kindLabel, cluster)}`
  if (name.length > max('serverNameLengthMax'))
    throw new ProxyError('limit.exceeded', `The server name ${name} is longer than DNS allows.`)
  return name
}

/** The parts of a routed server name of this cluster; undefined for any other name. */
export function splitServerName(name: string, cluster: string): SplitName | undefined {
  if (name.length > max('serverNameLengthMax')) return undefined
  const lower = name.toLowerCase()
  const suffix = `.${cluster.toLowerCase()}`
  if (!lower.endsWith(suffix)) return undefined
  const [ticket, label, kindLabel, ...more] = lower.slice(0, -suffix.length).split('.')
  const kind = TARGET_KINDS.find((each) => KIND_LABELS[each] === kindLabel)
  if (ticket?.length !== TICKET_LENGTH || label === undefined || kind === undefined)
    return undefined
  if (more.length > 0 || !LDH_LABEL.test(ticket) || !LDH_LABEL.test(label)) return undefined
  return { ticket, label, kind, rest: lower.slice(TICKET_LENGTH + 1) }
}

function ticketMac(key: Uint8Array, head: Uint8Array, rest: string): Buffer {
  const mac = createHmac('sha256', subkey(key, 'mac')).update(head).update(rest.toLowerCase())
  return mac.digest().subarray(0, TICKET_BYTES - MAC_AT)
}

// One key, two uses: neither output says anything about the other.
function subkey(key: Uint8Array, use: 'mac' | 'tag'): Buffer {
  return createHmac('sha256', key).update(`sluice ticket ${use} v1`).digest()
}

function base32(bytes: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >> (bits - 5)) & 31] ?? ''
  }
  return bits > 0 ? text + (ALPHABET[(value << (5 - bits)) & 31] ?? '') : text
}

/** Undefined for a foreign character, and for spare bits that are not zero: a ticket has one spelling. */
function unbase32(text: string): Buffer | undefined {
  const bytes = Buffer.alloc(TICKET_BYTES)
  let at = 0
  let bits = 0
  let value = 0
  for (const letter of text) {
    const digit = ALPHABET.indexOf(letter)
    if (digit < 0) return undefined
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes[at++] = value >> bits
  }
  return at === TICKET_BYTES && (value & ((1 << bits) - 1)) === 0 ? bytes : undefined
}
