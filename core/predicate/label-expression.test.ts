// The language by what it comes to: operators, functions, types, where problems stand, and the bounds of one evaluation.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../limits.ts'
import { compileLabelExpression, judgeLabels } from './label-expression.ts'
import { problemText } from './problem.ts'
import type { Judgement } from './scope.ts'

const LABELS = { env: 'prod', team: 'shop', 'team-b': 'bank', region: 'eu-west', empty: '' }
const TRAITS = {
  team: ['shop', 'ops'],
  email: ['alice@example.com', 'nobody'],
  role: ['env-prod', 'env-dev', 'other'],
  none: [],
}

function judged(source: string, labels: Readonly<Record<string, string>> = LABELS): Judgement {
  const expression = compileLabelExpression(source)
  assert.ok(
    !('problem' in expression),
    `${source}: ${'problem' in expression ? problemText(expression) : ''}`,
  )
  return judgeLabels(expression, labels, TRAITS)
}

function problem(source: string): string {
  const expression = compileLabelExpression(source)
  assert.ok('problem' in expression, `${source} is taken`)
  return problemText(expression)
}

/** Each comes to what stands beside it. */
function table(rows: readonly (readonly [source: string, comesTo: boolean])[]): void {
  for (const [source, comesTo] of rows) assert.equal(judged(source), comesTo, source)
}

