// A permit: control's signed word that one certificate may reach one target through one proxy, for at most an hour. It stands for
// the route that a forwarded login certificate lacks (docs/decisions/0005); the agent still decides everything else itself. One
// value has one form. Reading is total: any bytes give a permit that control signed, or a code.

import { canonicalJson } from './cert/canonical.ts'
import { SYSTEM_ID } from './cert/identity.ts'
import { verifySigned } from './cert/signed.ts'
import type { ErrorCode } from './errors.ts'
import { TARGET_KINDS } from './identity.ts'
import type { TargetRef } from './identity.ts'
import { max } from './limits.ts'

export interface Permit {
  /** SHA-256 of the client certificate (DER), as `CertificateFacts.fingerprint`. */
  readonly certificate: string
  readonly target: TargetRef
  readonly proxyId: string
  readonly expiresAtMs: number
}

export type PermitReading =
  | { readonly permit: Permit; readonly code?: never }
  | { readonly code: ErrorCode; readonly permit?: never }

// version (1) | signature (64) | body
const VERSION = 1
const SIGNATURE_AT = 1
const BODY_AT = SIGNATURE_AT + 64

const FINGERPRINT = /^[0-9a-f]{64}$/

/** What is signed. */
export function permitBody({ certificate, target, proxyId, expiresAtMs }: Permit): Uint8Array {
  const { kind, name } = target
  return Buffer.from(canonicalJson({ certificate, expiresAtMs, proxyId, target: { kind, name } }))
}

/** The permit as it travels. */
export function writePermit(body: Uint8Array, signature: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(VERSION), signature, body])
}

/** `signers`: the keys that sign snapshots, as the reader's own snapshot names them (SPKI, DER). */
export function readPermit(bytes: Uint8Array, signers: readonly Uint8Array[]): PermitReading {
  const fits = bytes.length > BODY_AT && bytes.length <= max('permitBytesMax')
  if (!fits || bytes[0] !== VERSION) return { code: 'frame.malformed' }
  const body = bytes.subarray(BODY_AT)
  if (!verifySigned('permit', body, bytes.subarray(SIGNATURE_AT, BODY_AT), signers))
    return { code: 'permit.forged' }
  const permit = readPermitBody(body)
  return permit === undefined ? { code: 'frame.malformed' } : { permit }
}

/** A body that is the canonical form of a permit; undefined for every other. For the reader, and for the signer before it signs. */
export function readPermitBody(body: Uint8Array): Permit | undefined {
  if (body.length > max('permitBytesMax')) return undefined
  const { certificate, target, proxyId, expiresAtMs } = fieldsOf(parse(body))
  const { kind, name } = fieldsOf(target)
  const known = TARGET_KINDS.find((each) => each === kind)
  if (known === undefined || !isName(name)) return undefined
  if (typeof certificate !== 'string' || !FINGERPRINT.test(certificate)) return undefined
  if (typeof proxyId !== 'string' || !SYSTEM_ID.test(proxyId)) return undefined
  if (typeof expiresAtMs !== 'number' || !Number.isSafeInteger(expiresAtMs)) return undefined
  if (expiresAtMs <= 0) return undefined
  const permit = { certificate, target: { kind: known, name }, proxyId, expiresAtMs }
  return Buffer.from(permitBody(permit)).equals(body) ? permit : undefined
}

/** When a permit ends, for whoever only carries it: it proves nothing of who signed. */
export function permitEndMs(bytes: Uint8Array): number | undefined {
  return readPermitBody(bytes.subarray(BODY_AT))?.expiresAtMs
}

/** Why this permit does not stand for a route here; undefined when it does. */
export function permitProblem(
  permit: Permit,
  use: {
    readonly fingerprint: string
    readonly target: TargetRef
    readonly serverIds: readonly string[]
    readonly nowMs: number
  },
): string | undefined {
  const { certificate, target, proxyId, expiresAtMs } = permit
  if (certificate !== use.fingerprint) return 'the permit is for another certificate'
  if (target.kind !== use.target.kind || target.name !== use.target.name)
    return 'the permit is for another target'
  if (!use.serverIds.includes(proxyId)) return 'the permit is for another proxy'
  if (use.nowMs >= expiresAtMs) return 'the permit has expired'
  // Clocks differ; a permit of days is nevertheless none that control makes.
  const latestMs = use.nowMs + max('permitTtlMaxMs') + max('clockSkewRefuseMs')
  return expiresAtMs > latestMs ? 'the permit is for longer than permits last' : undefined
}

function isName(value: unknown): value is string {
  if (typeof value !== 'string' || !value.isWellFormed()) return false
  return value.length > 0 && value.length <= max('nameLengthMax')
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    return undefined
  }
}

function fieldsOf(value: unknown): Partial<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
}
