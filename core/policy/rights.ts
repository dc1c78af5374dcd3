// Administrative rights: which verbs on which resource kinds a person has, by the `rules` of roles. Deny first, then allow.
// A rule with a condition (`where`) cannot be judged yet: it allows nothing, and it denies always.

import type { UserIdentity } from '../identity.ts'
import type { CompiledRole, CompiledRoles } from './compile.ts'
import { unenforcedFor } from './compile.ts'
import type { ResourceRule } from './role.ts'

export const RESOURCE_VERBS = [
  'list',
  'create',
  'read',
  'readnosecrets',
  'update',
  'delete',
  'rotate',
  'use',
  'create_enroll_token',
  'enroll',
] as const
export type ResourceVerb = (typeof RESOURCE_VERBS)[number]

export function mayResource(
  identity: UserIdentity,
  roles: CompiledRoles,
  kind: string,
  verb: ResourceVerb,
): boolean {
  const held = identity.roles.flatMap((name) => roles.get(name) ?? [])
  for (const { role } of held) {
    if (unenforcedFor(role, 'rules')?.effect === 'refuses') return false
    if (role.deny.rules.some((rule) => denies(rule, kind, verb))) return false
  }
  return held.some((role) => grants(role, kind, verb))
}

function grants(compiled: CompiledRole, kind: string, verb: ResourceVerb): boolean {
  const { role } = compiled
  if (!compiled.knownVersion || unenforcedFor(role, 'rules') !== undefined) return false
  return role.allow.rules.some((rule) => rule.where === undefined && allows(rule, kind, verb))
}

/** Whoever may read a resource may read it without its secrets. */
function allows(rule: ResourceRule, kind: string, verb: ResourceVerb): boolean {
  return covers(rule, kind, verb) || (verb === 'readnosecrets' && covers(rule, kind, 'read'))
}

/** Whoever may not read it even without its secrets may not read it at all. */
function denies(rule: ResourceRule, kind: string, verb: ResourceVerb): boolean {
  return covers(rule, kind, verb) || (verb === 'read' && covers(rule, kind, 'readnosecrets'))
}

function covers(rule: ResourceRule, kind: string, verb: string): boolean {
  const kinds = rule.resources.includes('*') || rule.resources.includes(kind)
  return kinds && (rule.verbs.includes('*') || rule.verbs.includes(verb))
}
