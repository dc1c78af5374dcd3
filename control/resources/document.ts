// Resource files as text: YAML read strictly, with the line of every field kept for messages. No anchors, aliases, tags, merge
// keys, duplicate keys or keys that mean something to the language: a resource says what it says, wherever it is read.

import type { Document, Node } from 'yaml'
import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseAllDocuments,
  visit,
} from 'yaml'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { repeatedKey, tooDeepAt } from '../yaml.ts'

/** One document of a file. */
export interface TextDocument {
  readonly value: unknown
  /** The line, from 1, of the deepest part of `path` that exists. */
  line(path: readonly PropertyKey[]): number
}

/** The documents of a file; empty ones are left out. Throws resource.invalid naming the line. */
export function readDocuments(text: string): readonly TextDocument[] {
  if (Buffer.byteLength(text) > max('apiBodyBytesMax')) throw invalid('the text is over 1 MB')
  const deepAt = tooDeepAt(text)
  if (deepAt !== undefined) throw invalid('the nesting is too deep', deepAt)
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    // Ours is linear in the number of keys.
    uniqueKeys: false,
    merge: false,
    // A sentence with its place for each of a million mistakes would take a minute; the first is told, by its line.
    prettyErrors: false,
    schema: 'core',
    strict: true,
  })
  // The library answers an empty stream with an object that is no list of documents.
  if (!Array.isArray(documents)) return []
  return documents.flatMap((document) => {
    const [problem] = [...document.errors, ...document.warnings]
    if (problem !== undefined) throw invalid(problem.message, lines.linePos(problem.pos[0]).line)
    refuseIndirection(document, lines)
    const value: unknown = document.toJS({ maxAliasCount: 0 })
    if (value === null || value === undefined) return []
    return [{ value: withoutNulls(value), line: (path) => lineOf(document, lines, path) }]
  })
}

/** For values that did not come from our reader (a JSON body): the same keys and the same depth are refused. */
export function checkedValue(value: unknown): unknown {
  checkKeys(value, 0)
  return withoutNulls(value)
}

/** The one way a resource is refused. */
export function invalid(message: string, line?: number): ProxyError {
  return new ProxyError(
    'resource.invalid',
    line === undefined ? message : `line ${String(line)}: ${message}`,
    { side: 'client', next: 'Correct the resource and send it again.' },
  )
}

const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype', '<<'])

function refuseIndirection(document: Document, lines: LineCounter): void {
  const refuse = (node: Node, what: string): never => {
    throw invalid(what, lines.linePos(node.range?.[0] ?? 0).line)
  }
  visit(document, {
    Node(_key, node, path) {
      if (isAlias(node)) refuse(node, 'aliases (*name) are not allowed')
      if ('anchor' in node && node.anchor !== undefined)
        refuse(node, 'anchors (&name) are not allowed')
      if (node.tag !== undefined) refuse(node, `tags (${node.tag}) are not allowed`)
      if (path.filter(isCollection).length > max('apiDepthMax'))
        refuse(node, 'the nesting is too deep')
    },
    Map(_key, map) {
      const again = repeatedKey(map)
      if (again !== undefined)
        throw invalid(`"${again.key}" stands twice; keys are unique`, lines.linePos(again.at).line)
    },
    Pair(_key, pair) {
      const { key } = pair
      if (!isNode(key)) return
      if (!isScalar(key) || typeof key.value !== 'string')
        refuse(key, 'keys are text; quote this one')
      else if (FORBIDDEN_KEYS.has(key.value)) refuse(key, `"${key.value}" cannot be a key`)
    },
  })
}

function checkKeys(value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null) return
  if (depth > max('apiDepthMax')) throw invalid('the nesting is too deep')
  for (const [key, inner] of Object.entries(value)) {
    if (FORBIDDEN_KEYS.has(key)) throw invalid(`"${key}" cannot be a key`)
    checkKeys(inner, depth + 1)
  }
}

/** `deny:` with nothing behind it is a field that is not set. Nulls in lists stay, and are refused by the schemas. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== null)
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutNulls(inner)]))
}

function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step)
      if (pair === undefined) break
      if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset
      node = pair.value
    } else if (isCollection(node) && typeof step === 'number') {
      node = node.items[step]
      if (isNode(node)) offset = node.range?.[0] ?? offset
    } else break
  }
  return lines.linePos(offset).line
}
