// Which targets one side of a role speaks of: its label map and its label expression. To allow, both must match where both are set; to
// deny, either is enough. An expression that cannot be judged allows nothing and denies.

import { judgeLabels } from '../predicate/label-expression.ts'
import type { UserIdentity } from '../identity.ts'
import type { CompiledRule } from './compile.ts'
import type { CompiledLabels, Labels } from './match.ts'
import { matchLabels } from './match.ts'

export type SelectionPart = 'labels' | 'expression'

/** Everything of the allow side that does not match, the map first. None: the role speaks of the target. */
export function unmatchedParts(
  { labels, expression }: CompiledRule,
  target: Labels,
  identity: UserIdentity,
): readonly SelectionPart[] {
  const out: SelectionPart[] = []
  const asked = expression === undefined || !isEmpty(labels)
  if (asked && !matchLabels(labels, target, identity, 'allow')) out.push('labels')
  if (expression !== undefined && judgeLabels(expression, target, identity.traits) !== true)
    out.push('expression')
  return out
}

/** Everything of the deny side that matches. */
export function matchedParts(
  { labels, expression }: CompiledRule,
  target: Labels,
  identity: UserIdentity,
): readonly SelectionPart[] {
  const out: SelectionPart[] = []
  if (matchLabels(labels, target, identity, 'deny')) out.push('labels')
  if (expression !== undefined && judgeLabels(expression, target, identity.traits) !== false)
    out.push('expression')
  return out
}

/** The first of them, without a list: this runs for every role of every decision. */
export function firstUnmatchedPart(
  { labels, expression }: CompiledRule,
  target: Labels,
  identity: UserIdentity,
): SelectionPart | undefined {
  if (expression === undefined)
    return matchLabels(labels, target, identity, 'allow') ? undefined : 'labels'
  if (!isEmpty(labels) && !matchLabels(labels, target, identity, 'allow')) return 'labels'
  return judgeLabels(expression, target, identity.traits) === true ? undefined : 'expression'
}

export function firstMatchedPart(
  { labels, expression }: CompiledRule,
  target: Labels,
  identity: UserIdentity,
): SelectionPart | undefined {
  if (matchLabels(labels, target, identity, 'deny')) return 'labels'
  if (expression === undefined) return undefined
  return judgeLabels(expression, target, identity.traits) === false ? undefined : 'expression'
}

/** A map that says nothing, in whose place an expression may stand. */
export function isEmpty({ wildcard, broken, rules }: CompiledLabels): boolean {
  return !wildcard && !broken && rules.length === 0
}
