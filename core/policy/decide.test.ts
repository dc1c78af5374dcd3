// Decisions as a table, then as properties. Roles are written in the engine's own form; control/resources/role.test.ts starts
// from YAML.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { UserIdentity } from '../identity.ts'
import type { Change } from './change.ts'
import { smallestChange } from './change.ts'
import { compileRoles } from './compile.ts'
import type { Decision, DecisionInput } from './decide.ts'
import { decide } from './decide.ts'
import { explain } from './explain.ts'
import type { DatabaseRule, LabelMatch, Role, RoleOptions, Unenforced } from './role.ts'

interface Sides {
  readonly allow?: Partial<DatabaseRule>
  readonly deny?: Partial<DatabaseRule>
  readonly options?: RoleOptions
  readonly unenforced?: readonly Unenforced[]
  readonly version?: string
}

function rule(side: Partial<DatabaseRule>): DatabaseRule {
  return { labels: side.labels ?? {}, users: side.users ?? [], names: side.names ?? [] }
}

function role(name: string, sides: Sides): Role {
  return {
    name,
    version: sides.version ?? 'v7',
    options: sides.options ?? {},
    allow: { rules: [], ...(sides.allow === undefined ? {} : { db: rule(sides.allow) }) },
    deny: { rules: [], ...(sides.deny === undefined ? {} : { db: rule(sides.deny) }) },
    unenforced: sides.unenforced ?? [],
  }
}

const ALICE: UserIdentity = {
  type: 'user',
  kind: 'human',
  issuer: 'local',
  name: 'alice',
  cluster: 'example.test',
  roles: [],
  traits: {},
  generation: 0,
}

interface Asked {
  readonly identity?: Partial<UserIdentity>
  readonly labels?: Readonly<Record<string, string>>
  readonly principal?: string
  readonly resource?: string
  readonly replication?: boolean
}

function input(roles: readonly Role[], asked: Asked = {}): DecisionInput {
  const ref = { kind: 'db', name: 'orders' } as const
  return {
    identity: { ...ALICE, roles: roles.map(({ name }) => name), ...asked.identity },
    target: { ref, labels: asked.labels ?? { env: 'prod', team: 'shop' } },
    access: {
      target: ref,
      principal: asked.principal ?? 'app',
      resource: asked.resource ?? 'main',
      ...(asked.replication === true ? { replication: true } : {}),
    },
    roles: compileRoles(roles),
  }
}

const ALL: LabelMatch = { '*': ['*'] }
const OPEN: Partial<DatabaseRule> = { labels: ALL, users: ['*'], names: ['*'] }

function allowOnly(change: Partial<DatabaseRule>): readonly Role[] {
  return [role('a', { allow: { ...OPEN, ...change } })]
}

function denyAlso(deny: Partial<DatabaseRule>): readonly Role[] {
  return [role('a', { allow: OPEN }), role('no', { deny })]
}

type Row = readonly [sentence: string, allowed: boolean, roles: readonly Role[], asked?: Asked]

const SSO: Partial<UserIdentity> = { issuer: 'github', roles: ['a'] }

