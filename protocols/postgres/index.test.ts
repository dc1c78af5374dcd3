// What the first bytes of a connection are taken for. That recognition is total is in the contract suite.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { request } from '../../test/fake/postgres-bytes.ts'
import { postgres } from './index.ts'

const SSL = 80877103
const GSS = 80877104
const CANCEL = 80877102

test('an SSLRequest is answered S, a GSSENCRequest N, and each consumes its eight bytes', () => {
  const answers = [
    [SSL, 'S', 'ssl'],
    [GSS, 'N', 'gss'],
  ] as const
  for (const [code, answer, stage] of answers) {
    const recognition = postgres.recognise(request(code))
    assert.ok(recognition.verdict === 'answer')
    assert.equal(Buffer.from(recognition.bytes).toString(), answer)
    assert.equal(recognition.consumed, 8)
    assert.equal(recognition.stage, stage)
  }
})

test('bytes stuffed behind a request end the connection, whatever they are', () => {
  for (const code of [SSL, GSS]) {
    for (const stuffed of ['00', '160301', '0000000804d2162f']) {
      const bytes = Buffer.concat([request(code), Buffer.from(stuffed, 'hex')])
      assert.equal(postgres.recognise(bytes).verdict, 'no')
    }
  }
})

test('a CancelRequest of protocol 3.0 and 3.2 yields process and secret, as bytes of their own', () => {
  for (const secretBytes of [4, 32, 256]) {
    const key = Buffer.alloc(4 + secretBytes, 7)
    const first = request(CANCEL, key)
    const recognition = postgres.recognise(first)
    assert.ok(recognition.verdict === 'signal')
    first.fill(0)
    assert.deepEqual(Buffer.from(recognition.key), key)
  }
})

test('a start-up message in clear is nobody’s', () => {
  assert.equal(postgres.recognise(request(0x0003_0000, Buffer.from('user\0a\0\0'))).verdict, 'no')
})
