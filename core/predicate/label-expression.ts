// `node_labels_expression` and `db_labels_expression` of roles: a condition on a target's labels and the person's traits, such as
// `contains(user.spec.traits["team"], labels["team"])`. Compiled once per snapshot. One that cannot be read, or whose evaluation costs
// too much, has no answer; whoever asks takes that for no where it would allow and for yes where it would deny.

import type { Traits } from '../identity.ts'
import { max } from '../limits.ts'
import type { Labels } from '../policy/match.ts'
import type { Environment, Expression } from './compile.ts'
import { compileExpression, judgeIn } from './compile.ts'
import { COMMON_FUNCTIONS } from './functions.ts'
import type { Problem } from './problem.ts'
import type { Judgement } from './scope.ts'

export type LabelExpression = Expression | Problem

const ENVIRONMENT: Environment = {
  maps: new Map([
    ['labels', 'labels'],
    ['user.spec.traits', 'traits'],
  ]),
  facts: new Map(),
  functions: COMMON_FUNCTIONS,
  lengthMax: 'expressionLengthMax',
}

const NO_FACTS = {}
const STEPS_MAX = max('expressionStepsMax')
const CHARACTERS_MAX = max('expressionTextMax')
const noText = (): string => ''

export function compileLabelExpression(source: string): LabelExpression {
  return compileExpression(source, ENVIRONMENT)
}

export function judgeLabels(
  expression: LabelExpression,
  labels: Labels,
  traits: Traits,
): Judgement {
  if ('problem' in expression) return undefined
  return judgeIn(expression, {
    labels,
    traits,
    facts: NO_FACTS,
    text: noText,
    steps: STEPS_MAX,
    characters: CHARACTERS_MAX,
    spent: false,
  })
}
