// Words to a tree. What binds tightest first: calls, keys and paths; `== !=`; `!`; `&&`; `||`. So `!a == b` is `!(a == b)`.
//
//   any     = all { "||" all }
//   all     = not { "&&" not }
//   not     = "!" not | same
//   same    = operand [ ("==" | "!=") operand ]
//   operand = text | "true" | "false" | "(" any ")" | path [ "[" any "]" | "(" [ any { "," any } ] ")" ]
//   path    = name { "." name }

import { max } from '../limits.ts'
import type { LimitName } from '../limits.ts'
import { ExpressionProblem } from './problem.ts'
import type { Sign, Token } from './token.ts'
import { tokensOf, tokenText } from './token.ts'

/** `at`: where in the source people look for it; of a comparison its sign. */
export type Node = { readonly at: number } & (
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'truth'; readonly value: boolean }
  | { readonly kind: 'path'; readonly path: readonly string[] }
  | { readonly kind: 'key'; readonly path: readonly string[]; readonly key: Node }
  | { readonly kind: 'call'; readonly path: readonly string[]; readonly parts: readonly Node[] }
  | { readonly kind: 'not'; readonly node: Node }
  | { readonly kind: 'all' | 'any'; readonly parts: readonly Node[] }
  | { readonly kind: 'same'; readonly left: Node; readonly right: Node; readonly negated: boolean }
)

export interface Parsed {
  readonly node: Node
  /** How many nodes there are. */
  readonly size: number
}

/** Throws ExpressionProblem. */
export function parseExpression(source: string, lengthMax: LimitName): Parsed {
  return new Parser(tokensOf(source, lengthMax)).parse()
}

const END: Token = { kind: 'end', at: 0 }

class Parser {
  readonly #tokens: readonly Token[]
  #next = 0
  #nodes = 0
  #depth = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  parse(): Parsed {
    if (this.#token().kind === 'end') throw new ExpressionProblem(0, 'it is empty')
    const node = this.#any()
    if (this.#token().kind !== 'end') throw this.#unexpected('an operator or the end')
    return { node, size: this.#nodes }
  }

  #any(): Node {
    return this.#chain('any', '||', () => this.#chain('all', '&&', () => this.#not()))
  }

  /** As long as the source is, and no deeper. */
  #chain(kind: 'any' | 'all', sign: Sign, read: () => Node): Node {
    const { at } = this.#token()
    const parts = [read()]
    while (this.#take(sign)) parts.push(read())
    const [only] = parts
    return parts.length === 1 && only !== undefined ? only : this.#node({ kind, parts, at })
  }

  #not(): Node {
    const { at } = this.#token()
    if (!this.#take('!')) return this.#same()
    return this.#node({ kind: 'not', node: this.#deeper(() => this.#not()), at })
  }

  #same(): Node {
    const left = this.#operand()
    const { at } = this.#token()
    const negated = this.#take('!=')
    if (!negated && !this.#take('==')) return left
    const node = this.#node({ kind: 'same', left, right: this.#operand(), negated, at })
    if (this.#sees('==') || this.#sees('!='))
      throw new ExpressionProblem(
        this.#token().at,
        'comparisons do not chain; write them apart, with && between',
      )
    return node
  }

  #operand(): Node {
    const token = this.#token()
    const { at } = token
    if (this.#take('(')) {
      const node = this.#deeper(() => this.#any())
      this.#demand(')')
      return node
    }
    if (token.kind === 'text') {
      this.#next++
      return this.#node({ kind: 'text', value: token.value, at })
    }
    if (token.kind !== 'name') throw this.#unexpected('a name, a text or "("')
    const path = this.#path()
    if (this.#take('[')) {
      const key = this.#deeper(() => this.#any())
      this.#demand(']')
      return this.#node({ kind: 'key', path, key, at })
    }
    if (this.#take('(')) return this.#node({ kind: 'call', path, parts: this.#arguments(), at })
    const [word = ''] = path
    if (path.length === 1 && (word === 'true' || word === 'false'))
      return this.#node({ kind: 'truth', value: word === 'true', at })
    return this.#node({ kind: 'path', path, at })
  }

  #path(): readonly string[] {
    const path: string[] = []
    do {
      const token = this.#token()
      if (token.kind !== 'name') throw this.#unexpected('a name')
      path.push(token.name)
      this.#next++
    } while (this.#take('.'))
    return path
  }

  #arguments(): readonly Node[] {
    if (this.#take(')')) return []
    const parts: Node[] = []
    do parts.push(this.#deeper(() => this.#any()))
    while (this.#take(','))
    this.#demand(')')
    return parts
  }

  #deeper(read: () => Node): Node {
    if (++this.#depth > max('expressionDepthMax'))
      throw new ExpressionProblem(this.#token().at, 'it is nested too deeply')
    const node = read()
    this.#depth--
    return node
  }

  #node(node: Node): Node {
    if (++this.#nodes > max('expressionNodesMax'))
      throw new ExpressionProblem(node.at, 'it has too many parts')
    return node
  }

  #token(): Token {
    return this.#tokens[this.#next] ?? END
  }

  #sees(sign: Sign): boolean {
    const token = this.#token()
    return token.kind === 'sign' && token.sign === sign
  }

  #take(sign: Sign): boolean {
    if (!this.#sees(sign)) return false
    this.#next++
    return true
  }

  #demand(sign: Sign): void {
    if (!this.#take(sign)) throw this.#unexpected(`"${sign}"`)
  }

  #unexpected(wanted: string): ExpressionProblem {
    const token = this.#token()
    return new ExpressionProblem(token.at, `expected ${wanted}, and there is ${tokenText(token)}`)
  }
}
