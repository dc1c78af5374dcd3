// docs/faults.md holds the matrix as the code has it: `UPDATE=1` writes it there. And what unfolds the table misses no cell.

import { equal, ok } from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { absencesOf, cellsOf, FAULTS, markdownOf, PARTS } from '../faults/matrix.ts'
import { SCENARIOS } from './scenarios.ts'
import { NEWCOMERS, TABLE } from './table.ts'

const PAGE = join(import.meta.dirname, '../../docs/faults.md')
const MARKS = ['<!-- matrix -->', '<!-- end of matrix -->'] as const

function generated(): string {
  const absences = absencesOf(TABLE).map(
    ({ fault, part, reason }) => `- ${fault} × ${part}: ${reason}.`,
  )
  return [
    '',
    markdownOf(TABLE, SCENARIOS),
    '',
    'Cells that do not exist:',
    '',
    ...absences,
    '',
    'Whoever connects while the fault lasts:',
    '',
    `| fault | ${PARTS.join(' | ')} |`,
    `|---|${PARTS.map(() => '---|').join('')}`,
    ...FAULTS.map(
      (fault) => `| ${fault} | ${PARTS.map((part) => newcomerOf(fault, part)).join(' | ')} |`,
    ),
    '',
  ].join('\n')
}

function newcomerOf(fault: (typeof FAULTS)[number], part: (typeof PARTS)[number]): string {
  const row = TABLE[fault][part]
  return typeof row === 'object' && 'none' in row ? '–' : NEWCOMERS[fault][part]
}

test('docs/faults.md is the matrix of the code', () => {
  const page = readFileSync(PAGE, 'utf8')
  const [from, to] = [page.indexOf(MARKS[0]) + MARKS[0].length, page.indexOf(MARKS[1])]
  ok(from > MARKS[0].length && to > from, 'the page has its marks')
  const wanted = `${page.slice(0, from)}\n${generated()}\n${page.slice(to)}`
  if (process.env['UPDATE'] === '1') writeFileSync(PAGE, wanted)
  equal(readFileSync(PAGE, 'utf8'), wanted)
})

test('every fault, part and scenario is a cell, or has a reason not to be', () => {
  const cells = cellsOf(TABLE, SCENARIOS)
  const absent = absencesOf(TABLE)
  for (const fault of FAULTS)
    for (const part of PARTS) {
      const there = cells.filter((cell) => cell.fault === fault && cell.part === part).length
      const why = absent.find((each) => each.fault === fault && each.part === part)
      equal(there, why === undefined ? SCENARIOS.length : 0)
      ok(why === undefined || why.reason.length > 20)
    }
  ok(cells.length > 100)
})
