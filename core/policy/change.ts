// The smallest change of roles that would turn a denial into an allow, as data. It is an answer to "what would it take?",
// not advice: whoever reads it decides whether the change is right. A test applies it and decides again.

import type { CompiledRole } from './compile.ts'
import type { DecisionInput } from './decide.ts'
import type { AllowField, DenyField, PolicyRequest } from './judge.ts'
import { judge, matchedDenies, unmatchedAllows } from './judge.ts'
import type { LabelRule, Pattern } from './match.ts'
import { matchLabelRule } from './match.ts'

export type Change =
  /** Add a value to a list of a role; for labels, to the values of `key` (all other keys match already). */
  | {
      readonly what: 'add'
      readonly role: string
      readonly field: Exclude<AllowField, 'options.db_replication'>
      readonly key?: string
      readonly value: string
    }
  /** Take an entry out of a deny list, or the whole `deny.db_labels` when there is no entry. */
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
  /** Unset a field that nothing enforces. */
  | { readonly what: 'unset'; readonly role: string; readonly field: string }
  /** Stop asking for a label that the target does not have and that no value can be guessed for. */
  | { readonly what: 'drop-key'; readonly role: string; readonly key: string }
  /** Give the target a label. */
  | { readonly what: 'label'; readonly key: string; readonly value: string }
  /** Give the person a role that exists and grants it. */
  | { readonly what: 'assign'; readonly role: string }
  /** No role of the cluster is near it. */
  | { readonly what: 'write-role' }

/** All of these together. Empty when the request is allowed, or when no role can allow it. */
export function smallestChange(input: DecisionInput): readonly Change[] {
  const held = [...new Set(input.identity.roles)]
    .sort()
    .flatMap((name) => input.roles.get(name) ?? [])
  const obstacles = held.flatMap((role) => obstaclesOf(role, input))
  if (held.some((role) => judge(role, input).outcome === 'allows')) return obstacles
  return [...obstacles, ...nearest(held, obstacles, input)]
}

/** What stands in the way of any grant: every deny that matches, every field that refuses or demands. */
function obstaclesOf(role: CompiledRole, request: PolicyRequest): Change[] {
  const { name } = role.role
  const out: Change[] = matchedDenies(role, request).map((deny) => ({
    what: 'remove',
    role: name,
    ...deny,
  }))
  for (const field of role.role.unenforced) {
    const inForce =
      field.effect === 'refuses' ||
      (field.effect === 'demands' && unmatchedAllows(role, request).length === 0)
    if (field.kinds.includes('db') && inForce)
      out.push({ what: 'unset', role: name, field: field.field })
  }
  return out
}

/** The role held that lacks least, else a role of the cluster that grants it as it is. */
function nearest(
  held: readonly CompiledRole[],
  obstacles: readonly Change[],
  input: DecisionInput,
): readonly Change[] {
  let best: readonly Change[] | undefined
  for (const role of held) {
    if (!role.knownVersion) continue
    const changes = lacking(role, input).filter((change) => !isAmong(change, obstacles))
    if (best === undefined || changes.length < best.length) best = changes
  }
  if (best !== undefined && best.length <= 1) return best
  for (const [name, role] of input.roles)
    if (judge(role, input).outcome === 'allows') return [{ what: 'assign', role: name }]
  return best ?? [{ what: 'write-role' }]
}

/** What one role lacks to grant the request by itself. */
function lacking(role: CompiledRole, request: PolicyRequest): readonly Change[] {
  const { name } = role.role
  const out: Change[] = role.role.unenforced
    .filter((field) => field.kinds.includes('db'))
    .map((field) => ({ what: 'unset', role: name, field: field.field }))
  for (const field of unmatchedAllows(role, request)) {
    if (field === 'allow.db_users')
      out.push({ what: 'add', role: name, field, value: request.access.principal })
    else if (field === 'allow.db_names')
      out.push({ what: 'add', role: name, field, value: request.access.resource })
    else if (field === 'options.db_replication')
      out.push({ what: 'set', role: name, field, value: true })
    else out.push(...lackingLabels(role, request))
  }
  return out
}

function lackingLabels(role: CompiledRole, request: PolicyRequest): readonly Change[] {
  const { name } = role.role
  const { labels } = request.target
  const field = 'allow.db_labels'
  const rules = role.allowDb?.labels.rules ?? []
  const out: Change[] = role.allowDb?.labels.broken ? [dropKey(name, '*')] : []
  if (rules.length === 0) {
    const [key = '*'] = Object.keys(labels).sort()
    return [...out, { what: 'add', role: name, field, key, value: labels[key] ?? '*' }]
  }
  for (const rule of rules)
    if (!matchLabelRule(rule, labels, request.identity, 'allow'))
      out.push(lackingLabel(name, rule, labels))
  // A map without keys matches nothing.
  const dropped = out.filter(({ what }) => what === 'drop-key').length
  const left = rules.length + (role.allowDb?.labels.broken ? 1 : 0) - dropped
  if (left === 0 && role.allowDb?.labels.wildcard !== true)
    out.push({ what: 'add', role: name, field, key: '*', value: '*' })
  return out
}

function lackingLabel(
  role: string,
  rule: LabelRule,
  labels: Readonly<Record<string, string>>,
): Change {
  const { key } = rule
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined
  if (value !== undefined) return { what: 'add', role, field: 'allow.db_labels', key, value }
  const example = rule.values.map(exampleOf).find((text) => text !== undefined)
  return example === undefined ? dropKey(role, key) : { what: 'label', key, value: example }
}

/** A value that a pattern surely matches. */
function exampleOf(pattern: Pattern): string | undefined {
  if (pattern.kind === 'literal') return pattern.source
  return pattern.kind === 'glob' ? pattern.parts.join('') : undefined
}

function dropKey(role: string, key: string): Change {
  return { what: 'drop-key', role, key }
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
