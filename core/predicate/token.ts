// An expression as words: names, texts in quotes, signs. What they mean together is parse.ts's to say. Whatever is none of them is a
// problem where it stands, never skipped.

import { max } from '../limits.ts'
import type { LimitName } from '../limits.ts'
import { ExpressionProblem, quoted } from './problem.ts'

/** Longer ones first: `!=` is not `!` and `=`. */
const SIGNS = ['==', '!=', '&&', '||', '!', '(', ')', '[', ']', ',', '.'] as const
export type Sign = (typeof SIGNS)[number]

/** `at`: where it begins in the source. */
export type Token = { readonly at: number } & (
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'sign'; readonly sign: Sign }
  | { readonly kind: 'end' }
)

const SPACE = /[ \t\r\n]*/y
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y
/** Quoted as in Go and JSON: the closing quote on the same line, a backslash takes the character behind it along. */
const TEXT = /"((?:[^"\\\r\n]|\\[^\r\n])*)"/y
/** Between backquotes a backslash is a backslash. */
const RAW_TEXT = /`([^`]*)`/y

/** The last one is `end`. Throws ExpressionProblem. */
export function tokensOf(source: string, lengthMax: LimitName): readonly Token[] {
  if (source.length > max(lengthMax))
    throw new ExpressionProblem(0, `it is longer than ${max(lengthMax)} characters`)
  const tokens: Token[] = []
  for (let at = 0; ; ) {
    at += lengthAt(SPACE, source, at)
    if (at === source.length) return [...tokens, { kind: 'end', at }]
    const { token, length } = tokenAt(source, at)
    tokens.push(token)
    at += length
  }
}

/** As people are told what stands there. */
export function tokenText(token: Token): string {
  switch (token.kind) {
    case 'name':
      return quoted(token.name)
    case 'text':
      return `the text ${quoted(token.value)}`
    case 'sign':
      return `"${token.sign}"`
    case 'end':
      return 'the end'
  }
}

function tokenAt(source: string, at: number): { readonly token: Token; readonly length: number } {
  const sign = SIGNS.find((each) => source.startsWith(each, at))
  if (sign !== undefined) return { token: { kind: 'sign', sign, at }, length: sign.length }
  const name = lengthAt(NAME, source, at)
  if (name > 0)
    return { token: { kind: 'name', name: source.slice(at, at + name), at }, length: name }
  const text = lengthAt(TEXT, source, at)
  if (text > 0) {
    const value = unescaped(source.slice(at + 1, at + text - 1))
    return { token: { kind: 'text', value, at }, length: text }
  }
  const raw = lengthAt(RAW_TEXT, source, at)
  if (raw > 0) {
    const value = source.slice(at + 1, at + raw - 1)
    return { token: { kind: 'text', value, at }, length: raw }
  }
  throw new ExpressionProblem(at, strangeText(source, at))
}

function lengthAt(pattern: RegExp, source: string, at: number): number {
  pattern.lastIndex = at
  return pattern.exec(source)?.[0].length ?? 0
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
])

/** An unknown escape keeps its backslash, as in templates: "\d" is what people write. */
function unescaped(text: string): string {
  return text.replace(/\\(.)/gsu, (whole, char: string) => ESCAPES.get(char) ?? whole)
}

function strangeText(source: string, at: number): string {
  const char = String.fromCodePoint(source.codePointAt(at) ?? 0)
  switch (char) {
    case '"':
    case '`':
      return 'the text that begins here does not end'
    case "'":
      return 'a text stands in double quotes: "prod"'
    case '=':
      return 'write == to compare'
    case '&':
    case '|':
      return `write ${char}${char}`
    case '-':
      return 'a name has no "-"; a label whose key has one is written labels["my-key"]'
    default:
      return `${quoted(char)} means nothing here`
  }
}
