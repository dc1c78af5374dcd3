// What a person may see of a database: whether it is shown at all, and which users and names to offer (`tsh db ls`).
// A hint for lists, never an admission: only decide() admits, since one role must match user and name together.

import type { UserIdentity } from '../identity.ts'
import type { CompiledRole, CompiledRoles } from './compile.ts'
import { isServedKind } from './compile.ts'
import type { PolicyTarget } from './judge.ts'
import type { Pattern } from './match.ts'
import { findPattern, matchLabels } from './match.ts'
import { expandTemplate, isAdminWildcard } from './template.ts'

export interface DatabaseReach {
  readonly visible: boolean
  /** Literals and patterns as roles have them, `*` for any; sorted; without what is denied by name. */
  readonly dbUsers: readonly string[]
  readonly dbNames: readonly string[]
}

/** Whether the person may know that the database exists. */
export function isVisible(
  identity: UserIdentity,
  target: PolicyTarget,
  roles: CompiledRoles,
): boolean {
  if (!isServedKind(target.ref.kind)) return false
  let shown = false
  for (const name of identity.roles) {
    const role = roles.get(name)
    if (role === undefined) continue
    if (hides(role, target, identity)) return false
    shown ||= shows(role, target, identity)
  }
  return shown
}

const NOTHING: DatabaseReach = { visible: false, dbUsers: [], dbNames: [] }

export function databaseReach(
  identity: UserIdentity,
  target: PolicyTarget,
  roles: CompiledRoles,
): DatabaseReach {
  if (!isVisible(identity, target, roles)) return NOTHING
  const held = identity.roles.flatMap((name) => roles.get(name) ?? [])
  const showing = held.filter((role) => shows(role, target, identity))
  const denied = held.flatMap((role) => role.denyDb ?? [])
  return {
    visible: true,
    dbUsers: offered(
      showing.flatMap((role) => role.allowDb?.users ?? []),
      denied.flatMap((rule) => rule.users),
      identity,
    ),
    dbNames: offered(
      showing.flatMap((role) => role.allowDb?.names ?? []),
      denied.flatMap((rule) => rule.names),
      identity,
    ),
  }
}

function hides(role: CompiledRole, target: PolicyTarget, identity: UserIdentity): boolean {
  if (role.unenforcedDb?.effect === 'refuses') return true
  const labels = role.denyDb?.labels
  return labels !== undefined && matchLabels(labels, target.labels, identity, 'deny')
}

function shows(role: CompiledRole, target: PolicyTarget, identity: UserIdentity): boolean {
  if (!role.knownVersion || role.unenforcedDb?.effect === 'withholds') return false
  const labels = role.allowDb?.labels
  return labels !== undefined && matchLabels(labels, target.labels, identity, 'allow')
}

function offered(
  allowed: readonly Pattern[],
  denied: readonly Pattern[],
  identity: UserIdentity,
): readonly string[] {
  const out = new Set<string>()
  for (const pattern of allowed)
    for (const text of textsOf(pattern, identity))
      if (findPattern(denied, text, identity, 'deny') === undefined) out.add(text)
  return [...out].sort()
}

function textsOf(pattern: Pattern, identity: UserIdentity): readonly string[] {
  if (pattern.kind === 'broken') return []
  if (pattern.kind !== 'template') return [pattern.source]
  if (isAdminWildcard(pattern.template, identity)) return ['*']
  return expandTemplate(pattern.template, identity)
}
