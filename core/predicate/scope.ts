// What an expression is judged on, and what one judgement may cost. An evaluation never throws: once it has cost too much it is spent,
// goes on with nothing in its hands, and comes to no answer at all.

import { max } from '../limits.ts'
import type { Labels } from '../policy/match.ts'
import type { Traits } from '../identity.ts'

/** Names of an expression that stand for one text each. */
export type Fact = 'name' | 'kind' | 'hostname' | 'address' | 'protocol' | 'description'

export interface Subject {
  readonly labels: Labels
  readonly traits: Traits
  readonly facts: Readonly<Partial<Record<Fact, string>>>
  /** Everything words are looked for in, in small letters. */
  readonly text: () => string
}

/** One evaluation: one object, as some decisions make fifty. `steps` and `characters` are what is left. */
export interface Scope extends Subject {
  steps: number
  characters: number
  spent: boolean
}

/** Yes or no, or undefined: it cannot be judged. */
export type Judgement = boolean | undefined

const LIST_MAX = max('expressionListMax')

/** Whether the work is still in the bounds; else the evaluation is spent. */
export function spend(scope: Scope, steps: number): boolean {
  scope.steps -= steps
  if (scope.steps < 0) scope.spent = true
  return !scope.spent
}

/** Whether a text of this length may still be made. */
export function affords(scope: Scope, characters: number): boolean {
  if (characters > scope.characters) scope.spent = true
  return !scope.spent
}

/** Puts a text that was made into a list of what was made, as long as both are in the bounds. */
export function keep(scope: Scope, made: string[], text: string): boolean {
  if (made.length >= LIST_MAX) scope.spent = true
  if (!affords(scope, text.length)) return false
  scope.characters -= text.length
  made.push(text)
  return true
}
