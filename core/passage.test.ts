import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { alicePeer, ALICE_LOGIN, testSnapshot, WEB, type World } from '../test/fixtures/rights.ts'
import type { UserIdentity } from './identity.ts'
import { refuseNode, refuseVisitor, visibleNodes } from './passage.ts'
import type { Lock } from './policy/role.ts'
import type { Peer } from './protocol.ts'
import type { Target } from './snapshot.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const CONTEXT = {
  nowMs: NOW_MS,
  decisionId: '01J',
  stalenessMaxMs: 300_000,
  keySha256: 'ff00',
  serverIds: ['proxy-1'],
}
const STAGING: Target = { ...WEB, ref: { kind: 'node', name: 'web-2' }, labels: { env: 'staging' } }

function alice(over: Partial<UserIdentity> = {}, facts: Partial<Peer['facts']> = {}): Peer {
  const peer = alicePeer(NOW_MS)
  return { identity: { ...ALICE_LOGIN, ...over }, facts: { ...peer.facts, ...facts } }
}

function visitor(peer: Peer, world: Partial<World> = {}): string | undefined {
  return refuseVisitor(peer, testSnapshot({ nowMs: NOW_MS, ...world }), CONTEXT)?.reason
}

function node(target: Target | undefined, world: Partial<World> = {}, peer = alice()) {
  return refuseNode(peer, target, testSnapshot({ nowMs: NOW_MS, ...world }), CONTEXT)
}

function locked(target: Lock['target']): Partial<World> {
  return { lockSet: { locks: [{ name: 'l', createdAtMs: 0, target }] } }
}

describe('a visitor', () => {
  it('with a login of today is served', () => {
    assert.equal(visitor(alice()), undefined)
  })

  it('whose certificate is for one target is not: it opens no other door', () => {
    assert.match(
      visitor(alice({ route: { kind: 'node', name: 'web-1' } })) ?? '',
      /for one target, and is no login/,
    )
  })

  it('is not served from the moment the certificate, or the login it is of, ends', () => {
    assert.match(visitor(alice({}, { notAfterMs: NOW_MS })) ?? '', /expired/)
    assert.equal(visitor(alice({}, { notAfterMs: NOW_MS + 1 })), undefined)
    assert.match(visitor(alice({ loginExpiresAtMs: NOW_MS })) ?? '', /expired/)
    // A login that lasts longer makes its certificate no longer.
    const longer = { loginExpiresAtMs: NOW_MS + 1_000_000 }
    assert.match(visitor(alice(longer, { notAfterMs: NOW_MS })) ?? '', /expired/)
  })

  it('whose credentials were reset is not served', () => {
    const { issuer, name, generation } = ALICE_LOGIN
    const at = (lowest: number): Partial<World> => ({
      lockSet: { generations: { [`user:${issuer}/${name}`]: lowest } },
    })
    assert.match(visitor(alice(), at(generation + 1)) ?? '', /account was reset/)
    assert.equal(visitor(alice(), at(generation)), undefined)
  })

  it('is not served under a lock on the person, a role, the certificate, the key or this proxy', () => {
    for (const target of [
      { user: 'alice' },
      { role: 'shop' },
      { certificate_serial: 'ab' },
      { key_sha256: 'ff00' },
      { server_id: 'proxy-1' },
    ])
      assert.match(visitor(alice(), locked(target)) ?? '', /is in force/, JSON.stringify(target))
    assert.equal(visitor(alice(), locked({ user: 'bob' })), undefined)
    // Of a node nothing is known yet.
    assert.equal(visitor(alice(), locked({ node: 'web-1' })), undefined)
  })

  it('under strict locking is not served while locks cannot be checked, by cluster or by role', () => {
    const beaconAtMs = NOW_MS - CONTEXT.stalenessMaxMs - 1
    const strict = { config: { lockingMode: 'strict' }, options: {} } as const
    assert.equal(visitor(alice(), { beaconAtMs }), undefined)
    assert.match(visitor(alice(), { ...strict, beaconAtMs }) ?? '', /cannot be checked/)
    assert.equal(visitor(alice(), strict), undefined)
    const ofRole = { options: { lock: 'strict' }, beaconAtMs } as const
    assert.match(visitor(alice(), ofRole) ?? '', /cannot be checked/)
  })
})

describe('a node', () => {
  it('is reached by whom a role shows it', () => {
    assert.equal(node(WEB), undefined)
  })

  it('that is hidden is answered as one that does not exist', () => {
    assert.deepEqual(node(STAGING), node(undefined))
    assert.match(node(undefined)?.reason ?? '', /no role of yours grants a node of this name/)
    assert.ok(node(WEB, {}, alice({ roles: [] })))
  })

  it('that is locked is not reached, by its name or by this proxy’s id', () => {
    assert.match(node(WEB, locked({ node: 'web-1' }))?.reason ?? '', /Node:"web-1" is in force/)
    assert.match(node(WEB, locked({ node: 'proxy-1' }))?.reason ?? '', /is in force/)
    assert.equal(node(WEB, locked({ node: 'web-2' })), undefined)
  })

  it('is listed for whom it is shown, and nothing else is', () => {
    const db: Target = { ...WEB, ref: { kind: 'db', name: 'orders' } }
    const names = (peer: Peer): readonly string[] =>
      visibleNodes(peer, [WEB, STAGING, db], testSnapshot({ nowMs: NOW_MS })).map(
        ({ ref }) => `${ref.kind} ${ref.name}`,
      )
    assert.deepEqual(names(alice()), ['node web-1'])
    assert.deepEqual(names(alice({ roles: [] })), [])
  })
})
