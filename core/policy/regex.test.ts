// Tests of the linear-time expressions. The language's own engine is the oracle: on the grammar both know, both must agree.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { Regex } from './regex.ts'
import { compileRegex, testRegex } from './regex.ts'
import { replaceRegex } from './regex-replace.ts'

function compiled(source: string): Regex {
  const regex = compileRegex(source)
  if ('problem' in regex) throw new Error(`${source}: ${regex.problem}`)
  return regex
}

function problem(source: string): string {
  const regex = compileRegex(source)
  return 'problem' in regex ? regex.problem : ''
}

/** Expressions both engines read alike. */
const source: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('a', 'b', 'ab', '.', '[ab]', '[^a]', '\\d', '\\w', '\\.', '[a-c0-3]', '\\b'),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => x + y),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => `(?:${x}|${y})`),
    fc
      .tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '{0,2}?', '*?', '{2,}'))
      .map(([x, q]) => `(?:${x})${q}`),
    tie('node').map((x) => `(${x})`),
  ),
})).node

const subject = fc.string({
  unit: fc.constantFrom('a', 'b', 'c', '1', '.', ' ', '😀'),
  maxLength: 12,
})

describe('an expression', () => {
  it('matches what the engine of the language matches', () => {
    fc.assert(
      fc.property(source, subject, fc.boolean(), (inner, text, anchored) => {
        const whole = anchored ? `^(?:${inner})$` : inner
        const mine = compileRegex(whole)
        fc.pre(!('problem' in mine))
        assert.equal(
          testRegex(mine, text),
          new RegExp(whole, 'u').test(text),
          `${whole} on ${text}`,
        )
      }),
      { numRuns: 2000 },
    )
  })

  it('replaces what the engine of the language replaces', () => {
    const simple = fc
      .array(fc.constantFrom('a', 'b', '[ab]', '(a|b)', '(a+)', 'c?', '(?:ab)*', '\\d'), {
        minLength: 1,
        maxLength: 5,
      })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(simple, subject, (whole, text) => {
        const oracle = new RegExp(whole, 'gu')
        const want = oracle.test(text) ? text.replace(oracle, '<$1>') : undefined
        const groups = whole.includes('(a')
        const by = groups ? '<$1>' : '<>'
        const got = replaceRegex(compiled(whole), text, by)
        assert.equal(got, groups ? want : want?.replaceAll('<$1>', '<>'))
      }),
      { numRuns: 1000 },
    )
  })

  it('takes time linear in the subject where a backtracking engine would take for ever', () => {
    const regex = compiled('^(a+)+(a|aa)*(a*)*$')
    const startedAt = process.cpuUsage().user
    assert.equal(testRegex(regex, `${'a'.repeat(500)}!`), false)
    assert.ok(process.cpuUsage().user - startedAt < 2_000_000)
  })

  it('refuses what RE2 refuses and what it does not know, and says what', () => {
    const refused: Readonly<Record<string, RegExp>> = {
      '(?=a)': /look-around/,
      '(?<!a)b': /look-around/,
      '(a)\\1': /not supported/,
      '\\p{L}': /not supported/,
      '[[:alpha:]]': /classes/,
      '[^\\D]': /not supported/,
      'a**': /in a row/,
      '*a': /repeats nothing/,
      '^*': /anchor/,
      'a{5,2}': /out of range/,
      'a{x}': /\\\{/,
      '(a': /not closed/,
      'a)': /opens nothing/,
      '[z-a]': /backwards/,
      '[a': /ends inside/,
      'a\\': /ends inside/,
      '(?P<n>a)(?P<n>b)': /twice/,
      '((a{100}){100}){100}': /too large/,
      '(?:(?:(?:){1000}){1000}){1000}': /too large/,
      [`${'('.repeat(40)}a${')'.repeat(40)}`]: /deeply/,
      ['a'.repeat(1025)]: /too long/,
    }
    for (const [bad, says] of Object.entries(refused)) assert.match(problem(bad), says, bad)
  })

  it('never throws, whatever the pattern and the subject', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.string(), (pattern, text) => {
        const regex = compileRegex(pattern)
        if (!('problem' in regex)) testRegex(regex, text)
      }),
      { numRuns: 1000 },
    )
  })

  it('ignores case and lets a dot match a newline when its flags say so', () => {
    assert.equal(testRegex(compiled('^(?i)Prod-[a-z]$'), 'pROD-X'), true)
    assert.equal(testRegex(compiled('^prod$'), 'PROD'), false)
    assert.equal(testRegex(compiled('(?s)^a.b$'), 'a\nb'), true)
    assert.equal(testRegex(compiled('^a.b$'), 'a\nb'), false)
  })

  it('expands groups by number and by name, and unknown ones to nothing', () => {
    const regex = compiled('^(?P<who>[a-z]+)@([a-z]+)\\.com$')
    assert.equal(replaceRegex(regex, 'ann@corp.com', '$2-${who}-$9-$1x-$$'), 'corp-ann---$')
    assert.equal(replaceRegex(regex, 'ann@corp.org', '$1'), undefined)
  })

  it('still ends after more steps than a 32-bit mark can count', () => {
    const regex = compiled('^(a*)*b$')
    regex.scratch.mark = 2 ** 31
    assert.equal(testRegex(regex, 'aaab'), true)
    assert.equal(testRegex(regex, 'aaac'), false)
  })

  it('matches nothing in a subject longer than its limit', () => {
    assert.equal(testRegex(compiled('a'), 'a'.repeat(513)), false)
  })
})
