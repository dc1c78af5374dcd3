// One page of a list of targets, as people ask for it: words that must occur, labels that must be equal, a query that must be true,
// from where the last page ended.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { wordsOf } from '../core/predicate/functions.ts'
import { problemText } from '../core/predicate/problem.ts'
import type { QueryRow } from '../core/predicate/query.ts'
import { compileQuery, QUERY_EXAMPLE, QueryRun, searchText } from '../core/predicate/query.ts'
import type { DatabasesRequest } from './api/messages.ts'

export interface Listed {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

/** `rows` are in the order of their names. `describe`: what may be asked of a row besides its name and labels. */
export function pageOf<T extends Listed>(
  rows: readonly T[],
  request: DatabasesRequest,
  describe: (row: T) => Omit<QueryRow, keyof Listed>,
): { readonly items: readonly T[]; readonly next?: string } {
  const { cursor, query } = request
  const words = wordsOf(request.search ?? '')
  const pairs = (request.labels ?? '')
    .split(',')
    .filter((pair) => pair !== '')
    .map(readPair)
  const run = query === undefined ? undefined : readQuery(query)
  const found = rows.filter((row) => {
    const { name, labels } = row
    if (cursor !== undefined && name <= cursor) return false
    const described = { name, labels, ...describe(row) }
    const text = searchText(described)
    return (
      words.every((word) => text.includes(word)) &&
      pairs.every(([key, value]) => labels[key] === value) &&
      (run === undefined || run.matches(described))
    )
  })
  if (run?.spent === true) throw tooMuch()
  const items = found.slice(0, request.limit ?? max('apiPageMax'))
  const last = items.at(-1)
  return items.length < found.length && last !== undefined ? { items, next: last.name } : { items }
}

function readPair(pair: string): readonly [string, string] {
  const at = pair.indexOf('=')
  if (at > 0) return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
  throw new ProxyError('resource.invalid', `"${pair}" is no label of the form key=value.`, {
    side: 'client',
  })
}

function readQuery(source: string): QueryRun {
  const compiled = compileQuery(source)
  if (!('problem' in compiled)) return new QueryRun(compiled)
  throw new ProxyError('resource.invalid', `The query is wrong at ${problemText(compiled)}.`, {
    side: 'client',
    next: `An example: ${QUERY_EXAMPLE}`,
  })
}

/** Part of a list would pass for the whole. */
function tooMuch(): ProxyError {
  return new ProxyError('limit.exceeded', 'The query costs too much over this many targets.', {
    side: 'client',
    next: 'Match shorter patterns, or narrow the list by labels and --search first.',
  })
}
