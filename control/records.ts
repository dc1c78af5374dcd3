// What control keeps beside the resources people write: credentials, invites, hosts, owned target names, keys. One schema and
// one key per record, so that the whole layout of the store is on this page. Secrets are sealed before they get here.

import * as z from 'zod'

import { TARGET_KINDS } from '../core/identity.ts'
import type { TargetKind } from '../core/identity.ts'
import { foldName } from '../core/policy/names.ts'
import type { PasswordMethod } from '../core/protocol.ts'
import { storeKey, storePrefix } from './store/contract.ts'

/** What a local user proves who they are with. */
export interface Credentials {
  readonly name: string
  /** Certificates of an earlier generation are refused everywhere. */
  readonly generation: number
  /** PHC string; absent until an invite was completed. */
  readonly password?: string
  readonly totp?: { readonly sealed: string; readonly usedStep: number }
}

export interface InviteRecord {
  readonly user: string
  readonly purpose: 'invite' | 'reset'
  readonly generation: number
  /** The one-time-code seed that becomes valid with the invite. */
  readonly sealed: string
  readonly expiresAtMs: number
}

/** An agent or a proxy that joined. */
export interface HostRecord {
  readonly id: string
  readonly role: 'agent' | 'proxy'
  readonly hostname: string
  readonly services: readonly string[]
  /** Who the names it serves belong to: derived from its join token. */
  readonly owner: string
  /** Names it may serve, as its token said; absent: any free one. */
  readonly targets?: readonly string[]
  readonly address?: string
  /** The host clients may know a proxy by: in its newest certificate, in the spelling it has there. */
  readonly publicName?: string
  /** Of its newest certificate, and the newest it was seen to use. */
  readonly generation: number
  readonly confirmed: number
  readonly joinedAtMs: number
}

/** A target name and whose it is. */
export interface TargetRecord {
  readonly kind: TargetKind
  readonly name: string
  readonly label: string
  readonly owner: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  readonly description: string
  readonly agents: readonly string[]
  /** Of a server that has no agent; such a record is made of a resource and never stored. */
  readonly address?: string
}

/** A database user's password, sealed under a context that names owner, database, user and methods. */
export interface DbCredentialRecord {
  readonly database: string
  readonly dbUser: string
  /** Who owned the database's name when it was set. */
  readonly owner: string
  readonly methods: readonly PasswordMethod[]
  readonly sealed: string
  readonly changedAtMs: number
  readonly changedBy: string
}

export interface TicketKeyRecord {
  readonly id: number
  readonly sealed: string
  readonly madeAtMs: number
  readonly notAfterMs: number
}

export const credentialsSchema: z.ZodType<Credentials> = z.strictObject({
  name: z.string(),
  generation: z.int(),
  password: z.string().exactOptional(),
  totp: z.strictObject({ sealed: z.string(), usedStep: z.int() }).exactOptional(),
})

export const inviteSchema: z.ZodType<InviteRecord> = z.strictObject({
  user: z.string(),
  purpose: z.enum(['invite', 'reset']),
  generation: z.int(),
  sealed: z.string(),
  expiresAtMs: z.int(),
})

export const hostSchema: z.ZodType<HostRecord> = z.strictObject({
  id: z.string(),
  role: z.enum(['agent', 'proxy']),
  hostname: z.string(),
  services: z.array(z.string()),
  owner: z.string(),
  targets: z.array(z.string()).exactOptional(),
  address: z.string().exactOptional(),
  publicName: z.string().exactOptional(),
  generation: z.int(),
  confirmed: z.int(),
  joinedAtMs: z.int(),
})

export const targetSchema: z.ZodType<TargetRecord> = z.strictObject({
  kind: z.enum(TARGET_KINDS),
  name: z.string(),
  label: z.string(),
  owner: z.string(),
  protocol: z.string(),
  labels: z.record(z.string(), z.string()),
  description: z.string(),
  agents: z.array(z.string()),
})

export const dbCredentialSchema: z.ZodType<DbCredentialRecord> = z.strictObject({
  database: z.string(),
  dbUser: z.string(),
  owner: z.string(),
  methods: z.array(z.enum(['scram', 'md5', 'cleartext'])),
  sealed: z.string(),
  changedAtMs: z.int(),
  changedBy: z.string(),
})

export const ticketKeysSchema: z.ZodType<readonly TicketKeyRecord[]> = z.array(
  z.strictObject({ id: z.int(), sealed: z.string(), madeAtMs: z.int(), notAfterMs: z.int() }),
)

export const generationSchema: z.ZodType<number> = z.int()

export const credentialsKey = (user: string): string =>
  storeKey('credentials', 'local', foldName(user))
/** By the hash of the token: who reads the store learns no token. */
export const inviteKey = (tokenHash: string): string => storeKey('invites', tokenHash)
export const hostKey = (id: string): string => storeKey('hosts', id)
export const targetKey = (kind: TargetKind, name: string): string => storeKey('targets', kind, name)
export const generationKey = (subject: string): string => storeKey('generations', subject)
export const resourceKey = (kind: string, name: string): string => storeKey('resources', kind, name)

export const dbCredentialKey = (database: string, dbUser: string): string =>
  storeKey('db-credentials', database, dbUser)

export const recordingKey = (sid: string): string => storeKey('recordings', sid)
/** `time`: text that sorts as recordings are listed. */
export const recordingIndexKey = (time: string, sid: string): string =>
  storeKey('recording-index', time, sid)
/** A flat file that is owed. */
export const recordingFlatKey = (sid: string): string => storeKey('recording-flats', sid)

/** The owner of names that an administrator's resource registers. */
export const RESOURCE_OWNER = 'resource'

export const HOSTS: string = storePrefix('hosts')
export const TARGETS: string = storePrefix('targets')
export const GENERATIONS: string = storePrefix('generations')
export const RESOURCES: string = storePrefix('resources')
export const DB_CREDENTIALS: string = storePrefix('db-credentials')
export const RECORDINGS: string = storePrefix('recordings')
export const RECORDING_INDEX: string = storePrefix('recording-index')
export const RECORDING_FLATS: string = storePrefix('recording-flats')
/** There when the index has all records. */
export const RECORDING_INDEX_WHOLE: string = storeKey('recording-index-whole')
export const TICKET_KEYS: string = storeKey('ticket-keys')
export const CLUSTER: string = storeKey('cluster')
export const AUTHORITIES: string = storeKey('authorities')
