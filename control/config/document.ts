// sluice.yaml as text: read strictly (no anchors, aliases, tags, merge keys or duplicate keys) and remembered with line
// numbers, so that every complaint about the configuration names the line it is about.

import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml'

import { ProxyError } from '../../core/errors.ts'
import { repeatedKey, tooDeepAt } from '../yaml.ts'

const BYTES_MAX = 1024 * 1024
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

export interface ConfigDocument {
  readonly value: unknown
  /** The line (from 1) of the deepest part of `path` that exists. */
  line(path: readonly PropertyKey[]): number
}

/** Parses the text. `file` is for messages only. */
export function readConfigDocument(text: string, file: string): ConfigDocument {
  if (Buffer.byteLength(text) > BYTES_MAX) throw invalid(file, 1, 'the file is larger than 1 MB')
  const deepAt = tooDeepAt(text)
  if (deepAt !== undefined) throw invalid(file, deepAt, 'the nesting is too deep')
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    // Ours is linear in the number of keys.
    uniqueKeys: false,
    merge: false,
    // A sentence with its place for each of a million mistakes would take a minute; the first is told, by its line.
    prettyErrors: false,
    schema: 'core',
  })
  const [problem] = [...document.errors, ...document.warnings]
  if (problem !== undefined)
    throw invalid(file, lines.linePos(problem.pos[0]).line, problem.message)
  refuseIndirection(document, lines, file)
  return {
    value: document.toJS({ maxAliasCount: 0 }),
    line: (path) => lineOf(document, lines, path),
  }
}

/** The one way a configuration is refused. */
export function invalid(file: string, line: number, message: string): ProxyError {
  return new ProxyError('config.invalid', `${file}:${line}: ${message}`, {
    next: 'Correct the file and start again; docs/configuration.md lists every key.',
  })
}

function refuseIndirection(document: Document, lines: LineCounter, file: string): void {
  const refuse = (node: Node, what: string): never => {
    throw invalid(file, lines.linePos(node.range?.[0] ?? 0).line, `${what} are not allowed`)
  }
  visit(document, {
    Node(_key, node) {
      if (isAlias(node)) refuse(node, 'aliases')
      if (node.anchor !== undefined) refuse(node, 'anchors')
      if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:')) refuse(node, 'tags')
    },
    Map(_key, map) {
      const again = repeatedKey(map)
      if (again === undefined) return
      const { line } = lines.linePos(again.at)
      throw invalid(file, line, `"${again.key}" stands twice; keys are unique`)
    },
    Pair(_key, pair) {
      const name = isNode(pair.key) ? String(pair.key) : ''
      if (isNode(pair.key) && FORBIDDEN_KEYS.has(name)) refuse(pair.key, `keys named ${name}`)
    },
  })
}

function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents
  let offset = 0
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => String(item.key) === String(step))
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
