// What one role by itself says about one request for a database. decide.ts adds the roles up; explain.ts tells of each.
// The order is fixed: what refuses everything, what the role denies, what withholds, then labels, user and name it allows,
// then replication.

import type { TargetRef, UserIdentity } from '../identity.ts'
import type { Access } from '../protocol.ts'
import type { CompiledRole } from './compile.ts'
import type { Labels } from './match.ts'
import { findPattern, matchLabels, matchPattern } from './match.ts'
import type { Unenforced } from './role.ts'

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
  | 'allow.db_users'
  | 'allow.db_names'
  | 'options.db_replication'
export type DenyField = 'deny.db_labels' | 'deny.db_users' | 'deny.db_names'

/** A deny rule that matched. `entry` is as the role has it; absent for labels. */
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
const NO_LABELS: Verdict = { outcome: 'no-match', field: 'allow.db_labels' }
const NO_USER: Verdict = { outcome: 'no-match', field: 'allow.db_users' }
const NO_NAME: Verdict = { outcome: 'no-match', field: 'allow.db_names' }
const NO_REPLICATION: Verdict = { outcome: 'no-match', field: 'options.db_replication' }

/** Shared constants where possible: with 50 roles this runs 50 times per decision. */
export function judge(compiled: CompiledRole, request: PolicyRequest): Verdict {
  const unenforced = compiled.unenforcedDb
  if (unenforced?.effect === 'refuses') return { outcome: 'refuses', field: unenforced.field }
  const deny = firstDeny(compiled, request)
  if (deny !== undefined) return { outcome: 'denies', deny }
  if (!compiled.knownVersion) return UNKNOWN_VERSION
  if (unenforced?.effect === 'withholds') return { outcome: 'withholds', field: unenforced.field }
  const verdict = judgeAllow(compiled, request)
  return verdict === ALLOWS && unenforced !== undefined
    ? { outcome: 'demands', field: unenforced.field }
    : verdict
}

/** Every deny rule of the role that matches, each by itself: users and names are denied wherever they are asked for. */
export function matchedDenies(compiled: CompiledRole, request: PolicyRequest): MatchedDeny[] {
  const rule = compiled.denyDb
  if (rule === undefined) return []
  const { identity, target, access } = request
  const found: MatchedDeny[] = []
  if (matchLabels(rule.labels, target.labels, identity, 'deny'))
    found.push({ field: 'deny.db_labels' })
  for (const user of rule.users)
    if (matchPattern(user, access.principal, identity, 'deny'))
      found.push({ field: 'deny.db_users', entry: user.source })
  for (const name of rule.names)
    if (matchPattern(name, access.resource, identity, 'deny'))
      found.push({ field: 'deny.db_names', entry: name.source })
  return found
}

/** Every allow rule of the role that does not match. */
export function unmatchedAllows(compiled: CompiledRole, request: PolicyRequest): AllowField[] {
  const rule = compiled.allowDb
  const { identity, target, access } = request
  const replication: readonly AllowField[] = replicates(compiled, access)
    ? []
    : ['options.db_replication']
  if (rule === undefined)
    return ['allow.db_labels', 'allow.db_users', 'allow.db_names', ...replication]
  const missing: AllowField[] = []
  if (!matchLabels(rule.labels, target.labels, identity, 'allow')) missing.push('allow.db_labels')
  if (findPattern(rule.users, access.principal, identity, 'allow') === undefined)
    missing.push('allow.db_users')
  if (findPattern(rule.names, access.resource, identity, 'allow') === undefined)
    missing.push('allow.db_names')
  return [...missing, ...replication]
}

/** A stream of all changes is more than any statement gives: no wildcard of users and names covers it. */
function replicates({ role }: CompiledRole, access: Access): boolean {
  return access.replication !== true || role.options.dbReplication === true
}

/** The same rules in the same order, stopping at the first: this runs for every role of every decision. */
function firstDeny(compiled: CompiledRole, request: PolicyRequest): MatchedDeny | undefined {
  const rule = compiled.denyDb
  if (rule === undefined) return undefined
  const { identity, target, access } = request
  if (matchLabels(rule.labels, target.labels, identity, 'deny')) return { field: 'deny.db_labels' }
  const user = findPattern(rule.users, access.principal, identity, 'deny')
  if (user !== undefined) return { field: 'deny.db_users', entry: user.source }
  const name = findPattern(rule.names, access.resource, identity, 'deny')
  return name === undefined ? undefined : { field: 'deny.db_names', entry: name.source }
}

function judgeAllow(compiled: CompiledRole, request: PolicyRequest): Verdict {
  const rule = compiled.allowDb
  if (rule === undefined) return NO_LABELS
  const { identity, target, access } = request
  if (!matchLabels(rule.labels, target.labels, identity, 'allow')) return NO_LABELS
  if (findPattern(rule.users, access.principal, identity, 'allow') === undefined) return NO_USER
  if (findPattern(rule.names, access.resource, identity, 'allow') === undefined) return NO_NAME
  if (!replicates(compiled, access)) return NO_REPLICATION
  return ALLOWS
}