describe('an expression', () => {
  it('compares labels with texts; one that is missing is empty', () => {
    table([
      ['labels["env"] == "prod"', true],
      ['labels["env"] == "dev"', false],
      ['labels["env"] != "dev"', true],
      ['labels.env == "prod"', true],
      ['labels["team-b"] == "bank"', true],
      ['labels["missing"] == ""', true],
      ['labels["constructor"] == ""', true],
      ['labels[labels["nothing"]] == ""', true],
      ['"prod" == labels.env', true],
      ['(labels.env == "prod") == true', true],
    ])
  })

  it('binds == before !, ! before && and && before ||', () => {
    table([
      ['true || false && false', true],
      ['(true || false) && false', false],
      ['!false && false', false],
      ['!(false && false)', true],
      ['!labels.env == "dev"', true],
      ['!!true', true],
      ['false && true || true', true],
      ['labels.env == "dev" || labels.team == "shop" && labels.region != "us"', true],
    ])
  })

  it('reads traits as lists', () => {
    table([
      ['contains(user.spec.traits["team"], labels["team"])', true],
      ['contains(user.spec.traits.team, "bank")', false],
      ['contains(user.spec.traits["missing"], "")', false],
      ['contains(user.spec.traits["toString"], "x")', false],
      ['contains(labels["team"], "shop")', true],
      ['contains_any(user.spec.traits.team, set("a", "ops"))', true],
      ['contains_any(user.spec.traits.team, set())', false],
      ['contains_all(user.spec.traits.team, set("shop", "ops"))', true],
      ['contains_all(user.spec.traits.team, set("shop", "a"))', false],
      ['contains_all(user.spec.traits.team, user.spec.traits.none)', false],
    ])
  })

  it('matches patterns as label maps do: whole, with * or from ^ to $', () => {
    table([
      ['regexp.match(labels.region, "eu-*")', true],
      ['regexp.match(labels.region, "eu")', false],
      ['regexp.match(labels.region, "^eu-[a-z]+$")', true],
      ['regexp.match(labels.region, "^eu$")', false],
      ['regexp.match(user.spec.traits["team"], "o*")', true],
      ['regexp.match(user.spec.traits["none"], "*")', false],
      ['regexp.match("a.b", `^a\\.b$`)', true],
      ['regexp.match("a5", "^a\\d$")', true],
    ])
  })

  it('rewrites texts and lists; what an expression does not match is left out', () => {
    table([
      [
        'contains(regexp.replace(user.spec.traits["role"], "^env-(.*)$", "$1"), labels["env"])',
        true,
      ],
      ['contains(regexp.replace(user.spec.traits["role"], "^env-(.*)$", "$1"), "other")', false],
      ['contains(email.local(user.spec.traits["email"]), "alice")', true],
      ['contains(email.local(user.spec.traits["email"]), "nobody")', false],
      ['strings.upper(labels.env) == "PROD"', true],
      ['contains(strings.upper(user.spec.traits.team), "OPS")', true],
      ['strings.lower("ÄB") == "äb"', true],
    ])
  })

  it('finds the values of labels by their keys', () => {
    table([
      ['contains(labels_matching("team*"), "bank")', true],
      ['contains(labels_matching("^team-.$"), "shop")', false],
      ['contains_all(user.spec.traits.team, labels_matching("team"))', true],
      ['contains_any(user.spec.traits.team, labels_matching("x-*"))', false],
    ])
  })

  it('reads escapes, and leaves those of expressions to them', () => {
    table([
      [String.raw`"a\"b\\c" == ${'`a"b\\c`'}`, true],
      [String.raw`"\t" == "${'\t'}"`, true],
      [String.raw`"\d" == ${'`\\d`'}`, true],
      ['labels.env ==\n  "prod"', true],
    ])
  })
})

describe('what is wrong with an expression', () => {
  const rows: readonly (readonly [source: string, told: RegExp])[] = [
    ['', /^column 1: it is empty$/],
    ['labels["env"]', /^column 1: it comes to a text, and should come to true or false$/],
    ['labels.env = "a"', /^column 12: write == to compare$/],
    ["labels.env == 'a'", /^column 15: a text stands in double quotes/],
    ['labels.env == "a', /^column 15: the text that begins here does not end$/],
    ['labels.my-key == "a"', /^column 10: a name has no "-"; .*labels\["my-key"\]$/],
    ['"☂😀" == labels.a & true', /^column 18: write &&$/],
    [
      'label["env"] == "a"',
      /^column 1: "label" means nothing here; there are labels\["…"\], user\.spec\.traits\["…"\]$/,
    ],
    ['user.name == "a"', /^column 1: "user\.name" means nothing here/],
    ['labels == "a"', /^column 1: labels wants a key: labels\["…"\]$/],
    ['true && labels.env', /^column 9: this is a text, where something true or false belongs$/],
    ['!user.spec.traits.a', /^column 2: this is a list, where/],
    [
      'user.spec.traits.a == "b"',
      /^column 20: a list is equal to nothing; write contains\(list, text\)$/,
    ],
    ['labels.a == true', /^column 10: a text is not compared with true or false$/],
    ['labels.a == "b" == true', /^column 17: comparisons do not chain/],
    ['contains(labels.a)', /^column 1: it is written contains\(list, text\)$/],
    [
      'contains(labels.a, set("b"))',
      /^column 20: contains\(list, text\) wants a text here, and this is a list$/,
    ],
    [
      'contains(true, "b")',
      /^column 10: contains\(list, text\) wants a list here, and this is true or false$/,
    ],
    [
      'hasPrefix(labels.a, "b")',
      /^column 1: there is no function "hasPrefix" here; there are contains, /,
    ],
    ['constructor(labels.a)', /^column 1: there is no function "constructor" here/],
    ['labels.constructor()', /^column 1: there is no function/],
    [
      'regexp.match(labels.a, labels.b)',
      /^column 24: this part of regexp\.match\(list, "pattern"\) is a text in quotes$/,
    ],
    ['regexp.match(labels.a, "^($")', /^column 24: a "\(" is not closed$/],
    [
      'regexp.match(labels.a, "b-\\d+$")',
      /^column 24: a regular expression is written whole, from \^ to \$/,
    ],
    [
      'regexp.match(labels.a, "{{external.b}}")',
      /^column 24: an expression has no \{\{templates\}\}/,
    ],
    ['regexp.replace(labels.a, "(", "")', /^column 26: /],
    ['labels_matching(labels.a)', /^column 17: .* is a text in quotes$/],
    ['labels[true] == ""', /^column 8: a key is a text, and this is true or false$/],
    ['true true', /^column 6: expected an operator or the end, and there is "true"$/],
    ['(true', /^column 6: expected "\)", and there is the end$/],
    ['true &&', /^column 8: expected a name, a text or "\(", and there is the end$/],
    ['labels["a"].b == ""', /^column 12: expected an operator or the end, and there is "\."$/],
    ['true; false', /^column 5: ";" means nothing here$/],
    ['\u001b', /^column 1: "\?" means nothing here$/],
  ]
  for (const [source, told] of rows)
    it(`is told where it stands: ${JSON.stringify(source)}`, () =>
      assert.match(problem(source), told))
})

describe('the bounds of an expression', () => {
  const repeated = (text: string, count: number): string => text.repeat(count)

  it('are kept while it is read', () => {
    const long = `labels.a == "${repeated('x', max('expressionLengthMax'))}"`
    assert.match(problem(long), /^column 1: it is longer than 4096 characters$/)
    const depth = max('expressionDepthMax')
    const nested = (by: number): string => `${repeated('(', by)}true${repeated(')', by)}`
    assert.equal(judged(nested(depth)), true)
    assert.match(problem(nested(depth + 1)), /it is nested too deeply$/)
    assert.match(problem(`${repeated('!', depth + 1)}true`), /it is nested too deeply$/)
    const chain = (parts: number): string => `true${repeated('&&true', parts - 1)}`
    assert.equal(judged(chain(max('expressionNodesMax') - 1)), true)
    assert.match(problem(chain(max('expressionNodesMax'))), /it has too many parts$/)
  })

  const over = (source: string, labels: Readonly<Record<string, string>>): Judgement =>
    judged(source, labels)

  it('leave no answer where a text is too long to be matched, whatever is asked', () => {
    const labels = { a: repeated('x', max('matchSubjectMax') + 1) }
    for (const source of ['regexp.match(labels.a, "y")', '!regexp.match(labels.a, "y")'])
      assert.equal(over(source, labels), undefined)
    assert.equal(over('true || regexp.match(labels.a, "y")', labels), true)
  })

  it('leave no answer where too much would be made', () => {
    const many = Object.fromEntries(
      Array.from({ length: max('expressionListMax') + 1 }, (_, at) => [`k${at}`, 'v']),
    )
    assert.equal(over('contains(labels_matching("k*"), "v")', many), undefined)
    const { k0: _, ...fewer } = many
    assert.equal(over('contains(labels_matching("k*"), "v")', fewer), true)
    const wide = { a: repeated('x', 500) }
    const by = repeated('$1', 200)
    const grown = `contains(regexp.replace(labels.a, "^(x*)$", "${by}"), "x")`
    assert.equal(over(grown, wide), undefined)
    assert.equal(over(grown, { a: 'xx' }), false)
    const texts = Object.fromEntries(
      Array.from({ length: 1000 }, (_, at) => [`k${at}`, repeated('v', 100)]),
    )
    assert.equal(over('contains(labels_matching("*"), "v")', texts), undefined)
  })

  it('leave no answer where it would take too long', () => {
    const labels = Object.fromEntries(
      Array.from({ length: 200 }, (_, at) => [`k${at}`, repeated('a', 200)]),
    )
    const slow = 'regexp.match(labels_matching("*"), "^(a?){100}b$")'
    assert.equal(over(slow, labels), undefined)
    assert.equal(over(`!${slow}`, labels), undefined)
    assert.equal(over(slow, { k: 'aab' }), true)
  })

  it('are new with each evaluation', () => {
    const labels = { k: repeated('a', 200) }
    const slow = 'regexp.match(labels.k, "^(a?){30}b$")'
    for (let again = 0; again < 20; again++) assert.equal(over(slow, labels), false)
  })
})
