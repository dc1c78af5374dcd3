// What one role by itself says about one request for a target. decide.ts adds the roles up; explain.ts tells of each.
// The order is fixed: what refuses everything, what the role denies, what withholds, then labels, principal and, of databases,
// name and replication that it allows.

import type { TargetRef, UserIdentity } from '../identity.ts'
import type { Access } from '../protocol.ts'
import type { CompiledRole, ServedKind } from './compile.ts'
import type { Labels } from './match.ts'
import { findPattern, matchPattern } from './match.ts'
import type { Unenforced } from './role.ts'
import type { SelectionPart } from './selection.ts'
import { firstMatchedPart, firstUnmatchedPart, matchedParts, unmatchedParts } from './selection.ts'

export interface PolicyTarget {
  readonly ref: TargetRef
  readonly labels: Labels
}

export interface PolicyRequest {
  readonly identity: UserIdentity
  readonly target: PolicyTarget
  readonly access: Access
}

export type AllowField =
  | 'allow.db_labels'
  | 'allow.db_labels_expression'
  | 'allow.db_users'
  | 'allow.db_names'
  | 'options.db_replication'
  | 'allow.node_labels'
  | 'allow.node_labels_expression'
  | 'allow.logins'
export type DenyField =
  | 'deny.db_labels'
  | 'deny.db_labels_expression'
  | 'deny.db_users'
  | 'deny.db_names'
  | 'deny.node_labels'
  | 'deny.node_labels_expression'
  | 'deny.logins'

/** How the fields of a kind are called. A kind without `resources` has no parts that one could name. */
interface FieldNames<T> extends Readonly<Record<SelectionPart, T>> {
  readonly principals: T
  readonly resources: T | undefined
}

const ALLOW_FIELDS: Readonly<Record<ServedKind, FieldNames<AllowField>>> = {
  db: {
    labels: 'allow.db_labels',
    expression: 'allow.db_labels_expression',
    principals: 'allow.db_users',
    resources: 'allow.db_names',
  },
  node: {
    labels: 'allow.node_labels',
    expression: 'allow.node_labels_expression',
    principals: 'allow.logins',
    resources: undefined,
  },
}
const DENY_FIELDS: Readonly<Record<ServedKind, FieldNames<DenyField>>> = {
  db: {
    labels: 'deny.db_labels',
    expression: 'deny.db_labels_expression',
    principals: 'deny.db_users',
    resources: 'deny.db_names',
  },
  node: {
    labels: 'deny.node_labels',
    expression: 'deny.node_labels_expression',
    principals: 'deny.logins',
    resources: undefined,
  },
}

/** A deny rule that matched. `entry` is as the role has it; absent for labels and their expression. */
export interface MatchedDeny {
  readonly field: DenyField
  readonly entry?: string
}

export type Verdict =
  | { readonly outcome: 'allows' }
  | { readonly outcome: 'denies'; readonly deny: MatchedDeny }
  /** A field that nothing enforces; see Unenforced. `demands` is said only where the role would allow. */
  | { readonly outcome: Unenforced['effect']; readonly field: string }
  | { readonly outcome: 'unknown-version' }
  /** `field` is the first rule that does not match. */
  | { readonly outcome: 'no-match'; readonly field: AllowField }

const ALLOWS: Verdict = { outcome: 'allows' }
const UNKNOWN_VERSION: Verdict = { outcome: 'unknown-version' }

/** With 50 roles this runs 50 times per decision. */
export function judge(compiled: CompiledRole, kind: ServedKind, request: PolicyRequest): Verdict {
  const { unenforced } = compiled.kinds[kind]
  if (unenforced?.effect === 'refuses') return { outcome: 'refuses', field: unenforced.field }
  const deny = firstDeny(compiled, kind, request)
  if (deny !== undefined) return { outcome: 'denies', deny }
  if (!compiled.knownVersion) return UNKNOWN_VERSION
  if (unenforced?.effect === 'withholds') return { outcome: 'withholds', field: unenforced.field }
  const missing = firstUnmatched(compiled, kind, request)
  if (missing !== undefined) return { outcome: 'no-match', field: missing }
  return unenforced === undefined ? ALLOWS : { outcome: 'demands', field: unenforced.field }
}

