import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'

import type { QueryResult } from '../postgres-client.ts'
import { resultText } from './result.ts'

const RESULT: QueryResult = {
  columns: ['id', 'name'],
  rows: [
    ['1', 'ünï'],
    ['20', null],
  ],
  tag: 'SELECT 2',
}

test('a table is aligned as psql does: numbers to the right, a count below', () => {
  equal(
    resultText(RESULT, 'text'),
    [' id | name', '----+------', '  1 | ünï', ' 20 |', '(2 rows)', ''].join('\n'),
  )
})

test('one row is one row', () => {
  equal(resultText({ columns: ['n'], rows: [['x']], tag: '' }, 'text'), ' n\n---\n x\n(1 row)\n')
})

test('a statement without columns gives its tag', () => {
  equal(resultText({ columns: [], rows: [], tag: 'INSERT 0 1' }, 'text'), 'INSERT 0 1\n')
  equal(resultText({ columns: [], rows: [], tag: 'INSERT 0 1' }, 'csv'), '')
})

test('JSON keeps nulls, order and columns of one name', () => {
  const result = { columns: ['a', 'a'], rows: [['1', null]], tag: 'SELECT 1' }
  deepEqual(JSON.parse(resultText(result, 'json')), result)
})

test('CSV quotes what needs it, and tells null from the empty text', () => {
  equal(
    resultText(
      {
        columns: ['a', 'b,c'],
        rows: [
          [null, ''],
          ['say "hi"', 'x\ny'],
        ],
        tag: '',
      },
      'csv',
    ),
    'a,"b,c"\r\n,""\r\n"say ""hi""","x\ny"\r\n',
  )
})

test('values cannot steer the terminal, and files get them unchanged', () => {
  const result = { columns: ['a\u{1b}'], rows: [['\u{1b}]0;x\u{7}']], tag: '' }
  equal(resultText(result, 'text').includes('\u{1b}'), false)
  equal(resultText(result, 'csv').includes('\u{1b}]0;x\u{7}'), true)
})
