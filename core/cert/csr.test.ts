// Certificate requests: both ways with openssl and @peculiar/x509, and every way to ask for a key one does not hold.

import 'reflect-metadata'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { webcrypto } from 'node:crypto'
import { describe, test } from 'node:test'
import * as peculiar from '@peculiar/x509'
import fc from 'fast-check'

import { errorCode } from '../errors.ts'
import { buildCsr, readCsr } from './csr.ts'
import { generateKey, keyAlgorithm, sameBytes } from './key.ts'
import { readPemOne, writePem } from './pem.ts'

const malformed = (error: unknown): boolean => errorCode(error) === 'cert.malformed'

function openssl(args: readonly string[], input = ''): string {
  return execFileSync('openssl', args, { input, stdio: ['pipe', 'pipe', 'pipe'] }).toString()
}

for (const algorithm of ['ecdsa-p256', 'ed25519'] as const) {
  test(`a request of ours (${algorithm}) proves its key to us and to openssl`, () => {
    const { signer } = generateKey(algorithm)
    const csr = buildCsr('agent-1', signer)
    assert.deepEqual(readCsr(csr).spki, Buffer.from(signer.spki))
    const pem = writePem('CERTIFICATE REQUEST', csr)
    assert.match(openssl(['req', '-verify', '-noout', '-subject'], pem), /CN = agent-1/)
  })
}

test('a request of ours proves its key to @peculiar/x509', async () => {
  const { signer } = generateKey('ecdsa-p256')
  const theirs = new peculiar.Pkcs10CertificateRequest(buildCsr('agent-1', signer))
  assert.equal(await theirs.verify(webcrypto), true)
})

test('a request of openssl with attributes and a long subject yields its key alone', () => {
  const pem = openssl(
    (
      'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null ' +
      '-subj /C=CH/O=Example/CN=control.sluice.test -addext ' +
      'subjectAltName=DNS:control.sluice.test'
    ).split(' '),
  )
  const { spki } = readCsr(readPemOne('CERTIFICATE REQUEST', pem))
  const theirs = readPemOne('PUBLIC KEY', openssl(['req', '-noout', '-pubkey'], pem))
  assert.ok(sameBytes(spki, theirs))
})

describe('refused', () => {
  const { signer } = generateKey('ecdsa-p256')
  const csr = buildCsr('x', signer)

  test('a request for a key that somebody else holds', () => {
    const mine = generateKey('ecdsa-p256').signer
    const stolen = buildCsr('x', { ...mine, spki: signer.spki })
    assert.throws(() => readCsr(stolen), malformed)
  })

  test('an algorithm that does not fit the key', () => {
    const mixed = buildCsr('x', { ...signer, algorithm: 'ed25519' })
    assert.throws(() => readCsr(mixed), malformed)
  })

  test('RSA and other curves', () => {
    const kinds = [['rsa:1024'], ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384']]
    for (const kind of kinds) {
      const asked = [
        'req',
        '-new',
        '-newkey',
        ...kind,
        '-nodes',
        '-keyout',
        '/dev/null',
        '-subj',
        '/CN=x',
      ]
      assert.throws(() => readCsr(readPemOne('CERTIFICATE REQUEST', openssl(asked))), malformed)
    }
  })

  test('a request with bytes behind it, and one over the limit', () => {
    assert.throws(() => readCsr(Buffer.concat([csr, Uint8Array.of(0)])), malformed)
    assert.throws(() => readCsr(buildCsr('x'.repeat(64 * 1024), signer)), malformed)
  })

  test('a request with any one byte changed', () => {
    for (let at = 0; at < csr.length; at++) {
      const changed = Buffer.from(csr)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      assert.throws(() => readCsr(changed), malformed, `byte ${at}`)
    }
  })

  test('any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        assert.throws(() => readCsr(bytes), malformed)
      }),
    )
  })
})

describe('plain keys', () => {
  const spki = generateKey('ecdsa-p256').signer.spki

  test('a compressed point, an explicit curve and a certificate are no keys of ours', () => {
    const key = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'])
    for (const form of [
      ['-ec_conv_form', 'compressed'],
      ['-ec_param_enc', 'explicit'],
    ]) {
      const pem = openssl(['pkey', '-pubout', ...form], key)
      assert.equal(keyAlgorithm(readPemOne('PUBLIC KEY', pem)), undefined)
    }
    assert.equal(keyAlgorithm(buildCsr('x', generateKey('ecdsa-p256').signer)), undefined)
    assert.equal(keyAlgorithm(Buffer.concat([spki, Uint8Array.of(0)])), undefined)
  })

  test('a point off the curve is refused', () => {
    const off = Buffer.from(spki)
    off[90] = (off[90] ?? 0) ^ 1
    const { signer } = generateKey('ecdsa-p256')
    assert.throws(() => readCsr(buildCsr('x', { ...signer, spki: off })), malformed)
  })
})
