// The resource `user`: a person with roles and traits. Passwords, second factors and generations are no part of it.

import type { Lock } from '../../core/policy/role.ts'
import { z } from 'zod'

import { userNameProblem } from '../../core/policy/names.ts'
import type { Envelope } from './field.ts'
import { envelope, text, texts, time, yesNo } from './field.ts'

export interface UserStatus {
  readonly is_locked?: boolean
  readonly locked_message?: string
  readonly locked_time?: string
  readonly lock_expires?: string
}

export interface UserSpec {
  readonly roles: readonly string[]
  readonly traits?: Readonly<Record<string, readonly string[]>>
  readonly status?: UserStatus
  readonly expires?: string
  readonly created_by?: {
    readonly time?: string
    readonly user?: { readonly name?: string }
    readonly connector?: {
      readonly type?: string
      readonly id?: string
      readonly identity?: string
    }
  }
}

export type UserResource = Envelope<'user', UserSpec>

const externalIdentities = z.array(
  z.strictObject({
    connector_id: z.exactOptional(text),
    username: z.exactOptional(text),
    user_id: z.exactOptional(text),
    samlSingleLogoutUrl: z.exactOptional(text),
  }),
)

const spec: z.ZodType<UserSpec> = z.strictObject({
  roles: texts,
  traits: z.exactOptional(z.record(z.string().min(1).max(256), z.array(z.string().max(1024)))),
  status: z.exactOptional(
    z.strictObject({
      is_locked: z.exactOptional(yesNo),
      locked_message: z.exactOptional(text),
      locked_time: z.exactOptional(time),
      lock_expires: z.exactOptional(time),
    }),
  ),
  expires: z.exactOptional(time),
  created_by: z.exactOptional(
    z.strictObject({
      time: z.exactOptional(time),
      user: z.exactOptional(z.strictObject({ name: z.exactOptional(text) })),
      connector: z.exactOptional(
        z.strictObject({
          type: z.exactOptional(text),
          id: z.exactOptional(text),
          identity: z.exactOptional(text),
        }),
      ),
    }),
  ),
  oidc_identities: z.exactOptional(externalIdentities),
  saml_identities: z.exactOptional(externalIdentities),
  github_identities: z.exactOptional(externalIdentities),
})

export const userSchema: z.ZodType<UserResource> = envelope('user', ['v2'], userNameProblem, spec)

export function userColumns(): readonly string[] {
  return ['User', 'Roles', 'Locked']
}

export function userRow({ metadata, spec: user }: UserResource): readonly string[] {
  return [metadata.name, user.roles.join(', '), user.status?.is_locked === true ? 'yes' : '']
}

export function userWarnings({ spec: user }: UserResource): readonly string[] {
  return user.roles.length === 0 ? ['spec.roles is empty, so this user reaches nothing'] : []
}

/** `status.is_locked` of a user is a lock like any other. */
export function statusLock({ metadata, spec }: UserResource): Lock {
  const { locked_message: message, lock_expires: expires } = spec.status ?? {}
  return {
    name: `user-${metadata.name}`,
    target: { user: metadata.name },
    createdAtMs: 0,
    ...(message === undefined ? {} : { message }),
    ...(expires === undefined ? {} : { expiresAtMs: Date.parse(expires) }),
  }
}
