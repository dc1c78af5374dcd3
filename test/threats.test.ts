// docs/threats.md says who cannot do what, and which test shows it. Each test it names stands in the file it names, word for word,
// and every part of the design's table has its cells.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const ROOT = join(import.meta.dirname, '..')
const PARTS: readonly string[] = [
  'The network',
  'A client without a certificate',
  'A proxy',
  'An agent',
  'A target',
  'Control\u2019s disk, copied',
  'Control, running',
]

interface Cell {
  readonly part: string
  readonly cannot: string
  readonly file: string
  readonly name: string
}

test('every cell of the table of trust names a test that exists', () => {
  const cells = read(readFileSync(join(ROOT, 'docs/threats.md'), 'utf8'))
  assert.ok(cells.length > 25, `saw only ${cells.length} cells`)
  assert.deepEqual([...new Set(cells.map(({ part }) => part))], PARTS)
  assert.deepEqual(cells.filter((cell) => !stands(cell)).map(sentence), [])
})

test('a cell whose test is gone is found', () => {
  const text = [
    '## A proxy',
    '| it cannot | shown by |',
    '|---|---|',
    '| fly | `test/threats.test.ts`: a test that nobody wrote, by name |',
    '| swim | `test/nowhere.test.ts`: a cell whose test is gone is found |',
    '| walk | `test/threats.test.ts`: a cell whose test is gone is found |',
  ]
  const gone = read(text.join('\n')).filter((cell) => !stands(cell))
  assert.deepEqual(
    gone.map(({ cannot }) => cannot),
    ['fly', 'swim'],
  )
})

function read(text: string): readonly Cell[] {
  const cells: Cell[] = []
  let part = ''
  for (const line of text.split('\n')) {
    part = /^## (.*)$/.exec(line)?.[1]?.replace("'", '\u2019') ?? part
    const [, cannot, file, name] = /^\| (.+) \| `([^`]+)`: (.*) \|$/.exec(line) ?? []
    if (cannot !== undefined && file !== undefined && name !== undefined)
      cells.push({ part, cannot, file, name })
  }
  return cells
}

/** As a call of `it` or `test` with this very name: a mention elsewhere is none. */
function stands({ file, name }: Cell): boolean {
  const path = join(ROOT, file)
  if (name === '' || !existsSync(path)) return false
  const source = readFileSync(path, 'utf8')
  return ["'", '`', '"'].some(
    (quote) =>
      source.includes(`it(${quote}${name}${quote},`) ||
      source.includes(`test(${quote}${name}${quote},`),
  )
}

function sentence({ part, cannot, file, name }: Cell): string {
  return `${part} cannot ${cannot}: ${file}: ${name}`
}
