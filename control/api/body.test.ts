// Bodies before any schema: depth, duplicate keys, keys that reach prototypes.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'

import { max } from '../../core/limits.ts'
import { readBody } from './body.ts'

function reasonOf(text: string): string {
  const reading = readBody(text)
  return reading.ok ? 'taken' : reading.reason
}

describe('readBody', () => {
  it('refuses a key that stands twice in one object, however it is written', () => {
    assert.match(reasonOf('{"a":1,"a":2}'), /twice/)
    assert.match(reasonOf('{"a":1,"\\u0061":2}'), /twice/)
    assert.match(reasonOf('{"x":[{"k":{"a":1,"b":"a","a":2}}]}'), /twice/)
    assert.equal(reasonOf('{"a":{"a":1},"b":["a","a",{"a":1}]}'), 'taken')
  })

  it('refuses keys that reach prototypes, and only as keys', () => {
    for (const key of ['__proto__', 'constructor', 'prototype', '__pro\\u0074o__'])
      assert.match(reasonOf(`{"a":{"${key}":{}}}`), /not allowed/, key)
    assert.equal(reasonOf('{"a":"__proto__"}'), 'taken')
  })

  it('refuses nesting beyond the bound and takes what is inside it', () => {
    const deep = max('apiDepthMax')
    assert.equal(reasonOf('['.repeat(deep) + ']'.repeat(deep)), 'taken')
    assert.match(reasonOf('['.repeat(deep + 1) + ']'.repeat(deep + 1)), /nested/)
    assert.match(reasonOf('['.repeat(400_000)), /not JSON|nested/)
  })

  it('is not fooled by braces, quotes and backslashes in strings', () => {
    assert.equal(reasonOf(JSON.stringify({ 'a":{"': '}]"\\', 'b\\': '"[[[{{{', a: '' })), 'taken')
  })

  it('takes every JSON value without duplicate or forbidden keys, unchanged', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value)
        const reading = readBody(text)
        if (/__proto__|constructor|prototype/.test(text)) return
        assert.ok(reading.ok, text)
        assert.deepEqual(reading.value, JSON.parse(text))
      }),
    )
  })

  it('never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void readBody(text)))
  })
})
