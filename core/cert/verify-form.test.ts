// Certificates that our own CA key signed, but that our own writer would not have made; bytes changed after signing; and
// trust sets that are broken. Written with the DER writer alone, so that x509.ts is not tested against itself.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'

import { CLUSTER, testCa, testLeaf, userIdentity } from '../../test/fixtures/certificates.ts'
import { errorCode } from '../errors.ts'
import {
  bitString,
  boolean,
  element,
  integer,
  octetString,
  oid,
  sequence,
  TAG,
  text,
  time,
} from './der.ts'
import { encodeIdentity } from './identity.ts'
import { generateKey, keyId, readPublicKey } from './key.ts'
import { encodeName, subjectAttributes } from './name.ts'
import { OID } from './oid.ts'
import { type Expectation, verifyPeer } from './verify.ts'
import { readCertificate } from './x509.ts'

const NOW = Date.UTC(2026, 10, 20)
const ca = testCa('user CA', NOW)
const want: Expectation = { cas: [ca.der], purpose: 'client', type: 'user', cluster: CLUSTER }
const key = generateKey('ecdsa-p256').signer

const extension = (type: string, critical: boolean, value: Uint8Array): Uint8Array =>
  sequence(oid(type), ...(critical ? [boolean(true)] : []), octetString(value))

const constraints = extension(OID.basicConstraints, true, sequence())
const usage = extension(OID.keyUsage, true, bitString(Uint8Array.of(0x80), 7))
const purpose = extension(OID.extendedKeyUsage, false, sequence(oid(OID.clientAuth)))
const subjectKey = extension(OID.subjectKeyId, false, octetString(keyId(readPublicKey(key.spki))))
const authorityKey = extension(
  OID.authorityKeyId,
  false,
  sequence(element(0x80, keyId(readPublicKey(ca.signer.spki)))),
)
const identity = extension(OID.identity, false, encodeIdentity(userIdentity()))
const GOOD = [constraints, usage, purpose, subjectKey, authorityKey, identity]

interface Parts {
  readonly extensions?: readonly Uint8Array[]
  readonly subject?: Uint8Array
  readonly afterKey?: readonly Uint8Array[]
}

function signed({ extensions = GOOD, subject, afterKey = [] }: Parts): Uint8Array {
  const algorithm = sequence(oid(OID.ecdsaWithSha256))
  const tbs = sequence(
    element(0xa0, integer(Uint8Array.of(2))),
    integer(Uint8Array.of(0x42)),
    algorithm,
    encodeName(subjectAttributes(ca.subject)),
    sequence(time(NOW - 60_000), time(NOW + 3_600_000)),
    subject ?? encodeName(subjectAttributes({ commonName: 'alice' })),
    key.spki,
    ...afterKey,
    element(0xa3, sequence(...extensions)),
  )
  return sequence(tbs, algorithm, bitString(ca.signer.sign(tbs)))
}

function verdict(der: Uint8Array): string {
  const result = verifyPeer([der], want, NOW)
  return result.ok ? 'accepted' : result.code
}

test('written by hand in our own form, it is accepted', () => {
  assert.equal(verdict(signed({})), 'accepted')
})

