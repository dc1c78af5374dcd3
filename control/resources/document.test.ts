// What a resource file may be, and how refusals name line and field.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { errorCode } from '../../core/errors.ts'
import { checkedValue, readDocuments } from './document.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { parseDocuments, parseResource } from './resource.ts'

function refusal(make: () => unknown): string {
  try {
    make()
  } catch (error) {
    assert.equal(errorCode(error), 'resource.invalid')
    return error instanceof Error ? error.message : ''
  }
  throw new Error('accepted')
}

describe('a resource file', () => {
  it('has no anchors, aliases, tags, merge keys or duplicate keys', () => {
    const bad: Readonly<Record<string, RegExp>> = {
      'a: 1\nb: &x 1': /^line 2: anchors/,
      'a: &x 1\nb: *x': /anchors|aliases/,
      'a: 1\nb: !!str x': /^line 2: tags/,
      'a: !custom x': /tag/i,
      'a: 1\n<<: {b: 1}': /^line 2: "<<"/,
      'a: 1\nb: 2\na: 3': /^line 3: .*unique/,
    }
    for (const [text, says] of Object.entries(bad))
      assert.match(
        refusal(() => readDocuments(text)),
        says,
        text,
      )
  })

  it('has text as keys, and none that the language knows', () => {
    for (const text of ['1: x', 'true: x', '? [a]\n: x', 'null: x'])
      assert.match(
        refusal(() => readDocuments(text)),
        /keys are text/,
        text,
      )
    for (const key of ['__proto__', 'constructor', 'prototype']) {
      assert.match(
        refusal(() => readDocuments(`a:\n  ${key}: 1`)),
        /^line 2: .*cannot be a key/,
      )
      const body: unknown = JSON.parse(`{"a":[{"${key}":1}]}`)
      assert.match(
        refusal(() => checkedValue(body)),
        /cannot be a key/,
      )
    }
  })

  it('is bounded in size and depth', () => {
    assert.match(
      refusal(() => readDocuments(`a: ${'x'.repeat(1024 * 1024)}`)),
      /1 MB/,
    )
    for (const depth of [34, 5000])
      assert.notEqual(
        refusal(() => readDocuments('['.repeat(depth) + ']'.repeat(depth))),
        '',
      )
    let deep: unknown = 1
    for (let i = 0; i < 34; i++) deep = { a: deep }
    assert.match(
      refusal(() => checkedValue(deep)),
      /deep/,
    )
  })

  it('may hold several documents, empty ones included', () => {
    assert.deepEqual(
      readDocuments('---\na: 1\n---\n---\nb: 2\n').map(({ value }) => value),
      [{ a: 1 }, { b: 2 }],
    )
    assert.deepEqual(parseDocuments(''), [])
  })

  it('reads a field with nothing behind it as not set', () => {
    assert.deepEqual(readDocuments('a:\nb: [~, 1]\n')[0]?.value, { b: [null, 1] })
  })

  it('names line and field of each mistake', () => {
    const text = [
      'kind: role',
      'version: v7',
      'metadata:',
      '  name: a',
      '---',
      'kind: role',
      'version: v7',
      'metadata:',
      '  name: dba',
      'spec:',
      '  options:',
      '    max_session_ttl: soon',
      '  allow:',
      '    db_lables: {}',
    ].join('\n')
    assert.match(
      refusal(() => parseDocuments(text)),
      /^line 1: spec: missing/,
    )
    const second = text.slice(text.indexOf('---'))
    assert.deepEqual(refusal(() => parseDocuments(second)).split('\n'), [
      'line 8: spec.options.max_session_ttl: expected a duration such as 8h30m',
      'line 10: spec.allow.db_lables: unknown field',
    ])
  })

  it('of no kind or an unknown one is refused by what is known', () => {
    assert.match(
      refusal(() => parseDocuments('kind: rolle')),
      /"rolle" is unknown; known are user, role/,
    )
    assert.match(
      refusal(() => parseResource({})),
      /kind: missing/,
    )
    for (const value of [null, 'x', 1, []])
      assert.notEqual(
        refusal(() => parseResource(value)),
        '',
      )
  })

  it('never makes the reader throw anything but a refusal', () => {
    const piece = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '-',
      '[',
      ']',
      '{',
      '}',
      '&a',
      '*a',
      '!',
      '|',
      '#',
      "'",
      '"',
      '<<',
      '? ',
      '%',
      '\t',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        try {
          parseDocuments(pieces.join(''))
        } catch (error) {
          assert.equal(errorCode(error), 'resource.invalid')
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a duration', () => {
  it('is written in hours, minutes, seconds and milliseconds', () => {
    const known = {
      '8h30m': 30_600_000,
      '30h0m0s': 108_000_000,
      '1.5h': 5_400_000,
      '500ms': 500,
      '0': 0,
      '0s': 0,
    }
    for (const [text, ms] of Object.entries(known)) assert.equal(parseDuration(text), ms, text)
    for (const text of ['', 'h', '1', '1d', '-1h', '1h 2m', '99999999h', '1e3s', 'never'])
      assert.equal(parseDuration(text), undefined, text)
  })

  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.nat(10 ** 9), (ms) => {
        assert.equal(parseDuration(formatDuration(ms)), ms)
      }),
    )
  })
})
