// Administrative rights, what a person sees of databases, and how explanations read.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { UserIdentity } from '../identity.ts'
import { compileRoles } from './compile.ts'
import { explain, redactExplanation } from './explain.ts'
import { sessionTtlMs } from './options.ts'
import { reachOf } from './reach.ts'
import { renderExplanation } from './render.ts'
import type { ResourceVerb } from './rights.ts'
import { mayResource } from './rights.ts'
import type { DatabaseRule, ResourceRule, Role, Unenforced } from './role.ts'
import { shown } from './shown.ts'

interface Sides {
  readonly allow?: readonly ResourceRule[]
  readonly deny?: readonly ResourceRule[]
  readonly allowDb?: DatabaseRule
  readonly denyDb?: DatabaseRule
  readonly unenforced?: readonly Unenforced[]
  readonly ttlMs?: number
}

function role(name: string, sides: Sides): Role {
  return {
    name,
    version: 'v7',
    options: sides.ttlMs === undefined ? {} : { maxSessionTtlMs: sides.ttlMs },
    allow: { rules: sides.allow ?? [], ...(sides.allowDb ? { db: sides.allowDb } : {}) },
    deny: { rules: sides.deny ?? [], ...(sides.denyDb ? { db: sides.denyDb } : {}) },
    unenforced: sides.unenforced ?? [],
  }
}

function holder(roles: readonly Role[], extra: Partial<UserIdentity> = {}): UserIdentity {
  return {
    type: 'user',
    kind: 'human',
    issuer: 'local',
    name: 'alice',
    cluster: 'example.test',
    roles: roles.map(({ name }) => name),
    traits: {},
    generation: 0,
    ...extra,
  }
}

function may(roles: readonly Role[], kind: string, verb: ResourceVerb): boolean {
  return mayResource(holder(roles), compileRoles(roles), kind, verb)
}

const EDIT = role('edit', { allow: [{ resources: ['role', 'user'], verbs: ['*'] }] })

describe('an administrative right', () => {
  it('is there for the kinds and verbs of a rule and no others', () => {
    assert.equal(may([EDIT], 'role', 'update'), true)
    assert.equal(may([EDIT], 'lock', 'update'), false)
    assert.equal(
      may([role('r', { allow: [{ resources: ['*'], verbs: ['list'] }] })], 'x', 'list'),
      true,
    )
    assert.equal(
      may([role('r', { allow: [{ resources: ['*'], verbs: ['list'] }] })], 'x', 'read'),
      false,
    )
    assert.equal(may([], 'role', 'list'), false)
  })

  it('is taken away by a deny of any role', () => {
    const no = role('no', { deny: [{ resources: ['role'], verbs: ['update'] }] })
    assert.equal(may([EDIT, no], 'role', 'update'), false)
    assert.equal(may([EDIT, no], 'role', 'delete'), true)
  })

  it('to read includes reading without secrets, and being kept from that keeps from reading', () => {
    const read = role('read', { allow: [{ resources: ['token'], verbs: ['read'] }] })
    assert.equal(may([read], 'token', 'readnosecrets'), true)
    const no = role('no', { deny: [{ resources: ['token'], verbs: ['readnosecrets'] }] })
    assert.equal(may([read, no], 'token', 'read'), false)
  })

  it('with a condition allows nothing and denies always', () => {
    const where = 'contains(session.participants, user.metadata.name)'
    const rule = { resources: ['role'], verbs: ['list'], where }
    assert.equal(may([role('r', { allow: [rule] })], 'role', 'list'), false)
    assert.equal(may([EDIT, role('no', { deny: [rule] })], 'role', 'list'), false)
  })

  it('is not granted by a role that sets what nothing enforces for administration', () => {
    const field = { field: 'options.pin_source_ip', kinds: ['rules'], effect: 'refuses' } as const
    assert.equal(may([EDIT, role('pinned', { unenforced: [field] })], 'role', 'list'), false)
    const narrow: Role = { ...EDIT, unenforced: [{ ...field, effect: 'withholds' }] }
    assert.equal(may([narrow], 'role', 'list'), false)
    assert.equal(
      may([{ ...EDIT, unenforced: [{ ...field, kinds: ['db'] }] }], 'role', 'list'),
      true,
    )
  })
})

