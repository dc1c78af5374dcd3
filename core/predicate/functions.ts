// The functions of the language, one row each: how it is written, and what it comes to. Those that make texts or lists keep to the
// bounds of an evaluation (scope.ts); none knows a clock, a name service or anything else but what is judged.

import { emailLocal } from '../policy/template.ts'
import type { Call } from './call.ts'
import type { Meaning, Read } from './meaning.ts'
import { list, text, truth } from './meaning.ts'
import { matches, replaced } from './pattern.ts'
import { ExpressionProblem } from './problem.ts'
import type { Scope } from './scope.ts'
import { affords, keep, spend } from './scope.ts'

export interface FunctionRow {
  /** Without its name. */
  readonly usage: string
  readonly least: number
  readonly most: number
  readonly build: (call: Call) => Meaning
}

const ANY_NUMBER = Number.POSITIVE_INFINITY

/** What roles and lists have in common. */
export const COMMON_FUNCTIONS: ReadonlyMap<string, FunctionRow> = new Map([
  ['contains', row('(list, text)', 2, 2, contains)],
  ['contains_any', row('(list, list)', 2, 2, containsAny)],
  ['contains_all', row('(list, list)', 2, 2, containsAll)],
  ['regexp.match', row('(list, "pattern")', 2, 2, regexpMatch)],
  ['regexp.replace', row('(list, "expression", "text")', 3, 3, regexpReplace)],
  ['email.local', row('(list)', 1, 1, (call) => made(call.list(0), (_, each) => emailLocal(each)))],
  ['strings.upper', row('(list)', 1, 1, (call) => changed(call, (each) => each.toUpperCase()))],
  ['strings.lower', row('(list)', 1, 1, (call) => changed(call, (each) => each.toLowerCase()))],
  ['labels_matching', row('("pattern")', 1, 1, labelsMatching)],
  ['set', row('(text, …)', 0, ANY_NUMBER, set)],
])

/** What filters of lists have besides. */
export const QUERY_FUNCTIONS: ReadonlyMap<string, FunctionRow> = new Map([
  ...COMMON_FUNCTIONS,
  [
    'equals',
    row('(text, text)', 2, 2, (call) => same(call.meaning(0), call.meaning(1), call.at(1))),
  ],
  ['exists', row('(label)', 1, 1, exists)],
  ['search', row('("words", …)', 1, ANY_NUMBER, search)],
  ['hasPrefix', row('(text, text)', 2, 2, hasPrefix)],
  ['split', row('(text, text)', 2, 2, split)],
])

/** Whether two parts are the same; both texts or both truths. `at`: where people look for what is wrong. */
export function same(left: Meaning, right: Meaning, at: number): Meaning {
  if (left.type === 'text' && right.type === 'text') {
    const [a, b] = [left.read, right.read]
    return truth((scope) => a(scope) === b(scope))
  }
  if (left.type === 'truth' && right.type === 'truth') {
    const [a, b] = [left.read, right.read]
    return truth((scope) => a(scope) === b(scope))
  }
  throw new ExpressionProblem(
    at,
    left.type === 'list' || right.type === 'list'
      ? 'a list is equal to nothing; write contains(list, text)'
      : 'a text is not compared with true or false',
  )
}

function row(usage: string, least: number, most: number, build: FunctionRow['build']): FunctionRow {
  return { usage, least, most, build }
}

function contains(call: Call): Meaning {
  const [all, wanted] = [call.list(0), call.text(1)]
  return truth((scope) => {
    const texts = all(scope)
    return spend(scope, texts.length) && texts.includes(wanted(scope))
  })
}

function containsAny(call: Call): Meaning {
  return compared(call, (texts, wanted) => wanted.some((each) => texts.includes(each)))
}

/** Nothing wanted is no match: a trait that somebody lacks must not open everything. */
function containsAll(call: Call): Meaning {
  return compared(
    call,
    (texts, wanted) => wanted.length > 0 && wanted.every((each) => texts.includes(each)),
  )
}

