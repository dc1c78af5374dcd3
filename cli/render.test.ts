import { equal } from 'node:assert/strict'
import { test } from 'node:test'

import { colour, durationText, labelsText, printable, render, table, timeText } from './render.ts'

test('a table has a dashed underline as wide as its widest cell, and no spaces at line ends', () => {
  equal(
    table(
      ['Name', 'Labels'],
      [
        ['orders', 'env=prod'],
        ['b', ''],
      ],
    ),
    'Name   Labels\n------ --------\norders env=prod\nb\n',
  )
})

test('a table without rows is its head', () => {
  equal(table(['A', 'Long'], []), 'A Long\n- ----\n')
})

test('what others wrote cannot steer the terminal', () => {
  equal(printable('a\u{1b}[2Jb\u{7}\n\u{202e}c\td'), 'a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c d')
  equal(table(['A'], [['\u{1b}]0;x\u{7}']]), 'A\n------\n\u{fffd}]0;x\u{fffd}\n')
})

test('formats are text, JSON and YAML of one value', async () => {
  const value = { name: 'a', list: [1] }
  equal(await render('text', value, () => 'T\n'), 'T\n')
  equal(await render('json', value, () => ''), '{\n  "name": "a",\n  "list": [\n    1\n  ]\n}\n')
  equal(await render('yaml', value, () => ''), 'name: a\nlist:\n  - 1\n')
})

test('labels are sorted, and cut where there is no room', () => {
  equal(labelsText({ b: '2', a: '1' }), 'a=1,b=2')
  equal(labelsText({ b: '2', a: '1' }, 5), 'a=1,…')
  equal(labelsText({}), '')
})

test('remaining time is told in two units, to the nearest minute', () => {
  equal(durationText(11 * 3_600_000 + 53 * 60_000), '11h53m')
  equal(durationText(3_599_999), '1h0m')
  equal(durationText(49 * 3_600_000), '2d1h')
  equal(durationText(90_000), '2m')
  equal(durationText(-5), '0m')
})

test('times are UTC', () => {
  equal(timeText(Date.UTC(2026, 10, 20, 19, 0, 1)), '2026-11-20 19:00:01 UTC')
})

test('colours are for terminals that want them', () => {
  const before = { no: process.env['NO_COLOR'], term: process.env['TERM'] }
  const stream = (isTTY: boolean): NodeJS.WriteStream =>
    Object.assign(Object.create(process.stdout) as NodeJS.WriteStream, { isTTY })
  delete process.env['NO_COLOR']
  process.env['TERM'] = 'xterm'
  try {
    equal(colour('red', 'x', stream(true)), '\u{1b}[31mx\u{1b}[39m')
    equal(colour('red', 'x', stream(false)), 'x')
    process.env['TERM'] = 'dumb'
    equal(colour('red', 'x', stream(true)), 'x')
    process.env['TERM'] = 'xterm'
    process.env['NO_COLOR'] = '1'
    equal(colour('red', 'x', stream(true)), 'x')
  } finally {
    restore('NO_COLOR', before.no)
    restore('TERM', before.term)
  }
})

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}
