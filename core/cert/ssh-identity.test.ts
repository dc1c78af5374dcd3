// Who an SSH certificate is of, and every certificate that is of nobody: the known ways to be let in by one that should not.

import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { CLUSTER, systemIdentity, userIdentity } from '../../test/fixtures/certificates.ts'
import { string, u32, u64 } from '../ssh/bytes.ts'
import { publicBlob, signBlob } from '../ssh/key.ts'
import { encodeIdentity } from './identity.ts'
import { keySha256 } from './key.ts'
import { buildSshCertificate, type SshCa, type SshCertificateFields } from './ssh.ts'
import { IDENTITY_EXTENSION, identityText, readSshPeer } from './ssh-identity.ts'

const NOW_MS = Date.UTC(2026, 10, 26)
const NOW = BigInt(NOW_MS / 1000)
const KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const CA = caOf(generateKeyPairSync('ed25519').privateKey)
const ALICE = userIdentity()

function caOf(key: KeyObject): SshCa {
  return { blob: publicBlob(key), sign: (bytes) => signBlob(key, bytes) }
}

function certificate(change: Partial<SshCertificateFields> = {}, ca: SshCa = CA): Uint8Array {
  const fields: SshCertificateFields = {
    key: publicBlob(KEY.publicKey),
    serial: 0x0abcn,
    kind: 'user',
    keyId: ALICE.name,
    principals: ['root'],
    validAfter: NOW - 60n,
    validBefore: NOW + 3600n,
    critical: {},
    extensions: { 'permit-pty': '', [IDENTITY_EXTENSION]: identityText(ALICE) },
    ...change,
  }
  return buildSshCertificate(ca, fields, randomBytes(32))
}

function read(raw: Uint8Array, nowMs = NOW_MS): ReturnType<typeof readSshPeer> {
  return readSshPeer(raw, { cas: [CA.blob], cluster: CLUSTER, nowMs })
}

/** The code of the refusal, or `ok`. */
function outcome(raw: Uint8Array, nowMs = NOW_MS): string {
  const reading = read(raw, nowMs)
  return reading.ok ? 'ok' : reading.code
}

function identified(text: string): Uint8Array {
  return certificate({ extensions: { [IDENTITY_EXTENSION]: text } })
}

