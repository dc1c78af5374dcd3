// A permit is believed for control's signature over exactly its bytes, and stands for one certificate, target, proxy and time.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'

import { generateKey } from './cert/key.ts'
import { type SignedType, signedMessage } from './cert/signed.ts'
import { max } from './limits.ts'
import { type Permit, permitBody, permitProblem, readPermit, writePermit } from './permit.ts'

const NOW = Date.UTC(2026, 10, 20)
const control = generateKey('ed25519').signer
const SIGNERS = [generateKey('ed25519').signer.spki, control.spki]
const PERMIT: Permit = {
  certificate: 'ab'.repeat(32),
  target: { kind: 'node', name: 'größe-1' },
  proxyId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  expiresAtMs: NOW + 3_600_000,
}

function signed(body: Uint8Array, type: SignedType = 'permit', key = control): Uint8Array {
  return writePermit(body, key.sign(signedMessage(type, body)))
}

const GOOD = signed(permitBody(PERMIT))
const codeOf = (bytes: Uint8Array, signers = SIGNERS): string | undefined =>
  readPermit(bytes, signers).code

describe('reading a permit', () => {
  it('gives what control signed, by any key that may sign', () => {
    assert.deepEqual(readPermit(GOOD, SIGNERS), { permit: PERMIT })
  })

  it('refuses another signer, and no signer', () => {
    const other = generateKey('ed25519').signer
    assert.equal(codeOf(signed(permitBody(PERMIT), 'permit', other)), 'permit.forged')
    assert.equal(codeOf(GOOD, []), 'permit.forged')
  })

  it('refuses what control signed as something else, a beacon among them', () => {
    for (const type of ['beacon', 'snapshot', 'locks', 'inventory', 'checkpoint'] as const)
      assert.equal(codeOf(signed(permitBody(PERMIT), type)), 'permit.forged')
  })

  it('refuses it cut at each byte, with each byte changed, and with a byte more', () => {
    for (let at = 0; at < GOOD.length; at++) {
      assert.notEqual(codeOf(GOOD.subarray(0, at)), undefined, `cut at ${at}`)
      const changed = Uint8Array.from(GOOD)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.notEqual(codeOf(changed), undefined, `changed at ${at}`)
    }
    assert.equal(codeOf(Buffer.concat([GOOD, Buffer.from(' ')])), 'permit.forged')
  })

  it('refuses a signed body that is not the one form of a permit', () => {
    const text = Buffer.from(permitBody(PERMIT)).toString()
    const { certificate } = PERMIT
    const wrong = {
      'no JSON': 'x',
      'a list': '[]',
      null: 'null',
      'white space': `${text} `,
      'one field more': text.replace('{', '{"also":1,'),
      'one field less': text.replace(`"certificate":"${certificate}",`, ''),
      'another order': `{"target":{"name":"größe-1","kind":"node"},${text.slice(1)}`,
      'a fingerprint in capitals': text.replace(certificate, certificate.toUpperCase()),
      'a kind nobody knows': text.replace('"node"', '"printer"'),
      'no name': text.replace('größe-1', ''),
      'a long name': text.replace('größe-1', 'n'.repeat(max('nameLengthMax') + 1)),
      'no proxy’s id': text.replace('0f8fad5b', '0F8FAD5B'),
      'no time': text.replace(/:\d{13}/, ':-1'),
      'half a millisecond': text.replace(/:\d{13}/, ':1.5'),
    }
    for (const [what, body] of Object.entries(wrong))
      assert.equal(codeOf(signed(Buffer.from(body))), 'frame.malformed', what)
  })

  it('refuses more bytes than a permit has before it looks at them', () => {
    const body = Buffer.alloc(max('permitBytesMax'), 'x')
    assert.equal(codeOf(signed(body)), 'frame.malformed')
  })

  it('answers any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, begin) => {
        const whole = begin ? Buffer.concat([Uint8Array.of(1), bytes]) : bytes
        assert.notEqual(codeOf(whole), undefined)
        assert.notEqual(codeOf(signed(bytes)), undefined)
      }),
    )
  })

  it('has room for the longest name there is', () => {
    const target = { kind: 'windows_desktop', name: '\u0001'.repeat(max('nameLengthMax')) } as const
    assert.equal(codeOf(signed(permitBody({ ...PERMIT, target }))), undefined)
  })
})

describe('a permit', () => {
  const use = {
    fingerprint: PERMIT.certificate,
    target: PERMIT.target,
    serverIds: ['agent', PERMIT.proxyId],
    nowMs: NOW,
  }

  it('stands for its certificate, target and proxy until its end', () => {
    assert.equal(permitProblem(PERMIT, use), undefined)
    assert.equal(permitProblem(PERMIT, { ...use, nowMs: PERMIT.expiresAtMs - 1 }), undefined)
  })

  it('stands for nothing else', () => {
    const wrong = [
      [{ fingerprint: 'cd'.repeat(32) }, /another certificate/],
      [{ target: { kind: 'node', name: 'other' } }, /another target/],
      [{ target: { kind: 'db', name: PERMIT.target.name } }, /another target/],
      [{ serverIds: ['agent'] }, /another proxy/],
      [{ nowMs: PERMIT.expiresAtMs }, /expired/],
      [{ nowMs: NOW - max('clockSkewRefuseMs') - 1 }, /longer than permits last/],
    ] as const
    for (const [over, reason] of wrong)
      assert.match(permitProblem(PERMIT, { ...use, ...over }) ?? '', reason)
  })
})
