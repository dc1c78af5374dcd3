// Who gets in, and above all who does not: a good certificate of each kind, then each way to be wrong, one at a time.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'

import {
  CLUSTER,
  systemIdentity,
  testCa,
  testLeaf,
  userIdentity,
} from '../../test/fixtures/certificates.ts'
import type { ErrorCode } from '../errors.ts'
import { encodeIdentity } from './identity.ts'
import { generateKey, keyId, keySha256, readPublicKey } from './key.ts'
import { subjectAttributes } from './name.ts'
import { OID } from './oid.ts'
import { type Expectation, systemName, Verified, verifyPeer } from './verify.ts'
import { readCertificate } from './x509.ts'

const NOW = Date.UTC(2026, 10, 20)
const HOUR = 3_600_000
const userCa = testCa('user CA', NOW)
const hostCa = testCa('host CA', NOW)

const wantUser: Expectation = {
  cas: [userCa.der],
  purpose: 'client',
  type: 'user',
  cluster: CLUSTER,
}
const wantAgent: Expectation = {
  cas: [hostCa.der],
  purpose: 'client',
  type: 'system',
  role: 'agent',
  cluster: CLUSTER,
}
const wantProxy: Expectation = { ...wantAgent, purpose: 'server', role: 'proxy' }
const wantControl: Expectation = { ...wantAgent, purpose: 'server', role: 'control' }

const alice = testLeaf(userCa, userIdentity(), NOW)
const agent = testLeaf(hostCa, systemIdentity('agent'), NOW)
const proxy = testLeaf(hostCa, systemIdentity('proxy'), NOW)

function refuses(
  chain: readonly Uint8Array[],
  want: Expectation,
  code: ErrorCode,
  reason: RegExp,
  nowMs: number = NOW,
): void {
  const result = verifyPeer(chain, want, nowMs)
  if (result.ok) assert.fail(`it was accepted as ${JSON.stringify(result.identity)}`)
  assert.equal(result.code, code, result.reason)
  assert.match(result.reason, reason)
}

describe('accepted', () => {
  test('a user by the leaf alone, as on resumption, and with its CA behind it', () => {
    for (const chain of [[alice.der], [alice.der, userCa.der]]) {
      const result = verifyPeer(chain, wantUser, NOW)
      assert.ok(result.ok)
      assert.deepEqual(result.identity, userIdentity())
      assert.equal(result.keySha256, keySha256(alice.key.spki))
      assert.equal(result.facts.notAfterMs, NOW + HOUR)
      assert.match(result.facts.serial, /^[1-9a-f][0-9a-f]{0,31}$/)
      assert.match(result.facts.fingerprint, /^[0-9a-f]{64}$/)
    }
  })

  test('an agent as client, a proxy as client and as server', () => {
    assert.ok(verifyPeer([agent.der], wantAgent, NOW).ok)
    assert.ok(verifyPeer([proxy.der], wantProxy, NOW).ok)
    assert.ok(verifyPeer([proxy.der], { ...wantProxy, purpose: 'client' }, NOW).ok)
  })

  test('a host of any role when no role is asked for', () => {
    const { role: _role, ...any } = wantAgent
    assert.ok(verifyPeer([proxy.der], any, NOW).ok)
  })

  test('a server by a name it carries, whatever its case', () => {
    const serverName = systemName(systemIdentity('proxy')).toUpperCase()
    assert.ok(verifyPeer([proxy.der], { ...wantProxy, serverName }, NOW).ok)
  })

  test('a leaf of the older and of the newer CA while they overlap', () => {
    // Same subject, other key: only the key identifier tells them apart.
    const newer = testCa('user CA', NOW)
    const want = { ...wantUser, cas: [newer.der, userCa.der] }
    assert.ok(verifyPeer([alice.der], want, NOW).ok)
    assert.ok(verifyPeer([testLeaf(newer, userIdentity(), NOW).der], want, NOW).ok)
  })

  test('in its first and its last moment', () => {
    assert.ok(verifyPeer([alice.der], wantUser, NOW - 60_000).ok)
    assert.ok(verifyPeer([alice.der], wantUser, NOW + HOUR).ok)
  })

  test('a user whose name and roles are those of system roles stays a user', () => {
    const odd = userIdentity({ name: 'control', roles: ['proxy', 'control', 'agent'] })
    const leaf = testLeaf(userCa, odd, NOW)
    assert.ok(verifyPeer([leaf.der], wantUser, NOW).ok)
    refuses([leaf.der], { ...wantAgent, cas: [userCa.der] }, 'cert.purpose', /for a user/)
  })
})

