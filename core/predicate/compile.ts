// From a tree to functions: every name is looked up, every type is settled, every pattern compiled here, once. An evaluation then only
// reads. What may be named, and which functions there are, is the environment's (label-expression.ts, query.ts).

import type { LimitName } from '../limits.ts'
import { Call } from './call.ts'
import type { FunctionRow } from './functions.ts'
import { same } from './functions.ts'
import type { Meaning, Read } from './meaning.ts'
import { constant, list, text, TYPE_WORDS, truth } from './meaning.ts'
import type { Node } from './parse.ts'
import { parseExpression } from './parse.ts'
import type { Problem } from './problem.ts'
import { ExpressionProblem, problemOf, quoted } from './problem.ts'
import type { Fact, Judgement, Scope } from './scope.ts'
import { spend } from './scope.ts'

/** What an expression may name. Names are dotted paths. */
export interface Environment {
  readonly maps: ReadonlyMap<string, 'labels' | 'traits'>
  readonly facts: ReadonlyMap<string, Fact>
  readonly functions: ReadonlyMap<string, FunctionRow>
  readonly lengthMax: LimitName
}

export interface Expression {
  readonly judge: Read<boolean>
  /** What an evaluation costs at least, whatever it looks at. */
  readonly size: number
}

/** Compiled, or where it is wrong and how. */
export function compileExpression(source: string, environment: Environment): Expression | Problem {
  try {
    const { node, size } = parseExpression(source, environment.lengthMax)
    const meaning = meaningOf(node, environment)
    if (meaning.type === 'truth') return { judge: meaning.read, size }
    throw new ExpressionProblem(
      node.at,
      `it comes to ${TYPE_WORDS[meaning.type]}, and should come to true or false`,
    )
  } catch (error) {
    if (error instanceof ExpressionProblem) return problemOf(source, error)
    throw error
  }
}

/** Undefined when the scope was spent over it. */
export function judgeIn(expression: Expression, scope: Scope): Judgement {
  const holds = spend(scope, expression.size) && expression.judge(scope)
  return scope.spent ? undefined : holds
}

function meaningOf(node: Node, environment: Environment): Meaning {
  switch (node.kind) {
    case 'text':
      return constant(node.value)
    case 'truth': {
      const { value } = node
      return truth(() => value)
    }
    case 'path':
      return pathOf(node.path, node.at, environment)
    case 'key':
      return keyOf(node.path, keyText(node.key, environment), node.at, environment)
    case 'call':
      return callOf(node, environment)
    case 'not': {
      const read = truthOf(node.node, environment)
      return truth((scope) => !read(scope))
    }
    case 'all':
      return truth(
        node.parts
          .map((part) => truthOf(part, environment))
          .reduce((left, right) => {
            return (scope) => left(scope) && right(scope)
          }),
      )
    case 'any':
      return truth(
        node.parts
          .map((part) => truthOf(part, environment))
          .reduce((left, right) => {
            return (scope) => left(scope) || right(scope)
          }),
      )
    case 'same': {
      const equal = same(
        meaningOf(node.left, environment),
        meaningOf(node.right, environment),
        node.at,
      )
      if (!node.negated || equal.type !== 'truth') return equal
      const { read } = equal
      return truth((scope) => !read(scope))
    }
  }
}

function truthOf(node: Node, environment: Environment): Read<boolean> {
  const meaning = meaningOf(node, environment)
  if (meaning.type === 'truth') return meaning.read
  throw new ExpressionProblem(
    node.at,
    `this is ${TYPE_WORDS[meaning.type]}, where something true or false belongs`,
  )
}

function keyText(node: Node, environment: Environment): Read<string> {
  const meaning = meaningOf(node, environment)
  if (meaning.type === 'text') return meaning.read
  throw new ExpressionProblem(node.at, `a key is a text, and this is ${TYPE_WORDS[meaning.type]}`)
}

/** A name by itself, or `labels.env` for `labels["env"]`. */
function pathOf(path: readonly string[], at: number, environment: Environment): Meaning {
  const name = path.join('.')
  const fact = environment.facts.get(name)
  if (fact !== undefined) return text((scope) => scope.facts[fact] ?? '')
  if (environment.maps.has(name))
    throw new ExpressionProblem(at, `${name} wants a key: ${name}["…"]`)
  const key = path.at(-1) ?? ''
  return keyOf(path.slice(0, -1), () => key, at, environment, name)
}

function keyOf(
  path: readonly string[],
  key: Read<string>,
  at: number,
  environment: Environment,
  whole = path.join('.'),
): Meaning {
  const map = environment.maps.get(path.join('.'))
  if (map === undefined) throw new ExpressionProblem(at, unknownName(whole, environment))
  if (map === 'traits') return list((scope) => own(scope.traits, key(scope)) ?? [])
  return {
    type: 'text',
    read: (scope) => own(scope.labels, key(scope)) ?? '',
    present: (scope) => own(scope.labels, key(scope)) !== undefined,
  }
}

/** What people called `constructor` is no key of theirs. */
function own<T>(map: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined
}

function callOf(
  { path, parts, at }: Extract<Node, { kind: 'call' }>,
  environment: Environment,
): Meaning {
  const name = path.join('.')
  const known = environment.functions.get(name)
  if (known === undefined) {
    const all = [...environment.functions.keys()].join(', ')
    throw new ExpressionProblem(at, `there is no function ${quoted(name)} here; there are ${all}`)
  }
  const usage = `${name}${known.usage}`
  if (parts.length < known.least || parts.length > known.most)
    throw new ExpressionProblem(at, `it is written ${usage}`)
  const read = parts.map((part) => ({ meaning: meaningOf(part, environment), at: part.at }))
  return known.build(new Call(usage, at, read))
}

function unknownName(name: string, { maps, facts }: Environment): string {
  const all = [...[...maps.keys()].map((map) => `${map}["…"]`), ...facts.keys()]
  return `${quoted(name)} means nothing here; there are ${all.join(', ')}`
}