describe('A user’s SSH certificate', () => {
  it('is read as the person, with the facts that locks and audit name', () => {
    const reading = read(certificate())
    assert.ok(reading.ok)
    assert.deepEqual(reading.identity, ALICE)
    assert.deepEqual(reading.principals, ['root'])
    const { serial, notBeforeMs, notAfterMs, fingerprint } = reading.facts
    assert.equal(serial, 'abc')
    assert.match(fingerprint, /^[0-9a-f]{64}$/)
    assert.deepEqual([notBeforeMs, notAfterMs], [NOW_MS - 60_000, NOW_MS + 3_600_000])
    const spki = KEY.publicKey.export({ format: 'der', type: 'spki' })
    assert.equal(reading.keySha256, keySha256(spki))
  })

  it('without an end has a date that a number holds', () => {
    const reading = read(certificate({ validBefore: 2n ** 64n - 1n }))
    assert.ok(reading.ok)
    assert.equal(reading.facts.notAfterMs, Number.MAX_SAFE_INTEGER)
  })

  it('is refused after its end, before its beginning, and of a CA nobody trusts', () => {
    assert.equal(outcome(certificate(), NOW_MS + 3_600_000), 'cert.expired')
    assert.equal(outcome(certificate(), NOW_MS + 3_599_999), 'ok')
    assert.equal(outcome(certificate(), NOW_MS - 60_001), 'cert.expired')
    const other = caOf(generateKeyPairSync('ed25519').privateKey)
    assert.equal(outcome(certificate({}, other)), 'cert.chain')
  })

  it('is refused when it is a host’s', () => {
    assert.equal(outcome(certificate({ kind: 'host' })), 'cert.purpose')
  })

  it('is refused with any critical option, known or not, as none is carried out here', () => {
    for (const name of ['source-address', 'force-command', 'verify-required', 'x@y'])
      assert.equal(outcome(certificate({ critical: { [name]: '1' } })), 'cert.purpose', name)
  })

  it('is refused without principals, which would mean everybody', () => {
    assert.equal(outcome(certificate({ principals: [] })), 'cert.identity')
  })

  it('is refused without an identity, and with one that is spelled in another way', () => {
    const text = identityText(ALICE)
    assert.equal(outcome(certificate({ extensions: { 'permit-pty': '' } })), 'cert.identity')
    const bytes = Buffer.from(encodeIdentity(ALICE))
    const other = Buffer.concat([bytes.subarray(0, 1), Buffer.from(' '), bytes.subarray(1)])
    for (const wrong of [
      '',
      'AA==',
      `${text}\n`,
      ` ${text}`,
      text.replaceAll('=', ''),
      `${text}AA`,
    ])
      if (wrong !== text)
        assert.equal(outcome(identified(wrong)), 'cert.identity', wrong.slice(0, 4))
    assert.equal(outcome(identified(other.toString('base64'))), 'cert.identity')
    assert.equal(outcome(identified(bytes.subarray(1).toString('base64'))), 'cert.identity')
  })

  it('is refused with the identity of a process, of another cluster, of another person', () => {
    const agent = Buffer.from(encodeIdentity(systemIdentity('agent'))).toString('base64')
    assert.equal(outcome(identified(agent)), 'cert.identity')
    const stranger = identityText(userIdentity({ cluster: 'other.test' }))
    assert.equal(outcome(identified(stranger)), 'cert.identity')
    assert.equal(outcome(identified(identityText(userIdentity({ name: 'bob' })))), 'cert.identity')
    assert.equal(outcome(certificate({ keyId: 'bob' })), 'cert.identity')
    assert.equal(outcome(certificate({ keyId: '' })), 'cert.identity')
  })

  it('is refused when the identity stands in the extension of somebody else’s reading', () => {
    const named = { [`${IDENTITY_EXTENSION}.example`]: identityText(ALICE) }
    assert.equal(outcome(certificate({ extensions: named })), 'cert.identity')
  })

  it('is refused when it certifies a certificate, or a certificate certifies it', () => {
    const inner = certificate()
    assert.equal(outcome(certified(inner, CA.blob)), 'cert.malformed')
    // The CA's place holds a certificate of the trusted CA's own key.
    assert.equal(outcome(certified(undefined, inner)), 'cert.malformed')
    // The second writer makes a good one too, so that only the nesting is what was refused.
    assert.equal(outcome(certified(undefined, CA.blob)), 'ok')
  })

  it('is of nobody whatever bytes it is, and whichever of its own bytes is another', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) =>
        assert.equal(read(bytes).ok, false),
      ),
    )
    const good = certificate()
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ 1
      assert.equal(read(bad).ok, false, String(at))
      assert.equal(read(good.subarray(0, at)).ok, false, String(at))
    }
  })
})

/** A certificate by a second writer, which nests whatever it is given. */
function certified(inner: Uint8Array | undefined, caBlob: Uint8Array): Uint8Array {
  const jwk = KEY.publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([
    Uint8Array.of(4),
    Buffer.from(jwk.x ?? '', 'base64url'),
    Buffer.from(jwk.y ?? '', 'base64url'),
  ])
  const curve =
    inner === undefined ? [string('nistp256'), string(point)] : [string(inner), string('')]
  const option = Buffer.concat([string(IDENTITY_EXTENSION), string(string(identityText(ALICE)))])
  const signed = Buffer.concat([
    string('ecdsa-sha2-nistp256-cert-v01@openssh.com'),
    string(randomBytes(32)),
    ...curve,
    u64(1n),
    u32(1),
    string(ALICE.name),
    string(string('root')),
    u64(NOW - 60n),
    u64(NOW + 60n),
    string(''),
    string(option),
    string(''),
    string(caBlob),
  ])
  return Buffer.concat([signed, string(CA.sign(signed))])
}
