// What a person may see of a target: whether it is shown at all, and which principals and names to offer (`tsh db ls`, `tsh ls`).
// A hint for lists, never an admission: only decide() admits, since one role must match labels, principal and name together.

import type { UserIdentity } from '../identity.ts'
import { isLogin } from '../ssh/principal.ts'
import type { CompiledRole, CompiledRoles, ServedKind } from './compile.ts'
import { isServedKind } from './compile.ts'
import type { PolicyTarget } from './judge.ts'
import type { Pattern } from './match.ts'
import { findPattern } from './match.ts'
import { firstMatchedPart, firstUnmatchedPart } from './selection.ts'
import { expandTemplate, isAdminWildcard } from './template.ts'

export interface Reach {
  readonly visible: boolean
  /** Literals and patterns as roles have them, `*` for any; sorted; without what is denied by name. */
  readonly principals: readonly string[]
  readonly resources: readonly string[]
}

/** Whether the person may know that the target exists. */
export function isVisible(
  identity: UserIdentity,
  target: PolicyTarget,
  roles: CompiledRoles,
): boolean {
  const { kind } = target.ref
  if (!isServedKind(kind)) return false
  let shown = false
  for (const name of identity.roles) {
    const role = roles.get(name)
    if (role === undefined) continue
    if (hides(role, kind, target, identity)) return false
    shown ||= shows(role, kind, target, identity)
  }
  return shown
}

const NOTHING: Reach = { visible: false, principals: [], resources: [] }

export function reachOf(identity: UserIdentity, target: PolicyTarget, roles: CompiledRoles): Reach {
  const { kind } = target.ref
  if (!isServedKind(kind) || !isVisible(identity, target, roles)) return NOTHING
  const held = identity.roles.flatMap((name) => roles.get(name) ?? [])
  const showing = held.filter((role) => shows(role, kind, target, identity))
  const allowed = showing.flatMap((role) => role.kinds[kind].allow ?? [])
  const denied = held.flatMap((role) => role.kinds[kind].deny ?? [])
  const of = (list: 'principals' | 'resources'): readonly string[] =>
    offered(
      allowed.flatMap((rule) => rule[list]),
      denied.flatMap((rule) => rule[list]),
      identity,
    )
  return { visible: true, principals: of('principals'), resources: of('resources') }
}

/** The logins that roles which show a node offer there, by name: what a certificate can say. */
export function loginsOn(
  identity: UserIdentity,
  target: PolicyTarget,
  roles: CompiledRoles,
): readonly string[] {
  if (!isVisible(identity, target, roles)) return []
  const held = identity.roles.flatMap((name) => roles.get(name) ?? [])
  const showing = held.filter((role) => shows(role, 'node', target, identity))
  return namedLogins(showing, held, identity)
}

/**
 * The logins that a person's SSH certificate names: all that their roles allow on any node, without those that one denies. Patterns
 * name nobody. The node decides for itself; this is what a stolen certificate is worth at most.
 */
export function loginsOf(identity: UserIdentity, roles: CompiledRoles): readonly string[] {
  const held = identity.roles.flatMap((name) => roles.get(name) ?? [])
  if (held.some((role) => role.kinds.node.unenforced?.effect === 'refuses')) return []
  const granting = held.filter((role) => grants(role, 'node'))
  return namedLogins(granting, held, identity)
}

function namedLogins(
  granting: readonly CompiledRole[],
  held: readonly CompiledRole[],
  identity: UserIdentity,
): readonly string[] {
  const allowed = granting.flatMap((role) => role.kinds.node.allow?.principals ?? [])
  const denied = held.flatMap((role) => role.kinds.node.deny?.principals ?? [])
  return offered(allowed, denied, identity, literalsOf).filter(isLogin)
}

function hides(
  role: CompiledRole,
  kind: ServedKind,
  target: PolicyTarget,
  identity: UserIdentity,
): boolean {
  const { deny, unenforced } = role.kinds[kind]
  if (unenforced?.effect === 'refuses') return true
  return deny !== undefined && firstMatchedPart(deny, target.labels, identity) !== undefined
}

function shows(
  role: CompiledRole,
  kind: ServedKind,
  target: PolicyTarget,
  identity: UserIdentity,
): boolean {
  const { allow } = role.kinds[kind]
  if (allow === undefined || !grants(role, kind)) return false
  return firstUnmatchedPart(allow, target.labels, identity) === undefined
}

function grants({ knownVersion, kinds }: CompiledRole, kind: ServedKind): boolean {
  return knownVersion && kinds[kind].unenforced?.effect !== 'withholds'
}

function offered(
  allowed: readonly Pattern[],
  denied: readonly Pattern[],
  identity: UserIdentity,
  texts: typeof textsOf = textsOf,
): readonly string[] {
  const out = new Set<string>()
  for (const pattern of allowed)
    for (const text of texts(pattern, identity))
      if (findPattern(denied, text, identity, 'deny') === undefined) out.add(text)
  return [...out].sort()
}

function textsOf(pattern: Pattern, identity: UserIdentity): readonly string[] {
  if (pattern.kind === 'broken') return []
  if (pattern.kind !== 'template') return [pattern.source]
  if (isAdminWildcard(pattern.template, identity)) return ['*']
  return expandTemplate(pattern.template, identity)
}

/** A star among the traits stands for every login and names none; those beside it are named all the same. */
function literalsOf(pattern: Pattern, identity: UserIdentity): readonly string[] {
  if (pattern.kind === 'template') return expandTemplate(pattern.template, identity)
  return pattern.kind === 'literal' ? [pattern.source] : []
}
