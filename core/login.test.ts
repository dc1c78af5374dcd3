// The one authorisation flow: each check by itself, the order of checks, and what a right is.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { UserIdentity } from './identity.ts'
import type { LoginContext } from './login.ts'
import { Authorized, authorize } from './login.ts'
import { compileRoles } from './policy/compile.ts'
import { unknownTargetRefusal } from './policy/refusal.ts'
import type { Role } from './policy/role.ts'
import type { Access, Peer, Refusal } from './protocol.ts'
import type { ClusterConfig, LockSet, Snapshot, Target } from './snapshot.ts'

const NOW = Date.UTC(2026, 0, 2)
const REF = { kind: 'db', name: 'orders' } as const
const ACCESS: Access = { target: REF, principal: 'app', resource: 'main' }
const CONTEXT: LoginContext = {
  nowMs: NOW,
  decisionId: '01ARYZ6S41ZZZZZZZZZZZZZZZZ',
  stalenessMaxMs: 300_000,
  keySha256: 'ff00',
  serverIds: ['agent-1'],
}
const TARGET: Target = {
  ref: REF,
  protocol: 'postgres',
  labels: { env: 'prod' },
  agents: ['agent-1'],
  label: 'orders',
}

const ACCESS_ROLE: Role = {
  name: 'shop',
  version: 'v7',
  options: { clientIdleTimeoutMs: 60_000 },
  allow: { rules: [], db: { labels: { env: ['prod'] }, users: ['app'], names: ['main'] } },
  deny: { rules: [] },
  unenforced: [],
}

function peer(identity: Partial<UserIdentity> = {}, facts: Partial<Peer['facts']> = {}): Peer {
  return {
    identity: {
      type: 'user',
      kind: 'human',
      issuer: 'local',
      name: 'alice',
      cluster: 'example.test',
      roles: ['shop'],
      traits: {},
      route: { ...REF, protocol: 'postgres', principal: 'app', resource: 'main' },
      generation: 1,
      ...identity,
    },
    facts: {
      serial: 'ab',
      fingerprint: '00',
      notBeforeMs: NOW - 1000,
      notAfterMs: NOW + 1000,
      ...facts,
    },
  }
}

interface World {
  readonly roles?: readonly Role[]
  readonly config?: Partial<ClusterConfig>
  readonly lockSet?: Partial<LockSet>
  readonly beaconAtMs?: number
}

function snapshot(world: World = {}): Snapshot {
  return {
    revision: 1,
    class: 'agent',
    issuedAtMs: NOW,
    cas: { user: [], host: [], target: [], db: [], db_client: [] },
    signers: [],
    roles: world.roles ?? [ACCESS_ROLE],
    config: {
      cluster: 'example.test',
      recording: 'off',
      lockingMode: 'best_effort',
      disconnectExpiredCert: false,
      maxConnectionsMode: 'best_effort',
      ...world.config,
    },
    proxies: [],
    lockSet: { revision: 1, locks: [], generations: {}, ...world.lockSet },
    beaconAtMs: world.beaconAtMs ?? NOW,
  }
}

function refused(
  who: Peer,
  world: World = {},
  access: Access = ACCESS,
  context = CONTEXT,
): Refusal {
  const outcome = authorize(who, access, TARGET, snapshot(world), context)
  if (outcome.refusal === undefined) throw new Error('allowed')
  assert.equal(outcome.explanation.allowed, false)
  return outcome.refusal
}

function right(who: Peer = peer(), world: World = {}): Authorized {
  const outcome = authorize(who, ACCESS, TARGET, snapshot(world), CONTEXT)
  if (outcome.right === undefined) throw new Error(outcome.refusal.reason)
  return outcome.right
}

