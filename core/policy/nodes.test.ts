// Nodes as the engine decides them: labels and logins of one role together, denials of any, and what the roles that grant a session
// allow in it.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { userIdentity } from '../../test/fixtures/certificates.ts'
import type { UserIdentity } from '../identity.ts'
import type { SshGrant } from '../protocol.ts'
import { type Change, smallestChange } from './change.ts'
import { compileRoles } from './compile.ts'
import { decide, type DecisionInput } from './decide.ts'
import { explain } from './explain.ts'
import { sshMost } from './options.ts'
import { loginsOf, loginsOn, reachOf } from './reach.ts'
import { policyRefusal } from './refusal.ts'
import { renderExplanation } from './render.ts'
import type { NodeRule, Role, RoleOptions, SshOptions, Unenforced } from './role.ts'

interface Sides {
  readonly allow?: Partial<NodeRule>
  readonly deny?: Partial<NodeRule>
  readonly ssh?: SshOptions
  readonly options?: RoleOptions
  readonly unenforced?: readonly Unenforced[]
  readonly version?: string
}

const PROD = { env: ['prod'] }
const ALL = { '*': ['*'] }

function role(name: string, sides: Sides): Role {
  const { allow, deny, ssh } = sides
  const side = (rule: Partial<NodeRule> | undefined): Role['allow'] =>
    rule === undefined ? { rules: [] } : { rules: [], node: { labels: {}, logins: [], ...rule } }
  return {
    name,
    version: sides.version ?? 'v7',
    options: { ...sides.options, ...(ssh === undefined ? {} : { ssh }) },
    allow: side(allow),
    deny: side(deny),
    unenforced: sides.unenforced ?? [],
  }
}

interface Asked {
  readonly login?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly resource?: string
  readonly traits?: UserIdentity['traits']
}

const REF = { kind: 'node', name: 'web-1' } as const

function holder(roles: readonly Role[], traits: UserIdentity['traits'] = {}): UserIdentity {
  return userIdentity({ roles: roles.map(({ name }) => name), traits })
}

function input(roles: readonly Role[], asked: Asked = {}): DecisionInput {
  return {
    identity: holder(roles, asked.traits),
    target: { ref: REF, labels: asked.labels ?? { env: 'prod' } },
    access: { target: REF, principal: asked.login ?? 'root', resource: asked.resource ?? '' },
    roles: compileRoles(roles),
  }
}

function allowed(roles: readonly Role[], asked: Asked = {}): boolean {
  return decide(input(roles, asked)).allow
}

function ssh(...roles: readonly Role[]): SshGrant {
  const decision = decide(input(roles))
  assert.ok(decision.allow)
  assert.ok(decision.grant.ssh !== undefined)
  return decision.grant.ssh
}

const ROOT = { labels: PROD, logins: ['root'] }

describe('a login on a node', () => {
  it('is allowed by one role that has its labels and its login', () => {
    assert.equal(allowed([role('r', { allow: ROOT })]), true)
    assert.equal(allowed([role('r', { allow: ROOT })], { login: 'admin' }), false)
    assert.equal(allowed([role('r', { allow: ROOT })], { labels: { env: 'dev' } }), false)
    const labels = role('labels', { allow: { labels: PROD } })
    const logins = role('logins', { allow: { labels: { env: ['dev'] }, logins: ['root'] } })
    assert.equal(allowed([labels, logins]), false)
    assert.equal(allowed([]), false)
  })

  it('comes from the person’s traits where the role says so', () => {
    const roles = [role('r', { allow: { labels: ALL, logins: ['{{internal.logins}}'] } })]
    assert.equal(allowed(roles, { traits: { logins: ['root'] } }), true)
    assert.equal(allowed(roles, { traits: { logins: ['deploy'] } }), false)
    assert.equal(allowed(roles), false)
  })

  it('is denied by any role, whatever another allows', () => {
    const allow = role('r', { allow: { labels: ALL, logins: ['root'] } })
    assert.equal(allowed([allow, role('no', { deny: { logins: ['root'] } })]), false)
    assert.equal(allowed([allow, role('no', { deny: { logins: ['r*'] } })]), false)
    assert.equal(allowed([allow, role('no', { deny: { labels: PROD } })]), false)
    assert.equal(allowed([allow, role('no', { deny: { logins: ['admin'] } })]), true)
  })

  it('names no part of the node, and a database’s rules say nothing of it', () => {
    const grants = role('r', { allow: ROOT })
    assert.equal(allowed([grants], { resource: 'main' }), false)
    assert.equal(allowed([grants], { login: '' }), false)
    const db = { labels: ALL, users: ['*'], names: ['*'] }
    assert.equal(allowed([{ ...role('db', {}), allow: { rules: [], db } }]), false)
    assert.equal(allowed([grants, { ...role('no', {}), deny: { rules: [], db } }]), true)
  })

  it('is not granted by a role with a field nothing enforces, or of an unknown version', () => {
    const field = {
      field: 'options.create_host_user',
      kinds: ['node'],
      effect: 'withholds',
    } as const
    assert.equal(allowed([role('r', { allow: ROOT, unenforced: [field] })]), false)
    assert.equal(allowed([role('r', { allow: ROOT, version: 'v99' })]), false)
    const refuses = role('x', { unenforced: [{ ...field, effect: 'refuses' }] })
    assert.equal(allowed([role('r', { allow: ROOT }), refuses]), false)
    const ofDatabases = role('y', { unenforced: [{ ...field, kinds: ['db'], effect: 'refuses' }] })
    assert.equal(allowed([role('r', { allow: ROOT }), ofDatabases]), true)
  })
})

