// The authorities: made once, the same after every start, and never replaced in silence.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'

import { keyPin } from '../../core/cert/key.ts'
import { attributeValues } from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { readPemOne } from '../../core/cert/pem.ts'
import {
  isCanonical,
  readCertificate,
  readIssuer,
  verifyCertificate,
} from '../../core/cert/x509.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { type Authorities, SSH_CA_NAMES } from './api.ts'
import { CA_NAMES } from './authority.ts'
import { openSigner } from './signer.ts'

const clock = new FakeClock(Date.UTC(2026, 10, 20))
const CLUSTER = 'sluice.test'

async function start(folder: string, cluster: string = CLUSTER): Promise<Authorities> {
  const signer = await openSigner({ folder, cluster, insecureKeys: true, clock })
  return signer.authorities()
}

const unusable = (error: unknown): boolean => errorCode(error) === 'signer.unavailable'

test('the first start makes five CAs and five signing keys', async (t) => {
  const folder = await temporaryFolder(t)
  const authorities = await start(folder)
  const crts = CA_NAMES.map((name) => `${name}.crt`)
  const keys = [...CA_NAMES, ...SSH_CA_NAMES, 'audit', 'snapshot'].map((name) => `${name}.key`)
  assert.deepEqual(readdirSync(folder).sort(), [...crts, ...keys].sort())
  assert.equal(authorities.cluster, CLUSTER)
  assert.equal(authorities.insecureKeys, true)
})

test('each CA is self-signed for ten years, with its own key and subject, and signs leaves only', async (t) => {
  const { cas } = await start(await temporaryFolder(t))
  const seen = new Set<string>()
  for (const name of CA_NAMES) {
    const [der = new Uint8Array()] = cas[name]
    const issuer = readIssuer(der)
    const { subject, extensions, spki, notBeforeMs, notAfterMs } = issuer.certificate
    assert.ok(verifyCertificate(issuer.certificate, issuer))
    assert.ok(isCanonical(issuer.certificate))
    assert.deepEqual(attributeValues(subject, OID.commonName), [`${CLUSTER} ${name} CA`])
    assert.deepEqual(extensions.basicConstraints, { ca: true, pathLength: 0 })
    assert.deepEqual(extensions.keyUsage, ['keyCertSign', 'cRLSign'])
    assert.equal(notBeforeMs, clock.now() - 60_000)
    assert.equal(notAfterMs, clock.now() + 10 * 365 * 86_400_000)
    seen.add(keyPin(spki))
    seen.add(attributeValues(subject, OID.commonName).join())
  }
  assert.equal(seen.size, 2 * CA_NAMES.length)
})

test('openssl finds the CAs sound', async (t) => {
  const folder = await temporaryFolder(t)
  await start(folder)
  for (const name of CA_NAMES) {
    const file = path.join(folder, `${name}.crt`)
    const attime = String(clock.now() / 1000)
    const args = [
      'verify',
      '-x509_strict',
      '-check_ss_sig',
      '-attime',
      attime,
      '-CAfile',
      file,
      file,
    ]
    assert.match(execFileSync('openssl', args).toString(), /OK/)
  }
})

test('a later start finds the same authorities', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await start(folder)
  assert.deepEqual(await start(folder), first)
})

test('a start that was cut off between a key and its certificate is finished by the next', async (t) => {
  const folder = await temporaryFolder(t)
  const first = await start(folder)
  rmSync(path.join(folder, 'db.crt'))
  rmSync(path.join(folder, 'audit.key'))
  const second = await start(folder)
  const spki = (authorities: Authorities): Uint8Array =>
    readCertificate(authorities.cas.db[0] ?? new Uint8Array()).spki
  assert.deepEqual(spki(second), spki(first))
  assert.deepEqual(second.cas.user, first.cas.user)
  assert.deepEqual(await start(folder), second)
})

describe('a start is refused', () => {
  test('when the key of a known CA is gone', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    rmSync(path.join(folder, 'user.key'))
    await assert.rejects(start(folder), unusable)
    assert.equal(readdirSync(folder).includes('user.key'), false)
  })

  test('when keys were swapped', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    renameSync(path.join(folder, 'user.key'), path.join(folder, 'x'))
    renameSync(path.join(folder, 'host.key'), path.join(folder, 'user.key'))
    renameSync(path.join(folder, 'x'), path.join(folder, 'host.key'))
    await assert.rejects(start(folder), unusable)
  })

  test('when both files of two CAs were swapped', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    for (const suffix of ['key', 'crt']) {
      renameSync(path.join(folder, `user.${suffix}`), path.join(folder, 'x'))
      renameSync(path.join(folder, `host.${suffix}`), path.join(folder, `user.${suffix}`))
      renameSync(path.join(folder, 'x'), path.join(folder, `host.${suffix}`))
    }
    await assert.rejects(start(folder), unusable)
  })

  test('when a signing key is of the wrong kind', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    writeFileSync(path.join(folder, 'audit.key'), readFileSync(path.join(folder, 'user.key')))
    await assert.rejects(start(folder), unusable)
  })

  test('when the folder is of another cluster', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    await assert.rejects(
      start(folder, 'other.test'),
      /of the cluster sluice\.test, not other\.test/,
    )
  })

  test('when a CA certificate has a byte changed', async (t) => {
    const folder = await temporaryFolder(t)
    await start(folder)
    const file = path.join(folder, 'user.crt')
    const der = Buffer.from(readPemOne('CERTIFICATE', readFileSync(file, 'latin1')))
    der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1
    const body = der.toString('base64').replace(/.{64}/g, '$&\n')
    writeFileSync(file, `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`)
    await assert.rejects(start(folder), unusable)
  })

  test('when the cluster name is no DNS name', async (t) => {
    const folder = await temporaryFolder(t)
    for (const cluster of [
      '',
      'Sluice',
      'a..b',
      '-a',
      'a b',
      `${'a'.repeat(63)}.${'b'.repeat(63)}`,
    ])
      await assert.rejects(start(folder, cluster), { code: 'config.invalid' })
  })
})
