// Why a decision came out as it did: every role considered with the first rule that did not match, and the smallest change
// that would allow it. Data for the audit log and `tctl explain`; the person concerned is shown the redacted form.

import type { TargetRef } from '../identity.ts'
import { max } from '../limits.ts'
import type { Change } from './change.ts'
import { isServedKind } from './compile.ts'
import { smallestChange } from './change.ts'
import type { Decision, DecisionInput } from './decide.ts'
import { decide } from './decide.ts'
import type { Verdict } from './judge.ts'
import { judge } from './judge.ts'
import { shown } from './shown.ts'

/** One role. `missing`: the certificate names it and the cluster does not have it (any more). */
export interface RoleFinding {
  readonly role: string
  readonly outcome: Verdict['outcome'] | 'missing'
  /** The field that decided: the deny that matched, the first allow that did not, or the one nothing enforces. */
  readonly field?: string
  /** The deny entry that matched, as the role has it. */
  readonly entry?: string
}

export interface Explanation {
  readonly allowed: boolean
  /** Which check answered: everything before `policy` is about the certificate and the state of the cluster. */
  readonly check: 'identity' | 'expired' | 'mode' | 'lock' | 'staleness' | 'policy'
  readonly atMs: number
  readonly user: string
  readonly issuer: string
  readonly target: TargetRef
  readonly principal: string
  readonly resource: string
  readonly replication?: true
  /** In the order of the certificate, at most explanationRolesMax; the others are counted. */
  readonly roles: readonly RoleFinding[]
  readonly rolesOmitted: number
  readonly changes: readonly Change[]
  /** What the person was told, for checks before `policy`. */
  readonly reason?: string
}

export interface ExplainInput extends DecisionInput {
  readonly nowMs: number
}

/** `decision` is what `decide` said of the same input, when it was asked already. */
export function explain(input: ExplainInput, decision: Decision = decide(input)): Explanation {
  const { allow } = decision
  const { kind } = input.target.ref
  const roles: RoleFinding[] = []
  for (const name of input.identity.roles.slice(0, max('explanationRolesMax'))) {
    const role = input.roles.get(name)
    if (role === undefined) roles.push({ role: name, outcome: 'missing' })
    else if (isServedKind(kind)) roles.push(finding(name, judge(role, kind, input)))
    else roles.push({ role: name, outcome: 'no-match' })
  }
  return {
    ...subject(input),
    allowed: allow,
    check: 'policy',
    roles,
    rolesOmitted: Math.max(0, input.identity.roles.length - roles.length),
    changes: allow ? [] : smallestChange(input).slice(0, max('explanationRolesMax')),
  }
}

/** For a refusal that came before any role was looked at. */
export function explainCheck(
  input: Omit<ExplainInput, 'roles'>,
  check: Exclude<Explanation['check'], 'policy'>,
  reason: string,
): Explanation {
  return {
    ...subject(input),
    allowed: false,
    check,
    roles: [],
    rolesOmitted: 0,
    changes: [],
    reason,
  }
}

/** What the person concerned may see: neither rules nor labels, as these tell of targets and of others. */
export function redactExplanation(explanation: Explanation): Explanation {
  return {
    ...explanation,
    roles: explanation.roles.map(({ role, outcome }) => ({
      role,
      outcome: outcome === 'allows' ? 'allows' : 'no-match',
    })),
    changes: [],
  }
}

type Subject = Pick<
  Explanation,
  'atMs' | 'user' | 'issuer' | 'target' | 'principal' | 'resource' | 'replication'
>

function subject(input: Omit<ExplainInput, 'roles'>): Subject {
  return {
    atMs: input.nowMs,
    user: input.identity.name,
    issuer: input.identity.issuer,
    target: input.target.ref,
    principal: shown(input.access.principal),
    resource: shown(input.access.resource),
    ...(input.access.replication === true ? { replication: true } : {}),
  }
}

function finding(role: string, verdict: Verdict): RoleFinding {
  const { outcome } = verdict
  switch (outcome) {
    case 'allows':
    case 'unknown-version':
      return { role, outcome }
    case 'denies': {
      const { field, entry } = verdict.deny
      return { role, outcome, field, ...(entry === undefined ? {} : { entry: shown(entry) }) }
    }
    case 'no-match':
    case 'withholds':
    case 'demands':
    case 'refuses':
      return { role, outcome, field: verdict.field }
  }
}