describe('authorize', () => {
  it('gives a right with the grant of the roles', () => {
    const given = right()
    assert.deepEqual(given.grant, {
      roles: ['shop'],
      idleMsMax: 60_000,
      connectionsMax: 0,
      lockMode: 'best_effort',
      recordingMode: 'best_effort',
    })
    assert.equal(given.endsAtMs, 0)
    assert.equal(given.decisionId, CONTEXT.decisionId)
    assert.equal(given.target, TARGET)
  })

  it('applies what the cluster sets for everybody', () => {
    const given = right(peer(), {
      config: { clientIdleTimeoutMs: 5000, lockingMode: 'strict', disconnectExpiredCert: true },
    })
    assert.equal(given.grant.idleMsMax, 5000)
    assert.equal(given.grant.lockMode, 'strict')
    assert.equal(given.endsAtMs, NOW + 1000)
  })

  it('ends a per-session certificate’s session with the login it came from', () => {
    const config = { disconnectExpiredCert: true }
    assert.equal(right(peer({ loginExpiresAtMs: NOW + 9000 }), { config }).endsAtMs, NOW + 9000)
  })

  it('refuses an identity of another cluster or of a system', () => {
    assert.equal(refused(peer({ cluster: 'other.test' })).kind, 'identity')
    const system = { ...peer().identity, type: 'system' } as unknown as UserIdentity
    assert.equal(refused({ ...peer(), identity: system }).kind, 'identity')
  })

  it('refuses a certificate outside its dates, to the millisecond', () => {
    assert.equal(refused(peer({}, { notAfterMs: NOW })).kind, 'expired')
    assert.equal(refused(peer({}, { notBeforeMs: NOW + 1 })).kind, 'expired')
    assert.equal(refused(peer({ loginExpiresAtMs: NOW })).kind, 'expired')
    assert.equal(refused(peer({ loginExpiresAtMs: NOW + 9 }, { notAfterMs: NOW })).kind, 'expired')
    right(peer({}, { notBeforeMs: NOW, notAfterMs: NOW + 1 }))
  })

  it('refuses a login certificate and one that is routed elsewhere', () => {
    const { route: _, ...login } = peer().identity
    assert.match(refused({ ...peer(), identity: login }).reason, /not for this database/)
    assert.match(refused(peer({ route: { kind: 'db', name: 'payroll' } })).reason, /not for this/)
    assert.match(refused(peer({ route: { kind: 'node', name: 'orders' } })).reason, /not for this/)
    assert.match(refused(peer({ route: { ...REF, protocol: 'mysql' } })).reason, /not for this/)
    assert.match(
      refused(peer(), {}, { ...ACCESS, target: { kind: 'db', name: 'x' } }).reason,
      /not for this/,
    )
  })

  it('takes a permit for the route that a login certificate lacks, and judges the rest as ever', () => {
    const { route: _, ...identity } = peer().identity
    const login = { ...peer(), identity }
    const permit = { certificate: '00', target: REF, proxyId: 'proxy-1', expiresAtMs: NOW + 500 }
    const context = { ...CONTEXT, serverIds: ['agent-1', 'proxy-1'], permit }
    const given = authorize(login, ACCESS, TARGET, snapshot(), context)
    assert.ok(Authorized.holds(given.right))

    const with_ = (over: Partial<typeof permit>): LoginContext => ({
      ...context,
      permit: { ...permit, ...over },
    })
    for (const [wrong, reason] of [
      [with_({ certificate: '01' }), /another certificate/],
      [with_({ target: { ...REF, name: 'payroll' as 'orders' } }), /another target/],
      [with_({ proxyId: 'proxy-2' }), /another proxy/],
      [with_({ expiresAtMs: NOW }), /expired/],
      [with_({ expiresAtMs: NOW + 3_660_001 }), /longer/],
      [{ ...context, serverIds: ['agent-1'] }, /another proxy/],
    ] as const)
      assert.match(refused(login, {}, ACCESS, wrong).reason, reason)
    const elsewhere = { ...ACCESS, target: { kind: 'db', name: 'x' } } as const
    assert.match(refused(login, {}, elsewhere, context).reason, /another target/)

    assert.equal(refused(login, { roles: [] }, ACCESS, context).kind, 'policy')
    assert.equal(refused(login, {}, { ...ACCESS, principal: 'root' }, context).kind, 'policy')
    const expired = { ...login, facts: { ...login.facts, notAfterMs: NOW } }
    assert.equal(refused(expired, {}, ACCESS, context).kind, 'expired')
    const lock = { name: 'l', target: { server_id: 'proxy-1' }, createdAtMs: 0 }
    assert.equal(refused(login, { lockSet: { locks: [lock] } }, ACCESS, context).kind, 'lock')
  })

  it('does not let a permit widen a certificate that is routed elsewhere, or to one database user', () => {
    const permit = { certificate: '00', target: REF, proxyId: 'agent-1', expiresAtMs: NOW + 500 }
    const context = { ...CONTEXT, permit }
    const elsewhere = peer({ route: { kind: 'db', name: 'payroll' } })
    assert.match(refused(elsewhere, {}, ACCESS, context).reason, /not for this database/)
    const other = { ...ACCESS, principal: 'root' }
    assert.match(refused(peer(), {}, other, context).reason, /another database user/)
  })

  it('refuses another user or database name than the certificate was asked for', () => {
    assert.match(
      refused(peer(), {}, { ...ACCESS, principal: 'root' }).reason,
      /another database user/,
    )
    assert.match(refused(peer(), {}, { ...ACCESS, resource: 'hr' }).reason, /another database name/)
    const open = peer({ route: REF })
    assert.equal(authorize(open, ACCESS, TARGET, snapshot(), CONTEXT).refusal, undefined)
  })

  it('refuses whoever is locked, in the words of the lock', () => {
    const locks = (target: LockSet['locks'][number]['target']): World => ({
      lockSet: { locks: [{ name: 'l', target, message: 'stop', createdAtMs: 0 }] },
    })
    const refusal = refused(peer(), locks({ user: 'alice' }))
    assert.equal(refusal.kind, 'lock')
    assert.equal(refusal.reason, 'lock targeting User:"alice" is in force: stop')
    for (const target of [
      { role: 'shop' },
      { db: 'orders' },
      { certificate_serial: '0AB' },
      { key_sha256: 'ff00' },
      { server_id: 'agent-1' },
    ])
      assert.equal(refused(peer(), locks(target)).kind, 'lock', JSON.stringify(target))
  })

  it('refuses credentials from before a reset', () => {
    const lockSet = { generations: { 'user:local/alice': 2 } }
    assert.match(refused(peer(), { lockSet }).reason, /reset/)
    right(peer({ generation: 2 }), { lockSet })
  })

  it('refuses under strict locking when the beacon is too old, and goes on under best effort', () => {
    const beaconAtMs = NOW - 300_001
    right(peer(), { beaconAtMs })
    right(peer(), { beaconAtMs: NOW - 300_000, config: { lockingMode: 'strict' } })
    assert.equal(
      refused(peer(), { beaconAtMs, config: { lockingMode: 'strict' } }).kind,
      'unavailable',
    )
    // A clock that was put back proves nothing about the age of what it knows.
    const ahead = { beaconAtMs: NOW + 3_600_000 }
    right(peer(), ahead)
    assert.equal(
      refused(peer(), { ...ahead, config: { lockingMode: 'strict' } }).kind,
      'unavailable',
    )
    const strict: Role = { ...ACCESS_ROLE, name: 'strict', options: { lock: 'strict' } }
    const roles = [ACCESS_ROLE, strict]
    assert.equal(
      refused(peer({ roles: ['shop', 'strict'] }), { beaconAtMs: 0, roles }).kind,
      'unavailable',
    )
  })

  it('refuses what policy denies, naming what was asked and how to learn why', () => {
    const refusal = refused(peer({ route: REF }), {}, { ...ACCESS, principal: 'root' })
    assert.equal(refusal.kind, 'policy')
    assert.match(
      refusal.reason,
      /no role of yours allows database user "root" with database name "main"/,
    )
    assert.match(refusal.next, /tctl explain 01ARYZ6S41ZZZZZZZZZZZZZZZZ/)
  })

  it('names the field that nothing enforces', () => {
    const unenforced = [
      { field: 'options.require_session_mfa', kinds: ['db'], effect: 'demands' },
    ] as const
    assert.match(
      refused(peer(), { roles: [{ ...ACCESS_ROLE, unenforced }] }).reason,
      /options\.require_session_mfa/,
    )
  })

  it('says the same of a database that is hidden and of one that is not there', () => {
    const worlds: readonly (readonly Role[])[] = [
      [],
      [{ ...ACCESS_ROLE, allow: { rules: [] } }],
      [
        {
          ...ACCESS_ROLE,
          deny: { rules: [], db: { labels: { env: ['prod'] }, users: ['app'], names: [] } },
        },
      ],
      [
        {
          ...ACCESS_ROLE,
          unenforced: [{ field: 'options.x', kinds: ['db'], effect: 'withholds' }],
        },
      ],
      [
        {
          ...ACCESS_ROLE,
          unenforced: [{ field: 'options.x', kinds: ['db'], effect: 'refuses' }],
          deny: { rules: [], db: { labels: { '*': ['*'] }, users: [], names: [] } },
        },
      ],
    ]
    for (const roles of worlds) {
      const absent = unknownTargetRefusal(
        CONTEXT.decisionId,
        'db',
        peer().identity,
        compileRoles(roles),
      )
      assert.deepEqual(refused(peer(), { roles }), absent)
      const named = roles.some(({ unenforced }) => unenforced.length > 0)
      assert.equal(absent.reason.includes('options.x'), named)
    }
  })

  it('explains a refusal before policy without looking at roles', () => {
    const outcome = authorize(peer({ cluster: 'x' }), ACCESS, TARGET, snapshot(), CONTEXT)
    assert.equal(outcome.explanation.check, 'identity')
    assert.deepEqual(outcome.explanation.roles, [])
  })
})