const TABLE: readonly Row[] = [
  ['no roles allow nothing', false, []],
  ['a wildcard role allows', true, allowOnly({})],
  ['a wildcard matches an unlabelled target', true, allowOnly({}), { labels: {} }],
  ['no labels match nothing', false, allowOnly({ labels: {} })],
  ['no users match nothing', false, allowOnly({ users: [] })],
  ['no names match nothing', false, allowOnly({ names: [] })],
  ['a label value matches', true, allowOnly({ labels: { env: ['prod'] } })],
  ['another label value does not', false, allowOnly({ labels: { env: ['dev'] } })],
  ['values of a key are alternatives', true, allowOnly({ labels: { env: ['dev', 'prod'] } })],
  ['keys add up', false, allowOnly({ labels: { env: ['prod'], team: ['bank'] } })],
  ['a missing label does not match', false, allowOnly({ labels: { region: ['*'] } })],
  [
    'a label of the object prototype is no label',
    false,
    allowOnly({ labels: { toString: ['*'] } }),
  ],
  [
    'a wildcard key beside others adds nothing',
    false,
    allowOnly({ labels: { ...ALL, env: ['dev'] } }),
  ],
  ['a wildcard key with a value is broken', false, allowOnly({ labels: { '*': ['prod'] } })],
  ['a glob matches', true, allowOnly({ labels: { env: ['pr*'] } })],
  ['a glob has no other wildcard', false, allowOnly({ labels: { env: ['pr?d'] } })],
  ['a glob with several stars matches', true, allowOnly({ labels: { env: ['*r*d'] } })],
  ['a glob does not use a character twice', false, allowOnly({ labels: { env: ['prod*d'] } })],
  [
    'a glob does not overlap its end',
    false,
    allowOnly({ users: ['a*bc*c'] }),
    { principal: 'abc' },
  ],
  ['an expression matches', true, allowOnly({ labels: { env: ['^(prod|stage)$'] } })],
  ['an expression matches the whole', false, allowOnly({ labels: { env: ['^pro$'] } })],
  ['a broken expression allows nothing', false, allowOnly({ labels: { env: ['^(prod$'] } })],
  ['a user by name', true, allowOnly({ users: ['app'] })],
  ['another user is denied', false, allowOnly({ users: ['app'] }), { principal: 'postgres' }],
  ['users differ by case', false, allowOnly({ users: ['app'] }), { principal: 'App' }],
  ['a user by glob', true, allowOnly({ users: ['app*'] }), { principal: 'app_ro' }],
  ['a name by expression', true, allowOnly({ names: ['^ma.n$'] })],
  ['another database is denied', false, allowOnly({ names: ['main'] }), { resource: 'audit' }],
  ['an empty user is denied', false, allowOnly({}), { principal: '' }],
  ['an overlong database is denied', false, allowOnly({}), { resource: 'x'.repeat(129) }],
  [
    'labels of one role do not combine with users of another',
    false,
    [
      role('a', { allow: { ...OPEN, users: ['ro'] } }),
      role('b', { allow: { ...OPEN, labels: { env: ['dev'] } } }),
    ],
  ],
  ['a deny by label wins', false, denyAlso({ labels: { env: ['prod'] } })],
  ['a deny by another label does not', true, denyAlso({ labels: { env: ['dev'] } })],
  [
    'a deny by wildcard beside a key denies all',
    false,
    denyAlso({ labels: { ...ALL, env: ['dev'] } }),
  ],
  [
    'a deny by user wins whatever its labels',
    false,
    denyAlso({ labels: { env: ['dev'] }, users: ['app'] }),
  ],
  ['a deny by name wins whatever its users', false, denyAlso({ users: ['x'], names: ['m*'] })],
  ['a deny in the same role wins', false, [role('a', { allow: OPEN, deny: { users: ['app'] } })]],
  ['a broken deny denies everything', false, denyAlso({ users: ['^(app$'] })],
  [
    'a broken template in a deny denies everything',
    false,
    denyAlso({ users: ['{{internal.nothing}}'] }),
  ],
  ['an empty deny denies nothing', true, denyAlso({})],
  [
    'a deny of an unknown version still denies',
    false,
    [role('a', { allow: OPEN }), role('no', { version: 'v10', deny: { users: ['app'] } })],
  ],
  [
    'a role of an unknown version grants nothing',
    false,
    [role('a', { version: 'v10', allow: OPEN })],
  ],
  [
    'a trait matches',
    true,
    allowOnly({ users: ['{{internal.db_users}}'] }),
    { identity: { roles: ['a'], traits: { db_users: ['x', 'app'] } } },
  ],
  ['a trait without value drops the entry', false, allowOnly({ users: ['{{internal.db_users}}'] })],
  [
    'a trait with text around it',
    true,
    allowOnly({ users: ['a{{external.t}}'] }),
    { identity: { roles: ['a'], traits: { t: ['pp'] } } },
  ],
  [
    'an empty trait value drops the entry',
    false,
    allowOnly({ users: ['app{{external.t}}'] }),
    { identity: { roles: ['a'], traits: { t: [''] } } },
  ],
  [
    'an administrator’s star in a trait is a wildcard',
    true,
    allowOnly({ users: ['{{internal.db_users}}'] }),
    { identity: { roles: ['a'], traits: { db_users: ['*'] } } },
  ],
  [
    'a provider’s star in a trait is a star',
    false,
    allowOnly({ users: ['{{internal.db_users}}'] }),
    { identity: { ...SSO, traits: { db_users: ['*'] } } },
  ],
  [
    'an external star is a star',
    false,
    allowOnly({ users: ['{{external.db_users}}'] }),
    { identity: { roles: ['a'], traits: { db_users: ['*'] } } },
  ],
  [
    'an expression in a trait is text',
    false,
    allowOnly({ users: ['{{external.u}}'] }),
    { identity: { roles: ['a'], traits: { u: ['^.*$', 'a*'] } } },
  ],
  [
    'a template in a trait is text',
    false,
    allowOnly({ users: ['{{external.u}}'] }),
    { identity: { roles: ['a'], traits: { u: ['{{internal.db_users}}'], db_users: ['app'] } } },
  ],
  [
    'a label by trait',
    true,
    allowOnly({ labels: { team: ['{{external.team}}'] } }),
    { identity: { roles: ['a'], traits: { team: ['shop'] } } },
  ],
  [
    'the local part of an address',
    true,
    allowOnly({ users: ['{{email.local(external.email)}}'] }),
    { identity: { roles: ['a'], traits: { email: ['app@corp.test'] } } },
  ],
  [
    'something that is no address is dropped',
    false,
    allowOnly({ users: ['{{email.local(external.email)}}'] }),
    { identity: { roles: ['a'], traits: { email: ['app'] } } },
  ],
  [
    'a replaced trait',
    true,
    allowOnly({ users: ['{{regexp.replace(external.u, "^corp-(.*)$", "$1")}}'] }),
    { identity: { roles: ['a'], traits: { u: ['corp-app'] } } },
  ],
  [
    'a value the expression does not match is dropped',
    false,
    allowOnly({ users: ['{{regexp.replace(external.u, "^corp-(.*)$", "$1")}}'] }),
    { identity: { roles: ['a'], traits: { u: ['app'] } } },
  ],
  [
    'a role the cluster lacks denies nothing and grants nothing',
    true,
    allowOnly({}),
    { identity: { roles: ['a', 'gone'] } },
  ],
  ['a lacking role alone grants nothing', false, [], { identity: { roles: ['gone'] } }],
]