describe('a Verified', () => {
  test('cannot be made, cloned or imitated', () => {
    const result = verifyPeer([alice.der], wantUser, NOW)
    assert.ok(Verified.holds(result))
    assert.equal(Verified.holds(structuredClone(result)), false)
    assert.equal(Verified.holds(Object.assign({}, result)), false)
    assert.equal(Verified.holds(Object.create(Verified.prototype)), false)
    assert.throws(
      () => Reflect.construct(Verified, [Symbol('verified'), userIdentity()]),
      TypeError,
    )
  })
})

describe('refused for its chain', () => {
  test('no certificate', () => {
    refuses([], wantUser, 'cert.chain', /no certificate/)
  })

  test('self-signed', () => {
    const self = testCa('user CA', NOW)
    const leaf = testLeaf(self, userIdentity(), NOW, { key: self.signer })
    refuses([leaf.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('a foreign CA with the same name, also when it sends itself along', () => {
    const foreign = testCa('user CA', NOW)
    const leaf = testLeaf(foreign, userIdentity(), NOW)
    refuses([leaf.der], wantUser, 'cert.chain', /not from the CA/)
    refuses([leaf.der, foreign.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('a foreign CA with the same name and key identifier', () => {
    const extend = { authorityKeyId: keyId(readPublicKey(userCa.signer.spki)) }
    const leaf = testLeaf(testCa('user CA', NOW), userIdentity(), NOW, { extend })
    refuses([leaf.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('the right key under another issuer name', () => {
    const leaf = testLeaf(testCa('other CA', NOW, { signer: userCa.signer }), userIdentity(), NOW)
    refuses([leaf.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('no authority key identifier', () => {
    const { authorityKeyId: _id, ...extensions } = readCertificate(alice.der).extensions
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extensions })
    refuses([leaf.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('a certificate of the host CA where the user CA is demanded, and the other way round', () => {
    refuses([testLeaf(hostCa, userIdentity(), NOW).der], wantUser, 'cert.chain', /not from the CA/)
    const posing = testLeaf(userCa, systemIdentity('control'), NOW)
    refuses([posing.der], wantControl, 'cert.chain', /not from the CA/)
  })

  test('no trusted CA at all', () => {
    refuses([alice.der], { ...wantUser, cas: [] }, 'cert.chain', /not from the CA/)
  })

  test('a nested chain: a leaf under a CA certificate that our CA signed', () => {
    const signer = generateKey('ecdsa-p256').signer
    const middle = testLeaf(userCa, userIdentity(), NOW, {
      key: signer,
      subject: subjectAttributes({ commonName: 'middle' }),
      extend: { basicConstraints: { ca: true }, keyUsage: ['keyCertSign'] },
    })
    const under = { signer, der: middle.der, subject: { commonName: 'middle' } }
    const leaf = testLeaf(under, userIdentity(), NOW)
    refuses([leaf.der, middle.der], wantUser, 'cert.chain', /not from the CA/)
    refuses([leaf.der, middle.der, userCa.der], wantUser, 'cert.chain', /longer/)
  })

  test('a leaf that signs for another leaf', () => {
    const under = { signer: alice.key, der: alice.der, subject: { commonName: 'for people' } }
    const leaf = testLeaf(under, userIdentity({ name: 'bob' }), NOW)
    refuses([leaf.der, alice.der], wantUser, 'cert.chain', /not from the CA/)
  })

  test('a good leaf with a stranger behind it', () => {
    refuses([alice.der, hostCa.der], wantUser, 'cert.chain', /besides/)
    refuses([alice.der, alice.der], wantUser, 'cert.chain', /besides/)
    refuses([alice.der, userCa.der, userCa.der], wantUser, 'cert.chain', /longer/)
  })
})

describe('refused for its purpose', () => {
  const usages: readonly (readonly [string, readonly string[]])[] = [
    ['serverAuth', [OID.serverAuth]],
    ['clientAuth and serverAuth', [OID.clientAuth, OID.serverAuth]],
    ['clientAuth twice', [OID.clientAuth, OID.clientAuth]],
    ['any usage', ['2.5.29.37.0']],
    ['code signing beside clientAuth', [OID.clientAuth, '1.3.6.1.5.5.7.3.3']],
  ]
  for (const [what, extendedKeyUsage] of usages)
    test(`a user with ${what}`, () => {
      const leaf = testLeaf(userCa, userIdentity(), NOW, { extend: { extendedKeyUsage } })
      refuses([leaf.der], wantUser, 'cert.purpose', /extended key usage/)
    })

  test('no extended key usage at all', () => {
    const { extendedKeyUsage: _usage, ...extensions } = readCertificate(alice.der).extensions
    const bare = { ...extensions, authorityKeyId: keyId(readPublicKey(userCa.signer.spki)) }
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extensions: bare })
    refuses([leaf.der], wantUser, 'cert.purpose', /extended key usage/)
  })

  test('an agent as server, with clientAuth and with serverAuth pasted in', () => {
    const want = { ...wantProxy, role: 'agent' } as const
    refuses([agent.der], want, 'cert.purpose', /not for a server/)
    const extend = { extendedKeyUsage: [OID.clientAuth, OID.serverAuth] }
    const leaf = testLeaf(hostCa, systemIdentity('agent'), NOW, { extend })
    refuses([leaf.der], want, 'cert.purpose', /extended key usage/)
  })

  test('an agent where a proxy or control is asked for, a proxy where control is', () => {
    refuses([agent.der], { ...wantAgent, role: 'proxy' }, 'cert.purpose', /role agent, not proxy/)
    refuses([proxy.der], wantControl, 'cert.purpose', /role proxy, not control/)
    refuses([proxy.der], wantAgent, 'cert.purpose', /role proxy, not agent/)
  })

  test('a user of another cluster under the same CA key', () => {
    const leaf = testLeaf(userCa, userIdentity({ cluster: 'other.test' }), NOW)
    refuses([leaf.der], wantUser, 'cert.purpose', /another cluster/)
  })

  test('CA:true in a leaf', () => {
    const extend = { basicConstraints: { ca: true } }
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extend })
    refuses([leaf.der], wantUser, 'cert.purpose', /CA certificate/)
  })

  test('no basic constraints', () => {
    const { basicConstraints: _constraints, ...extensions } = readCertificate(alice.der).extensions
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extensions })
    refuses([leaf.der], wantUser, 'cert.purpose', /CA certificate/)
  })

  for (const keyUsage of [['keyCertSign'], ['digitalSignature', 'keyCertSign']] as const)
    test(`key usage ${keyUsage.join(' and ')}`, () => {
      const leaf = testLeaf(userCa, userIdentity(), NOW, { extend: { keyUsage } })
      refuses([leaf.der], wantUser, 'cert.purpose', /key usage/)
    })

  test('the key of its own CA', () => {
    const leaf = testLeaf(userCa, userIdentity(), NOW, { key: userCa.signer })
    refuses([leaf.der], wantUser, 'cert.purpose', /key of its CA/)
  })

  test('an RSA key', () => {
    const pem = execFileSync('openssl', ['genrsa', '2048'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const spki = execFileSync('openssl', ['rsa', '-pubout', '-outform', 'DER'], {
      input: pem,
      stdio: ['pipe', 'pipe', 'ignore'],
    })
    const leaf = testLeaf(userCa, userIdentity(), NOW, { spki })
    refuses([leaf.der], wantUser, 'cert.purpose', /kind we do not accept/)
  })

  test('a user that names hosts, and anybody who names addresses', () => {
    const hosts = testLeaf(userCa, userIdentity(), NOW, {
      extend: { dnsNames: ['control.sluice.test'] },
    })
    refuses([hosts.der], wantUser, 'cert.purpose', /names hosts/)
    const extend = { ipAddresses: ['127.0.0.1'] }
    const addresses = testLeaf(hostCa, systemIdentity('agent'), NOW, { extend })
    refuses([addresses.der], wantAgent, 'cert.purpose', /names addresses/)
    const atControl = testLeaf(hostCa, systemIdentity('control'), NOW, { extend })
    const wantControl = { ...wantProxy, role: 'control' } as const
    refuses([atControl.der], wantControl, 'cert.purpose', /names addresses/)
  })

  test('a proxy that names its address and not itself', () => {
    const extend = { dnsNames: [], ipAddresses: ['127.0.0.1'] }
    const names = testLeaf(hostCa, systemIdentity('proxy'), NOW, { extend })
    refuses([names.der], wantProxy, 'cert.purpose', /its own identity/)
  })

  test('a host that does not name itself, or is asked for under another name', () => {
    const extend = { dnsNames: ['control.sluice.test'] }
    const leaf = testLeaf(hostCa, systemIdentity('proxy'), NOW, { extend })
    refuses([leaf.der], wantProxy, 'cert.purpose', /its own identity/)
    const serverName = 'other.sluice.test'
    refuses([proxy.der], { ...wantProxy, serverName }, 'cert.purpose', /another server name/)
  })
})

describe('refused for its identity', () => {
  test('none', () => {
    const { identity: _identity, ...extensions } = readCertificate(alice.der).extensions
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extensions })
    refuses([leaf.der], wantUser, 'cert.identity', /no identity/)
  })

  test('over 8 KB', () => {
    const good = encodeIdentity(userIdentity({ traits: { groups: ['x'] } }))
    const json = Buffer.from(good)
      .toString()
      .replace('"x"', `"${'x'.repeat(9000)}"`)
    const leaf = testLeaf(userCa, userIdentity(), NOW, { extend: { identity: Buffer.from(json) } })
    refuses([leaf.der], wantUser, 'cert.identity', /no identity/)
  })

  test('one that is not canonical, or of another version', () => {
    const good = Buffer.from(encodeIdentity(userIdentity()))
    const spaced = Buffer.from(good.toString('latin1').replace(':', ': '), 'latin1')
    const next = Buffer.from(good)
    next[0] = 2
    for (const identity of [spaced, next, new Uint8Array()]) {
      const leaf = testLeaf(userCa, userIdentity(), NOW, { extend: { identity } })
      refuses([leaf.der], wantUser, 'cert.identity', /no identity/)
    }
  })

  test('the type that was not asked for', () => {
    const posing = testLeaf(userCa, systemIdentity('agent'), NOW)
    refuses([posing.der], wantUser, 'cert.purpose', /for a system, not for a user/)
  })
})

describe('refused for its dates', () => {
  test('a second too late and a second too early, with both times named', () => {
    refuses([alice.der], wantUser, 'cert.expired', /expired at 2026-11-20T01:00:00/, NOW + HOUR + 1)
    refuses([alice.der], wantUser, 'cert.expired', /valid from 2026-11-19T23:59:00/, NOW - 60_001)
  })

  test('under a CA that expired or is not yet valid', () => {
    for (const over of [{ notAfterMs: NOW - 1000 }, { notBeforeMs: NOW + 1000 }]) {
      const ca = testCa('user CA', NOW, over)
      const leaf = testLeaf(ca, userIdentity(), NOW)
      refuses([leaf.der], { ...wantUser, cas: [ca.der] }, 'cert.expired', /./)
    }
  })
})
