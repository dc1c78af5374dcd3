// The building blocks of control's request and reply checks: every string and list has a bound. Strict objects are made in the
// tables beside this file. Never: a check that looks anything up.

import * as z from 'zod'

import { TARGET_KINDS } from '../../../core/identity.ts'
import { HEALTH_STATUSES, type HealthStatus } from '../../../core/health.ts'
import type { TargetKind } from '../../../core/identity.ts'
import { max } from '../../../core/limits.ts'
import type { PasswordMethod } from '../../../core/protocol.ts'
import type { CallName, Calls } from '../calls.ts'
import type { CaBundle, Json, JsonObject, Nothing } from '../messages.ts'

/** Request and reply check of one call. */
export interface Check<N extends CallName> {
  readonly request: z.ZodType<Calls[N]['request']>
  readonly reply: z.ZodType<Calls[N]['reply']>
}

export type Checks = { readonly [N in CallName]: Check<N> }

type Optional<T> = z.ZodExactOptional<z.ZodType<T>>

export const KB = 1024

export function text(longest: number): z.ZodString {
  return z.string().max(longest)
}

export function hex(length: number): z.ZodString {
  return z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`))
}

export function list<T extends z.ZodType>(
  item: T,
  most: number = max('apiPageMax'),
): z.ZodReadonly<z.ZodArray<T>> {
  return z.array(item).max(most).readonly()
}

export const name: z.ZodString = text(max('nameLengthMax')).min(1)
export const names: z.ZodReadonly<z.ZodArray<z.ZodString>> = list(name)
export const pem: z.ZodString = text(max('certificateBytesMax'))
export const base64: z.ZodBase64 = z.base64().max(max('certificateBytesMax'))
export const time: z.ZodInt = z.int().nonnegative()
export const count: z.ZodInt = z.int().nonnegative()
/** A number in a query string. */
export const queryCount: z.ZodCoercedNumber = z.coerce.number().int().nonnegative()
export const address: z.ZodString = z
  .string()
  .max(300)
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/)
export const ttlMs: Optional<number> = z.int().positive().exactOptional()
export const labels: z.ZodType<Readonly<Record<string, string>>> = z
  .record(text(KB), text(KB))
  .readonly()
export const traits: z.ZodType<Readonly<Record<string, readonly string[]>>> = z
  .record(text(KB), list(text(KB)))
  .readonly()
export const targetKind: z.ZodType<TargetKind> = z.enum(TARGET_KINDS)

// The depth of a body is bounded by the server before any schema runs.
export const json: z.ZodType<Json> = z.json()
export const jsonObject: z.ZodType<JsonObject> = z.record(z.string(), json)
export const nothing: z.ZodType<Nothing> = z.strictObject({})

export const caBundle: z.ZodType<CaBundle> = z.strictObject({
  user: list(pem),
  host: list(pem),
  target: list(pem),
  db: list(pem),
  db_client: list(pem),
  pins: list(text(100)),
})

export type HostCertificateShape = {
  readonly certificate: z.ZodString
  readonly cas: z.ZodType<CaBundle>
  readonly signers: z.ZodReadonly<z.ZodArray<z.ZodBase64>>
  readonly proxies: z.ZodReadonly<z.ZodArray<z.ZodString>>
}

export const hostCertificate: HostCertificateShape = {
  certificate: pem,
  cas: caBundle,
  signers: list(base64),
  proxies: list(text(300)),
}

/** PostgreSQL takes no null byte in a password and cuts nothing off below this. */
export const dbPassword: z.ZodString = text(max('dbPasswordCharsMax')).min(1)
export const passwordMethod: z.ZodType<PasswordMethod> = z.enum(['scram', 'md5', 'cleartext'])

/** Of an agent's own words about a target. */
export const health: {
  readonly status: z.ZodType<HealthStatus>
  readonly reason: z.ZodString
  readonly sinceMs: z.ZodInt
} = { status: z.enum(HEALTH_STATUSES), reason: text(4 * KB), sinceMs: time }
export const targetStatus: z.ZodType<HealthStatus | 'offline'> = z.enum([
  ...HEALTH_STATUSES,
  'offline',
])

export const inviteToken: z.ZodString = hex(32)
