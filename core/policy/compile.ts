// Roles made ready for deciding: patterns compiled once per snapshot, looked up by name. Nothing of a person is in here;
// templates are expanded per decision from the certificate's traits.

import type { TargetKind } from '../identity.ts'
import type { LabelExpression } from '../predicate/label-expression.ts'
import { compileLabelExpression } from '../predicate/label-expression.ts'
import type { CompiledLabels, Pattern } from './match.ts'
import { compileLabels, compilePattern } from './match.ts'
import type { DatabaseRule, NodeRule, Role, RoleSide, Unenforced, UnenforcedKind } from './role.ts'

/** Versions whose meaning we know; a role of another one grants nothing. */
export const ROLE_VERSIONS = ['v3', 'v4', 'v5', 'v6', 'v7', 'v8', 'v9'] as const

/** The kinds that have a service now; a certificate for another kind is granted nothing. */
export const SERVED_KINDS: readonly ServedKind[] = ['db', 'node']
export type ServedKind = Extract<TargetKind, 'db' | 'node'>

/** One side of a role for one kind. */
export interface CompiledRule {
  readonly labels: CompiledLabels
  readonly expression: LabelExpression | undefined
  /** Database users, logins. */
  readonly principals: readonly Pattern[]
  /** Database names; of kinds that have no parts nothing is asked. */
  readonly resources: readonly Pattern[]
}

/** What a role says of one kind. */
export interface CompiledKind {
  readonly allow: CompiledRule | undefined
  readonly deny: CompiledRule | undefined
  /** The strictest of what the role sets for the kind and nothing enforces. */
  readonly unenforced: Unenforced | undefined
}

export interface CompiledRole {
  readonly role: Role
  readonly knownVersion: boolean
  readonly kinds: Readonly<Record<ServedKind, CompiledKind>>
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

export function isServedKind(kind: TargetKind): kind is ServedKind {
  return SERVED_KINDS.some((each) => each === kind)
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
    kinds: { db: compileKind(role, 'db'), node: compileKind(role, 'node') },
  }
}

function compileKind(role: Role, kind: ServedKind): CompiledKind {
  return {
    allow: compileSide(role.allow, kind),
    deny: compileSide(role.deny, kind),
    unenforced: unenforcedFor(role, kind),
  }
}

function compileSide({ db, node }: RoleSide, kind: ServedKind): CompiledRule | undefined {
  switch (kind) {
    case 'db':
      return db === undefined ? undefined : compileRule(db, db.users, db.names)
    case 'node':
      return node === undefined ? undefined : compileRule(node, node.logins, [])
  }
}

function compileRule(
  { labels, labelsExpression }: DatabaseRule | NodeRule,
  principals: readonly string[],
  resources: readonly string[],
): CompiledRule {
  return {
    labels: compileLabels(labels),
    expression:
      labelsExpression === undefined ? undefined : compileLabelExpression(labelsExpression),
    principals: principals.map(compilePattern),
    resources: resources.map(compilePattern),
  }
}
