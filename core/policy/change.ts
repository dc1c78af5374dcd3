// The smallest change of roles that would turn a denial into an allow, as data. It is an answer to "what would it take?",
// not advice: whoever reads it decides whether the change is right. A test applies it and decides again.

import type { CompiledRole, ServedKind } from './compile.ts'
import { isServedKind } from './compile.ts'
import type { DecisionInput } from './decide.ts'
import type { AllowField, DenyField, PolicyRequest } from './judge.ts'
import { judge, matchedDenies, unmatchedAllows } from './judge.ts'
import type { LabelRule, Pattern } from './match.ts'
import { matchLabelRule } from './match.ts'
import { isEmpty } from './selection.ts'

export type Change =
  /** Add a value to a list of a role; for labels, to the values of `key` (all other keys match already). */
  | {
      readonly what: 'add'
      readonly role: string
      readonly field: Exclude<AllowField, ExpressionField | 'options.db_replication'>
      readonly key?: string
      readonly value: string
    }
  /** Take an entry out of a deny list, or all labels of a deny when there is no entry. */
  | {
      readonly what: 'remove'
      readonly role: string
      readonly field: DenyField
      readonly entry?: string
    }
  /** Give a role an option. */
  | {
      readonly what: 'set'
      readonly role: string
      readonly field: 'options.db_replication'
      readonly value: boolean
    }
  /** Unset a field that nothing enforces, or an expression that does not come to true. */
  | { readonly what: 'unset'; readonly role: string; readonly field: string }
  /** Stop asking for a label that the target does not have and that no value can be guessed for. */
  | {
      readonly what: 'drop-key'
      readonly role: string
      readonly field: LabelField
      readonly key: string
    }
  /** Give the target a label. */
  | { readonly what: 'label'; readonly key: string; readonly value: string }
  /** Give the person a role that exists and grants it. */
  | { readonly what: 'assign'; readonly role: string }
  /** No role of the cluster is near it. */
  | { readonly what: 'write-role' }

export type LabelField = 'allow.db_labels' | 'allow.node_labels'
type ExpressionField = 'allow.db_labels_expression' | 'allow.node_labels_expression'

const LABEL_FIELDS: Readonly<Record<ServedKind, LabelField>> = {
  db: 'allow.db_labels',
  node: 'allow.node_labels',
}

/** All of these together. Empty when the request is allowed, or when no role can allow it. */
export function smallestChange(input: DecisionInput): readonly Change[] {
  const { kind } = input.target.ref
  if (!isServedKind(kind)) return []
  const held = [...new Set(input.identity.roles)]
    .sort()
    .flatMap((name) => input.roles.get(name) ?? [])
  const obstacles = held.flatMap((role) => obstaclesOf(role, kind, input))
  if (held.some((role) => judge(role, kind, input).outcome === 'allows')) return obstacles
  return [...obstacles, ...nearest(held, obstacles, kind, input)]
}

/** What stands in the way of any grant: every deny that matches, every field that refuses or demands. */
function obstaclesOf(role: CompiledRole, kind: ServedKind, request: PolicyRequest): Change[] {
  const { name } = role.role
  const out: Change[] = matchedDenies(role, kind, request).map((deny) => ({
    what: 'remove',
    role: name,
    ...deny,
  }))
  for (const field of role.role.unenforced) {
    const inForce =
      field.effect === 'refuses' ||
      (field.effect === 'demands' && unmatchedAllows(role, kind, request).length === 0)
    if (field.kinds.includes(kind) && inForce)
      out.push({ what: 'unset', role: name, field: field.field })
  }
  return out
}

/** The role held that lacks least, else a role of the cluster that grants it as it is. */
function nearest(
  held: readonly CompiledRole[],
  obstacles: readonly Change[],
  kind: ServedKind,
  input: DecisionInput,
): readonly Change[] {
  let best: readonly Change[] | undefined
  for (const role of held) {
    if (!role.knownVersion) continue
    const changes = lacking(role, kind, input).filter((change) => !isAmong(change, obstacles))
    if (best === undefined || changes.length < best.length) best = changes
  }
  if (best !== undefined && best.length <= 1) return best
  for (const [name, role] of input.roles)
    if (judge(role, kind, input).outcome === 'allows') return [{ what: 'assign', role: name }]
  return best ?? [{ what: 'write-role' }]
}