describe('a decision', () => {
  for (const [sentence, allowed, roles, asked] of TABLE)
    it(`${allowed ? 'allow' : 'deny'}: ${sentence}`, () => {
      assert.equal(decide(input(roles, asked)).allow, allowed)
    })

  it('denies kinds without a service and a wish for another target than the resolved one', () => {
    const good = input(allowOnly({}))
    const node = { kind: 'node', name: 'orders' } as const
    const wish = { ...good.access, target: node }
    assert.equal(decide({ ...good, access: wish, target: { ref: node, labels: {} } }).allow, false)
    const other = { ...good.access, target: { kind: 'db', name: 'payroll' } } as const
    assert.equal(decide({ ...good, access: other }).allow, false)
  })

  it('names the field nothing enforces, whatever its effect', () => {
    for (const effect of ['withholds', 'demands', 'refuses'] as const) {
      const field = { field: 'options.x', kinds: ['db'], effect } as const
      const decision = decide(input([role('a', { allow: OPEN, unenforced: [field] })]))
      assert.match(JSON.stringify(decision), /options\.x/, effect)
      assert.equal(decision.allow, false)
    }
  })

  it('lets another role grant beside one that withholds, not beside one that demands or refuses', () => {
    const plain = role('plain', { allow: OPEN })
    const allowedBeside = (effect: Unenforced['effect'], labels: LabelMatch): boolean => {
      const field: Unenforced = { field: 'options.x', kinds: ['db'], effect }
      const odd = role('odd', { allow: { ...OPEN, labels }, unenforced: [field] })
      return decide(input([plain, odd])).allow
    }
    assert.equal(allowedBeside('withholds', ALL), true)
    assert.equal(allowedBeside('demands', ALL), false)
    assert.equal(allowedBeside('demands', { env: ['dev'] }), true)
    assert.equal(allowedBeside('refuses', { env: ['dev'] }), false)
  })

  it('ignores fields that govern other kinds', () => {
    const field: Unenforced = { field: 'options.x', kinds: ['node'], effect: 'refuses' }
    assert.equal(decide(input([role('a', { allow: OPEN, unenforced: [field] })])).allow, true)
  })
})

