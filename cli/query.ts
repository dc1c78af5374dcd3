// `--query` of the lists: read here first, so that a mistake is told as one of the command line, whoever judges the rows then. Lists of
// people are judged by control, those of administrators here.

import { problemText } from '../core/predicate/problem.ts'
import type { QueryRow } from '../core/predicate/query.ts'
import { compileQuery, QUERY_EXAMPLE, QueryRun } from '../core/predicate/query.ts'
import type { Input, Option } from './command.ts'
import { usage } from './command.ts'
import { CommandError, EXIT } from './exit.ts'

export const QUERY_OPTION: Option = {
  flags: '--query <predicate>',
  about: `what must be true: '${QUERY_EXAMPLE}'`,
}

/** The query as control takes it; undefined when none was given. */
export function queryText(input: Input): string | undefined {
  const source = input.text('query')
  if (source !== undefined) compiled(source)
  return source
}

/** The rows of which the query is true; all when none was given. */
export function queried<T>(
  input: Input,
  rows: readonly T[],
  describe: (row: T) => QueryRow,
): readonly T[] {
  const source = input.text('query')
  if (source === undefined) return rows
  const run = compiled(source)
  const found = rows.filter((row) => run.matches(describe(row)))
  if (!run.spent) return found
  throw new CommandError(
    'the query costs too much over this many targets',
    EXIT.denied,
    'Match shorter patterns.',
  )
}

function compiled(source: string): QueryRun {
  const expression = compileQuery(source)
  if (!('problem' in expression)) return new QueryRun(expression)
  throw usage(
    `--query is wrong at ${problemText(expression)}`,
    `An example: --query='${QUERY_EXAMPLE}'`,
  )
}
