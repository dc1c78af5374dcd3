// Pages of a list of targets: filters together, pages in a row, and the one bound on what a query costs.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { max } from '../core/limits.ts'
import type { DatabasesRequest } from './api/messages.ts'
import { type Listed, pageOf } from './pages.ts'

const ROWS: readonly Listed[] = ['a-1', 'a-2', 'b-1', 'b-2'].map((name, at) => ({
  name,
  labels: { odd: String(at % 2 === 1), team: name.slice(0, 1) },
}))

function page(request: DatabasesRequest): readonly [readonly string[], string | undefined] {
  const { items, next } = pageOf(ROWS, request, ({ name }) => ({
    kind: 'db',
    description: `The ${name}`,
  }))
  return [items.map(({ name }) => name), next]
}

it('words, labels and a query narrow a list together', () => {
  assert.deepEqual(page({}), [['a-1', 'a-2', 'b-1', 'b-2'], undefined])
  assert.deepEqual(page({ search: 'the,A-' })[0], ['a-1', 'a-2'])
  assert.deepEqual(page({ query: 'labels.team == "b"' })[0], ['b-1', 'b-2'])
  const all = { search: '2', labels: 'odd=true', query: 'labels.team == "b"' }
  assert.deepEqual(page(all)[0], ['b-2'])
})

it('what a query finds comes in pages too', () => {
  const query = 'labels.odd == "true"'
  assert.deepEqual(page({ query, limit: 1 }), [['a-2'], 'a-2'])
  assert.deepEqual(page({ query, limit: 1, cursor: 'a-2' }), [['b-2'], undefined])
})

it('a query that costs too much is refused: part of a list would pass for the whole', () => {
  const name = 'a'.repeat(max('matchSubjectMax'))
  const rows = Array.from({ length: 500 }, () => ({ name, labels: {} }))
  const query = 'regexp.match(name, "^(a?){100}b$")'
  assert.throws(() => pageOf(rows, { query }, () => ({ kind: 'node' })), {
    code: 'limit.exceeded',
  })
  assert.deepEqual(pageOf(rows.slice(0, 5), { query }, () => ({ kind: 'node' })).items, [])
})
