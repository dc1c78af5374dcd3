// Roles made ready for deciding: patterns compiled once per snapshot, looked up by name. Nothing of a person is in here;
// templates are expanded per decision from the certificate's traits.

import type { TargetKind } from '../identity.ts'
import type { CompiledLabels, Pattern } from './match.ts'
import { compileLabels, compilePattern } from './match.ts'
import type { DatabaseRule, Role, Unenforced, UnenforcedKind } from './role.ts'

/** Versions whose meaning we know; a role of another one grants nothing. */
export const ROLE_VERSIONS = ['v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9'] as const

export interface CompiledRule {
  readonly labels: CompiledLabels
  readonly users: readonly Pattern[]
  readonly names: readonly Pattern[]
}

export interface CompiledRole {
  readonly role: Role
  readonly knownVersion: boolean
  readonly allowDb: CompiledRule | undefined
  readonly denyDb: CompiledRule | undefined
  /** The strictest of what the role sets for databases and nothing enforces. */
  readonly unenforcedDb: Unenforced | undefined
}

/** By name. */
export type CompiledRoles = ReadonlyMap<string, CompiledRole>

/** Compiles roles; the same array is compiled once, as snapshots are replaced whole and never changed. */
export function compileRoles(roles: readonly Role[]): CompiledRoles {
  const known = compiled.get(roles)
  if (known !== undefined) return known
  const made = new Map<string, CompiledRole>()
  for (const role of roles) made.set(role.name, compileRole(role))
  compiled.set(roles, made)
  return made
}

/** What a role sets that nothing enforces and that governs this kind, the strictest effect first. */
export function unenforcedFor(role: Role, kind: UnenforcedKind): Unenforced | undefined {
  let strictest: Unenforced | undefined
  for (const field of role.unenforced) {
    if (!field.kinds.includes(kind)) continue
    if (strictest === undefined || STRICTNESS[field.effect] > STRICTNESS[strictest.effect])
      strictest = field
  }
  return strictest
}

/** The kinds that have a service now; a certificate for another kind is granted nothing. */
export function isServedKind(kind: TargetKind): boolean {
  return kind === 'db'
}

const STRICTNESS: Readonly<Record<Unenforced['effect'], number>> = {
  withholds: 1,
  demands: 2,
  refuses: 3,
}

/** A memo of pure work on immutable values; entries go with their snapshot. */
const compiled = new WeakMap<readonly Role[], CompiledRoles>()

function compileRole(role: Role): CompiledRole {
  const versions: readonly string[] = ROLE_VERSIONS
  return {
    role,
    knownVersion: versions.includes(role.version),
    allowDb: role.allow.db === undefined ? undefined : compileRule(role.allow.db),
    denyDb: role.deny.db === undefined ? undefined : compileRule(role.deny.db),
    unenforcedDb: unenforcedFor(role, 'db'),
  }
}

function compileRule(rule: DatabaseRule): CompiledRule {
  return {
    labels: compileLabels(rule.labels),
    users: rule.users.map(compilePattern),
    names: rule.names.map(compilePattern),
  }
}
