// PEM: what openssl writes is read, what was written is read again, and every damage is refused.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'

import { errorCode } from '../errors.ts'
import { readPem, readPemOne, writePem } from './pem.ts'

const malformed = (error: unknown): boolean => errorCode(error) === 'cert.malformed'
const blocks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 }), {
  minLength: 1,
  maxLength: 5,
})

test('blocks of any bytes come back in order', () => {
  fc.assert(
    fc.property(blocks, (ders) => {
      const read = readPem('CERTIFICATE', writePem('CERTIFICATE', ...ders))
      assert.deepEqual(
        read.map((der) => [...der]),
        ders.map((der) => [...der]),
      )
    }),
  )
})

test('a public key that openssl wrote is read to the same bytes', () => {
  const key = execFileSync('openssl', ['genpkey', '-algorithm', 'ed25519'])
  const options = ['pkey', '-pubout']
  const der = execFileSync('openssl', [...options, '-outform', 'DER'], { input: key })
  const pem = execFileSync('openssl', options, { input: key }).toString()
  assert.deepEqual(Buffer.from(readPemOne('PUBLIC KEY', pem)), der)
  assert.equal(writePem('PUBLIC KEY', der), pem)
})

test('Windows line ends and blank lines between blocks do no harm', () => {
  const one = writePem('CERTIFICATE', Uint8Array.of(1, 2, 3))
  const text = `\r\n${one.replaceAll('\n', '\r\n')}\r\n\r\n${one}`
  assert.equal(readPem('CERTIFICATE', text).length, 2)
})

describe('refused', () => {
  const good = writePem('CERTIFICATE', new Uint8Array(100).fill(7))
  const cases: Readonly<Record<string, string>> = {
    'an empty text': '',
    'text before the block': `subject=CN = x\n${good}`,
    'text after the block': `${good}more\n`,
    'another label': writePem('PRIVATE KEY', Uint8Array.of(1)),
    'a block without its end': good.replace(/-----END.*/, ''),
    'an end of another label': good.replace('END CERTIFICATE', 'END PUBLIC KEY'),
    'a body that is empty': '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n',
    'a character outside base64': good.replace('BwcH', 'Bw*H'),
    'a missing padding': good.replace('=', ''),
    'a short line in the middle': good.replace(/\n(.{10})/, '\n$1\n'),
    'a header field': good.replace('-----\n', '-----\nProc-Type: 4,ENCRYPTED\n\n'),
    'more blocks than the limit': good.repeat(33),
    'a text over the limit': `${good}${' '.repeat(1024 * 1024)}`,
  }
  for (const [what, text] of Object.entries(cases))
    test(what, () => {
      assert.throws(() => readPem('CERTIFICATE', text), malformed)
    })

  test('two blocks where one belongs', () => {
    assert.throws(() => readPemOne('CERTIFICATE', good + good), malformed)
  })
})

test('any text ends in blocks or in cert.malformed', () => {
  const line = fc.constantFrom(
    '-----BEGIN CERTIFICATE-----',
    '-----END CERTIFICATE-----',
    'AAAA',
    '',
    'x',
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
      try {
        assert.ok(readPem('CERTIFICATE', lines.join('\n')).length > 0)
      } catch (error) {
        assert.ok(malformed(error))
      }
    }),
  )
})
