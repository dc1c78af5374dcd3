// Label expressions in decisions: beside a label map and without one, allowing and denying, for nodes and databases; what cannot be
// judged is no; and lists, explanations and the smallest change follow the same judgement.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { userIdentity } from '../../test/fixtures/certificates.ts'
import { max } from '../limits.ts'
import { smallestChange } from './change.ts'
import { compileRoles } from './compile.ts'
import { decide, type DecisionInput, type Denial } from './decide.ts'
import { explain } from './explain.ts'
import { loginsOn, reachOf } from './reach.ts'
import { renderExplanation } from './render.ts'
import type { LabelMatch, Role } from './role.ts'

type Kind = 'node' | 'db'

interface Selecting {
  readonly labels?: LabelMatch
  readonly labelsExpression?: string
}

const OWN_TEAM = 'contains(user.spec.traits["team"], labels["team"])'
const BROKEN = 'labels["team"'
const PROD = { env: ['prod'] }
const ALL = { '*': ['*'] }
const LABELS = { env: 'prod', team: 'shop' }

/** A role that allows everything else on both kinds, or denies by its labels alone. */
function role(name: string, side: 'allow' | 'deny', selecting: Selecting): Role {
  const labels = { labels: {}, ...selecting }
  const allows = side === 'allow'
  const both = {
    rules: [],
    node: { ...labels, logins: allows ? ['root'] : [] },
    db: { ...labels, users: allows ? ['root'] : [], names: allows ? ['*'] : [] },
  }
  const none = { rules: [] }
  const [allow, deny] = allows ? [both, none] : [none, both]
  return { name, version: 'v7', options: {}, allow, deny, unenforced: [] }
}

function input(
  kind: Kind,
  roles: readonly Role[],
  labels: Readonly<Record<string, string>> = LABELS,
): DecisionInput {
  const ref = { kind, name: 'x-1' } as const
  return {
    identity: userIdentity({ roles: roles.map(({ name }) => name), traits: { team: ['shop'] } }),
    target: { ref, labels },
    access: { target: ref, principal: 'root', resource: kind === 'db' ? 'main' : '' },
    roles: compileRoles(roles),
  }
}

function denialOf(asked: DecisionInput): Denial | undefined {
  const decision = decide(asked)
  return decision.allow ? undefined : decision.denial
}

