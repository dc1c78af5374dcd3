// The identity extension: exactly one spelling per identity, and nothing else is one.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'

import { CLUSTER, systemIdentity, userIdentity } from '../../test/fixtures/certificates.ts'
import { errorCode } from '../errors.ts'
import { checkIdentity, decodeIdentity, encodeIdentity } from './identity.ts'

const refusedToWrite = (error: unknown): boolean => errorCode(error) === 'cert.identity'

function bytesOf(json: string, version = 1): Uint8Array {
  return Buffer.concat([Uint8Array.of(version), Buffer.from(json)])
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(1)).toString('utf8')
}

const ROUTED = userIdentity({
  route: {
    kind: 'db',
    name: 'orders',
    protocol: 'postgres',
    principal: 'reader',
    resource: 'shop',
  },
  mfaAtMs: 1_800_000_000_000,
  loginExpiresAtMs: 1_800_000_100_000,
})

describe('writing', () => {
  test('keys are sorted and nothing is between them', () => {
    const identity = systemIdentity('agent')
    const expected =
      `{"cluster":"${CLUSTER}","generation":1,"id":"0f8fad5b-d9cb-469f-a165-70867728950e",` +
      '"role":"agent","services":["db"],"type":"system"}'
    assert.equal(textOf(encodeIdentity(identity)), expected)
    assert.equal(encodeIdentity(identity)[0], 1)
  })

  for (const identity of [
    userIdentity(),
    ROUTED,
    systemIdentity('proxy'),
    systemIdentity('control'),
  ])
    test(`a ${identity.type} with ${Object.keys(identity).length} fields comes back equal`, () => {
      assert.deepEqual(decodeIdentity(encodeIdentity(identity)), identity)
    })

  test('identities of any names and traits come back equal', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    const traits = fc.dictionary(name, fc.array(fc.string({ unit: 'grapheme' })), {
      noNullPrototype: true,
    })
    fc.assert(
      fc.property(name, fc.uniqueArray(name), traits, (who, roles, given) => {
        const identity = userIdentity({ name: who, roles, traits: given })
        const writable = checkIdentity(identity) !== undefined
        if (!writable) assert.throws(() => encodeIdentity(identity), refusedToWrite)
        else assert.deepEqual(decodeIdentity(encodeIdentity(identity)), identity)
      }),
    )
  })

  const wrong: Readonly<Record<string, Parameters<typeof userIdentity>[0]>> = {
    'an empty name': { name: '' },
    'a name of 129 characters': { name: 'a'.repeat(129) },
    'a name that is not NFKC': { name: 'ﬁona' },
    'a name with a NUL': { name: 'alice\0' },
    'a name with a line feed': { name: 'alice\nbob' },
    'a name with a bidirectional override': { name: 'alice\u202e' },
    'a name with a zero-width joiner': { name: 'al\u200dice' },
    'a name with a lone surrogate': { name: 'alice\ud800' },
    'an empty issuer': { issuer: '' },
    'a cluster with a capital': { cluster: 'Sluice.test' },
    'a cluster of 121 characters': { cluster: `${'a'.repeat(60)}.${'b'.repeat(60)}` },
    'a role twice': { roles: ['access', 'access'] },
    'an empty role': { roles: [''] },
    'a negative generation': { generation: -1 },
    'a generation with a fraction': { generation: 1.5 },
    'a trait named __proto__': { traits: Object.fromEntries([['__proto__', ['x']]]) },
    'a trait with a control character': { traits: { groups: ['a\u0007'] } },
    'a route to nowhere': { route: { kind: 'db', name: '' } },
  }
  for (const [what, over] of Object.entries(wrong))
    test(`${what} is refused`, () => {
      assert.throws(() => encodeIdentity(userIdentity(over)), refusedToWrite)
    })

  test('8 KB are the most, and one byte more is refused', () => {
    const empty = encodeIdentity(userIdentity({ traits: { groups: [''] } })).length
    const room = 8 * 1024 - empty
    const full = userIdentity({ traits: { groups: ['x'.repeat(room)] } })
    assert.equal(encodeIdentity(full).length, 8 * 1024)
    assert.deepEqual(decodeIdentity(encodeIdentity(full)), full)
    const over = userIdentity({ traits: { groups: ['x'.repeat(room + 1)] } })
    assert.throws(() => encodeIdentity(over), refusedToWrite)
    const long = bytesOf(textOf(encodeIdentity(full)).replace('"xx', '"xxx'))
    assert.equal(decodeIdentity(long), undefined)
  })
})

