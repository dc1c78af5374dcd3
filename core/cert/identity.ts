// The identity extension: one version byte, then canonical JSON of an Identity (core/identity.ts). Reading accepts exactly
// what writing makes: an unknown version, an unknown field, another order or spelling is no identity at all. Bounded by
// identityBytesMax. It never says that the identity is true: core/cert/verify.ts does.

import { ProxyError } from '../errors.ts'
import {
  type Identity,
  type Route,
  SYSTEM_ROLES,
  type SystemIdentity,
  TARGET_KINDS,
  type Traits,
  type UserIdentity,
} from '../identity.ts'
import { max } from '../limits.ts'
import { type Canonical, canonicalJson } from './canonical.ts'
import { sameBytes } from './key.ts'
import { isClusterName } from './name.ts'

const VERSION = 1

/** Throws `cert.identity` for an identity that could not be read back, and for one over the bound. */
export function encodeIdentity(identity: Identity): Uint8Array {
  const checked = checkIdentity(identity)
  if (checked === undefined)
    throw new ProxyError('cert.identity', 'The identity cannot stand in a certificate.')
  const bytes = encode(checked)
  if (bytes.length > max('identityBytesMax'))
    throw new ProxyError('cert.identity', 'Roles and traits do not fit into a certificate.', {
      next: 'Use fewer or shorter traits.',
    })
  return bytes
}

export function decodeIdentity(bytes: Uint8Array): Identity | undefined {
  if (bytes.length > max('identityBytesMax') || bytes[0] !== VERSION) return undefined
  const identity = checkIdentity(parse(Buffer.from(bytes.subarray(1)).toString('utf8')))
  // The bytes themselves are compared: bad UTF-8, a repeated key and white space all differ.
  return identity !== undefined && sameBytes(encode(identity), bytes) ? identity : undefined
}

/** A value of exactly an Identity's fields, each well-formed, as a fresh object; undefined for anything else. */
export function checkIdentity(value: unknown): Identity | undefined {
  if (!isObject(value)) return undefined
  if (value['type'] === 'user') return checkUser(value)
  return value['type'] === 'system' ? checkSystem(value) : undefined
}

/** 1 to 128 characters, NFKC, without control, format or unassigned characters. */
export function isIdentityName(value: unknown): value is string {
  return isText(value) && value.length > 0 && value.normalize('NFKC') === value
}

/** 1 to 128 characters without control, format or unassigned ones: principals and other systems' names, kept as they are. */
export function isPlainText(value: unknown): value is string {
  return isText(value) && value.length > 0
}

export const SYSTEM_ID: RegExp = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function encode(identity: Identity): Uint8Array {
  return Buffer.concat([Uint8Array.of(VERSION), Buffer.from(canonicalJson(fieldsOf(identity)))])
}

/** Interfaces have no index signature, so they are spread where the canonical type is wanted. */
function fieldsOf(identity: Identity): Canonical {
  if (identity.type === 'system') return { ...identity }
  const { route, ...rest } = identity
  return { ...rest, ...(route === undefined ? {} : { route: { ...route } }) }
}

type Fields = Readonly<Record<string, unknown>>

function checkUser(value: Fields): UserIdentity | undefined {
  const { kind, issuer, name, cluster, roles, generation, mfaAtMs, loginExpiresAtMs } = value
  const traits = checkTraits(value['traits'])
  const route = value['route'] === undefined ? undefined : checkRoute(value['route'])
  if (!onlyFields(value, USER_FIELDS)) return undefined
  if (kind !== 'human' && kind !== 'bot') return undefined
  if (!isIdentityName(issuer) || !isIdentityName(name) || !isCluster(cluster)) return undefined
  if (!isNames(roles) || traits === undefined || !isCount(generation)) return undefined
  if (value['route'] !== undefined && route === undefined) return undefined
  if (!isOptional(isCount, mfaAtMs) || !isOptional(isCount, loginExpiresAtMs)) return undefined
  return {
    type: 'user',
    kind,
    issuer,
    name,
    cluster,
    roles: [...roles],
    traits,
    generation,
    ...(route === undefined ? {} : { route }),
    ...(mfaAtMs === undefined ? {} : { mfaAtMs }),
    ...(loginExpiresAtMs === undefined ? {} : { loginExpiresAtMs }),
  }
}

function checkSystem(value: Fields): SystemIdentity | undefined {
  const { id, cluster, services, generation } = value
  const role = SYSTEM_ROLES.find((known) => known === value['role'])
  if (!onlyFields(value, SYSTEM_FIELDS) || role === undefined) return undefined
  if (typeof id !== 'string' || !SYSTEM_ID.test(id) || !isCluster(cluster)) return undefined
  if (!isNames(services) || !isCount(generation)) return undefined
  return { type: 'system', role, id, cluster, services: [...services], generation }
}

function checkRoute(value: unknown): Route | undefined {
  if (!isObject(value) || !onlyFields(value, ROUTE_FIELDS)) return undefined
  const { name, protocol, principal, resource } = value
  const kind = TARGET_KINDS.find((known) => known === value['kind'])
  if (kind === undefined || !isIdentityName(name)) return undefined
  if (!isOptional(isPlainText, protocol) || !isOptional(isPlainText, principal)) return undefined
  if (!isOptional(isPlainText, resource)) return undefined
  return {
    kind,
    name,
    ...(protocol === undefined ? {} : { protocol }),
    ...(principal === undefined ? {} : { principal }),
    ...(resource === undefined ? {} : { resource }),
  }
}

function checkTraits(value: unknown): Traits | undefined {
  if (!isObject(value)) return undefined
  const traits: [string, readonly string[]][] = []
  for (const [key, values] of Object.entries(value)) {
    // A trait of this name would change the object it is put into instead of being in it.
    if (!isPlainText(key) || key === '__proto__' || !isList(values)) return undefined
    const texts = values.filter(isTraitValue)
    if (texts.length !== values.length) return undefined
    traits.push([key, texts])
  }
  return Object.fromEntries(traits)
}

const USER_FIELDS: readonly string[] = [
  'type',
  'kind',
  'issuer',
  'name',
  'cluster',
  'roles',
  'traits',
  'route',
  'generation',
  'mfaAtMs',
  'loginExpiresAtMs',
]
const SYSTEM_FIELDS: readonly string[] = ['type', 'role', 'id', 'cluster', 'services', 'generation']
const ROUTE_FIELDS: readonly string[] = ['kind', 'name', 'protocol', 'principal', 'resource']

function onlyFields(value: Fields, known: readonly string[]): boolean {
  return Object.keys(value).every((field) => known.includes(field))
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Zl}\p{Zp}]/u

/** Trait values come from directories and are compared as they are: any length the whole identity has room for. */
function isTraitValue(value: unknown): value is string {
  return typeof value === 'string' && !UNSAFE.test(value)
}

function isText(value: unknown): value is string {
  return isTraitValue(value) && value.length <= max('nameLengthMax')
}

function isNames(value: unknown): value is readonly string[] {
  return isList(value) && value.every(isIdentityName) && new Set(value).size === value.length
}

function isCluster(value: unknown): value is string {
  return typeof value === 'string' && isClusterName(value)
}

function isCount(value: unknown): value is number {
  return (
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
  )
}

function isOptional<T>(
  check: (value: unknown) => value is T,
  value: unknown,
): value is T | undefined {
  return value === undefined || check(value)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
