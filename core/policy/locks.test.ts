// Who a lock shuts out, and since which generation credentials count.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import type { LockSet } from '../snapshot.ts'
import type { LockSubject } from './locks.ts'
import {
  hostGenerationKey,
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from './locks.ts'
import type { Lock, LockTarget } from './role.ts'

const NOW = 1_000_000

function lock(target: LockTarget, more: Partial<Lock> = {}): Lock {
  return { name: JSON.stringify(target), target, createdAtMs: 0, ...more }
}

function lockSet(...locks: Lock[]): LockSet {
  return { revision: 1, locks, generations: {} }
}

const SUBJECT: LockSubject = {
  user: 'alice',
  roles: ['dba', 'access'],
  serverIds: ['agent-1', 'proxy-1'],
  db: 'orders',
  certificateSerial: 'ab12',
  keySha256: 'ff00',
}

function locked(target: LockTarget, subject: LockSubject = SUBJECT): boolean {
  return matchLock(lockSet(lock(target)), subject, NOW) !== undefined
}

describe('a lock', () => {
  it('matches by each field it can name', () => {
    assert.equal(locked({ user: 'alice' }), true)
    assert.equal(locked({ role: 'access' }), true)
    assert.equal(locked({ server_id: 'proxy-1' }), true)
    assert.equal(locked({ db: 'orders' }), true)
    assert.equal(locked({ certificate_serial: 'ab12' }), true)
    assert.equal(locked({ key_sha256: 'ff00' }), true)
    assert.equal(locked({ login: 'root' }, { login: 'root' }), true)
    assert.equal(locked({ mfa_device: 'd' }, { mfaDevice: 'd' }), true)
  })

  it('matches nobody else', () => {
    assert.equal(locked({ user: 'bob' }), false)
    assert.equal(locked({ role: 'alice' }), false)
    assert.equal(locked({ db: 'payroll' }), false)
    assert.equal(locked({ login: 'root' }), false)
  })

  it('matches only when all its fields do', () => {
    assert.equal(locked({ user: 'alice', db: 'orders' }), true)
    assert.equal(locked({ user: 'alice', db: 'payroll' }), false)
    assert.equal(locked({ user: 'bob', role: 'access' }), false)
  })

  it('knows a person by any spelling, and a number with colons, capitals and leading zeros', () => {
    assert.equal(locked({ user: 'ALICE' }), true)
    assert.equal(locked({ certificate_serial: '00:AB:12' }), true)
    assert.equal(locked({ key_sha256: 'FF:00' }), true)
  })

  it('without a field locks nobody', () => {
    assert.equal(locked({}), false)
  })

  it('ends at its expiry and not before', () => {
    const set = lockSet(lock({ user: 'alice' }, { expiresAtMs: NOW }))
    assert.notEqual(matchLock(set, SUBJECT, NOW - 1), undefined)
    assert.equal(matchLock(set, SUBJECT, NOW), undefined)
  })

  it('is found in a set of any size as a scan would find it', () => {
    const target = fc.record(
      {
        user: fc.constantFrom('alice', 'bob'),
        role: fc.constantFrom('dba', 'x'),
        db: fc.constantFrom('orders', 'x'),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.array(target, { maxLength: 6 }), (targets) => {
        const locks = targets.map((each) => lock(each))
        const scanned = locks.some((each) => matchLock(lockSet(each), SUBJECT, NOW) !== undefined)
        assert.equal(matchLock(lockSet(...locks), SUBJECT, NOW) !== undefined, scanned)
      }),
    )
  })

  it('is told with what it targets and its message', () => {
    assert.equal(
      lockText(lock({ user: 'x' }, { message: 'on leave' })),
      'lock targeting User:"x" is in force: on leave',
    )
    assert.equal(
      lockText(lock({ role: 'dba', db: 'orders' })),
      'lock targeting Role:"dba" Database:"orders" is in force',
    )
  })
})

describe('the subject of a session', () => {
  const identity = {
    type: 'user',
    kind: 'human',
    issuer: 'local',
    name: 'alice',
    cluster: 'example.test',
    roles: ['dba'],
    traits: {},
    generation: 0,
  } as const
  const session = {
    target: 'orders',
    principal: 'root',
    certificateSerial: '1',
    keySha256: '2',
    serverIds: ['a'],
  }

  it('has a login on a node and a database on a database, not the other way round', () => {
    const db = sessionSubject(identity, { kind: 'db', ...session })
    assert.equal(locked({ db: 'orders' }, db), true)
    assert.equal(locked({ login: 'root' }, db), false)
    const node = sessionSubject(identity, { kind: 'node', ...session })
    assert.equal(locked({ db: 'orders' }, node), false)
    assert.equal(locked({ login: 'root' }, node), true)
  })
})

describe('a generation', () => {
  it('counts from the one the lock set demands', () => {
    const set: LockSet = {
      revision: 1,
      locks: [],
      generations: { [userGenerationKey('local', 'alice')]: 2, [hostGenerationKey('a1')]: 5 },
    }
    assert.equal(isGenerationStale(set, userGenerationKey('local', 'alice'), 1), true)
    assert.equal(isGenerationStale(set, userGenerationKey('local', 'alice'), 2), false)
    assert.equal(isGenerationStale(set, userGenerationKey('github', 'alice'), 0), false)
    assert.equal(isGenerationStale(set, hostGenerationKey('a1'), 4), true)
  })
})
