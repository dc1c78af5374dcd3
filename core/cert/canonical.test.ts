// The quick answer to "is this the canonical text" against the slow one.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { type Canonical, canonicalJson, isCanonicalJson } from './canonical.ts'

function slow(value: Canonical, text: string): boolean {
  try {
    return canonicalJson(value) === text
  } catch {
    return false
  }
}

function quick(value: Canonical, text: string): boolean {
  try {
    return isCanonicalJson(value, text)
  } catch {
    return false
  }
}

test('a text is canonical exactly when writing its value gives it', () => {
  const json = fc.json({ maxDepth: 4, stringUnit: 'binary' })
  const own = fc.dictionary(
    fc.constantFrom('10', '2', 'a', 'b', 'ei'),
    fc.oneof(fc.integer(), fc.string()),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        json,
        own.map((value) => JSON.stringify(value)),
        own.map((value) => canonicalJson(value)),
      ),
      (text) => {
        const value = JSON.parse(text) as Canonical
        assert.equal(quick(value, text), slow(value, text), text)
      },
    ),
    { numRuns: 2000 },
  )
})

test('other texts of the same value are not', () => {
  const cases = [
    '{"b":1,"a":2}',
    '{"a":1.0}',
    '{"a": 1}',
    '{"a":1,"a":1}',
    '{"a":-0}',
    '{"a":null}',
    '"\\ud800"',
    '{"a":1e2}',
    '"\\u0061"',
  ]
  for (const text of cases) assert.equal(quick(JSON.parse(text) as Canonical, text), false, text)
  for (const text of ['{"a":1,"b":[true,"x"]}', '{"10":1,"2":1}', '"é"', '9007199254740991'])
    assert.equal(quick(JSON.parse(text) as Canonical, text), true, text)
})