/** Every deny rule of the role that matches, each by itself: principals and names are denied wherever they are asked for. */
export function matchedDenies(
  compiled: CompiledRole,
  kind: ServedKind,
  request: PolicyRequest,
): MatchedDeny[] {
  const rule = compiled.kinds[kind].deny
  if (rule === undefined) return []
  const { identity, target, access } = request
  const names = DENY_FIELDS[kind]
  const found: MatchedDeny[] = []
  for (const part of matchedParts(rule, target.labels, identity)) found.push({ field: names[part] })
  for (const principal of rule.principals)
    if (matchPattern(principal, access.principal, identity, 'deny'))
      found.push({ field: names.principals, entry: principal.source })
  if (names.resources === undefined) return found
  for (const name of rule.resources)
    if (matchPattern(name, access.resource, identity, 'deny'))
      found.push({ field: names.resources, entry: name.source })
  return found
}

/** Every allow rule of the role that does not match. */
export function unmatchedAllows(
  compiled: CompiledRole,
  kind: ServedKind,
  request: PolicyRequest,
): AllowField[] {
  const rule = compiled.kinds[kind].allow
  const { identity, target, access } = request
  const names = ALLOW_FIELDS[kind]
  const missing: AllowField[] = []
  if (rule === undefined) missing.push(names.labels)
  else for (const part of unmatchedParts(rule, target.labels, identity)) missing.push(names[part])
  if (findPattern(rule?.principals ?? [], access.principal, identity, 'allow') === undefined)
    missing.push(names.principals)
  if (names.resources !== undefined)
    if (findPattern(rule?.resources ?? [], access.resource, identity, 'allow') === undefined)
      missing.push(names.resources)
  return replicates(compiled, access) ? missing : [...missing, 'options.db_replication']
}

/** A stream of all changes is more than any statement gives: no wildcard of users and names covers it. */
function replicates({ role }: CompiledRole, access: Access): boolean {
  return access.replication !== true || role.options.dbReplication === true
}

/** The same rules in the same order, stopping at the first: this runs for every role of every decision. */
function firstDeny(
  compiled: CompiledRole,
  kind: ServedKind,
  request: PolicyRequest,
): MatchedDeny | undefined {
  const rule = compiled.kinds[kind].deny
  if (rule === undefined) return undefined
  const { identity, target, access } = request
  const names = DENY_FIELDS[kind]
  const part = firstMatchedPart(rule, target.labels, identity)
  if (part !== undefined) return { field: names[part] }
  const principal = findPattern(rule.principals, access.principal, identity, 'deny')
  if (principal !== undefined) return { field: names.principals, entry: principal.source }
  if (names.resources === undefined) return undefined
  const name = findPattern(rule.resources, access.resource, identity, 'deny')
  return name === undefined ? undefined : { field: names.resources, entry: name.source }
}

function firstUnmatched(
  compiled: CompiledRole,
  kind: ServedKind,
  request: PolicyRequest,
): AllowField | undefined {
  const rule = compiled.kinds[kind].allow
  const { identity, target, access } = request
  const names = ALLOW_FIELDS[kind]
  if (rule === undefined) return names.labels
  const part = firstUnmatchedPart(rule, target.labels, identity)
  if (part !== undefined) return names[part]
  if (findPattern(rule.principals, access.principal, identity, 'allow') === undefined)
    return names.principals
  if (names.resources !== undefined)
    if (findPattern(rule.resources, access.resource, identity, 'allow') === undefined)
      return names.resources
  return replicates(compiled, access) ? undefined : 'options.db_replication'
}
