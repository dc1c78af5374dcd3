// The resource `lock`: who or what is shut out. `db`, `certificate_serial` and `key_sha256` are targets of ours; `node` is
// a node's name or its agent's id. A target that nothing checks is refused: a lock that does nothing is the worst kind.

import { z } from 'zod'

import { foldName } from '../../core/policy/names.ts'
import type { Lock, LockTarget } from '../../core/policy/role.ts'
import type { Envelope } from './field.ts'
import { envelope, text, time, unbuilt } from './field.ts'

export interface LockTargetSpec {
  readonly user?: string
  readonly role?: string
  readonly server_id?: string
  readonly db?: string
  readonly node?: string
  readonly certificate_serial?: string
  readonly key_sha256?: string
  readonly login?: string
}

export interface LockSpec {
  readonly target: LockTargetSpec
  readonly message?: string
  readonly expires?: string
  readonly created_at?: string
  readonly created_by?: string
}

export type LockResource = Envelope<'lock', LockSpec>

const NOTHING_CHECKS = unbuilt('nothing checks such a lock')

const named = z.string().min(1).max(256)

const target: z.ZodType<LockTargetSpec> = z
  .strictObject({
    user: z.exactOptional(named),
    role: z.exactOptional(named),
    server_id: z.exactOptional(named),
    db: z.exactOptional(named),
    node: z.exactOptional(named),
    certificate_serial: z.exactOptional(
      z.string().regex(/^[0-9A-Fa-f:]{1,64}$/, 'expected hexadecimal digits'),
    ),
    key_sha256: z.exactOptional(
      z
        .string()
        .regex(/^(?:[0-9A-Fa-f]{2}:?){32}$/, 'expected the 64 hexadecimal digits of a SHA-256'),
    ),
    login: z.exactOptional(named),
    mfa_device: z.exactOptional(NOTHING_CHECKS),
    device: z.exactOptional(NOTHING_CHECKS),
    windows_desktop: z.exactOptional(NOTHING_CHECKS),
    linux_desktop: z.exactOptional(NOTHING_CHECKS),
    access_request: z.exactOptional(NOTHING_CHECKS),
    bot_instance_id: z.exactOptional(NOTHING_CHECKS),
    join_token: z.exactOptional(NOTHING_CHECKS),
  })
  .refine((fields) => Object.keys(fields).length > 0, 'a lock names at least one target')

const spec: z.ZodType<LockSpec> = z.strictObject({
  target,
  message: z.exactOptional(text),
  expires: z.exactOptional(time),
  created_at: z.exactOptional(time),
  created_by: z.exactOptional(text),
})

export const lockSchema: z.ZodType<LockResource> = envelope(
  'lock',
  ['v2'],
  (name) =>
    /^[A-Za-z0-9._-]{1,128}$/.test(name)
      ? undefined
      : 'a lock’s name has letters, digits and . _ -',
  spec,
)

/** The lock as lock sets carry it. `createdAtMs` is used when the resource does not say it. */
export function compileLock({ metadata, spec: lock }: LockResource, createdAtMs: number): Lock {
  const expires = earliest(lock.expires, metadata.expires)
  return {
    name: metadata.name,
    target: compileTarget(lock.target),
    ...(lock.message === undefined ? {} : { message: lock.message }),
    createdAtMs: lock.created_at === undefined ? createdAtMs : Date.parse(lock.created_at),
    ...(expires === undefined ? {} : { expiresAtMs: expires }),
  }
}

export function lockColumns(): readonly string[] {
  return ['ID', 'Target', 'Message', 'Expires']
}

export function lockRow({ metadata, spec: lock }: LockResource): readonly string[] {
  const targets = Object.entries(lock.target).map(([field, value]) => `${field}:${String(value)}`)
  const expires = lock.expires ?? metadata.expires ?? 'never'
  return [metadata.name, targets.join(' '), lock.message ?? '', expires]
}

function compileTarget(fields: LockTargetSpec): LockTarget {
  return fields.user === undefined ? fields : { ...fields, user: foldName(fields.user) }
}

function earliest(...times: readonly (string | undefined)[]): number | undefined {
  const known = times.flatMap((each) => (each === undefined ? [] : [Date.parse(each)]))
  return known.length === 0 ? undefined : Math.min(...known)
}
