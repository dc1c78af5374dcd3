// Regular expressions of roles, parsed into a tree. The grammar is the part of RE2 that roles use: literals, classes, groups,
// alternation, counted and lazy repetition, ^ $ \b. There is no look-around and no back-reference, here as in RE2, so that
// core/policy/regex.ts can match in time linear in the subject. Anything unknown is a problem, never a literal.

import { max } from '../limits.ts'

/** Inclusive ranges of code points. */
export type Ranges = readonly (readonly [number, number])[]

export type Node =
  | { readonly kind: 'char'; readonly code: number }
  | { readonly kind: 'class'; readonly ranges: Ranges; readonly negated: boolean }
  | { readonly kind: 'assert'; readonly what: 'start' | 'end' | 'word' | 'not-word' }
  | { readonly kind: 'sequence'; readonly parts: readonly Node[] }
  | { readonly kind: 'choice'; readonly options: readonly Node[] }
  | { readonly kind: 'group'; readonly index: number; readonly node: Node }
  | {
      readonly kind: 'repeat'
      readonly node: Node
      readonly min: number
      /** Absent: without bound. */
      readonly max?: number
      readonly lazy: boolean
    }

export interface ParsedRegex {
  readonly node: Node
  readonly groups: number
  /** Named groups, by name. */
  readonly names: ReadonlyMap<string, number>
  readonly foldCase: boolean
}

/** Thrown inside this module and regex.ts only; both turn it into a value. */
export class RegexProblem extends Error {}

