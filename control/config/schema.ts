// The keys of sluice.yaml that Sluice acts on, with their defaults. Names and nesting are the reference product's; keys of our
// own (`insecure_keys`, `key_passphrase_file`, `run_as`, `proxy_protocol_trusted`, `resources_may_dial`) stand beside them.

import * as z from 'zod'

import { max } from '../../core/limits.ts'
import { durationMs } from './duration.ts'
import type { ConfigFile } from './types.ts'

const address = z
  .string()
  .regex(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s]*):\d{1,5}$/, 'must be an address of the form host:port')
const flag = z
  .union([z.boolean(), z.enum(['yes', 'no', 'on', 'off'])])
  .transform((value) => value === true || value === 'yes' || value === 'on')
const labels = z.record(z.string().min(1), z.string())
const duration = z
  .string()
  .regex(/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/, 'must be a duration such as 30m or 8h30m')
const text = z.string().min(1)

const uid = z.int().min(0).max(4_294_967_294)

/** Global section: `sluice`, or `teleport` as the reference product calls it. */
const globalSchema = z.strictObject({
  nodename: text.optional(),
  data_dir: text.default('/var/lib/sluice'),
  auth_token: text.optional(),
  join_params: z.strictObject({ method: z.literal('token'), token_name: text }).optional(),
  ca_pin: z.union([text, z.array(text).min(1)]).optional(),
  auth_server: address.optional(),
  proxy_server: address.optional(),
  diag_addr: address.optional(),
  shutdown_delay: duration.optional(),
  log: z
    .strictObject({
      output: z.enum(['stderr', 'stdout']).default('stderr'),
      severity: z.enum(['DEBUG', 'INFO', 'WARN', 'WARNING', 'ERROR']).default('INFO'),
      format: z
        .strictObject({
          output: z.enum(['text', 'json']).default('text'),
          extra_fields: z.array(z.string()).optional(),
        })
        .optional(),
    })
    .optional(),
  run_as: z
    .strictObject({
      signer: uid.optional(),
      control: uid.optional(),
      proxy: uid.optional(),
      agent: uid.optional(),
    })
    .optional(),
  insecure_keys: flag.default(false),
  key_passphrase_file: text.optional(),
})

const authSchema = z.strictObject({
  enabled: flag.default(true),
  listen_addr: address.default('0.0.0.0:3025'),
  cluster_name: z
    .string()
    .max(120)
    .regex(
      /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
      'must be a lower-case DNS name',
    )
    .optional(),
  tokens: z
    .array(z.string().regex(/^[a-z,]+:.+$/, 'must have the form roles:token, e.g. "db:…"'))
    .default([]),
  authentication: z
    .strictObject({
      type: z.literal('local').default('local'),
      second_factors: z.array(z.enum(['otp'])).default(['otp']),
      second_factor: z.literal('otp').optional(),
      locking_mode: z.enum(['strict', 'best_effort']).optional(),
      default_session_ttl: duration.optional(),
      local_auth: z.literal(true).optional(),
    })
    .optional(),
  session_recording: z.enum(['node', 'node-sync', 'proxy', 'proxy-sync', 'off']).optional(),
  recordings_retention: duration.optional(),
  recordings_size_max: z
    .string()
    .regex(/^\d{1,6}(?:MB|GB|TB)$/, 'must be a size such as 500GB')
    .optional(),
  client_idle_timeout: duration.optional(),
  client_idle_timeout_message: z.string().optional(),
  disconnect_expired_cert: flag.optional(),
})

const proxySchema = z.strictObject({
  enabled: flag.default(true),
  web_listen_addr: address.default('0.0.0.0:443'),
  public_addr: z.union([address, z.array(address).min(1)]).optional(),
  https_keypairs: z
    .array(z.strictObject({ key_file: text, cert_file: text }))
    .max(1)
    .default([]),
  proxy_protocol: z.enum(['on', 'off']).optional(),
  proxy_protocol_trusted: z.array(text).default([]),
  unauthenticated_per_source: z.int().min(1).max(65_536).optional(),
  resources_may_dial: z.array(text).default([]),
  worker_threads: z.int().min(1).max(256).optional(),
})

const databaseSchema = z.strictObject({
  name: text,
  description: z.string().default(''),
  protocol: z.literal('postgres', { error: 'only postgres is built yet' }),
  uri: z.string().regex(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5}$/, 'must be host:port'),
  static_labels: labels.default({}),
  ca_cert_file: text.optional(),
  tls: z
    .strictObject({
      mode: z.enum(['verify-full', 'verify-ca', 'insecure']).default('verify-full'),
      server_name: text.optional(),
      ca_cert_file: text.optional(),
      trust_system_cert_pool: flag.default(false),
    })
    .optional(),
})

const selector = z.strictObject({
  labels: z.record(
    z.string().min(1),
    z
      .union([z.string(), z.array(z.string()).min(1)])
      .transform((value) => (typeof value === 'string' ? [value] : value)),
  ),
})

const dbSchema = z.strictObject({
  enabled: flag.default(false),
  databases: z.array(databaseSchema).default([]),
  resources: z.array(selector).max(max('resourceSelectorsMax')).default([]),
  resources_may_dial: z.array(text).default([]),
  worker_threads: z.int().min(1).max(256).optional(),
})

const labelCommand = z.strictObject({
  name: text.regex(/^[A-Za-z0-9/._:-]{1,128}$/, 'a label has letters, digits and / . _ : - only'),
  command: z.array(text).min(1).max(max('labelCommandWordsMax')),
  period: duration
    .refine(
      (value) => durationMs(value) >= max('labelCommandPeriodMinMs'),
      `must be at least ${max('labelCommandPeriodMinMs') / 1000} s`,
    )
    .default('1m'),
})

/** A switch that may only say no until what it switches is built. */
const notBuilt = (what: string): z.ZodType<boolean> =>
  flag.refine((on) => !on, `${what} is not built yet; remove it or set it to no`)

const x11 = z
  .strictObject({
    enabled: flag.default(false),
    display_offset: z.int().min(1).max(60_000).default(10),
    max_display: z.int().min(1).max(60_000).optional(),
  })
  .transform(({ max_display: most, ...rest }) => ({
    ...rest,
    max_display: most ?? rest.display_offset + 1000,
  }))
  .refine((each) => each.max_display >= each.display_offset, {
    error: 'must not be below display_offset',
    path: ['max_display'],
  })

const sshSchema = z.strictObject({
  enabled: flag.default(false),
  labels: labels.default({}),
  commands: z.array(labelCommand).max(max('labelCommandsMax')).default([]),
  ssh_file_copy: flag.default(true),
  port_forwarding: flag.default(true),
  x11: x11.prefault({}),
  disable_create_host_user: flag.default(true),
  worker_threads: z.int().min(1).max(256).optional(),
  permit_user_env: notBuilt('permit_user_env').optional(),
  // Whatever else it says acts only when it is on.
  pam: z.looseObject({ enabled: notBuilt('pam').default(false) }).optional(),
})

/** What is only there to be refused is left out of what others see. */
const sshSection = sshSchema.transform(({ permit_user_env: _env, pam: _pam, ...ssh }) => ssh)

export const configSchema: z.ZodType<ConfigFile> = z.strictObject({
  version: z.enum(['v1', 'v2', 'v3']).default('v3'),
  sluice: globalSchema.prefault({}),
  auth_service: authSchema.prefault({}),
  proxy_service: proxySchema.prefault({}),
  db_service: dbSchema.prefault({}),
  ssh_service: sshSection.prefault({}),
})
