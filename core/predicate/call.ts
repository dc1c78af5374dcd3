// A call as its function sees it: parts by number, each of the type that the function wants, or a problem where the part stands.
// A text does where a list is wanted. Patterns and expressions stand in quotes: they are compiled when the role is read, never while
// somebody waits, and nobody's trait or label becomes one.

import type { Pattern } from '../policy/match.ts'
import { compilePattern } from '../policy/match.ts'
import type { Regex } from '../policy/regex.ts'
import { compileRegex } from '../policy/regex.ts'
import type { Meaning, Read } from './meaning.ts'
import { TYPE_WORDS } from './meaning.ts'
import { ExpressionProblem } from './problem.ts'

export interface Argument {
  readonly meaning: Meaning
  readonly at: number
}

export type TextPattern = Exclude<Pattern, { kind: 'template' | 'broken' }>

/** Signs that only an expression has; alone in a glob they would silently be read as themselves. */
const HALF_EXPRESSION = /^\^|\$$|\\|\.[*+]/

export class Call {
  readonly usage: string
  readonly #at: number
  readonly #parts: readonly Argument[]

  /** `usage`: as the function is written, for problems. */
  constructor(usage: string, at: number, parts: readonly Argument[]) {
    this.usage = usage
    this.#at = at
    this.#parts = parts
  }

  get count(): number {
    return this.#parts.length
  }

  text(index: number): Read<string> {
    const { meaning, at } = this.#part(index)
    if (meaning.type === 'text') return meaning.read
    throw this.#unlike(at, 'a text', meaning)
  }

  list(index: number): Read<readonly string[]> {
    const { meaning, at } = this.#part(index)
    if (meaning.type === 'list') return meaning.read
    if (meaning.type !== 'text') throw this.#unlike(at, 'a list', meaning)
    const { read } = meaning
    return (scope) => [read(scope)]
  }

  /** Any type. */
  meaning(index: number): Meaning {
    return this.#part(index).meaning
  }

  at(index: number): number {
    return this.#part(index).at
  }

  constant(index: number): string {
    const { meaning, at } = this.#part(index)
    if (meaning.type === 'text' && meaning.constant !== undefined) return meaning.constant
    throw new ExpressionProblem(at, `this part of ${this.usage} is a text in quotes`)
  }

  /** As values of label maps: `^…$` is an expression, a `*` anything, all else itself; the whole text must match. */
  pattern(index: number): TextPattern {
    const source = this.constant(index)
    const pattern = compilePattern(source)
    const at = this.at(index)
    if (pattern.kind === 'broken') throw new ExpressionProblem(at, pattern.problem)
    if (pattern.kind === 'template')
      throw new ExpressionProblem(at, 'an expression has no {{templates}}; name the trait itself')
    if (pattern.kind !== 'regex' && HALF_EXPRESSION.test(source))
      throw new ExpressionProblem(
        at,
        'a regular expression is written whole, from ^ to $; in other patterns * alone is special',
      )
    return pattern
  }

  /** An expression that may match anywhere in a text. */
  regex(index: number): Regex {
    const regex = compileRegex(this.constant(index))
    if ('problem' in regex) throw new ExpressionProblem(this.at(index), regex.problem)
    return regex
  }

  #part(index: number): Argument {
    const part = this.#parts[index]
    if (part === undefined) throw new ExpressionProblem(this.#at, `it is written ${this.usage}`)
    return part
  }

  #unlike(at: number, wanted: string, { type }: Meaning): ExpressionProblem {
    const is = `this is ${TYPE_WORDS[type]}`
    return new ExpressionProblem(at, `${this.usage} wants ${wanted} here, and ${is}`)
  }
}