describe('a grant', () => {
  function grantOf(decision: Decision): Extract<Decision, { allow: true }> {
    if (!decision.allow) throw new Error('denied')
    return decision
  }

  it('takes the shortest, the lowest and the strictest of the roles that granted', () => {
    const roles = [
      role('a', { allow: OPEN, options: { clientIdleTimeoutMs: 5000, maxConnections: 0 } }),
      role('b', {
        allow: OPEN,
        options: { clientIdleTimeoutMs: 3000, maxConnections: 4, recordSession: 'strict' },
      }),
      role('c', { allow: OPEN, options: { maxConnections: 9, disconnectExpiredCert: true } }),
      role('d', { allow: OPEN, options: { clientIdleTimeoutMs: 0, maxConnections: 0 } }),
    ]
    assert.deepEqual(grantOf(decide(input(roles))), {
      allow: true,
      disconnectExpiredCert: true,
      grant: {
        roles: ['a', 'b', 'c', 'd'],
        idleMsMax: 3000,
        connectionsMax: 4,
        lockMode: 'best_effort',
        recordingMode: 'strict',
      },
    })
  })

  it('is not spoilt by a role that did not grant, but strict locking of any role held wins', () => {
    const roles = [
      role('a', { allow: OPEN }),
      role('b', {
        options: {
          clientIdleTimeoutMs: 1,
          maxConnections: 1,
          disconnectExpiredCert: true,
          lock: 'strict',
          recordSession: 'strict',
        },
      }),
    ]
    assert.deepEqual(grantOf(decide(input(roles))), {
      allow: true,
      disconnectExpiredCert: false,
      grant: {
        roles: ['a'],
        idleMsMax: 0,
        connectionsMax: 0,
        lockMode: 'strict',
        recordingMode: 'best_effort',
      },
    })
  })
})

const word = fc.constantFrom('app', 'main', 'prod', 'dev', 'x')
const pattern = fc.oneof(
  word,
  fc.constantFrom(
    '*',
    'a*',
    '^(app|x)$',
    '^(',
    '{{external.t}}',
    '{{internal.db_users}}',
    '{{no}}',
  ),
)
const patterns = fc.array(pattern, { maxLength: 3 })
const labels: fc.Arbitrary<LabelMatch> = fc.dictionary(
  fc.constantFrom('env', 'team', '*'),
  patterns,
  { maxKeys: 2 },
)
const side = fc.record({ labels, users: patterns, names: patterns })
const unenforced = fc.array(
  fc.record({
    field: fc.constantFrom('options.x', 'allow.y'),
    kinds: fc.constantFrom<Unenforced['kinds']>(['db'], ['node'], ['db', 'rules']),
    effect: fc.constantFrom<Unenforced['effect']>('withholds', 'demands', 'refuses'),
  }),
  { maxLength: 1 },
)
const anyRoles = fc
  .array(
    fc.record({
      allow: side,
      deny: fc.option(side, { nil: undefined }),
      unenforced,
      options: fc.record({ dbReplication: fc.boolean() }),
    }),
    { maxLength: 4 },
  )
  .map((all) =>
    all.map(({ allow, deny, unenforced: fields, options }, i) =>
      role(`r${String(i)}`, {
        allow,
        options,
        unenforced: fields,
        ...(deny === undefined ? {} : { deny }),
      }),
    ),
  )
const asked: fc.Arbitrary<Asked> = fc.record({
  labels: fc.dictionary(fc.constantFrom('env', 'team'), word, { maxKeys: 2 }),
  principal: word,
  resource: word,
  replication: fc.boolean(),
})
const traits = fc.dictionary(
  fc.constantFrom('t', 'db_users'),
  fc.array(fc.oneof(word, fc.constant('*')), { maxLength: 2 }),
)

