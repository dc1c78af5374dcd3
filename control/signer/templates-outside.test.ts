// Certificates for databases, and signed messages: made as meant, and nothing beyond. Also openssl's view of them, since
// databases check these with it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, describe, test } from 'node:test'

import { generateKey } from '../../core/cert/key.ts'
import { attributeValues } from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { writePem } from '../../core/cert/pem.ts'
import { permitBody } from '../../core/permit.ts'
import { checkpointBody, SNAPSHOT_TYPES, verifySigned } from '../../core/cert/signed.ts'
import { spkiOfBlob } from '../../core/cert/ssh-identity.ts'
import { verifyPeer } from '../../core/cert/verify.ts'
import {
  type Certificate,
  readCertificate,
  readIssuer,
  verifyCertificate,
} from '../../core/cert/x509.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import type { SnapshotType } from '../../core/cert/signed.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import type { DbClientRequest, Issued } from './api.ts'
import { openSigner } from './signer.ts'

const clock = new FakeClock(Date.UTC(2026, 10, 20))
const HOUR = 3_600_000
const DAY = 24 * HOUR
const { spki } = generateKey('ecdsa-p256').signer

const folder = await temporaryFolder({ after })
const signer = await openSigner({ folder, cluster: CLUSTER, insecureKeys: true, clock })
const authorities = await signer.authorities()

const refused = (error: unknown): boolean => errorCode(error) === 'signer.refused'

function from(ca: 'db' | 'db_client', issued: Issued): Certificate {
  const certificate = readCertificate(issued.certificate)
  const issuer = readIssuer(authorities.cas[ca][0] ?? new Uint8Array())
  assert.ok(verifyCertificate(certificate, issuer))
  assert.equal(issued.ca, ca)
  return certificate
}

async function openssl(ca: 'db' | 'db_client', issued: Issued, purpose: string): Promise<string> {
  const file = path.join(await temporaryFolder({ after }), 'leaf.pem')
  writeFileSync(file, writePem('CERTIFICATE', issued.certificate))
  const attime = String(clock.now() / 1000)
  const trust = ['-CAfile', path.join(folder, `${ca}.crt`), '-attime', attime, '-purpose', purpose]
  return execFileSync('openssl', ['verify', '-x509_strict', ...trust, file], {
    stdio: 'pipe',
  }).toString()
}

describe('db_client', () => {
  const ask = (over: Partial<DbClientRequest> = {}): Promise<Issued> =>
    signer.dbClient({ target: 'orders', principal: 'reader', spki, ...over })

  test('makes a client certificate that names principal, target and cluster, for a day', async () => {
    const issued = await ask()
    const { subject, extensions, notAfterMs } = from('db_client', issued)
    assert.deepEqual(attributeValues(subject, OID.commonName), ['reader'])
    assert.deepEqual(attributeValues(subject, OID.organizationalUnit), ['orders'])
    assert.deepEqual(attributeValues(subject, OID.organization), [CLUSTER])
    assert.deepEqual(extensions.extendedKeyUsage, [OID.clientAuth])
    assert.deepEqual(extensions.dnsNames, [])
    assert.equal(extensions.identity, undefined)
    assert.equal(notAfterMs, clock.now() + DAY)
    assert.match(await openssl('db_client', issued, 'sslclient'), /OK/)
    await assert.rejects(openssl('db_client', issued, 'sslserver'))
  })

  test('makes nothing that passes for an identity', async () => {
    const { certificate } = await ask({ principal: 'alice' })
    const want = { purpose: 'client', type: 'user', cluster: CLUSTER } as const
    for (const cas of [authorities.cas.user, authorities.cas.db_client])
      assert.equal(verifyPeer([certificate], { ...want, cas }, clock.now()).ok, false)
  })

  test('keeps a principal as the database knows it, capitals and spaces included', async () => {
    const { subject } = from('db_client', await ask({ principal: 'Größe, CN=postgres +x' }))
    assert.deepEqual(attributeValues(subject, OID.commonName), ['Größe, CN=postgres +x'])
  })

  test('refuses names that mean something else to a reader in C, and empty or long ones', async () => {
    for (const bad of ['', 'postgres\0x', 'a\nb', 'a\u202eb', '\ud800', 'a'.repeat(129)]) {
      await assert.rejects(ask({ principal: bad }), refused)
      await assert.rejects(ask({ target: bad }), refused)
    }
  })

  test('refuses more than a day', async () => {
    await ask({ ttlMs: HOUR })
    for (const ttlMs of [DAY + 1, 0, -1, Number.NaN]) await assert.rejects(ask({ ttlMs }), refused)
  })
})

