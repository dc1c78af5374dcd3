// All resource kinds and the one way in and out: YAML text or a JSON body becomes a checked Resource, a Resource becomes YAML.
// What is stored has been through `parseResource`; nothing else makes one.

import { stringify } from 'yaml'
import type { z } from 'zod'

import type { ClusterAuthResource } from './cluster-auth.ts'
import { CLUSTER_AUTH_NAME, clusterAuthSchema } from './cluster-auth.ts'
import type { ClusterNetworkingResource } from './cluster-networking.ts'
import { CLUSTER_NETWORKING_NAME, clusterNetworkingSchema } from './cluster-networking.ts'
import type { DbResource } from './db.ts'
import { dbSchema } from './db.ts'
import { checkedValue, invalid, readDocuments } from './document.ts'
import type { Metadata } from './field.ts'
import type { HealthCheckResource } from './health-check.ts'
import { healthCheckSchema } from './health-check.ts'
import type { LockResource } from './lock.ts'
import { lockSchema } from './lock.ts'
import { describeIssues } from './problem.ts'
import type { NodeResource } from './node.ts'
import { nodeSchema } from './node.ts'
import type { RoleResource } from './role.ts'
import { roleSchema } from './role.ts'
import type { SessionRecordingResource } from './session-recording.ts'
import { SESSION_RECORDING_NAME, sessionRecordingSchema } from './session-recording.ts'
import type { TokenResource } from './token.ts'
import { tokenSchema } from './token.ts'
import type { UserResource } from './user.ts'
import { userSchema } from './user.ts'

export type Resource =
  | UserResource
  | RoleResource
  | TokenResource
  | DbResource
  | NodeResource
  | LockResource
  | HealthCheckResource
  | ClusterAuthResource
  | SessionRecordingResource
  | ClusterNetworkingResource

export type ResourceKind = Resource['kind']

export const RESOURCE_KINDS: readonly ResourceKind[] = [
  'user',
  'role',
  'token',
  'db',
  'node',
  'lock',
  'health_check_config',
  'cluster_auth_preference',
  'session_recording_config',
  'cluster_networking_config',
]

const SCHEMAS: Readonly<Record<ResourceKind, z.ZodType<Resource>>> = {
  user: userSchema,
  role: roleSchema,
  token: tokenSchema,
  db: dbSchema,
  node: nodeSchema,
  lock: lockSchema,
  health_check_config: healthCheckSchema,
  cluster_auth_preference: clusterAuthSchema,
  session_recording_config: sessionRecordingSchema,
  cluster_networking_config: clusterNetworkingSchema,
}

const ALIASES: Readonly<Record<ResourceKind, readonly string[]>> = {
  user: ['users'],
  role: ['roles'],
  token: ['tokens'],
  db: ['dbs', 'database', 'databases'],
  node: ['nodes', 'server', 'servers'],
  lock: ['locks'],
  health_check_config: ['hcc', 'health_check_configs'],
  cluster_auth_preference: ['cap', 'auth_preference', 'cluster_authentication_preferences'],
  session_recording_config: ['recconfig', 'recording_config', 'session_recording'],
  cluster_networking_config: ['netconfig', 'networking_config', 'networking'],
}

const SINGLETONS: Readonly<Partial<Record<ResourceKind, string>>> = {
  cluster_auth_preference: CLUSTER_AUTH_NAME,
  session_recording_config: SESSION_RECORDING_NAME,
  cluster_networking_config: CLUSTER_NETWORKING_NAME,
}

/** The kind people mean by `users`, `cap`, `role`; case and dashes do not matter. */
export function resourceKind(word: string): ResourceKind | undefined {
  const wanted = word.toLowerCase().replaceAll('-', '_')
  return RESOURCE_KINDS.find((kind) => kind === wanted || ALIASES[kind].includes(wanted))
}

/** The name of the only resource of a kind, for kinds that have one. */
export function singletonOf(kind: ResourceKind): string | undefined {
  return SINGLETONS[kind]
}

/** Checks one value (a JSON body, a stored document). Throws resource.invalid naming the field. */
export function parseResource(value: unknown): Resource {
  return check(checkedValue(value), () => undefined)
}

/** The resources of a YAML (or JSON) text. Throws resource.invalid naming line and field. */
export function parseDocuments(text: string): readonly Resource[] {
  return readDocuments(text).map((document) => check(document.value, (path) => document.line(path)))
}

/** YAML with the fields in the order people write them. Several are separated by `---`. */
export function renderDocument(...resources: readonly Resource[]): string {
  return resources.map((resource) => stringify(ordered(resource), YAML_STYLE)).join('---\n')
}

const YAML_STYLE = { aliasDuplicateObjects: false, lineWidth: 0 } as const

function check(
  value: unknown,
  line: (path: readonly PropertyKey[]) => number | undefined,
): Resource {
  const kind = kindOf(value, line)
  const result = SCHEMAS[kind].safeParse(value)
  if (result.success) return result.data
  const { message, path } = describeIssues(result.error.issues, value, line)
  throw invalid(message, line(path))
}

function kindOf(
  value: unknown,
  line: (path: readonly PropertyKey[]) => number | undefined,
): ResourceKind {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('a resource is a map with kind, version, metadata and spec', line([]))
  const word = 'kind' in value ? value.kind : undefined
  const kind = RESOURCE_KINDS.find((each) => each === word)
  if (kind !== undefined) return kind
  const known = RESOURCE_KINDS.join(', ')
  const said = typeof word === 'string' ? `kind: "${word}" is unknown` : 'kind: missing'
  throw invalid(`${said}; known are ${known}`, line(['kind']))
}

function ordered({ kind, sub_kind: subKind, version, metadata, spec }: Resource): object {
  return {
    kind,
    ...(subKind === undefined ? {} : { sub_kind: subKind }),
    version,
    metadata: orderedMetadata(metadata),
    spec,
  }
}

function orderedMetadata({ name, description, labels, expires, revision }: Metadata): object {
  return Object.fromEntries(
    Object.entries({ name, description, labels, expires, revision }).filter(
      ([, value]) => value !== undefined,
    ),
  )
}
