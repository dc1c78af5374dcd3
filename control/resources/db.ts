// The resource `db`: a database an administrator registers by name, which any agent that selects its labels may serve.

import { z } from 'zod'

import { targetNameProblem } from '../../core/policy/names.ts'
import type { Envelope } from './field.ts'
import { envelope, text, unbuilt, yesNo } from './field.ts'

export interface DbSpec {
  readonly protocol: 'postgres'
  /** `host:port`; PostgreSQL listens on 5432 when there is no port. */
  readonly uri: string
  readonly ca_cert?: string
  readonly tls?: {
    readonly mode?: 'verify-full' | 'verify-ca' | 'insecure'
    readonly ca_cert?: string
    readonly server_name?: string
    readonly trust_system_cert_pool?: boolean
  }
}

export type DbResource = Envelope<'db', DbSpec>

const PROTOCOLS_NOT_BUILT = `
  mysql mongodb redis cockroachdb redshift sqlserver snowflake cassandra oracle elasticsearch opensearch dynamodb clickhouse
  clickhouse-http spanner
`
  .trim()
  .split(/\s+/)

const protocol = z.literal('postgres', {
  error: ({ input }) =>
    typeof input === 'string' && PROTOCOLS_NOT_BUILT.includes(input)
      ? `the protocol "${input}" is not built yet`
      : 'expected postgres',
})

const uri = z
  .string()
  .max(512)
  .regex(
    /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/,
    'expected host:port, without a scheme',
  )

/** Each would change who gets in or as whom. */
const unbuiltFields = {
  aws: z.exactOptional(unbuilt('cloud databases')),
  gcp: z.exactOptional(unbuilt('cloud databases')),
  azure: z.exactOptional(unbuilt('cloud databases')),
  ad: z.exactOptional(unbuilt('Active Directory')),
  mongo_atlas: z.exactOptional(unbuilt('MongoDB')),
  oracle: z.exactOptional(unbuilt('Oracle')),
  mysql: z.exactOptional(unbuilt('MySQL')),
  admin_user: z.exactOptional(unbuilt('automatic database users')),
  dynamic_labels: z.exactOptional(unbuilt('labels by command')),
}

const spec: z.ZodType<DbSpec> = z.strictObject({
  ...unbuiltFields,
  protocol,
  uri,
  ca_cert: z.exactOptional(z.string().max(64 * 1024)),
  tls: z.exactOptional(
    z.strictObject({
      mode: z.exactOptional(z.enum(['verify-full', 'verify-ca', 'insecure'])),
      ca_cert: z.exactOptional(z.string().max(64 * 1024)),
      server_name: z.exactOptional(text),
      trust_system_cert_pool: z.exactOptional(yesNo),
    }),
  ),
})

export const dbSchema: z.ZodType<DbResource> = envelope('db', ['v3'], targetNameProblem, spec)

export function dbColumns(): readonly string[] {
  return ['Name', 'Protocol', 'URI', 'Labels']
}

export function dbRow({ metadata, spec: db }: DbResource): readonly string[] {
  const labels = Object.entries(metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`)
  return [metadata.name, db.protocol, db.uri, labels.join(',')]
}

export function dbWarnings({ metadata, spec: db }: DbResource): readonly string[] {
  const out: string[] = []
  if (db.tls?.mode === 'insecure')
    out.push('spec.tls.mode is insecure: whoever answers at this address is believed')
  if (metadata.labels === undefined) out.push('without labels only roles for all databases match')
  return out
}
