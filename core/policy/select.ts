// Choosing targets where no person is meant: by the labels an agent's own file selects, by those a health check matches, by the names
// a join token lists. Literals, globs and expressions as in roles; a template has nobody to be filled in for, and matches nothing.

import type { UserIdentity } from '../identity.ts'
import type { CompiledLabels, Labels } from './match.ts'
import { compileLabels, compilePattern, matchLabels, matchPattern } from './match.ts'
import type { LabelMatch } from './role.ts'

const NOBODY: UserIdentity = {
  type: 'user',
  kind: 'bot',
  issuer: '',
  name: '',
  cluster: '',
  roles: [],
  traits: {},
  generation: 0,
}

/** Several selectors, of which one must match. */
export function compileSelectors(selectors: readonly LabelMatch[]): readonly CompiledLabels[] {
  return selectors.map(compileLabels)
}

export function selects(selectors: readonly CompiledLabels[], labels: Labels): boolean {
  return selectors.some((each) => matchLabels(each, labels, NOBODY, 'allow'))
}

/** Whether a token that lists these names lets its agents serve this one. */
export function listsName(listed: readonly string[], name: string): boolean {
  return listed.some((each) => matchPattern(compilePattern(each), name, NOBODY, 'allow'))
}
