// Codecs of what people and machines prove themselves with: DER, certificates, requests, the identity extension, PEM, and the one
// verifier over them. The strongest property: no changed byte of a good certificate is a good certificate.

import assert from 'node:assert/strict'

import { buildCsr, readCsr } from '../../../core/cert/csr.ts'
import { DerReader, readWhole } from '../../../core/cert/der.ts'
import { decodeIdentity, encodeIdentity } from '../../../core/cert/identity.ts'
import { generateKey, sameBytes } from '../../../core/cert/key.ts'
import { readPem, writePem } from '../../../core/cert/pem.ts'
import { buildSshCertificate, readSshCertificate } from '../../../core/cert/ssh.ts'
import { IDENTITY_EXTENSION, identityText, readSshPeer } from '../../../core/cert/ssh-identity.ts'
import { verifyPeer } from '../../../core/cert/verify.ts'
import { isCanonical, readCertificate, readIssuer } from '../../../core/cert/x509.ts'
import { max } from '../../../core/limits.ts'
import { permitBody, readPermit, readPermitBody, writePermit } from '../../../core/permit.ts'
import { sshBlobOf, sshCaOf } from '../../../control/signer/ssh-key.ts'
import {
  CLUSTER,
  systemIdentity,
  testCa,
  testLeaf,
  userIdentity,
} from '../../fixtures/certificates.ts'
import type { Codec } from '../engine.ts'
import { declared } from './postgres.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const CA = testCa('user CA', NOW_MS)
const LEAF = testLeaf(CA, userIdentity(), NOW_MS)
const AGENT = testLeaf(CA, systemIdentity('agent'), NOW_MS)
const KEY = generateKey('ed25519').signer
const CSR = buildCsr('agent-1', KEY)
const CSRS = [CSR, buildCsr('x'.repeat(40), LEAF.key)]

const certificates = (): readonly Uint8Array[] => [LEAF.der, AGENT.der, CA.der]

/** Walks everything that could be walked: no length may lead out of the bytes, no depth beyond the bound. */
const der: Codec = {
  name: 'der',
  seeds: () => [...certificates(), CSR],
  check(bytes) {
    try {
      return `${walk(readWhole(bytes), 0) > 20 ? 'many' : 'few'} elements`
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
  },
}

function walk(reader: DerReader, depth: number): number {
  assert.ok(depth <= max('derDepthMax'))
  let seen = 0
  while (!reader.done) {
    const element = reader.element()
    assert.ok(element.length >= 2)
    seen++
    if (((element[0] ?? 0) & 0x20) === 0) continue
    seen += walk(new DerReader(element, depth + 1).enter(element[0] ?? 0), depth + 1)
  }
  return seen
}

const x509: Codec = {
  name: 'x509',
  seeds: certificates,
  check(bytes) {
    const genuine = certificates().some((known) => Buffer.from(known).equals(bytes))
    const want = { cas: [CA.der], purpose: 'client', type: 'user', cluster: CLUSTER } as const
    const verdict = verifyPeer([bytes], want, NOW_MS)
    if (verdict.ok) assert.ok(genuine, 'a changed certificate is believed')
    try {
      const certificate = readCertificate(bytes)
      assert.ok(certificate.tbs.length < bytes.length)
      if (isCanonical(certificate)) readIssuerOrNot(bytes)
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
    return verdict.ok ? 'believed' : verdict.reason.slice(0, 60)
  },
}

function readIssuerOrNot(bytes: Uint8Array): void {
  try {
    readIssuer(bytes)
  } catch (error) {
    declared(error, 'cert.malformed')
  }
}

const csr: Codec = {
  name: 'csr',
  seeds: () => CSRS,
  check(bytes) {
    let spki: Uint8Array
    try {
      spki = readCsr(bytes).spki
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
    // Requests of earlier runs stand in the corpus with a byte too many: whole again, they prove keys that nobody has any more.
    const ours = CSRS.some((known) => sameBytes(readCsr(known).spki, spki))
    const told = (request: Uint8Array): Buffer => Buffer.from(readWhole(request).element())
    const genuine = CSRS.some((known) => told(known).equals(told(bytes)))
    assert.ok(genuine || !ours, 'a changed request proves a key')
    return 'proven'
  },
}

const identity: Codec = {
  name: 'identity',
  seeds: () =>
    [
      userIdentity(),
      userIdentity({ route: { kind: 'db', name: 'orders', protocol: 'postgres' }, mfaAtMs: 1 }),
      systemIdentity('agent'),
      systemIdentity('proxy'),
    ].map(encodeIdentity),
  check(bytes) {
    const read = decodeIdentity(bytes)
    if (read === undefined) return 'none'
    assert.ok(bytes.length <= max('identityBytesMax'))
    assert.deepEqual(Buffer.from(encodeIdentity(read)), Buffer.from(bytes))
    return read.type
  },
}

const pem: Codec = {
  name: 'pem',
  seeds: () => [
    Buffer.from(writePem('CERTIFICATE', CA.der)),
    Buffer.from(writePem('CERTIFICATE', LEAF.der, CA.der)),
  ],
  check(bytes) {
    const text = Buffer.from(bytes).toString('latin1')
    try {
      const blocks = readPem('CERTIFICATE', text)
      const size = blocks.reduce((sum, block) => sum + block.length, 0)
      assert.ok(size < text.length && blocks.length <= max('pemBlocksMax'))
      return `${Math.min(blocks.length, 3)} blocks`
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
  },
}

const PERMIT = permitBody({
  certificate: 'ab'.repeat(32),
  target: { kind: 'db', name: 'Bestellungen – orders' },
  proxyId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  expiresAtMs: NOW_MS,
})

/** What is read is written again as the same bytes, and nothing that control did not sign is a permit. */
const permit: Codec = {
  name: 'permit',
  seeds: () => [PERMIT],
  check(bytes) {
    const sealed = [bytes, writePermit(bytes, new Uint8Array(64))]
    for (const each of sealed) assert.equal(readPermit(each, [KEY.spki]).permit, undefined)
    const read = readPermitBody(bytes)
    if (read === undefined) return 'none'
    assert.deepEqual(Buffer.from(permitBody(read)), Buffer.from(bytes))
    return 'read'
  },
}

const SSH_CA = generateKey('ed25519').signer
const SSH_CERTIFICATE = buildSshCertificate(
  sshCaOf(SSH_CA),
  {
    key: sshBlobOf(KEY.spki),
    serial: 7n,
    kind: 'user',
    keyId: userIdentity().name,
    principals: ['root', 'deploy'],
    validAfter: BigInt(NOW_MS / 1000 - 60),
    validBefore: BigInt(NOW_MS / 1000 + 60),
    critical: {},
    extensions: { 'permit-pty': '', [IDENTITY_EXTENSION]: identityText(userIdentity()) },
  },
  new Uint8Array(32),
)

const ssh: Codec = {
  name: 'ssh-certificate',
  seeds: () => [SSH_CERTIFICATE],
  check(bytes) {
    const wanted = { cas: [sshBlobOf(SSH_CA.spki)], cluster: CLUSTER, nowMs: NOW_MS }
    const reading = readSshPeer(bytes, wanted)
    const genuine = sameBytes(bytes, SSH_CERTIFICATE)
    if (reading.ok) assert.ok(genuine, 'a changed certificate is believed')
    try {
      readSshCertificate(bytes)
    } catch (error) {
      return declared(error, 'cert.malformed')
    }
    return reading.ok ? 'believed' : reading.reason
  },
}

export const certificateCodecs: readonly Codec[] = [der, x509, csr, identity, pem, permit, ssh]
