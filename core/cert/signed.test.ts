// Signed messages: a signature holds for its type, its body and its key, and for nothing else. Canonical JSON with them.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'

import { canonicalJson } from './canonical.ts'
import { generateKey } from './key.ts'
import {
  checkpointBody,
  type SignedType,
  signedMessage,
  SNAPSHOT_TYPES,
  verifySigned,
} from './signed.ts'

const TYPES: readonly SignedType[] = [...SNAPSHOT_TYPES, 'permit', 'checkpoint']
const { signer } = generateKey('ed25519')
const other = generateKey('ed25519').signer
const body = Buffer.from('{"revision":7}')

describe('a signature', () => {
  test('begins with the type of its message', () => {
    const message = Buffer.from(signedMessage('locks', body)).toString()
    assert.equal(message, 'sluice:locks:v1\n{"revision":7}')
  })

  test('holds for its own type alone', () => {
    for (const type of TYPES) {
      const signature = signer.sign(signedMessage(type, body))
      for (const claimed of TYPES)
        assert.equal(verifySigned(claimed, body, signature, [signer.spki]), claimed === type)
    }
  })

  test('holds when any of the keys made it, and for no other key', () => {
    const signature = signer.sign(signedMessage('beacon', body))
    assert.ok(verifySigned('beacon', body, signature, [other.spki, signer.spki]))
    assert.equal(verifySigned('beacon', body, signature, [other.spki]), false)
    assert.equal(verifySigned('beacon', body, signature, []), false)
  })

  test('fails with any one byte of body or signature changed', () => {
    const signature = signer.sign(signedMessage('beacon', body))
    for (let at = 0; at < body.length; at++)
      assert.equal(verifySigned('beacon', flip(body, at), signature, [signer.spki]), false)
    for (let at = 0; at < signature.length; at++)
      assert.equal(verifySigned('beacon', body, flip(signature, at), [signer.spki]), false)
  })

  test('by an ECDSA key counts for nothing, and neither does a key that is none', () => {
    const ecdsa = generateKey('ecdsa-p256').signer
    const signature = ecdsa.sign(signedMessage('beacon', body))
    assert.equal(verifySigned('beacon', body, signature, [ecdsa.spki, new Uint8Array(44)]), false)
  })

  test('of any length is no error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (signature) => {
        assert.equal(verifySigned('beacon', body, signature, [signer.spki]), false)
      }),
    )
  })
})

describe('canonical JSON', () => {
  test('sorts keys, leaves out what is undefined and adds no white space', () => {
    const value = { b: [1, true, 'x'], a: { 10: 'ten', 9: 'nine' }, c: undefined }
    assert.equal(canonicalJson(value), '{"a":{"10":"ten","9":"nine"},"b":[1,true,"x"]}')
  })

  test('does not depend on the order in which fields were set', () => {
    const pairs = fc.uniqueArray(fc.tuple(fc.string(), fc.string()), { selector: ([key]) => key })
    fc.assert(
      fc.property(pairs, (list) => {
        const back = Object.fromEntries([...list].reverse())
        assert.equal(canonicalJson(Object.fromEntries(list)), canonicalJson(back))
        assert.deepEqual(JSON.parse(canonicalJson(back)), back)
      }),
    )
  })

  for (const value of [0.5, -0, 2 ** 53, Number.NaN, 'lone \ud800'])
    test(`${JSON.stringify(value)} (${Object.is(value, -0) ? 'minus zero' : typeof value}) has no canonical form`, () => {
      assert.throws(() => canonicalJson({ value }), TypeError)
    })

  test('a checkpoint is its four fields', () => {
    const checkpoint = { writer: 'control', count: 3, head: 'ab', timeMs: 5 }
    const text = Buffer.from(checkpointBody({ ...checkpoint })).toString()
    assert.equal(text, '{"count":3,"head":"ab","timeMs":5,"writer":"control"}')
  })
})

function flip(bytes: Uint8Array, at: number): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 0x80
  return copy
}
