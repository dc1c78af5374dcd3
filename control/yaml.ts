// What is looked at in a YAML text before and besides its meaning, for resource files and sluice.yaml alike: how deep it nests, and
// whether a key stands twice. The library would spend a gigabyte on the one and minutes on the other, inside its bound of bytes.
// It understands no value, and never throws.

import { isScalar, Lexer, type YAMLMap } from 'yaml'

import { max } from '../core/limits.ts'

/** What the library's lexer puts ahead of a scalar: the token behind it is text, whatever it looks like. */
const SCALAR = '\u001f'

/**
 * The line, from 1, where flow collections nest deeper than the bound, or where as many block indicators stand on one line. Nesting
 * by indentation needs no look: its own white space pays for it.
 */
export function tooDeepAt(text: string): number | undefined {
  let [line, flow, block] = [1, 0, 0]
  let isText = false
  for (const token of new Lexer().lex(text)) {
    if (!isText && (token === '[' || token === '{')) flow++
    if (!isText && (token === ']' || token === '}')) flow--
    if (!isText && (token === '-' || token === '?' || token === ':')) block++
    if (flow > max('apiDepthMax') || block > max('apiDepthMax')) return line
    isText = token === SCALAR
    for (let at = token.indexOf('\n'); at >= 0; at = token.indexOf('\n', at + 1)) {
      line++
      block = 0
    }
    // Between flow entries stand as many colons as there are keys.
    if (flow > 0) block = 0
  }
  return undefined
}

/** Where in the text a key stands that stood in this map before. The library compares each with each. */
export function repeatedKey(
  map: YAMLMap,
): { readonly key: string; readonly at: number } | undefined {
  const seen = new Set<string>()
  for (const { key } of map.items) {
    if (!isScalar(key)) continue
    const name = String(key.value)
    if (seen.has(name)) return { key: name, at: key.range?.[0] ?? 0 }
    seen.add(name)
  }
  return undefined
}