describe('a right', () => {
  it('is held by what authorize returned and by nothing that looks like it', () => {
    const given = right()
    assert.equal(Authorized.holds(given), true)
    assert.equal(Authorized.holds(Object.assign({}, given)), false)
    assert.equal(Authorized.holds(structuredClone(given)), false)
    assert.equal(Authorized.holds(Object.create(given)), false)
    assert.equal(Authorized.holds(Object.create(Authorized.prototype)), false)
    assert.equal(Authorized.holds(undefined), false)
  })

  it('cannot be made or changed by others', () => {
    const given = right()
    const make = Authorized as unknown as new (mint: symbol, fields: object) => Authorized
    assert.throws(() => new make(Symbol('mint'), given), TypeError)
    assert.throws(() => Object.assign(given, { endsAtMs: 1 }), TypeError)
  })
})

describe('a node', () => {
  const NODE_REF = { kind: 'node', name: 'web-1' } as const
  const NODE: Target = { ...TARGET, ref: NODE_REF, protocol: 'ssh', label: 'web-1' }
  const SSH: Access = { target: NODE_REF, principal: 'root', resource: '' }
  const ROLE: Role = {
    ...ACCESS_ROLE,
    allow: { rules: [], node: { labels: { env: ['prod'] }, logins: ['root'] } },
  }
  const PROXY = '0f8fad5b-d9cb-469f-a165-70867728950e'

  /** With the certificate of a login, which is routed nowhere. */
  function reached(
    context: Partial<LoginContext>,
    { target = NODE, access = SSH, ...world }: World & { target?: Target; access?: Access } = {},
  ): string {
    const { route: _, ...identity } = peer().identity
    const shown = { ...peer(), identity }
    const known = snapshot({ roles: [ROLE], ...world })
    const { right, refusal } = authorize(shown, access, target, known, { ...CONTEXT, ...context })
    return right === undefined ? refusal.reason : 'allowed'
  }

  const permit = {
    certificate: peer().facts.fingerprint,
    target: NODE_REF,
    proxyId: PROXY,
    expiresAtMs: NOW + 1000,
  }

  it('that ends the session itself takes a login’s certificate', () => {
    assert.equal(reached({ mode: 'relay' }), 'allowed')
    assert.equal(
      reached({ mode: 'relay' }, { access: { ...SSH, principal: 'admin' } }),
      'no role of yours allows the login "admin"',
    )
  })

  it('behind a proxy that ends the session takes one with a permit for it alone', () => {
    const world = { config: { recording: 'proxy' as const } }
    assert.equal(reached({ mode: 'terminate' }, world), 'the certificate is not for this node')
    const serverIds = [PROXY]
    assert.equal(reached({ mode: 'terminate', permit, serverIds }, world), 'allowed')
    const other = { ...permit, target: { kind: 'node', name: 'web-2' } as const }
    assert.equal(
      reached({ mode: 'terminate', permit: other, serverIds }, world),
      'the permit is for another target',
    )
  })

  it('is reached by no login certificate where nobody says who ends the session', () => {
    assert.equal(reached({}), 'the certificate is not for this node')
  })

  it('is not reached by an access to something else', () => {
    const elsewhere = { ...SSH, target: { kind: 'node', name: 'web-2' } as const }
    assert.equal(
      reached({ mode: 'relay' }, { access: elsewhere }),
      'the certificate is not for this node',
    )
  })

  it('is no database: its mode of relaying opens none', () => {
    const access = { ...ACCESS }
    assert.equal(
      reached({ mode: 'relay' }, { target: TARGET, access, roles: [ACCESS_ROLE] }),
      'the certificate is not for this database',
    )
  })

  it('without an agent is reached through a proxy in every mode of recording', () => {
    const target = { ...NODE, agents: [], address: '10.0.0.7:22' }
    const serverIds = [PROXY]
    assert.equal(reached({ mode: 'terminate', permit, serverIds }, { target }), 'allowed')
    assert.match(
      reached({ mode: 'relay' }, { target }),
      /^sessions of this cluster do not end at agents/,
    )
  })

  it('is shut by a lock on its name, on its agent and on the login', () => {
    for (const lock of [{ node: 'web-1' }, { node: 'agent-1' }, { login: 'root' }]) {
      const locks = [{ name: 'l', target: lock, createdAtMs: 0 }]
      assert.match(reached({ mode: 'relay' }, { lockSet: { locks } }), /^lock targeting/)
    }
    const locks = [{ name: 'l', target: { node: 'web-2' }, createdAtMs: 0 }]
    assert.equal(reached({ mode: 'relay' }, { lockSet: { locks } }), 'allowed')
  })
})
