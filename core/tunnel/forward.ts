// How a proxy says for whom it opens a session in terminate mode (docs/decisions/0005): the first bytes inside its mutual TLS with
// the agent. They hold the client's certificate as it was verified, and a permit where that certificate names no target. Nothing
// in them is believed for having come: the agent verifies the certificate and decides itself. No signature, since TLS proves who speaks.

import { KIND_LABELS } from '../identity.ts'
import type { TargetRef } from '../identity.ts'
import { max } from '../limits.ts'
import { FieldReader, FieldWriter } from './fields.ts'
import type { FrameReading } from './open.ts'

// magic (4) | version (1) | length of the certificate (2) | length of the permit (2) | certificate | permit
const MAGIC = Uint8Array.of(0xd5, 0x53, 0x4c, 0x46)
const VERSION = 1
const LENGTHS_AT = MAGIC.length + 1
const HEAD_BYTES = LENGTHS_AT + 4

/** ALPN of a proxy at an agent: no client's, so that neither can be talked into being the other. */
export const SESSION_ALPN = 'sluice-session'

/** Longest preface there is. */
export function forwardBytesMax(): number {
  return HEAD_BYTES + max('forwardCertificateBytesMax') + max('permitBytesMax')
}

export interface Forward {
  /** DER, the leaf alone: our CAs sign people's certificates themselves. */
  readonly certificate: Uint8Array
  /** Signed by control; empty when the certificate is routed to the target. */
  readonly permit: Uint8Array
}

/** The name an agent answers to in terminate mode; its wildcard for the target covers it. `label`: the target's. */
export function forwardName(
  { kind }: Pick<TargetRef, 'kind'>,
  label: string,
  cluster: string,
): string {
  return `terminate.${label}.${KIND_LABELS[kind]}.${cluster}`
}

export function writeForward({ certificate, permit }: Forward): Uint8Array {
  const fits =
    certificate.length > 0 &&
    certificate.length <= max('forwardCertificateBytesMax') &&
    permit.length <= max('permitBytesMax')
  if (!fits) throw new RangeError('a certificate or permit is too long to be forwarded')
  return new FieldWriter()
    .raw(MAGIC)
    .u8(VERSION)
    .u16(certificate.length)
    .u16(permit.length)
    .raw(certificate)
    .raw(permit)
    .bytes()
}

/** `first`: all bytes so far. Judged as they come: wrong ones are known before more of them are kept. */
export function readForward(first: Uint8Array): FrameReading<Forward> {
  const malformed = { verdict: 'bad', code: 'frame.malformed' } as const
  const known = Math.min(first.length, MAGIC.length)
  for (let at = 0; at < known; at++) if (first[at] !== MAGIC[at]) return malformed
  if (first.length > MAGIC.length && first[MAGIC.length] !== VERSION) return malformed
  if (first.length < HEAD_BYTES) return { verdict: 'more' }
  const lengths = new FieldReader(first.subarray(LENGTHS_AT, HEAD_BYTES))
  const certificateBytes = lengths.u16()
  const permitBytes = lengths.u16()
  if (certificateBytes === 0 || certificateBytes > max('forwardCertificateBytesMax'))
    return malformed
  if (permitBytes > max('permitBytesMax')) return malformed
  const permitAt = HEAD_BYTES + certificateBytes
  const end = permitAt + permitBytes
  if (first.length < end) return { verdict: 'more' }
  const certificate = first.subarray(HEAD_BYTES, permitAt)
  return { verdict: 'frame', frame: { certificate, permit: first.subarray(permitAt, end) }, end }
}