test('a value with a field nobody knows is no identity, wherever the field is', () => {
  const route = { kind: 'db', name: 'orders' }
  const users = [
    { ...userIdentity(), admin: true },
    { ...userIdentity(), route: { ...route, x: 1 } },
  ]
  for (const value of [...users, { ...systemIdentity('agent'), admin: true }])
    assert.equal(checkIdentity(value), undefined)
  assert.ok(checkIdentity({ ...userIdentity(), route }))
})

describe('reading refuses', () => {
  const good = textOf(encodeIdentity(userIdentity()))
  const system = textOf(encodeIdentity(systemIdentity('agent')))
  const cases: Readonly<Record<string, Uint8Array>> = {
    'no bytes': new Uint8Array(),
    'version 0': bytesOf(good, 0),
    'version 2': bytesOf(good, 2),
    'the version alone': bytesOf(''),
    'white space': bytesOf(good.replace(':', ': ')),
    'a line feed at the end': bytesOf(`${good}\n`),
    'another order': bytesOf(`{"type":"user",${good.slice(1).replace(',"type":"user"', '')}`),
    'an unknown field': bytesOf(good.replace('{', '{"admin":true,')),
    'an unknown field of a system identity': bytesOf(system.replace('{', '{"admin":true,')),
    'a field of the other type': bytesOf(system.replace('"services"', '"roles":["x"],"services"')),
    'a key twice': bytesOf(good.replace('"type":"user"', '"type":"user","type":"user"')),
    'an escape where none is needed': bytesOf(good.replace('alice', '\\u0061lice')),
    'an unknown type': bytesOf(good.replace('"type":"user"', '"type":"root"')),
    'an unknown kind': bytesOf(good.replace('human', 'ghost')),
    'an unknown role': bytesOf(system.replace('"agent"', '"signer"')),
    'an id that is no UUID': bytesOf(system.replace('0f8fad5b-', '')),
    'an id in capitals': bytesOf(system.replace('0f8fad5b', '0F8FAD5B')),
    'roles that are no list': bytesOf(good.replace('["access"]', '"access"')),
    'a missing field': bytesOf(good.replace('"issuer":"local",', '')),
    'a null': bytesOf(good.replace('"alice"', 'null')),
    'a number spelled otherwise': bytesOf(good.replace('"generation":1', '"generation":1.0')),
    'minus zero': bytesOf(good.replace('"generation":1', '"generation":-0')),
    'a list': bytesOf('[]'),
    'deep nesting': bytesOf('['.repeat(8000)),
    'bytes that are not UTF-8': Buffer.concat([bytesOf('{"a":"'), hex('ff'), Buffer.from('"}')]),
    'a byte order mark': bytesOf(`\ufeff${good}`),
  }
  for (const [what, bytes] of Object.entries(cases))
    test(what, () => {
      assert.equal(decodeIdentity(bytes), undefined)
    })

  test('any bytes: an identity only when writing it gives the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        bytes.set([1], 0)
        assert.equal(decodeIdentity(bytes), undefined)
      }),
    )
  })

  test('a changed byte anywhere gives another identity or none', () => {
    const bytes = encodeIdentity(ROUTED)
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      const identity = decodeIdentity(changed)
      if (identity !== undefined) assert.deepEqual(Buffer.from(encodeIdentity(identity)), changed)
    }
  })
})

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex')
}
