// docs/faults.md holds the table of recorded terminals as the code has it: `UPDATE=1` writes it there.

import { equal, ok } from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { CELLS, FAULTS, markdown, PLACES, RULES } from './table.ts'

const PAGE = join(import.meta.dirname, '../../docs/faults.md')
const MARKS = ['<!-- recordings -->', '<!-- end of recordings -->'] as const

test('docs/faults.md is the table of the code', () => {
  const page = readFileSync(PAGE, 'utf8')
  const [from, to] = [page.indexOf(MARKS[0]) + MARKS[0].length, page.indexOf(MARKS[1])]
  ok(from > MARKS[0].length && to > from, 'the page has its marks')
  const wanted = `${page.slice(0, from)}\n\n${markdown()}\n\n${page.slice(to)}`
  if (process.env['UPDATE'] === '1') writeFileSync(PAGE, wanted)
  equal(readFileSync(PAGE, 'utf8'), wanted)
})

test('every place, rule and fault is a cell', () => {
  equal(CELLS.length, PLACES.length * RULES.length * FAULTS.length)
})
