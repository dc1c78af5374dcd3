// Patterns and expressions on texts, with what they cost: no more steps than are left, whoever wrote the pattern and whoever the text.

import { max } from '../limits.ts'
import { matchGlob } from '../policy/match.ts'
import type { Regex } from '../policy/regex.ts'
import { testRegex } from '../policy/regex.ts'
import { replaceRegex } from '../policy/regex-replace.ts'
import type { TextPattern } from './call.ts'
import type { Scope } from './scope.ts'
import { affords, spend } from './scope.ts'

const SUBJECT_MAX = max('matchSubjectMax')

/** A text longer than patterns are tried on leaves the evaluation without an answer: it might have matched. */
export function matches(scope: Scope, pattern: TextPattern, text: string): boolean {
  if (text.length > SUBJECT_MAX) scope.spent = true
  if (!spend(scope, costOf(pattern, text))) return false
  switch (pattern.kind) {
    case 'any':
      return true
    case 'literal':
      return pattern.source === text
    case 'glob':
      return matchGlob(pattern.parts, text)
    case 'regex':
      return testRegex(pattern.regex, text)
  }
}

/** The text with every match replaced; undefined when there is none, or when it would cost or make too much. */
export function replaced(scope: Scope, regex: Regex, by: string, text: string): string | undefined {
  const { length } = text
  if (length > SUBJECT_MAX) scope.spent = true
  // Each match may look at all that follows, and a group be written as often as `by` has room to name it.
  const matchesMax = regex.anchored ? 1 : length + 1
  if (!spend(scope, (length + 1) * matchesMax * regex.program.length)) return undefined
  const groups = (by.match(/\$/g)?.length ?? 0) * length
  if (!affords(scope, length + matchesMax * by.length + groups)) return undefined
  return replaceRegex(regex, text, by)
}

function costOf(pattern: TextPattern, text: string): number {
  switch (pattern.kind) {
    case 'any':
    case 'literal':
      return 1
    case 'glob':
      return pattern.parts.length * (text.length + 1)
    case 'regex':
      return text.startsWith(pattern.regex.head)
        ? pattern.regex.program.length * (text.length + 1)
        : 1
  }
}