describe('the life of a login', () => {
  it('is the shortest that a role held sets', () => {
    const roles = [role('a', { ttlMs: 5000 }), role('b', { ttlMs: 2000 }), role('c', {})]
    assert.equal(sessionTtlMs(['a', 'b', 'c'], compileRoles(roles)), 2000)
    assert.equal(sessionTtlMs(['c', 'gone'], compileRoles(roles)), undefined)
  })
})

const TARGET = { ref: { kind: 'db', name: 'orders' }, labels: { env: 'prod' } } as const
const ALL = { '*': ['*'] }

describe('what a person sees of a database', () => {
  const shop = role('shop', {
    allowDb: { labels: { env: ['prod'] }, users: ['{{internal.db_users}}', 'ro'], names: ['*'] },
  })
  const seen = (roles: readonly Role[], traits = {}): ReturnType<typeof reachOf> =>
    reachOf(holder(roles, { traits }), TARGET, compileRoles(roles))

  it('is what the roles with its labels allow, less what is denied by name', () => {
    const no = role('no', { denyDb: { labels: {}, users: ['root'], names: [] } })
    assert.deepEqual(seen([shop, no], { db_users: ['root', 'app'] }), {
      visible: true,
      principals: ['app', 'ro'],
      resources: ['*'],
    })
  })

  it('is nothing without a role for its labels, with a deny of them, or with a field nothing enforces', () => {
    const nothing = { visible: false, principals: [], resources: [] }
    assert.deepEqual(
      seen([role('r', { allowDb: { labels: { env: ['dev'] }, users: ['*'], names: ['*'] } })]),
      nothing,
    )
    assert.deepEqual(
      seen([shop, role('no', { denyDb: { labels: ALL, users: [], names: [] } })]),
      nothing,
    )
    const field = { field: 'allow.db_roles', kinds: ['db'], effect: 'withholds' } as const
    assert.deepEqual(seen([{ ...shop, unenforced: [field] }]), nothing)
    assert.deepEqual(
      seen([shop, role('x', { unenforced: [{ ...field, effect: 'refuses' }] })]),
      nothing,
    )
  })
})

describe('an explanation', () => {
  const roles = [
    role('dev', { allowDb: { labels: { env: ['dev'] }, users: ['*'], names: ['*'] } }),
    role('ro', { allowDb: { labels: ALL, users: ['ro'], names: ['*'] } }),
    role('no', { denyDb: { labels: {}, users: ['app*'], names: [] } }),
    role('mfa', { unenforced: [{ field: 'options.x', kinds: ['db'], effect: 'withholds' }] }),
  ]
  const told = explain({
    identity: holder(roles, { roles: [...roles.map(({ name }) => name), 'gone'] }),
    target: TARGET,
    access: { target: TARGET.ref, principal: 'app', resource: 'main' },
    roles: compileRoles(roles),
    nowMs: 0,
  })

  it('reads as a report of each role and the smallest change', () => {
    assert.equal(
      renderExplanation(told),
      [
        'Denied: alice to db orders as "app", database "main", at 1970-01-01T00:00:00.000Z',
        '',
        'Roles considered:',
        "  dev: allow.db_labels does not match the target's labels",
        '  ro: allow.db_users does not match user "app"',
        '  no: denies it, deny.db_users has "app*"',
        '  mfa: grants no databases, as nothing enforces its options.x yet',
        '  gone: named by the certificate, but the cluster has no such role',
        '',
        'The smallest change that would allow it:',
        '  - role no: remove "app*" from spec.deny.db_users',
        '  - role dev: add "prod" to spec.allow.db_labels, key "env"',
        '',
      ].join('\n'),
    )
  })

  it('shown to the person tells neither rules nor changes', () => {
    const own = JSON.stringify(redactExplanation(told))
    assert.doesNotMatch(own, /app\*|db_labels|db_users|"prod"|denies|options/)
    assert.match(own, /"dev"/)
  })

  it('quotes names without characters a terminal acts on, and not at any length', () => {
    assert.equal(shown('a\u001b[2Jb\u202e\u2028'), 'a?[2Jb??')
    assert.equal(shown('😀'.repeat(100)), `${'😀'.repeat(64)}…`)
  })
})