describe('what is allowed in a session', () => {
  const plain = role('plain', { allow: ROOT })

  it('is by default a port either way and files, but neither the agent nor X11', () => {
    assert.deepEqual(ssh(plain), {
      forwardAgent: false,
      localForwarding: true,
      remoteForwarding: true,
      x11: false,
      fileCopy: true,
      sessionsMax: 0,
    })
  })

  it('is the agent and X11 when one role that grants it allows them', () => {
    const more = role('more', { allow: ROOT, ssh: { forwardAgent: true, x11: true } })
    assert.equal(ssh(plain, more).forwardAgent, true)
    assert.equal(ssh(plain, more).x11, true)
  })

  it('is no port in a direction that one role refuses by name, whatever another allows', () => {
    const no = role('no', { allow: ROOT, ssh: { localForwarding: false } })
    const yes = role('yes', { allow: ROOT, ssh: { localForwarding: true, remoteForwarding: true } })
    assert.equal(ssh(yes, no).localForwarding, false)
    assert.equal(ssh(yes, no).remoteForwarding, true)
  })

  it('is no port when every role says so with the old option, which the new one replaces', () => {
    const old = role('old', { allow: ROOT, ssh: { portForwarding: false } })
    assert.equal(ssh(old).localForwarding, false)
    assert.equal(ssh(old, plain).localForwarding, true)
    const both = role('both', {
      allow: ROOT,
      ssh: { portForwarding: false, remoteForwarding: true },
    })
    assert.deepEqual([ssh(both).localForwarding, ssh(both).remoteForwarding], [false, true])
  })

  it('is no file when one role refuses, and the fewest channels', () => {
    const few = role('few', { allow: ROOT, ssh: { maxSessions: 5, fileCopy: false } })
    const fewer = role('fewer', { allow: ROOT, ssh: { maxSessions: 2 } })
    assert.equal(ssh(few, fewer, plain).fileCopy, false)
    assert.equal(ssh(few, fewer, plain).sessionsMax, 2)
  })

  it('is not changed by a role that grants other nodes alone', () => {
    const elsewhere = role('dev', {
      allow: { labels: { env: ['dev'] }, logins: ['root'] },
      ssh: { localForwarding: false, fileCopy: false, maxSessions: 1, forwardAgent: true },
    })
    assert.deepEqual(ssh(plain, elsewhere), ssh(plain))
  })

  it('must be recorded as record_session.ssh says, and as its default without', () => {
    const recording = (options: RoleOptions): string => {
      const decision = decide(input([role('r', { allow: ROOT, options })]))
      return decision.allow ? decision.grant.recordingMode : 'denied'
    }
    assert.equal(recording({ recordSession: 'strict' }), 'strict')
    const ofSsh = { recordSession: 'best_effort' } as const
    assert.equal(recording({ recordSession: 'strict', ssh: ofSsh }), 'best_effort')
    assert.equal(recording({ ssh: { recordSession: 'strict' } }), 'strict')
  })
})

