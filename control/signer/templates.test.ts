// No template for the cluster's own parts lets out of its box. Each is shown to make what it is for, and then asked for everything it is not for.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, describe, test } from 'node:test'

import { buildCsr } from '../../core/cert/csr.ts'
import { generateKey } from '../../core/cert/key.ts'
import { attributeValues } from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { spkiOfBlob } from '../../core/cert/ssh-identity.ts'
import { factsOf, verifyPeer } from '../../core/cert/verify.ts'
import {
  type Certificate,
  isCanonical,
  readCertificate,
  readIssuer,
  verifyCertificate,
} from '../../core/cert/x509.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import type { SystemIdentity, UserIdentity } from '../../core/identity.ts'
import { CLUSTER, systemIdentity, userIdentity } from '../../test/fixtures/certificates.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import type { HostRequest, Issued, TargetName } from './api.ts'
import { CA_NAMES } from './authority.ts'
import { openSigner } from './signer.ts'

const clock = new FakeClock(Date.UTC(2026, 10, 20))
const HOUR = 3_600_000
const DAY = 24 * HOUR
const key = generateKey('ecdsa-p256').signer
const { spki } = key
const csr = buildCsr('whoever', key)
const agentId = randomUUID()

const folder = await temporaryFolder({ after })
const signer = await openSigner({ folder, cluster: CLUSTER, insecureKeys: true, clock })
const authorities = await signer.authorities()

const refused = (error: unknown): boolean => errorCode(error) === 'signer.refused'
const refusedSomehow = (error: unknown): boolean =>
  ['signer.refused', 'cert.identity', 'cert.malformed'].includes(errorCode(error) ?? '')

/** What every leaf must be, whatever was asked for. */
function sound(issued: Issued): Certificate {
  const certificate = readCertificate(issued.certificate)
  const { extensions, notBeforeMs } = certificate
  const signers = CA_NAMES.filter((name) =>
    verifyCertificate(certificate, readIssuer(authorities.cas[name][0] ?? new Uint8Array())),
  )
  assert.deepEqual(signers, [issued.ca])
  assert.deepEqual(extensions.basicConstraints, { ca: false })
  assert.deepEqual(extensions.keyUsage, ['digitalSignature'])
  assert.equal(notBeforeMs, clock.now() - 60_000)
  assert.ok(isCanonical(certificate))
  assert.deepEqual(issued.facts, factsOf(certificate))
  return certificate
}

/** A value of the wrong type where the compiler would not let it through: control may be mistaken at run time. */
function disguised<T>(value: unknown): T {
  return value as T
}

describe('user', () => {
  const ask = (over: Partial<UserIdentity> = {}, ttlMs = HOUR): Promise<Issued> =>
    signer.user({ identity: userIdentity(over), spki, ttlMs })

  test('makes a client certificate that verifies as the user, for as long as asked', async () => {
    const issued = await ask({}, 30 * HOUR)
    const { extensions, subject, notAfterMs } = sound(issued)
    assert.equal(issued.ca, 'user')
    assert.deepEqual(extensions.extendedKeyUsage, [OID.clientAuth])
    assert.deepEqual(extensions.dnsNames, [])
    assert.deepEqual(attributeValues(subject, OID.commonName), ['alice'])
    assert.equal(notAfterMs, clock.now() + 30 * HOUR)
    const want = { purpose: 'client', type: 'user', cluster: CLUSTER } as const
    const verified = verifyPeer(
      [issued.certificate],
      { ...want, cas: authorities.cas.user },
      clock.now(),
    )
    assert.ok(verified.ok)
    assert.deepEqual(verified.identity, userIdentity())
  })

  test('refuses a system identity, another cluster and a second factor of the future', async () => {
    const identity = disguised<UserIdentity>(systemIdentity('control'))
    await assert.rejects(signer.user({ identity, spki, ttlMs: HOUR }), refused)
    await assert.rejects(ask({ cluster: 'other.test' }), refused)
    await assert.rejects(ask({ mfaAtMs: clock.now() + 60_001 }), refused)
    await ask({ mfaAtMs: clock.now() + 60_000 })
  })

  test('refuses an identity that could not be read back', async () => {
    for (const over of [{ name: '' }, { name: 'a\0b' }, { name: 'ﬁ' }, { roles: ['a', 'a'] }])
      await assert.rejects(ask(over), refusedSomehow)
    await assert.rejects(ask(disguised({ admin: true })), refusedSomehow)
    await assert.rejects(ask({ traits: { groups: ['x'.repeat(9000)] } }), refusedSomehow)
  })

  test('refuses a lifetime over 30 hours, of nothing, or of no number', async () => {
    for (const ttlMs of [30 * HOUR + 1, 999, 0, -1, 1.5 * 1000 + 0.5, Number.NaN, Infinity])
      await assert.rejects(ask({}, ttlMs), refused, String(ttlMs))
  })

  test('refuses keys that are not plain keys, and each of the signer’s own', async () => {
    const asked = (bad: Uint8Array): Promise<Issued> =>
      signer.user({ identity: userIdentity(), spki: bad, ttlMs: HOUR })
    await assert.rejects(asked(new Uint8Array()), refusedSomehow)
    await assert.rejects(asked(csr), refusedSomehow)
    const own = CA_NAMES.map((name) => readCertificate(authorities.cas[name][0] ?? csr).spki)
    const { ssh, snapshot, audit } = authorities
    const ofSsh = [...ssh.user, ...ssh.host, ...ssh.openssh].map(spkiOfBlob)
    for (const bad of [...own, ...ofSsh, ...snapshot, ...audit])
      await assert.rejects(asked(bad), refused)
  })
})

