// `--query` of lists: a condition on a listed node or database, such as `labels["env"] == "prod" && hasPrefix(name, "web")`. Whoever
// is logged in may write one, so that all rows of a list together have one bound on what they cost.

import { max } from '../limits.ts'
import type { Labels } from '../policy/match.ts'
import type { Environment, Expression } from './compile.ts'
import { compileExpression, judgeIn } from './compile.ts'
import { QUERY_FUNCTIONS } from './functions.ts'
import type { Problem } from './problem.ts'
import type { Fact, Subject } from './scope.ts'

/** What a list knows of a row. */
export interface QueryRow {
  readonly kind: 'db' | 'node'
  readonly name: string
  readonly labels: Labels
  readonly address?: string
  readonly protocol?: string
  readonly description?: string
}

export const QUERY_EXAMPLE = 'labels["env"] == "prod" && hasPrefix(name, "web")'

const FACTS: readonly (readonly [name: string, fact: Fact])[] = [
  ['name', 'name'],
  ['resource.kind', 'kind'],
  ['resource.metadata.name', 'name'],
  ['resource.metadata.description', 'description'],
  ['resource.spec.hostname', 'hostname'],
  ['resource.spec.addr', 'address'],
  ['resource.spec.protocol', 'protocol'],
]

const ENVIRONMENT: Environment = {
  maps: new Map([
    ['labels', 'labels'],
    ['resource.metadata.labels', 'labels'],
  ]),
  facts: new Map(FACTS),
  functions: QUERY_FUNCTIONS,
  lengthMax: 'queryLengthMax',
}

export function compileQuery(source: string): Expression | Problem {
  return compileExpression(source, ENVIRONMENT)
}

/** One query over the rows of one list. A row that it cannot judge is left out. */
export class QueryRun {
  readonly #expression: Expression
  #steps = max('queryStepsMax')

  constructor(expression: Expression) {
    this.#expression = expression
  }

  /** The rows together cost too much: what was found is not all there is. */
  get spent(): boolean {
    return this.#steps < 0
  }

  matches(row: QueryRow): boolean {
    if (this.spent) return false
    const characters = max('expressionTextMax')
    const scope = { ...subjectOf(row), steps: this.#steps, characters, spent: false }
    const found = judgeIn(this.#expression, scope)
    this.#steps = scope.steps
    return found === true
  }
}

/** Everything that words are looked for in, in small letters. */
export function searchText({ name, address = '', description = '', labels }: QueryRow): string {
  return [name, address, description, ...Object.entries(labels).flat()].join(' ').toLowerCase()
}

function subjectOf(row: QueryRow): Subject {
  const { kind, name, labels, address = '', protocol = '', description = '' } = row
  const hostname = kind === 'node' ? name : ''
  return {
    labels,
    traits: {},
    facts: { name, kind, hostname, address, protocol, description },
    text: () => searchText(row),
  }
}
