// The resource `cluster_auth_preference`: how people log in, and how strictly the cluster locks. One of it. A demand nobody
// enforces yet is refused, since this resource speaks for everybody.

import { z } from 'zod'

import type { Envelope } from './field.ts'
import { duration, envelope, singletonName, text, unbuilt, yesNo } from './field.ts'

export const CLUSTER_AUTH_NAME = 'cluster-auth-preference'

export interface ClusterAuthSpec {
  readonly type?: 'local'
  readonly second_factors?: readonly 'otp'[]
  readonly locking_mode?: 'strict' | 'best_effort'
  readonly disconnect_expired_cert?: boolean
  readonly default_session_ttl?: string
  readonly message_of_the_day?: string
  /** Ours: whether `max_connections` holds without control (`strict` refuses then). */
  readonly max_connections_mode?: 'strict' | 'best_effort'
}

export type ClusterAuthResource = Envelope<'cluster_auth_preference', ClusterAuthSpec>

/** A switch that may be written in its "off" position. */
function onlyOff(why: string): z.ZodType<boolean> {
  return yesNo.refine((on) => !on, { error: `not built yet: ${why}` })
}

const OFF_WORDS: readonly unknown[] = ['off', 'no', 'false', 'optional', '', false]

/** A mode of which only "off" exists. */
function offWord(why: string): z.ZodType<unknown> {
  return z
    .unknown()
    .refine((value) => OFF_WORDS.includes(value), { error: `not built yet: ${why}` })
}

const factor = z.literal('otp', { error: 'only otp is built yet' })

const spec: z.ZodType<ClusterAuthSpec> = z.strictObject({
  type: z.exactOptional(z.literal('local', { error: 'only local is built yet' })),
  second_factor: z.exactOptional(factor),
  second_factors: z.exactOptional(z.array(factor).min(1, 'a second factor is always needed')),
  locking_mode: z.exactOptional(z.enum(['strict', 'best_effort'])),
  disconnect_expired_cert: z.exactOptional(yesNo),
  default_session_ttl: z.exactOptional(duration),
  message_of_the_day: z.exactOptional(text),
  max_connections_mode: z.exactOptional(z.enum(['strict', 'best_effort'])),
  allow_local_auth: z.exactOptional(
    yesNo.refine((on) => on, { error: 'local login is the only one that is built yet' }),
  ),
  allow_passwordless: z.exactOptional(onlyOff('passwordless login')),
  allow_headless: z.exactOptional(onlyOff('headless login')),
  allow_cli_auth_via_browser: z.exactOptional(onlyOff('login through a browser')),
  allow_browser_authentication: z.exactOptional(onlyOff('login through a browser')),
  require_session_mfa: z.exactOptional(offWord('a second factor for each session')),
  device_trust: z.exactOptional(z.strictObject({ mode: offWord('device trust') })),
  connector_name: z.exactOptional(
    z.enum(['', 'local'], { error: 'not built yet: login by other connectors' }),
  ),
  webauthn: z.exactOptional(unbuilt('WebAuthn')),
  hardware_key: z.exactOptional(unbuilt('hardware keys')),
  okta: z.exactOptional(unbuilt('Okta')),
  idp: z.exactOptional(
    z.strictObject({ saml: z.strictObject({ enabled: onlyOff('being an identity provider') }) }),
  ),
  signature_algorithm_suite: z.exactOptional(
    z.enum(['balanced-v1'], { error: 'only balanced-v1 (ECDSA P-256 and Ed25519) is built yet' }),
  ),
  stable_unix_user_config: z.exactOptional(unbuilt('the SSH service')),
})

export const clusterAuthSchema: z.ZodType<ClusterAuthResource> = envelope(
  'cluster_auth_preference',
  ['v2'],
  singletonName(CLUSTER_AUTH_NAME),
  spec,
)

export function clusterAuthColumns(): readonly string[] {
  return ['Type', 'Second Factors', 'Locking Mode']
}

export function clusterAuthRow({ spec: auth }: ClusterAuthResource): readonly string[] {
  const { type = 'local', second_factors: factors = ['otp'], locking_mode: mode } = auth
  return [type, factors.join(', '), mode ?? 'best_effort']
}