describe('host', () => {
  const ask = (
    identity: SystemIdentity,
    over: Partial<Omit<HostRequest, 'identity'>> = {},
  ): Promise<Issued> => signer.host({ identity, csr, ttlMs: DAY, ...over })
  const control = systemIdentity('control')

  test('gives agents clientAuth alone, proxies and control serverAuth too', async () => {
    const both = [OID.clientAuth, OID.serverAuth]
    const cases = [
      [systemIdentity('agent'), {}, [OID.clientAuth]],
      [systemIdentity('proxy'), {}, both],
      [control, { self: true }, both],
    ] as const
    for (const [identity, over, usages] of cases) {
      const issued = await ask(identity, over)
      const { extensions } = sound(issued)
      assert.equal(issued.ca, 'host')
      assert.deepEqual(extensions.extendedKeyUsage, usages)
      const want = { type: 'system', role: identity.role, cluster: CLUSTER } as const
      const purpose = identity.role === 'agent' ? 'client' : 'server'
      const expectation = { ...want, purpose, cas: authorities.cas.host } as const
      assert.ok(verifyPeer([issued.certificate], expectation, clock.now()).ok)
    }
  })

  test('names the process, control also by its own name, and free single labels', async () => {
    const own = (identity: SystemIdentity): string => `${identity.id}.${identity.role}.${CLUSTER}`
    const agent = systemIdentity('agent')
    const plain = sound(await ask(agent, { dnsNames: [`node-1.${CLUSTER}`] }))
    assert.deepEqual(plain.extensions.dnsNames, [own(agent), `node-1.${CLUSTER}`])
    const self = sound(await ask(control, { self: true }))
    assert.deepEqual(self.extensions.dnsNames, [own(control), `control.${CLUSTER}`])
  })

  test('gives a proxy the host of its public address, a name or an address', async () => {
    const proxy = systemIdentity('proxy')
    const own = `${proxy.id}.proxy.${CLUSTER}`
    const named = sound(await ask(proxy, { publicHost: 'Access.example.org' }))
    assert.deepEqual(named.extensions.dnsNames, [own, 'access.example.org'])
    assert.deepEqual(named.extensions.ipAddresses, [])
    const addressed = await ask(proxy, { publicHost: '2001:db8::1' })
    const { extensions } = sound(addressed)
    assert.deepEqual(extensions.dnsNames, [own])
    assert.deepEqual(extensions.ipAddresses, ['2001:db8:0:0:0:0:0:1'])
    const want = { type: 'system', role: 'proxy', purpose: 'server', cluster: CLUSTER } as const
    const expectation = { ...want, cas: authorities.cas.host }
    assert.ok(verifyPeer([addressed.certificate], expectation, clock.now()).ok)
  })

  test('gives nobody else one, and no proxy a name of the cluster’s parts and targets', async () => {
    await assert.rejects(ask(systemIdentity('agent'), { publicHost: 'a.example' }), refused)
    await assert.rejects(ask(control, { publicHost: 'a.example', self: true }), refused)
    const hosts = ['control', 'x.orders.db', 'terminate.orders.db', 'db', 'id.proxy', 'agent']
    for (const inner of hosts)
      await assert.rejects(
        ask(systemIdentity('proxy'), { publicHost: `${inner}.${CLUSTER}` }),
        refused,
        inner,
      )
    for (const publicHost of ['', '*', '*.example.org', 'a b', '0.0.0.0', 'localhost:443'])
      await assert.rejects(ask(systemIdentity('proxy'), { publicHost }), refused, publicHost)
    const twice = { publicHost: `n.${CLUSTER}`, dnsNames: [`n.${CLUSTER}`] }
    await assert.rejects(ask(systemIdentity('proxy'), twice), refused)
  })

  test('makes a control certificate for control itself only, and for control nothing else', async () => {
    await assert.rejects(ask(control), refused)
    await assert.rejects(ask(control, { self: false }), refused)
    await assert.rejects(ask(systemIdentity('proxy'), { self: true }), refused)
    await assert.rejects(ask(disguised({ ...control, role: 'proxy,control' })), refusedSomehow)
  })

  test('refuses a user, another cluster, an id that is none and a role nobody knows', async () => {
    const agent = systemIdentity('agent')
    await assert.rejects(ask(disguised(userIdentity())), refused)
    await assert.rejects(ask({ ...agent, cluster: 'other.test' }), refused)
    for (const id of ['', 'x', '*', `x.${agent.id}`, agent.id.toUpperCase()])
      await assert.rejects(ask({ ...agent, id }), refusedSomehow)
    await assert.rejects(ask(disguised({ ...agent, role: 'signer' })), refusedSomehow)
    await assert.rejects(ask(disguised({ ...agent, admin: true })), refusedSomehow)
  })

  const names = [
    'node',
    CLUSTER,
    `.${CLUSTER}`,
    `*.${CLUSTER}`,
    `control.${CLUSTER}`,
    `proxy.${CLUSTER}`,
    `agent.${CLUSTER}`,
    `db.${CLUSTER}`,
    `kube.${CLUSTER}`,
    `x.orders.db.${CLUSTER}`,
    `a.b.${CLUSTER}`,
    'node.other.test',
    `node.x${CLUSTER}`,
    `Node.${CLUSTER}`,
    `node.${CLUSTER}.`,
    `node_1.${CLUSTER}`,
    `${'n'.repeat(64)}.${CLUSTER}`,
    `node\0.${CLUSTER}`,
    'www.example.com',
  ]
  for (const name of names)
    test(`refuses the name ${JSON.stringify(name)}`, async () => {
      await assert.rejects(ask(systemIdentity('proxy'), { dnsNames: [name] }), refused)
    })

  test('refuses a name twice, more than seven days, and a request that proves nothing', async () => {
    const agent = systemIdentity('agent')
    const dnsNames = [`n.${CLUSTER}`, `n.${CLUSTER}`]
    await assert.rejects(ask(agent, { dnsNames }), refused)
    await assert.rejects(ask(agent, { ttlMs: 7 * DAY + 1 }), refused)
    const stolen = buildCsr('x', { ...generateKey('ecdsa-p256').signer, spki })
    await assert.rejects(ask(agent, { csr: stolen }), refusedSomehow)
    await assert.rejects(ask(agent, { csr: spki }), refusedSomehow)
  })
})