describe('the logins of a certificate', () => {
  const logins = (roles: readonly Role[], traits: UserIdentity['traits'] = {}): readonly string[] =>
    loginsOf(holder(roles, traits), compileRoles(roles))

  it('are those of all roles, by name, less what is denied', () => {
    const roles = [
      role('a', { allow: { labels: PROD, logins: ['root', '{{internal.logins}}'] } }),
      role('b', { allow: { labels: ALL, logins: ['deploy', 'svc-{{external.team}}'] } }),
      role('no', { deny: { logins: ['admin', 'svc-b*'] } }),
    ]
    const traits = { logins: ['alice', 'admin'], team: ['shop', 'bank'] }
    assert.deepEqual(logins(roles, traits), ['alice', 'deploy', 'root', 'svc-shop'])
  })

  it('are never a pattern or an option, whatever a role or a trait says', () => {
    const roles = [
      role('a', {
        allow: { labels: ALL, logins: ['*', 'web-*', '^a$', '-l', '{{internal.logins}}'] },
      }),
    ]
    assert.deepEqual(logins(roles), [])
    assert.deepEqual(logins(roles, { logins: ['*'] }), [])
    assert.deepEqual(logins(roles, { logins: ['a,b', 'a b', '-oProxyCommand=x', 'ok'] }), ['ok'])
  })

  it('are none with a role that refuses, and without those of a role that grants nothing', () => {
    const field = { field: 'options.pin_source_ip', kinds: ['node'], effect: 'refuses' } as const
    const a = role('a', { allow: ROOT })
    assert.deepEqual(logins([a, role('x', { unenforced: [field] })]), [])
    assert.deepEqual(logins([a, role('old', { allow: { logins: ['b'] }, version: 'v99' })]), [
      'root',
    ])
    const withheld = { ...field, effect: 'withholds' } as const
    assert.deepEqual(logins([role('w', { allow: ROOT, unenforced: [withheld] })]), [])
  })

  it('go with what any role permits somewhere', () => {
    const roles = [
      role('a', { allow: ROOT, ssh: { localForwarding: false, remoteForwarding: false } }),
      role('b', { allow: { labels: { env: ['dev'] }, logins: ['x'] }, ssh: { x11: true } }),
    ]
    const most = sshMost(holder(roles), compileRoles(roles))
    assert.deepEqual([most.localForwarding, most.x11, most.forwardAgent], [true, true, false])
    const db = [role('db', { ssh: { x11: true } })]
    assert.equal(sshMost(holder(db), compileRoles(db)).x11, false)
  })
})

describe('what a person sees of a node', () => {
  it('is its name and the logins of the roles that have its labels', () => {
    const roles = [
      role('a', { allow: ROOT }),
      role('b', { allow: { labels: { env: ['dev'] }, logins: ['dev'] } }),
      role('c', { allow: { labels: ALL, logins: ['*', 'deploy'] } }),
    ]
    const target = { ref: REF, labels: { env: 'prod' } }
    const compiled = compileRoles(roles)
    assert.deepEqual(loginsOn(holder(roles), target, compiled), ['deploy', 'root'])
    assert.deepEqual(reachOf(holder(roles), target, compiled).principals, ['*', 'deploy', 'root'])
    assert.equal(reachOf(holder([]), target, compiled).visible, false)
  })
})

describe('a denial', () => {
  const roles = [role('r', { allow: ROOT }), role('no', { deny: { logins: ['admin'] } })]

  it('speaks of logins and nodes', () => {
    const asked = input(roles, { login: 'deploy' })
    const decision = decide(asked)
    assert.ok(!decision.allow)
    const { reason } = policyRefusal('id', decision.denial, asked.access)
    assert.equal(reason, 'no role of yours allows the login "deploy"')
    const text = renderExplanation(explain({ ...asked, nowMs: 0 }))
    assert.match(text, /^Denied: alice to node web-1 as "deploy", at /)
    assert.match(text, /r: allow.logins does not match login "deploy"/)
    assert.match(text, /role r: add "deploy" to spec.allow.logins/)
  })

  it('tells the smallest change, which then allows it', () => {
    const asks: readonly (readonly [Asked, readonly Change[]])[] = [
      [{ login: 'deploy' }, [{ what: 'add', role: 'r', field: 'allow.logins', value: 'deploy' }]],
      [
        { labels: { env: 'dev' } },
        [{ what: 'add', role: 'r', field: 'allow.node_labels', key: 'env', value: 'dev' }],
      ],
      [
        { login: 'admin' },
        [
          { what: 'remove', role: 'no', field: 'deny.logins', entry: 'admin' },
          { what: 'add', role: 'r', field: 'allow.logins', value: 'admin' },
        ],
      ],
    ]
    for (const [asked, changes] of asks)
      assert.deepEqual(smallestChange(input(roles, asked)), changes)
    assert.equal(
      allowed([role('r', { allow: { ...ROOT, logins: ['deploy'] } })], { login: 'deploy' }),
      true,
    )
  })
})
