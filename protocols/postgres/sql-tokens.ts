// SQL as PostgreSQL's scanner cuts it (manual, "Lexical Structure"): words, quoted names, string constants of every form,
// comments. For redaction alone: it knows where a literal begins and ends and what it means, never what a statement does.
// Total: any text gives tokens, and a literal that is not closed ends with the text.

export type Token =
  /** A key word or name, lower case as the server folds it. */
  | { readonly kind: 'word'; readonly from: number; readonly to: number; readonly value: string }
  /** `"name"` or `U&"name"`. */
  | { readonly kind: 'name'; readonly from: number; readonly to: number; readonly value: string }
  | StringToken
  | { readonly kind: 'comment'; readonly from: number; readonly to: number; readonly value: string }
  | { readonly kind: 'mark'; readonly from: number; readonly to: number; readonly value: string }

export interface StringToken {
  readonly kind: 'string'
  readonly from: number
  readonly to: number
  /** What it means, as far as its form says so. */
  readonly value: string
  /** `$tag$…$tag$`: the body stands as it is. */
  readonly dollar: boolean
  /** Where it ends depends on `standard_conforming_strings`, which nobody outside the server knows. */
  readonly ambiguous: boolean
}

const SPACE = /[ \t\n\r\f\v]+/y
const WORD = /[A-Za-z_\u0080-\uffff][A-Za-z0-9_$\u0080-\uffff]*/y
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const LINE_COMMENT = /--[^\n\r]*/y
/** Between two parts of one constant: white space with at least one line end, line comments too. */
const CONTINUED = /(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'/y
/** What introduces a constant or name of another form; the quote follows at once. */
const PREFIX = /(?:[eEbBxXnN]|[uU]&)(?=')|[uU]&(?=")/y
const ESCAPE = /\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{1,3})|([^]))/g
const UNICODE = /\\(?:\+([0-9A-Fa-f]{6})|([0-9A-Fa-f]{4})|(\\))/g

/** Cuts a text into its tokens; white space is left out. */
export function sqlTokens(text: string): readonly Token[] {
  const tokens: Token[] = []
  for (let at = 0; at < text.length; ) {
    at = skip(SPACE, text, at)
    if (at >= text.length) break
    const token = nextToken(text, at)
    tokens.push(token)
    at = token.to
  }
  return tokens
}

function nextToken(text: string, at: number): Token {
  const quoted = skip(PREFIX, text, at)
  const prefix = text.slice(at, quoted).toLowerCase()
  switch (text[quoted]) {
    case "'":
      return stringAt(text, at, quoted, prefix)
    case '"':
      return nameAt(text, at, quoted, prefix)
    case '$':
      return dollarAt(text, at)
    case '-':
    case '/':
      return commentAt(text, at)
    case undefined:
      return { kind: 'mark', from: at, to: at + 1, value: text.charAt(at) }
    default:
      return wordAt(text, at)
  }
}

function wordAt(text: string, at: number): Token {
  const to = skip(WORD, text, at)
  if (to === at) return { kind: 'mark', from: at, to: at + 1, value: text.charAt(at) }
  return { kind: 'word', from: at, to, value: text.slice(at, to).toLowerCase() }
}

function stringAt(text: string, from: number, quote: number, prefix: string): Token {
  const escapes = prefix === 'e'
  let value = ''
  let ambiguous = false
  for (let at = quote; ; ) {
    const part = quotedPart(text, at, escapes)
    value += part.value
    ambiguous ||= part.ambiguous && (prefix === '' || prefix === 'n')
    const next = skip(CONTINUED, text, part.to)
    if (next === part.to) {
      const meant = escapes ? unescaped(value) : prefix === 'u&' ? unicode(value) : value
      return { kind: 'string', from, to: part.to, value: meant, dollar: false, ambiguous }
    }
    at = next - 1
  }
}

/** From one quote to the one that closes it; doubled quotes are one. */
function quotedPart(
  text: string,
  quote: number,
  escapes: boolean,
): { readonly value: string; readonly to: number; readonly ambiguous: boolean } {
  let value = ''
  let ambiguous = false
  for (let at = quote + 1; at < text.length; at++) {
    const letter = text.charAt(at)
    if (letter === '\\') {
      if (escapes) {
        value += text.slice(at, at + 2)
        at++
        continue
      }
      // An odd run of backslashes before a quote: with escapes on, the quote would not close.
      let run = at
      while (text[run] === '\\') run++
      ambiguous ||= (run - at) % 2 === 1 && text[run] === "'"
      value += text.slice(at, run)
      at = run - 1
    } else if (letter !== "'") value += letter
    else if (text[at + 1] === "'") {
      value += "'"
      at++
    } else return { value, to: at + 1, ambiguous }
  }
  return { value, to: text.length, ambiguous }
}

function nameAt(text: string, from: number, quote: number, prefix: string): Token {
  let at = quote + 1
  while (at < text.length && (text[at] !== '"' || text[at + 1] === '"'))
    at += text[at] === '"' ? 2 : 1
  const value = text.slice(quote + 1, at).replaceAll('""', '"')
  const to = Math.min(text.length, at + 1)
  return { kind: 'name', from, to, value: prefix === 'u&' ? unicode(value) : value }
}

function dollarAt(text: string, from: number): Token {
  const body = skip(DOLLAR, text, from)
  if (body === from) return { kind: 'mark', from, to: from + 1, value: '$' }
  const tag = text.slice(from, body)
  const end = text.indexOf(tag, body)
  const closed = end >= 0
  const value = text.slice(body, closed ? end : text.length)
  const to = closed ? end + tag.length : text.length
  return { kind: 'string', from, to, value, dollar: true, ambiguous: false }
}

/** Two dashes to the end of the line, or a block, which nests here. */
function commentAt(text: string, from: number): Token {
  const line = skip(LINE_COMMENT, text, from)
  if (line > from) return { kind: 'comment', from, to: line, value: text.slice(from, line) }
  if (!text.startsWith('/*', from))
    return { kind: 'mark', from, to: from + 1, value: text.charAt(from) }
  let depth = 1
  let at = from + 2
  for (; at < text.length && depth > 0; at++) {
    if (text.startsWith('/*', at)) depth++
    else if (text.startsWith('*/', at)) depth--
    else continue
    at++
  }
  return { kind: 'comment', from, to: at, value: text.slice(from, at) }
}

function unescaped(value: string): string {
  return value.replace(
    ESCAPE,
    (_, x?: string, u?: string, long?: string, octal?: string, one?: string) => {
      const hex = x ?? u ?? long
      if (hex !== undefined) return point(Number.parseInt(hex, 16))
      return octal === undefined ? (one ?? '') : point(Number.parseInt(octal, 8))
    },
  )
}

function unicode(value: string): string {
  return value.replace(UNICODE, (_, long?: string, short?: string) =>
    long === undefined && short === undefined
      ? '\\'
      : point(Number.parseInt(long ?? short ?? '', 16)),
  )
}

function point(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : ''
}

/** Where the pattern ends when it begins at `at`; `at` itself when it does not. */
function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : at
}
