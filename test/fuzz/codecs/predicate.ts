// Expressions of roles and queries of lists: any text is compiled or has a problem with a column inside it, and what is compiled is
// judged within its bounds, whatever labels and traits it meets, the same each time.

import assert from 'node:assert/strict'

import { max } from '../../../core/limits.ts'
import { compileLabelExpression, judgeLabels } from '../../../core/predicate/label-expression.ts'
import type { Problem } from '../../../core/predicate/problem.ts'
import { problemText } from '../../../core/predicate/problem.ts'
import { compileQuery, QueryRun } from '../../../core/predicate/query.ts'
import type { Codec } from '../engine.ts'

const EXPRESSIONS = [
  'contains(user.spec.traits["team"], labels["team"]) && !(labels.env == "prod")',
  'regexp.match(labels_matching("t*"), "^sh(o|p)+$") || labels["a"] != `b`',
  'contains_any(regexp.replace(user.spec.traits.team, "^(.*)-x$", "$1$1"), set("a", "b"))',
  'contains_all(email.local(user.spec.traits.mail), strings.upper(labels["team"]))',
  'strings.lower(labels.env) == "\\"\\d"',
]

const QUERIES = [
  'labels["env"] == "prod" && hasPrefix(name, "web")',
  'search("web", "prod") || equals(resource.kind, "db") && exists(labels.team)',
  'contains(split(resource.metadata.labels["team"], ","), resource.spec.addr)',
]

/** Some of them at the edges of what is matched and made. */
const LABELS = {
  team: 'shop-x',
  env: 'prod',
  tall: 'ß'.repeat(max('matchSubjectMax')),
  long: 'x'.repeat(max('matchSubjectMax') + 1),
  '': '',
}
const TRAITS = {
  team: ['shop-x', '', 'x'.repeat(300), '☂😀'],
  mail: ['a@b', '@', 'a@b@c'],
  many: Array.from({ length: 1500 }, (_, at) => `v${at}`),
}

const expressions: Codec = {
  name: 'label-expression',
  seeds: () => EXPRESSIONS.map((source) => Buffer.from(source)),
  check(bytes) {
    const source = Buffer.from(bytes).toString('utf8')
    const compiled = compileLabelExpression(source)
    if ('problem' in compiled) return told(compiled, source)
    const judged = judgeLabels(compiled, LABELS, TRAITS)
    assert.equal(judgeLabels(compiled, LABELS, TRAITS), judged)
    return `judged ${String(judged)}`
  },
}

const queries: Codec = {
  name: 'query',
  seeds: () => QUERIES.map((source) => Buffer.from(source)),
  check(bytes) {
    const source = Buffer.from(bytes).toString('utf8')
    const compiled = compileQuery(source)
    if ('problem' in compiled) return told(compiled, source)
    const run = new QueryRun(compiled)
    const found = (['node', 'db'] as const).map((kind) =>
      run.matches({ kind, name: 'web-1', labels: LABELS, address: '10.0.0.7:22' }),
    )
    return `found ${found.join(', ')}${run.spent ? ', spent' : ''}`
  },
}

function told(problem: Problem, source: string): string {
  assert.ok(problem.column >= 1 && problem.column <= Array.from(source).length + 1)
  const text = problemText(problem)
  assert.ok(text.length < 600, text)
  assert.doesNotMatch(text, /[\p{Cc}\p{Cf}]/u)
  // What is quoted of the source, and where, makes no new kind of problem.
  return problem.problem.replaceAll(/"[^"]*"|\d+/g, '#').slice(0, 80)
}

export const predicateCodecs: readonly Codec[] = [expressions, queries]
