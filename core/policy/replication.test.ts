// Replication is a right of its own: who may read a database does not for that follow its changes.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { UserIdentity } from '../identity.ts'
import { compileRoles } from './compile.ts'
import { decide, type DecisionInput } from './decide.ts'
import { explain } from './explain.ts'
import { policyRefusal } from './refusal.ts'
import { renderExplanation } from './render.ts'
import type { DatabaseRule, Role, RoleOptions } from './role.ts'

const REF = { kind: 'db', name: 'orders' } as const
const EVERYTHING: DatabaseRule = { labels: { '*': ['*'] }, users: ['*'], names: ['*'] }
const ONE: DatabaseRule = { labels: { '*': ['*'] }, users: ['walker'], names: ['app'] }

function role(name: string, db: DatabaseRule, options: RoleOptions = {}): Role {
  const deny = { rules: [] }
  return { name, version: 'v7', options, allow: { rules: [], db }, deny, unenforced: [] }
}

function asked(roles: readonly Role[], wish: Partial<DecisionInput['access']> = {}): DecisionInput {
  const identity: UserIdentity = {
    type: 'user',
    kind: 'human',
    issuer: 'local',
    name: 'alice',
    cluster: 'example.test',
    roles: roles.map(({ name }) => name),
    traits: {},
    generation: 0,
  }
  const access = { target: REF, principal: 'walker', resource: 'app', ...wish }
  return { identity, target: { ref: REF, labels: {} }, access, roles: compileRoles(roles) }
}

const follow = { replication: true } as const

describe('replication', () => {
  it('is granted by a role that allows user and name and sets the option, and by no wildcard', () => {
    const follower = role('follower', ONE, { dbReplication: true })
    assert.equal(decide(asked([role('all', EVERYTHING)], follow)).allow, false)
    assert.equal(decide(asked([follower], follow)).allow, true)
    assert.equal(decide(asked([follower])).allow, true)
    assert.equal(decide(asked([follower], { ...follow, principal: 'app' })).allow, false)
    assert.equal(decide(asked([follower], { ...follow, resource: 'replication' })).allow, false)
  })

  it('is not put together from one role that allows the user and another that has the option', () => {
    const nobody = role('nobody', { ...ONE, users: ['other'] }, { dbReplication: true })
    assert.equal(decide(asked([role('all', EVERYTHING), nobody], follow)).allow, false)
  })

  it('names the option to the person, in the explanation and in the smallest change', () => {
    const input = asked([role('all', EVERYTHING)], follow)
    const decision = decide(input)
    assert.ok(!decision.allow)
    const { reason } = policyRefusal('01J', decision.denial, input.access)
    assert.match(reason, /replication as database user "walker" .*options\.db_replication/)
    const told = renderExplanation(explain({ ...input, nowMs: 0 }))
    assert.match(told, /, for replication, at /)
    assert.match(told, /all: does not set options\.db_replication/)
    assert.match(told, /role all: set spec\.options\.db_replication to true/)
  })
})
