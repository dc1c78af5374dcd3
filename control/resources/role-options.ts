// `spec.options` of a role: every option of the reference product, with its values, and `db_replication`. What is enforced, what makes a role grant
// nothing and what has no service yet is said in role-unenforced.ts, not here.

import { z } from 'zod'

import { count, duration, text, yesNo } from './field.ts'

/** The options that something here reads; the others are checked and kept. */
export interface RoleOptionsSpec {
  readonly max_session_ttl?: string
  readonly client_idle_timeout?: string
  readonly disconnect_expired_cert?: boolean
  readonly max_connections?: number
  readonly lock?: 'strict' | 'best_effort' | ''
  readonly require_session_mfa?: boolean | string
  readonly device_trust_mode?: string
  readonly pin_source_ip?: boolean
  readonly request_access?: string
  readonly create_db_user?: boolean
  /** Ours: no field of the reference product grants replication, and a wildcard in `db_names` must not. */
  readonly db_replication?: boolean
  readonly create_db_user_mode?: string
  readonly forward_agent?: boolean
  readonly port_forwarding?: boolean
  readonly ssh_port_forwarding?: {
    readonly local?: { readonly enabled?: boolean }
    readonly remote?: { readonly enabled?: boolean }
  }
  readonly permit_x11_forwarding?: boolean
  readonly ssh_file_copy?: boolean
  readonly max_sessions?: number
  readonly create_host_user?: boolean
  readonly create_host_user_mode?: string
  readonly record_session?: {
    readonly default?: string
    readonly ssh?: string
    readonly desktop?: boolean
  }
}

/** A feature that is on or off. */
const toggle = z.strictObject({ enabled: z.exactOptional(yesNo) })

const strictness = z.enum(['strict', 'best_effort', ''])

const sessionMfa = z
  .union(
    [
      z.boolean(),
      z.enum([
        'no',
        'yes',
        'off',
        'on',
        'false',
        'true',
        'hardware_key',
        'hardware_key_touch',
        'hardware_key_pin',
        'hardware_key_touch_and_pin',
      ]),
    ],
    {
      error:
        'expected no, yes, hardware_key, hardware_key_touch, hardware_key_pin or hardware_key_touch_and_pin',
    },
  )
  .transform((value): boolean | string => {
    if (typeof value === 'boolean') return value
    if (['no', 'off', 'false'].includes(value)) return false
    return ['yes', 'on', 'true'].includes(value) ? true : value
  })

const certExtension = z.strictObject({
  type: z.literal('ssh'),
  mode: z.literal('extension'),
  name: text,
  value: z.exactOptional(text),
})

const enhancedRecording = z.array(z.enum(['command', 'disk', 'network']))

export const roleOptions: z.ZodType<RoleOptionsSpec> = z.strictObject({
  // Sessions and certificates
  max_session_ttl: z.exactOptional(duration),
  client_idle_timeout: z.exactOptional(
    z.union([z.literal('never').transform(() => '0s'), duration], {
      error: 'expected a duration such as 15m, or never',
    }),
  ),
  disconnect_expired_cert: z.exactOptional(yesNo),
  max_connections: z.exactOptional(count),
  max_sessions: z.exactOptional(count),
  max_kubernetes_connections: z.exactOptional(count),
  lock: z.exactOptional(strictness),
  pin_source_ip: z.exactOptional(yesNo),
  require_session_mfa: z.exactOptional(sessionMfa),
  mfa_verification_interval: z.exactOptional(duration),
  device_trust_mode: z.exactOptional(
    z.enum(['off', 'optional', 'required', 'required-for-humans', '']),
  ),
  request_access: z.exactOptional(z.enum(['optional', 'reason', 'always', ''])),
  request_prompt: z.exactOptional(text),
  cert_extensions: z.exactOptional(z.array(certExtension)),
  cert_format: z.exactOptional(z.enum(['standard', 'oldssh', ''])),
  idp: z.exactOptional(z.strictObject({ saml: z.exactOptional(toggle) })),
  // Recording
  record_session: z.exactOptional(
    z.strictObject({
      default: z.exactOptional(strictness),
      ssh: z.exactOptional(strictness),
      desktop: z.exactOptional(yesNo),
    }),
  ),
  enhanced_recording: z.exactOptional(enhancedRecording),
  // SSH
  forward_agent: z.exactOptional(yesNo),
  port_forwarding: z.exactOptional(yesNo),
  ssh_port_forwarding: z.exactOptional(
    z.strictObject({ local: z.exactOptional(toggle), remote: z.exactOptional(toggle) }),
  ),
  permit_x11_forwarding: z.exactOptional(yesNo),
  ssh_file_copy: z.exactOptional(yesNo),
  create_host_user: z.exactOptional(yesNo),
  create_host_user_mode: z.exactOptional(z.enum(['off', 'keep', 'insecure-drop', ''])),
  create_host_user_default_shell: z.exactOptional(text),
  // Databases
  db_replication: z.exactOptional(yesNo),
  create_db_user: z.exactOptional(yesNo),
  create_db_user_mode: z.exactOptional(z.enum(['off', 'keep', 'best_effort_drop', ''])),
  // Desktops and the web
  desktop_clipboard: z.exactOptional(yesNo),
  desktop_directory_sharing: z.exactOptional(yesNo),
  create_desktop_user: z.exactOptional(yesNo),
  web_terminal_clipboard_mode: z.exactOptional(z.enum(['unrestricted', 'no-copy', ''])),
})