describe('whatever the roles', () => {
  it('adding a deny never allows', () => {
    fc.assert(
      fc.property(anyRoles, side, asked, (roles, deny, wish) => {
        const before = decide(input(roles, wish)).allow
        const after = decide(input([...roles, role('deny', { deny })], wish)).allow
        assert.ok(before || !after)
      }),
      { numRuns: 500 },
    )
  })

  it('the decision does not depend on the order of roles', () => {
    fc.assert(
      fc.property(anyRoles, asked, traits, (roles, wish, held) => {
        const forth = decide(
          input(roles, { ...wish, identity: { roles: roles.map((r) => r.name), traits: held } }),
        )
        const back = [...roles].reverse()
        assert.deepEqual(
          decide(
            input(back, { ...wish, identity: { roles: back.map((r) => r.name), traits: held } }),
          ),
          forth,
        )
      }),
      { numRuns: 500 },
    )
  })

  it('the smallest change allows when it is made', () => {
    fc.assert(
      fc.property(anyRoles, asked, (roles, wish) => {
        const before = input(roles, wish)
        const changes = smallestChange(before)
        assert.equal(decide(before).allow, changes.length === 0)
        // A new label may meet other denies, and a role to be written is nobody's yet.
        fc.pre(
          !changes.some(
            ({ what }) => what === 'label' || what === 'write-role' || what === 'assign',
          ),
        )
        // A role that demands may begin to match only once the change is made; then a second look tells of it.
        fc.pre(!roles.some((each) => each.unenforced.some(({ effect }) => effect === 'demands')))
        const after = roles.map((each) => changes.reduce(applied, each))
        assert.equal(decide(input(after, wish)).allow, true, JSON.stringify(changes))
      }),
      { numRuns: 1000 },
    )
  })

  it('the explanation agrees with the decision and tells of every role', () => {
    fc.assert(
      fc.property(anyRoles, asked, (roles, wish) => {
        const given = input([...roles], wish)
        const told = explain({ ...given, nowMs: 1 })
        assert.equal(told.allowed, decide(given).allow)
        assert.deepEqual(
          told.roles.map((each) => each.role),
          given.identity.roles,
        )
        assert.equal(told.changes.length > 0, !told.allowed)
      }),
      { numRuns: 300 },
    )
  })
})

/** Makes one change on one role, as an administrator would in its YAML. */
function applied(each: Role, change: Change): Role {
  if (!('role' in change) || change.role !== each.name) return each
  const allow = rule(each.allow.db ?? {})
  const deny = rule(each.deny.db ?? {})
  switch (change.what) {
    case 'add':
      return { ...each, allow: { ...each.allow, db: added(allow, change) } }
    case 'remove':
      return { ...each, deny: { ...each.deny, db: removed(deny, change) } }
    case 'set':
      return { ...each, options: { ...each.options, dbReplication: change.value } }
    case 'unset':
      return { ...each, unenforced: each.unenforced.filter(({ field }) => field !== change.field) }
    case 'drop-key': {
      const { [change.key]: _, ...rest } = allow.labels
      return { ...each, allow: { ...each.allow, db: { ...allow, labels: rest } } }
    }
    case 'assign':
      return each
  }
}

function added(allow: DatabaseRule, change: Extract<Change, { what: 'add' }>): DatabaseRule {
  if (change.field === 'allow.db_users') return { ...allow, users: [...allow.users, change.value] }
  if (change.field === 'allow.db_names') return { ...allow, names: [...allow.names, change.value] }
  const key = change.key ?? ''
  return {
    ...allow,
    labels: { ...allow.labels, [key]: [...(allow.labels[key] ?? []), change.value] },
  }
}

function removed(deny: DatabaseRule, change: Extract<Change, { what: 'remove' }>): DatabaseRule {
  const without = (list: readonly string[]): string[] =>
    list.filter((entry) => entry !== change.entry)
  if (change.field === 'deny.db_users') return { ...deny, users: without(deny.users) }
  if (change.field === 'deny.db_names') return { ...deny, names: without(deny.names) }
  return { ...deny, labels: {} }
}
