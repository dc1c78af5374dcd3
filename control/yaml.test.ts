// YAML bombs: texts inside the bound of bytes that would cost a reader minutes or a gigabyte. Both readers of YAML are held to the
// CPU time and memory of one that reads.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { errorCode } from '../core/errors.ts'
import { loadConfig } from './config.ts'
import { readDocuments } from './resources/document.ts'
import { tooDeepAt } from './yaml.ts'

const MB = 1024 * 1024
const CPU_MS_MAX = 10_000
const GROWTH_MAX = 500 * MB

const full = (text: string): string => text.repeat(Math.floor((MB - 16) / text.length))
const keys = Array.from({ length: 25_000 }, (_, at) => `k${at}: 1`)

const BOMBS: Readonly<Record<string, string>> = {
  'of open lists': full('['),
  'of lists in lists': '['.repeat(MB / 2 - 9) + ']'.repeat(MB / 2 - 9),
  'of maps in maps': full('{a: '),
  'of block lists on one line': `${full('- ')}x`,
  'of complex keys': `${full('? ')}x`,
  'of lists below complex keys': `${full('? - ')}x`,
  'of ever deeper lines': Array.from({ length: 1_400 }, (_, at) => `${' '.repeat(at)}a:`).join(
    '\n',
  ),
  'of keys': keys.join('\n'),
  'of keys in one flow': `{${keys.join(', ')}}`,
  'of references to references': [
    'a: &a [x, x]',
    ...Array.from({ length: 30 }, (_, at) => {
      const name = at === 0 ? 'a' : `b${at - 1}`
      return `b${at}: &b${at} [*${name}, *${name}]`
    }),
  ].join('\n'),
  'of tags': full('!a ').slice(MB - MB / 8),
  'of documents': full('--- 1\n').slice(MB - MB / 8),
  'of one scalar': `a: "${full('x').slice(0, -9)}"`,
}

describe('a YAML bomb', () => {
  for (const [what, text] of Object.entries(BOMBS))
    it(`${what} costs no more than a reader has`, () => {
      const before = process.memoryUsage().rss
      const cpu = process.cpuUsage()
      assert.match(
        outcome(() => readDocuments(text)),
        /^read|^resource\.invalid/,
      )
      assert.match(
        outcome(() => loadConfig(text, 'f')),
        /^read|^config\.invalid/,
      )
      const { user, system } = process.cpuUsage(cpu)
      assert.ok((user + system) / 1000 < CPU_MS_MAX, `${(user + system) / 1000} ms`)
      const grown = process.memoryUsage().rss - before
      assert.ok(grown < GROWTH_MAX, `${grown} bytes`)
    })
})

function outcome(read: () => unknown): string {
  try {
    read()
    return 'read'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

describe('the nesting of a text', () => {
  it('is that of its brackets and of indicators on one line, not of what stands in scalars', () => {
    const texts: readonly (readonly [string, number | undefined])[] = [
      [`${'['.repeat(32)}${']'.repeat(32)}`, undefined],
      [`a:\n  ${'['.repeat(33)}`, 2],
      [`a: "${'['.repeat(99)}"\nb: '${'{'.repeat(99)}'\nc: x${'['.repeat(99)}`, undefined],
      [`a: |\n  ${'['.repeat(99)}\n# ${'['.repeat(99)}`, undefined],
      [`${'- '.repeat(33)}x`, 1],
      ['- x\n'.repeat(99), undefined],
      [`{${'a: 1, '.repeat(99)}}`, undefined],
      [`a: ${'- '.repeat(99)}`, 1],
    ]
    for (const [text, at] of texts) assert.equal(tooDeepAt(text), at, text.slice(0, 40))
  })
})