describe('signed by our CA, yet refused', () => {
  const bob = extension(OID.identity, false, encodeIdentity(userIdentity({ name: 'bob' })))
  const critical = extension(OID.identity, true, encodeIdentity(userIdentity()))
  const unknown = extension('2.5.29.54', false, Uint8Array.of(5, 0))
  const cn = (tag: number): Uint8Array =>
    element(TAG.set, sequence(oid(OID.commonName), text(tag, 'alice')))
  const cases: Readonly<Record<string, Parts>> = {
    'a second identity extension': { extensions: [...GOOD, bob] },
    'the same identity twice': { extensions: [...GOOD, identity] },
    'a critical identity extension': { extensions: [...GOOD.slice(0, -1), critical] },
    'extensions in another order': { extensions: [...GOOD].reverse() },
    'an extension nobody knows': { extensions: [...GOOD, unknown] },
    'an extended key usage twice': { extensions: [...GOOD, purpose] },
    'a subject of another string type': { subject: sequence(cn(TAG.printableString)) },
    'a subject with two attributes in one RDN': {
      subject: sequence(
        element(
          TAG.set,
          sequence(oid(OID.commonName), text(TAG.utf8String, 'a')),
          sequence(oid(OID.organization), text(TAG.utf8String, 'b')),
        ),
      ),
    },
    'a subject with a NUL in it': {
      subject: sequence(
        element(TAG.set, sequence(oid(OID.commonName), text(TAG.printableString, 'a\0b'))),
      ),
    },
    'a unique identifier of the subject': { afterKey: [element(0x82, Uint8Array.of(0, 1))] },
    'a key usage that is not critical': {
      extensions: GOOD.map((one) =>
        one === usage ? extension(OID.keyUsage, false, bitString(Uint8Array.of(0x80), 7)) : one,
      ),
    },
  }
  for (const [what, parts] of Object.entries(cases))
    test(what, () => {
      assert.equal(verdict(signed(parts)), 'cert.malformed')
    })
})

test('an extension that comes twice is refused already by reading', () => {
  const twice = signed({ extensions: [...GOOD, identity] })
  assert.throws(() => readCertificate(twice), { code: 'cert.malformed' })
})

describe('changed after signing', () => {
  const good = testLeaf(ca, userIdentity(), NOW)

  test('no change of one byte anywhere verifies, of leaf or of the CA sent along', () => {
    for (const flip of [0x01, 0x80]) {
      for (let at = 0; at < good.der.length; at++) {
        const changed = Buffer.from(good.der)
        changed[at] = (changed[at] ?? 0) ^ flip
        assert.equal(verifyPeer([changed], want, NOW).ok, false, `byte ${at}`)
      }
    }
    for (let at = 0; at < ca.der.length; at++) {
      const changed = Buffer.from(ca.der)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      assert.equal(verifyPeer([good.der, changed], want, NOW).ok, false, `byte ${at} of the CA`)
    }
  })

  test('no cut verifies, and no byte behind it does', () => {
    for (let at = 0; at < good.der.length; at++)
      assert.equal(verifyPeer([good.der.subarray(0, at)], want, NOW).ok, false)
    assert.equal(verdict(Buffer.concat([good.der, Uint8Array.of(0)])), 'cert.malformed')
  })

  test('any chain of any bytes is refused and throws nothing', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.constantFrom(ca.der, testCa('user CA', NOW).der),
      fc.nat(good.der.length - 1).map((at) => good.der.subarray(at)),
    )
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 4 }), (chain) => {
        if (chain[0]?.length === good.der.length) return
        assert.equal(verifyPeer(chain, want, NOW).ok, false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('a broken trust set is our own fault, and throws', () => {
  const leaf = testLeaf(ca, userIdentity(), NOW).der
  const unproven = (error: unknown): boolean => errorCode(error) === 'trust.unproven'

  test('bytes that are no certificate', () => {
    assert.throws(() => verifyPeer([leaf], { ...want, cas: [Uint8Array.of(1)] }, NOW), unproven)
  })

  test('a leaf where a CA belongs', () => {
    assert.throws(() => verifyPeer([leaf], { ...want, cas: [leaf] }, NOW), unproven)
  })

  test('a CA that may sign further CAs', () => {
    for (const basicConstraints of [{ ca: true }, { ca: true, pathLength: 1 }]) {
      const wide = testCa('wide CA', NOW, { extend: { basicConstraints } })
      assert.throws(() => verifyPeer([leaf], { ...want, cas: [wide.der] }, NOW), unproven)
    }
  })

  test('changes of the caller’s bytes do not change what was trusted', () => {
    const own = testCa('own CA', NOW)
    const bytes = Buffer.from(own.der)
    const good = testLeaf(own, userIdentity(), NOW).der
    assert.ok(verifyPeer([good], { ...want, cas: [bytes] }, NOW).ok)
    bytes.fill(0)
    assert.ok(verifyPeer([good], { ...want, cas: [own.der] }, NOW).ok)
    assert.throws(() => verifyPeer([good], { ...want, cas: [bytes] }, NOW), unproven)
  })
})