/** What one role lacks to grant the request by itself. */
function lacking(role: CompiledRole, kind: ServedKind, request: PolicyRequest): readonly Change[] {
  const { name } = role.role
  const out: Change[] = role.role.unenforced
    .filter((field) => field.kinds.includes(kind))
    .map((field) => ({ what: 'unset', role: name, field: field.field }))
  for (const field of unmatchedAllows(role, kind, request))
    out.push(...lackingField(role, field, kind, request))
  return out
}

function lackingField(
  role: CompiledRole,
  field: AllowField,
  kind: ServedKind,
  request: PolicyRequest,
): readonly Change[] {
  const { name } = role.role
  const { principal, resource } = request.access
  switch (field) {
    case 'allow.db_users':
    case 'allow.logins':
      return [{ what: 'add', role: name, field, value: principal }]
    case 'allow.db_names':
      return [{ what: 'add', role: name, field, value: resource }]
    case 'options.db_replication':
      return [{ what: 'set', role: name, field, value: true }]
    case 'allow.db_labels':
    case 'allow.node_labels':
      return lackingLabels(role, field, kind, request)
    case 'allow.db_labels_expression':
    case 'allow.node_labels_expression':
      return lackingExpression(role, field, kind, request)
  }
}

/** Nobody can say what an expression should be instead. Without it a map must match, and an empty one does not. */
function lackingExpression(
  role: CompiledRole,
  field: ExpressionField,
  kind: ServedKind,
  request: PolicyRequest,
): readonly Change[] {
  const unset: Change = { what: 'unset', role: role.role.name, field }
  const labels = role.kinds[kind].allow?.labels
  if (labels !== undefined && !isEmpty(labels)) return [unset]
  return [unset, ...lackingLabels(role, LABEL_FIELDS[kind], kind, request)]
}

function lackingLabels(
  role: CompiledRole,
  field: LabelField,
  kind: ServedKind,
  request: PolicyRequest,
): readonly Change[] {
  const { name } = role.role
  const { labels } = request.target
  const allowed = role.kinds[kind].allow?.labels
  const rules = allowed?.rules ?? []
  const out: Change[] = allowed?.broken ? [dropKey(name, field, '*')] : []
  if (rules.length === 0) {
    const [key = '*'] = Object.keys(labels).sort()
    return [...out, { what: 'add', role: name, field, key, value: labels[key] ?? '*' }]
  }
  for (const rule of rules)
    if (!matchLabelRule(rule, labels, request.identity, 'allow'))
      out.push(lackingLabel(name, field, rule, labels))
  // A map without keys matches nothing.
  const dropped = out.filter(({ what }) => what === 'drop-key').length
  const left = rules.length + (allowed?.broken ? 1 : 0) - dropped
  if (left === 0 && allowed?.wildcard !== true)
    out.push({ what: 'add', role: name, field, key: '*', value: '*' })
  return out
}

function lackingLabel(
  role: string,
  field: LabelField,
  rule: LabelRule,
  labels: Readonly<Record<string, string>>,
): Change {
  const { key } = rule
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  if (value !== undefined) return { what: 'add', role, field, key, value }
  const example = rule.values.map(exampleOf).find((text) => text !== undefined)
  return example === undefined ? dropKey(role, field, key) : { what: 'label', key, value: example }
}

/** A value that a pattern surely matches. */
function exampleOf(pattern: Pattern): string | undefined {
  if (pattern.kind === 'literal') return pattern.source
  return pattern.kind === 'glob' ? pattern.parts.join('') : undefined
}

function dropKey(role: string, field: LabelField, key: string): Change {
  return { what: 'drop-key', role, field, key }
}

function isAmong(change: Change, others: readonly Change[]): boolean {
  return others.some(
    (other) =>
      change.what === 'unset' &&
      other.what === 'unset' &&
      other.role === change.role &&
      other.field === change.field,
  )
}