for (const kind of ['node', 'db'] as const) {
  const allowed = (roles: readonly Role[], labels?: Readonly<Record<string, string>>): boolean =>
    decide(input(kind, roles, labels)).allow
  const allow = (selecting: Selecting): Role => role('r', 'allow', selecting)
  const deny = (selecting: Selecting): Role => role('no', 'deny', selecting)

  describe(`a label expression, ${kind}`, () => {
    it('allows by itself where there is no label map, and with it where there is one', () => {
      const alone = allow({ labelsExpression: OWN_TEAM })
      assert.equal(allowed([alone]), true)
      assert.equal(allowed([alone], { env: 'prod', team: 'bank' }), false)
      assert.equal(allowed([alone], {}), false)
      const both = allow({ labels: PROD, labelsExpression: OWN_TEAM })
      assert.equal(allowed([both]), true)
      assert.equal(allowed([both], { env: 'dev', team: 'shop' }), false)
      assert.equal(allowed([both], { env: 'prod', team: 'bank' }), false)
      assert.equal(allowed([allow({ labels: ALL, labelsExpression: OWN_TEAM })]), true)
      assert.equal(allowed([allow({})]), false)
    })

    it('denies when it or the label map matches', () => {
      const open = allow({ labels: ALL })
      const denies = deny({ labels: { env: ['audit'] }, labelsExpression: OWN_TEAM })
      assert.equal(allowed([open, denies]), false)
      assert.equal(allowed([open, denies], { env: 'audit', team: 'bank' }), false)
      assert.equal(allowed([open, denies], { env: 'prod', team: 'bank' }), true)
      assert.equal(allowed([open, deny({ labelsExpression: OWN_TEAM })]), false)
      assert.equal(allowed([open, deny({ labelsExpression: 'labels.env == "dev"' })]), true)
    })

    it('that is broken or costs too much allows nothing and denies', () => {
      const long = { ...LABELS, note: 'x'.repeat(max('matchSubjectMax') + 1) }
      for (const [source, labels] of [
        [BROKEN, LABELS],
        ['regexp.match(labels.note, "a*")', long],
        ['!regexp.match(labels.note, "a*")', long],
      ] as const) {
        assert.equal(allowed([allow({ labelsExpression: source })], labels), false, source)
        assert.equal(allowed([allow({ labels: PROD, labelsExpression: source })], labels), false)
        const open = allow({ labels: ALL })
        assert.equal(allowed([open, deny({ labelsExpression: source })], labels), false, source)
      }
      // A map in the place of one that is broken would still have to match.
      assert.equal(allowed([allow({ labels: { '*': ['x'] }, labelsExpression: 'true' })]), false)
    })

    it('is named by what was decided, and the change that is told is enough', () => {
      const mine = allow({ labelsExpression: 'labels.team == "bank"' })
      const asked = input(kind, [mine])
      const field = `allow.${kind}_labels_expression`
      const [finding] = explain({ ...asked, nowMs: 0 }).roles
      assert.deepEqual(finding, { role: 'r', outcome: 'no-match', field })
      const text = renderExplanation(explain({ ...asked, nowMs: 0 }))
      assert.ok(text.includes(`${field} is not true of the target, or cannot be judged`), text)
      assert.deepEqual(smallestChange(asked), [
        { what: 'unset', role: 'r', field },
        { what: 'add', role: 'r', field: `allow.${kind}_labels`, key: 'env', value: 'prod' },
      ])
      assert.equal(allowed([allow({ labels: { env: ['prod'] } })]), true)
      const both = input(kind, [allow({ labels: PROD, labelsExpression: 'false' })])
      assert.deepEqual(smallestChange(both), [{ what: 'unset', role: 'r', field }])
      const map = input(kind, [allow({ labels: { env: ['dev'] }, labelsExpression: 'true' })])
      assert.equal(explain({ ...map, nowMs: 0 }).roles[0]?.field, `allow.${kind}_labels`)
    })

    it('that denies is named, and is what would have to go', () => {
      const asked = input(kind, [allow({ labels: ALL }), deny({ labelsExpression: OWN_TEAM })])
      const field = `deny.${kind}_labels_expression`
      const denial = denialOf(asked)
      assert.deepEqual([denial?.cause, denial?.role, denial?.field], ['denies', 'no', field])
      assert.deepEqual(smallestChange(asked), [{ what: 'remove', role: 'no', field }])
      const text = renderExplanation(explain({ ...asked, nowMs: 0 }))
      assert.ok(text.includes(`no: denies it, ${field} matches the target`), text)
    })

    it('decides what a person sees', () => {
      const sees = (roles: readonly Role[], labels?: Readonly<Record<string, string>>): boolean => {
        const { identity, target, roles: compiled } = input(kind, roles, labels)
        return reachOf(identity, target, compiled).visible
      }
      const mine = allow({ labelsExpression: OWN_TEAM })
      assert.equal(sees([mine]), true)
      assert.equal(sees([mine], { team: 'bank' }), false)
      assert.equal(sees([mine, deny({ labelsExpression: 'labels.env == "prod"' })]), false)
      assert.equal(sees([mine, deny({ labelsExpression: BROKEN })]), false)
      assert.equal(denialOf(input(kind, [mine], { team: 'bank' }))?.visible, false)
    })
  })
}

it('the logins offered on a node are those of roles whose expression is true of it', () => {
  const other = role('other', 'allow', { labelsExpression: 'labels.team == "bank"' })
  const node = { labels: {}, labelsExpression: 'labels.team == "bank"', logins: ['teller'] }
  const roles = [
    role('r', 'allow', { labelsExpression: OWN_TEAM }),
    { ...other, allow: { rules: [], node } },
  ]
  const { identity, target, roles: compiled } = input('node', roles)
  assert.deepEqual(loginsOn(identity, target, compiled), ['root'])
})