describe('target', () => {
  const orders: TargetName = { label: 'orders', kindLabel: 'db' }
  const ask = (names: readonly TargetName[], id: string = agentId): Promise<Issued> =>
    signer.target({ names, csr, agentId: id })

  test('makes a server certificate for all names, each with room for the ticket', async () => {
    const issued = await ask([orders, { label: 'x-abc', kindLabel: 'kube' }])
    const { extensions, notAfterMs, subject } = sound(issued)
    assert.equal(issued.ca, 'target')
    assert.deepEqual(extensions.extendedKeyUsage, [OID.serverAuth])
    assert.deepEqual(extensions.dnsNames, [`*.orders.db.${CLUSTER}`, `*.x-abc.kube.${CLUSTER}`])
    assert.equal(extensions.identity, undefined)
    assert.equal(notAfterMs, clock.now() + 7 * DAY)
    assert.deepEqual(attributeValues(subject, OID.commonName), [agentId])
  })

  test('makes nothing that passes for an identity', async () => {
    const issued = await ask([orders])
    for (const cas of [authorities.cas.host, authorities.cas.target]) {
      const want = { cas, purpose: 'server', type: 'system', cluster: CLUSTER } as const
      assert.equal(verifyPeer([issued.certificate], want, clock.now()).ok, false)
    }
  })

  const labels = ['', '*', 'a.b', 'Orders', '-a', 'a-', 'a_b', 'a b', 'ö', 'a'.repeat(64), 'a\0']
  for (const label of labels)
    test(`refuses the label ${JSON.stringify(label)}`, async () => {
      await assert.rejects(ask([{ label, kindLabel: 'db' }]), refused)
    })

  test('refuses a kind label nobody knows, system roles among them', async () => {
    for (const kindLabel of ['', 'proxy', 'control', 'agent', 'kube_cluster', 'DB', 'constructor'])
      await assert.rejects(ask([{ label: 'orders', kindLabel }]), refused)
  })

  test('refuses no name, a name twice, too many names and an agent without id', async () => {
    const many = Array.from({ length: 301 }, (_, n) => ({ label: `t${n}`, kindLabel: 'db' }))
    await assert.rejects(ask([]), refused)
    await assert.rejects(ask([orders, orders]), refused)
    await assert.rejects(ask(many), refused)
    await assert.rejects(ask([orders], 'agent-1'), refused)
  })

  test('has room for as many of the longest names as it allows', async () => {
    const cluster = `${'c'.repeat(60)}.${'d'.repeat(59)}`
    const own = await temporaryFolder({ after })
    const other = await openSigner({ folder: own, cluster, insecureKeys: true, clock })
    const names = Array.from({ length: 300 }, (_, n) => ({
      label: `${'l'.repeat(60)}${String(n).padStart(3, '0')}`,
      kindLabel: 'desktop',
    }))
    const { certificate } = await other.target({ names, csr, agentId })
    assert.equal(readCertificate(certificate).extensions.dnsNames.length, 300)
  })
})