describe('db_server', () => {
  const ask = (hosts: readonly string[], ttlMs = DAY): Promise<Issued> =>
    signer.dbServer({ hosts, spki, ttlMs })

  test('makes a server certificate for names and addresses, the first as its CN', async () => {
    const issued = await ask(['DB1.example.com', '192.0.2.7', '::1', 'localhost'])
    const { subject, extensions } = from('db', issued)
    assert.deepEqual(attributeValues(subject, OID.commonName), ['db1.example.com'])
    assert.deepEqual(extensions.dnsNames, ['db1.example.com', 'localhost'])
    assert.deepEqual(extensions.ipAddresses, ['192.0.2.7', '0:0:0:0:0:0:0:1'])
    assert.deepEqual(extensions.extendedKeyUsage, [OID.serverAuth])
    assert.match(await openssl('db', issued, 'sslserver'), /OK/)
    await assert.rejects(openssl('db', issued, 'sslclient'))
  })

  test('may name a host in the cluster’s own domain', async () => {
    from('db', await ask([`db1.${CLUSTER}`]))
  })

  const bad = [
    '',
    '*',
    '*.example.com',
    'a b',
    'a_b',
    'a.',
    'a\0',
    '1.2.3.4.5:80',
    CLUSTER,
    `control.${CLUSTER}`,
    `db.${CLUSTER}`,
    `x.orders.db.${CLUSTER}`,
    `orders.KUBE.${CLUSTER}`,
    `x.proxy.${CLUSTER}`,
    `${'a'.repeat(64)}.example.com`,
  ]
  for (const host of bad)
    test(`refuses the host ${JSON.stringify(host)}`, async () => {
      await assert.rejects(ask(['good.example.com', host]), refused)
    })

  test('refuses no host, a host twice in any spelling, and too many', async () => {
    await assert.rejects(ask([]), refused)
    await assert.rejects(ask(['a.example', 'A.example']), refused)
    await assert.rejects(ask(['::1', '0:0:0:0:0:0:0:1']), refused)
    await assert.rejects(ask(Array.from({ length: 65 }, (_, n) => `h${n}.example`)), refused)
  })

  test('refuses more than three years, and never outlives its CA', async () => {
    await assert.rejects(ask(['a.example'], 3 * 365 * DAY + 1), refused)
    const late = new FakeClock(clock.now() + 9 * 365 * DAY)
    const old = await openSigner({ folder, cluster: CLUSTER, insecureKeys: true, clock: late })
    const { facts } = await old.dbServer({ hosts: ['a.example'], spki, ttlMs: 3 * 365 * DAY })
    const ca = readCertificate(authorities.cas.db[0] ?? new Uint8Array())
    assert.equal(facts.notAfterMs, ca.notAfterMs)
  })
})

describe('signed messages', () => {
  const permit = {
    certificate: 'ab'.repeat(32),
    target: { kind: 'db', name: 'orders' },
    proxyId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  } as const
  const body = Buffer.from('{"revision":1}')
  const checkpoint = {
    writer: 'control',
    count: 3,
    head: 'ab'.repeat(32),
    timeMs: 1_800_000_000_000,
  }

  test('a snapshot of each type is signed as that type, by the snapshot key alone', async () => {
    const { snapshot, audit, ssh } = authorities
    const openssh = ssh.openssh.map(spkiOfBlob)
    for (const type of SNAPSHOT_TYPES) {
      const signature = await signer.signSnapshot({ type, body })
      assert.ok(verifySigned(type, body, signature, snapshot))
      assert.equal(verifySigned(type, body, signature, [...audit, ...openssh]), false)
      assert.equal(verifySigned('checkpoint', body, signature, snapshot), false)
    }
  })

  test('a checkpoint is signed by the audit key alone', async () => {
    const bytes = checkpointBody(checkpoint)
    const signature = await signer.signCheckpoint(bytes)
    assert.ok(verifySigned('checkpoint', bytes, signature, authorities.audit))
    assert.equal(verifySigned('checkpoint', bytes, signature, authorities.snapshot), false)
  })

  test('a permit of at most an hour is signed by the snapshot key, as a permit', async () => {
    const bytes = permitBody({ ...permit, expiresAtMs: clock.now() + HOUR })
    const signature = await signer.signPermit(bytes)
    assert.ok(verifySigned('permit', bytes, signature, authorities.snapshot))
    for (const type of SNAPSHOT_TYPES)
      assert.equal(verifySigned(type, bytes, signature, authorities.snapshot), false)
    for (const expiresAtMs of [clock.now() + HOUR + 1, clock.now()])
      await assert.rejects(signer.signPermit(permitBody({ ...permit, expiresAtMs })), refused)
    const text = Buffer.from(bytes).toString()
    for (const bad of ['', 'x', 'null', `${text} `, text.replace('{', '{"also":1,'), text.slice(1)])
      await assert.rejects(signer.signPermit(Buffer.from(bad)), refused, bad)
  })

  test('a type nobody knows is refused, the checkpoint among them', async () => {
    for (const type of ['checkpoint', 'permit', '', 'snapshot:v1\nx', 'constructor'])
      await assert.rejects(signer.signSnapshot({ type: type as SnapshotType, body }), refused)
  })

  const good = Buffer.from(checkpointBody(checkpoint)).toString()
  const wrong: Readonly<Record<string, string>> = {
    'no JSON': 'x',
    nothing: '',
    'a list': '[]',
    null: 'null',
    'white space': `${good} `,
    'another order': `{"writer":"control",${good.slice(1).replace(',"writer":"control"', '')}`,
    'one field more': good.replace('{', '{"also":1,'),
    'one field less': good.replace('"count":3,', ''),
    'a negative count': good.replace(':3', ':-3'),
    'minus zero': good.replace(':3', ':-0'),
    'a fraction': good.replace(':3', ':3.5'),
    'a short hash': good.replace('abab', ''),
    'a hash in capitals': good.replace('abab', 'ABAB'),
    'a writer with half a character': good.replace('control', '\\ud800'),
    'a certificate to be': '0\u0082\u0001\u0000',
  }
  for (const [what, text] of Object.entries(wrong))
    test(`a checkpoint that is ${what} is refused`, async () => {
      await assert.rejects(signer.signCheckpoint(Buffer.from(text)), refused)
    })
})
