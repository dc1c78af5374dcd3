// A request body before any schema sees it: JSON of bounded depth, without duplicate keys (two readers would see two values) and
// without the keys that reach prototypes. Returns the value, or why it is refused. Never throws for what a stranger sent.

import { max } from '../../core/limits.ts'

export type BodyReading =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly reason: string }

const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])

export function readBody(text: string): BodyReading {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { ok: false, reason: 'the body is not JSON' }
  }
  // JSON.parse succeeded, so the scan below may rely on well-formed text.
  const reason = problemIn(text)
  return reason === undefined ? { ok: true, value } : { ok: false, reason }
}

/** A string, or one character that matters between strings. */
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g

interface Level {
  /** Keys seen, of an object; undefined in a list. */
  readonly keys: Set<string> | undefined
  /** True where the next string is a key. */
  atKey: boolean
}

function problemIn(text: string): string | undefined {
  const levels: Level[] = []
  for (const [token] of text.matchAll(TOKEN)) {
    const level = levels.at(-1)
    switch (token) {
      case '{':
      case '[':
        levels.push({ keys: token === '{' ? new Set() : undefined, atKey: token === '{' })
        if (levels.length > max('apiDepthMax'))
          return `the body is nested deeper than ${max('apiDepthMax')}`
        break
      case '}':
      case ']':
        levels.pop()
        break
      case ',':
        if (level !== undefined) level.atKey = level.keys !== undefined
        break
      case ':':
        if (level !== undefined) level.atKey = false
        break
      default: {
        const problem = level?.atKey === true ? keyProblem(token, level.keys) : undefined
        if (problem !== undefined) return problem
      }
    }
  }
  return undefined
}

function keyProblem(token: string, keys: Set<string> | undefined): string | undefined {
  const key: unknown = JSON.parse(token)
  if (typeof key !== 'string') return undefined
  if (FORBIDDEN.has(key)) return `the key ${token} is not allowed`
  if (keys?.has(key) === true) return `the key ${token} stands twice`
  keys?.add(key)
  return undefined
}