const DIGIT: Ranges = [[0x30, 0x39]]
const WORD: Ranges = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
]
const SPACE: Ranges = [
  [0x09, 0x0a],
  [0x0c, 0x0d],
  [0x20, 0x20],
]
const ANY_BUT_NEWLINE: Ranges = [[0x0a, 0x0a]]
const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, a: 7 }
const PUNCTUATION = /^[!-/:-@[-`{-~]$/
const REPEAT_MAX = 1000

/** Throws RegexProblem. */
export function parseRegex(source: string): ParsedRegex {
  if (source.length > max('patternLengthMax')) throw new RegexProblem('it is too long')
  return new RegexParser(source).parse()
}

/** True for the characters of `\w`. */
export function isWord(code: number): boolean {
  return inRanges(WORD, code)
}

export function inRanges(ranges: Ranges, code: number): boolean {
  for (const [low, high] of ranges) if (code >= low && code <= high) return true
  return false
}

class RegexParser {
  readonly #chars: readonly string[]
  readonly #names = new Map<string, number>()
  #at = 0
  #groups = 0
  #dotAll = false
  #foldCase = false

  constructor(source: string) {
    this.#chars = Array.from(source)
  }

  parse(): ParsedRegex {
    this.#flags()
    const node = this.#choice(0)
    if (this.#at < this.#chars.length) throw new RegexProblem('a ")" opens nothing')
    return { node, groups: this.#groups, names: this.#names, foldCase: this.#foldCase }
  }

  /** Flags stand once, for the whole expression, at its start or right behind a leading ^. */
  #flags(): void {
    const at = this.#chars[0] === '^' ? 1 : 0
    const match = /^\(\?([is]+)\)/.exec(this.#chars.slice(at, at + 8).join(''))
    if (match === null) return
    const flags = match[1] ?? ''
    this.#foldCase = flags.includes('i')
    this.#dotAll = flags.includes('s')
    const length = match[0].length
    for (let i = at; i < at + length; i++) this.#skip.add(i)
  }

  /** Places the flags take, passed over when they are reached. */
  readonly #skip = new Set<number>()

  #peek(): string | undefined {
    while (this.#skip.has(this.#at)) this.#at++
    return this.#chars[this.#at]
  }

  #next(what: string): string {
    const char = this.#peek()
    if (char === undefined) throw new RegexProblem(`it ends inside ${what}`)
    this.#at++
    return char
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false
    this.#at++
    return true
  }

  #choice(depth: number): Node {
    if (depth > max('patternDepthMax')) throw new RegexProblem('its groups are nested too deeply')
    const options = [this.#sequence(depth)]
    while (this.#take('|')) options.push(this.#sequence(depth))
    const [only] = options
    return only !== undefined && options.length === 1 ? only : { kind: 'choice', options }
  }

  #sequence(depth: number): Node {
    const parts: Node[] = []
    for (;;) {
      const char = this.#peek()
      if (char === undefined || char === '|' || char === ')') break
      parts.push(this.#repeated(this.#atom(depth)))
    }
    return { kind: 'sequence', parts }
  }

  #repeated(node: Node): Node {
    const bounds = this.#quantifier()
    if (bounds === undefined) return node
    if (node.kind === 'assert') throw new RegexProblem('an anchor cannot be repeated')
    const lazy = this.#take('?')
    if (this.#quantifier() !== undefined) throw new RegexProblem('two repetitions stand in a row')
    return { kind: 'repeat', node, lazy, ...bounds }
  }

  #quantifier(): { min: number; max?: number } | undefined {
    if (this.#take('*')) return { min: 0 }
    if (this.#take('+')) return { min: 1 }
    if (this.#take('?')) return { min: 0, max: 1 }
    if (this.#peek() !== '{') return undefined
    const text = /^\{(\d{1,4})(,(\d{0,4}))?\}/.exec(
      this.#chars.slice(this.#at, this.#at + 12).join(''),
    )
    if (text === null) throw new RegexProblem('a "{" is no repetition; write \\{')
    this.#at += text[0].length
    const least = Number(text[1])
    const most = text[2] === undefined ? least : text[3] === '' ? undefined : Number(text[3])
    if (least > REPEAT_MAX || (most ?? 0) > REPEAT_MAX || (most ?? least) < least)
      throw new RegexProblem(`the repetition ${text[0]} is out of range`)
    return most === undefined ? { min: least } : { min: least, max: most }
  }

  #atom(depth: number): Node {
    const char = this.#next('an expression')
    switch (char) {
      case '(':
        return this.#group(depth)
      case '[':
        return this.#class()
      case '.':
        return { kind: 'class', ranges: this.#dotAll ? [] : ANY_BUT_NEWLINE, negated: true }
      case '^':
        return { kind: 'assert', what: 'start' }
      case '$':
        return { kind: 'assert', what: 'end' }
      case '\\':
        return this.#escape()
      case '*':
      case '+':
      case '?':
      case '{':
        throw new RegexProblem(`"${char}" repeats nothing`)
      default:
        return { kind: 'char', code: codeOf(char) }
    }
  }

  #group(depth: number): Node {
    let index: number | undefined
    if (this.#take('?')) {
      if (!this.#take(':')) index = this.#named()
    } else index = ++this.#groups
    const node = this.#choice(depth + 1)
    if (!this.#take(')')) throw new RegexProblem('a "(" is not closed')
    return index === undefined ? node : { kind: 'group', index, node }
  }

  #named(): number {
    const match = /^P?<([A-Za-z0-9_]+)>/.exec(this.#chars.slice(this.#at, this.#at + 64).join(''))
    const name = match?.[1]
    if (match === null || name === undefined)
      throw new RegexProblem('"(?" begins look-around or flags, which are not supported here')
    if (this.#names.has(name)) throw new RegexProblem(`the group name "${name}" stands twice`)
    this.#at += match[0].length
    this.#groups++
    this.#names.set(name, this.#groups)
    return this.#groups
  }

  #escape(): Node {
    const char = this.#next('an escape')
    switch (char) {
      case 'b':
        return { kind: 'assert', what: 'word' }
      case 'B':
        return { kind: 'assert', what: 'not-word' }
      case 'A':
        return { kind: 'assert', what: 'start' }
      case 'z':
        return { kind: 'assert', what: 'end' }
      default:
        return shorthand(char) ?? { kind: 'char', code: escaped(char) }
    }
  }

  #class(): Node {
    const negated = this.#take('^')
    const ranges: (readonly [number, number])[] = []
    let first = true
    for (;;) {
      const char = this.#next('a character class')
      if (char === ']' && !first) return { kind: 'class', ranges, negated }
      first = false
      if (char === '[' && this.#peek() === ':')
        throw new RegexProblem('"[:" classes are not supported; write the ranges')
      const set = char === '\\' ? classShorthand(this.#peek()) : undefined
      if (set !== undefined) {
        this.#at++
        ranges.push(...set)
      } else ranges.push(this.#range(char))
    }
  }

  #range(char: string): readonly [number, number] {
    const low = char === '\\' ? escaped(this.#next('an escape')) : codeOf(char)
    const dash = this.#peek() === '-' && this.#chars[this.#at + 1] !== ']'
    if (!dash) return [low, low]
    this.#at++
    const end = this.#next('a character class')
    const high = end === '\\' ? escaped(this.#next('an escape')) : codeOf(end)
    if (high < low) throw new RegexProblem('a range of a character class runs backwards')
    return [low, high]
  }
}

function shorthand(char: string): Node | undefined {
  const lower = char.toLowerCase()
  const ranges = lower === 'd' ? DIGIT : lower === 'w' ? WORD : lower === 's' ? SPACE : undefined
  return ranges === undefined ? undefined : { kind: 'class', ranges, negated: char !== lower }
}

/** Inside brackets only the plain sets; `[^\D]` and kin are refused by `escaped`. */
function classShorthand(char: string | undefined): Ranges | undefined {
  return char === 'd' ? DIGIT : char === 'w' ? WORD : char === 's' ? SPACE : undefined
}

function escaped(char: string): number {
  const control = Object.hasOwn(CONTROLS, char) ? CONTROLS[char] : undefined
  if (control !== undefined) return control
  if (PUNCTUATION.test(char)) return codeOf(char)
  throw new RegexProblem(`"\\${char}" is not supported`)
}

function codeOf(char: string): number {
  return char.codePointAt(0) ?? 0
}
