// How an entry of a role meets a name or a label value: a literal, a glob (`app-*`), an expression (`^app-\d+$`, whole value,
// matched in linear time by regex.ts) or a template (template.ts), whose results are literals. `*` alone matches everything.
// A pattern that cannot be read matches nothing where it would allow and everything where it would deny.

import type { UserIdentity } from '../identity.ts'
import { max } from '../limits.ts'
import type { Regex } from './regex.ts'
import { compileRegex, testRegex } from './regex.ts'
import type { LabelMatch } from './role.ts'
import type { Template } from './template.ts'
import { compileTemplate, isAdminWildcard, isTemplate, matchTemplate } from './template.ts'

export type Side = 'allow' | 'deny'
export type Labels = Readonly<Record<string, string>>

/** `source` is the entry as the role has it, for explanations. */
export type Pattern = { readonly source: string } & (
  | { readonly kind: 'any' }
  | { readonly kind: 'literal' }
  /** The text between the stars. */
  | { readonly kind: 'glob'; readonly parts: readonly string[] }
  | { readonly kind: 'regex'; readonly regex: Regex }
  | { readonly kind: 'template'; readonly template: Template }
  | { readonly kind: 'broken'; readonly problem: string }
)

export interface LabelRule {
  readonly key: string
  readonly values: readonly Pattern[]
}

/** Compiled `db_labels`. `wildcard`: `'*': '*'` is among them. `broken`: a key that cannot be one, or `*` with another value. */
export interface CompiledLabels {
  readonly wildcard: boolean
  readonly broken: boolean
  readonly rules: readonly LabelRule[]
}

export function compilePattern(source: string): Pattern {
  if (source.length > max('patternLengthMax'))
    return { source, kind: 'broken', problem: 'it is too long' }
  if (isTemplate(source)) {
    const template = compileTemplate(source)
    return 'problem' in template
      ? { source, kind: 'broken', problem: template.problem }
      : { source, kind: 'template', template }
  }
  if (source === '*') return { source, kind: 'any' }
  if (source.startsWith('^') && source.endsWith('$')) {
    const regex = compileRegex(source)
    return 'problem' in regex
      ? { source, kind: 'broken', problem: regex.problem }
      : { source, kind: 'regex', regex }
  }
  if (source.includes('*')) return { source, kind: 'glob', parts: source.split('*') }
  return { source, kind: 'literal' }
}

export function compileLabels(labels: LabelMatch): CompiledLabels {
  const rules: LabelRule[] = []
  let wildcard = false
  let broken = false
  for (const [key, values] of Object.entries(labels)) {
    if (key === '*' && values.includes('*')) wildcard = true
    else if (key === '*' || isTemplate(key)) broken = true
    else rules.push({ key, values: values.map(compilePattern) })
  }
  return { wildcard, broken, rules }
}

/** Whether one pattern matches. A broken one, and a subject beyond the limit, match on the side where that means no. */
export function matchPattern(
  pattern: Pattern,
  subject: string,
  identity: UserIdentity,
  side: Side,
): boolean {
  if (subject.length > max('matchSubjectMax')) return side === 'deny'
  switch (pattern.kind) {
    case 'any':
      return true
    case 'literal':
      return pattern.source === subject
    case 'glob':
      return matchGlob(pattern.parts, subject)
    case 'regex':
      return testRegex(pattern.regex, subject)
    case 'template':
      return (
        matchTemplate(pattern.template, identity, subject) ||
        isAdminWildcard(pattern.template, identity)
      )
    case 'broken':
      return side === 'deny'
  }
}

/** The first entry that matches, or undefined. */
export function findPattern(
  patterns: readonly Pattern[],
  subject: string,
  identity: UserIdentity,
  side: Side,
): Pattern | undefined {
  for (const pattern of patterns) if (matchPattern(pattern, subject, identity, side)) return pattern
  return undefined
}

/**
 * Keys and together, values of a key or together. An empty map matches nothing, unlabelled targets included. `'*': '*'` beside
 * other keys adds nothing to what is allowed, but denies everything.
 */
export function matchLabels(
  labels: CompiledLabels,
  target: Labels,
  identity: UserIdentity,
  side: Side,
): boolean {
  if (labels.broken) return side === 'deny'
  if (labels.wildcard && (side === 'deny' || labels.rules.length === 0)) return true
  if (labels.rules.length === 0) return false
  for (const rule of labels.rules) if (!matchLabelRule(rule, target, identity, side)) return false
  return true
}

export function matchLabelRule(
  rule: LabelRule,
  target: Labels,
  identity: UserIdentity,
  side: Side,
): boolean {
  if (!Object.hasOwn(target, rule.key)) return false
  return findPattern(rule.values, target[rule.key] ?? '', identity, side) !== undefined
}

/** Leftmost places suffice for all but the last part, so the work is linear in the subject for each part. */
export function matchGlob(parts: readonly string[], subject: string): boolean {
  const first = parts[0] ?? ''
  const last = parts[parts.length - 1] ?? ''
  if (subject.length < first.length + last.length) return false
  if (!subject.startsWith(first) || !subject.endsWith(last)) return false
  const end = subject.length - last.length
  let at = first.length
  for (let i = 1; i < parts.length - 1; i++) {
    const part = parts[i] ?? ''
    const found = subject.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}
