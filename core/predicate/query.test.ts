// Queries of lists: what they may name, their own functions, and the one bound that all rows of a list share.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../limits.ts'
import { problemText } from './problem.ts'
import type { QueryRow } from './query.ts'
import { compileQuery, QUERY_EXAMPLE, QueryRun } from './query.ts'

const NODE: QueryRow = {
  kind: 'node',
  name: 'web-1',
  labels: { env: 'prod', teams: 'shop,bank', empty: '' },
  address: '10.0.0.7:22',
}
const DATABASE: QueryRow = {
  kind: 'db',
  name: 'orders',
  labels: { env: 'dev' },
  protocol: 'postgres',
  description: 'All Orders',
}

function run(source: string): QueryRun {
  const expression = compileQuery(source)
  assert.ok(
    !('problem' in expression),
    `${source}: ${'problem' in expression ? problemText(expression) : ''}`,
  )
  return new QueryRun(expression)
}

function problem(source: string): string {
  const expression = compileQuery(source)
  return 'problem' in expression ? problemText(expression) : 'none'
}

describe('a query', () => {
  it('knows what a list knows of a row', () => {
    const rows: readonly (readonly [source: string, node: boolean, database: boolean])[] = [
      [QUERY_EXAMPLE, true, false],
      ['name == "web-1"', true, false],
      ['resource.kind == "db"', false, true],
      ['resource.metadata.name == "orders"', false, true],
      ['resource.metadata.labels["env"] == "prod"', true, false],
      ['resource.metadata.labels.env == "dev"', false, true],
      ['resource.spec.hostname == "web-1"', true, false],
      ['resource.spec.addr == "10.0.0.7:22"', true, false],
      ['resource.spec.protocol == "postgres"', false, true],
      ['equals(labels["env"], "dev")', false, true],
      ['exists(labels["teams"])', true, false],
      ['exists(labels["empty"])', true, false],
      ['exists(labels.constructor)', false, false],
      ['exists(resource.spec.addr)', true, false],
      ['contains(split(labels["teams"], ","), "bank")', true, false],
      ['contains(split(labels["teams"], ""), "bank")', false, false],
      ['search("WEB", "prod")', true, false],
      ['search("web dev")', false, false],
      ['search("orders,all")', false, true],
      ['hasPrefix(name, "or")', false, true],
      ['!hasPrefix(name, "or") && regexp.match(name, "w*")', true, false],
    ]
    for (const [source, node, database] of rows) {
      assert.equal(run(source).matches(NODE), node, source)
      assert.equal(run(source).matches(DATABASE), database, source)
    }
  })

  it('knows nothing of people, and says where it is wrong', () => {
    assert.match(
      problem('contains(user.spec.traits.a, "b")'),
      /^column 10: "user\.spec\.traits\.a" means nothing here; there are labels/,
    )
    assert.match(problem('exists(true)'), /^column 8: exists wants a label or a name here$/)
    assert.match(problem('search(name)'), /^column 8: .* is a text in quotes$/)
    assert.match(problem('equals(name, true)'), /^column 14: a text is not compared/)
    assert.match(
      problem(`name == "${'x'.repeat(max('queryLengthMax'))}"`),
      /^column 1: it is longer than 2048/,
    )
  })

  it('leaves out a row that it cannot judge, and goes on', () => {
    const long = { ...NODE, name: 'x'.repeat(max('matchSubjectMax') + 1) }
    const query = run('!regexp.match(name, "a*")')
    assert.equal(query.matches(long), false)
    assert.equal(query.matches(NODE), true)
    assert.equal(query.spent, false)
  })

  it('has one bound for all rows together', () => {
    const query = run('regexp.match(name, "^(a?){100}b$")')
    const row = { ...NODE, name: 'a'.repeat(400) }
    let rows = 0
    while (!query.spent) {
      assert.equal(query.matches(row), false)
      assert.ok(++rows < 10_000, 'it goes on for ever')
    }
    assert.ok(rows > 10)
    assert.equal(query.matches({ ...NODE, name: 'b' }), false)
  })
})