function compared(
  call: Call,
  holds: (texts: readonly string[], wanted: readonly string[]) => boolean,
): Meaning {
  const [left, right] = [call.list(0), call.list(1)]
  return truth((scope) => {
    const [texts, wanted] = [left(scope), right(scope)]
    return spend(scope, (texts.length + 1) * (wanted.length + 1)) && holds(texts, wanted)
  })
}

function regexpMatch(call: Call): Meaning {
  const pattern = call.pattern(1)
  const { type, read } = call.meaning(0)
  // No list is made of one text: most labels are asked for so.
  if (type === 'text') return truth((scope) => matches(scope, pattern, read(scope)))
  const all = call.list(0)
  return truth((scope) => {
    for (const each of all(scope)) {
      if (matches(scope, pattern, each)) return true
      if (scope.spent) return false
    }
    return false
  })
}

/** Texts without a match are left out, as templates do. */
function regexpReplace(call: Call): Meaning {
  const [regex, by] = [call.regex(1), call.constant(2)]
  return made(call.list(0), (scope, each) => replaced(scope, regex, by, each))
}

/** A list of what becomes of each; nothing becomes of some. */
function made(all: Read<readonly string[]>, change: Change): Meaning {
  return list((scope) => {
    const out: string[] = []
    for (const each of all(scope)) {
      if (!spend(scope, 1)) break
      const next = change(scope, each)
      if (next !== undefined && next !== '' && !keep(scope, out, next)) break
    }
    return out
  })
}

type Change = (scope: Scope, each: string) => string | undefined

/** A text stays a text, so that it can be compared. A text is at most three times as long in other letters. */
function changed(call: Call, change: (each: string) => string): Meaning {
  const meaning = call.meaning(0)
  const bounded = (scope: Scope, each: string): string => {
    if (!spend(scope, each.length) || !affords(scope, each.length * 3)) return ''
    const next = change(each)
    scope.characters -= next.length
    return next
  }
  if (meaning.type === 'text') return text((scope) => bounded(scope, meaning.read(scope)))
  const all = call.list(0)
  return list((scope) => all(scope).map((each) => bounded(scope, each)))
}

function labelsMatching(call: Call): Meaning {
  const pattern = call.pattern(0)
  return list((scope) => {
    const out: string[] = []
    for (const key of Object.keys(scope.labels)) {
      if (matches(scope, pattern, key)) keep(scope, out, scope.labels[key] ?? '')
      if (scope.spent) break
    }
    return out
  })
}

function set(call: Call): Meaning {
  const parts = Array.from({ length: call.count }, (_, index) => call.text(index))
  return list((scope) => parts.map((each) => each(scope)))
}

/** A label is there even when it is empty. */
function exists(call: Call): Meaning {
  const meaning = call.meaning(0)
  switch (meaning.type) {
    case 'text': {
      const { read, present } = meaning
      return truth(present ?? ((scope) => read(scope) !== ''))
    }
    case 'list': {
      const { read } = meaning
      return truth((scope) => read(scope).length > 0)
    }
    case 'truth':
      throw new ExpressionProblem(call.at(0), 'exists wants a label or a name here')
  }
}

/** Every word must occur, as with --search. */
function search(call: Call): Meaning {
  const parts = Array.from({ length: call.count }, (_, index) => call.constant(index))
  const words = parts.flatMap(wordsOf)
  return truth((scope) => {
    const all = scope.text()
    return (
      spend(scope, all.length * (words.length + 1)) && words.every((word) => all.includes(word))
    )
  })
}

/** The words of a search, in small letters; commas and spaces part them. */
export function wordsOf(sought: string): readonly string[] {
  return sought
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((word) => word !== '')
}

function hasPrefix(call: Call): Meaning {
  const [whole, prefix] = [call.text(0), call.text(1)]
  return truth((scope) => whole(scope).startsWith(prefix(scope)))
}

/** Nothing to split at leaves the text whole. */
function split(call: Call): Meaning {
  const [whole, separator] = [call.text(0), call.text(1)]
  return list((scope) => {
    const [joined, between] = [whole(scope), separator(scope)]
    if (!spend(scope, joined.length)) return []
    const out: string[] = []
    for (const each of between === '' ? [joined] : joined.split(between))
      if (!keep(scope, out, each)) break
    return out
  })
}
