// One-time codes: the vectors of RFC 6238 appendix B (SHA-1, cut to six digits), skew and single use.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { checkTotp, totpCode, totpSecretText, totpUri } from './totp.ts'

const SECRET = Buffer.from('12345678901234567890')

describe('time-based one-time codes', () => {
  it('gives the codes of RFC 6238', () => {
    const vectors: readonly (readonly [number, string])[] = [
      [59, '287082'],
      [1111111109, '081804'],
      [1111111111, '050471'],
      [1234567890, '005924'],
      [2000000000, '279037'],
      [20000000000, '353130'],
    ]
    for (const [seconds, code] of vectors)
      assert.equal(totpCode(SECRET, Math.floor(seconds / 30)), code)
  })

  it('accepts the step before and after, and no other', () => {
    const nowMs = 1_000 * 30_000
    const accepted = [998, 999, 1000, 1001, 1002].filter(
      (step) => checkTotp(SECRET, totpCode(SECRET, step), nowMs, 0) === step,
    )
    assert.deepEqual(accepted, [999, 1000, 1001])
  })

  it('does not accept a step that was used, nor one before it', () => {
    const nowMs = 1_000 * 30_000
    assert.equal(checkTotp(SECRET, totpCode(SECRET, 1000), nowMs, 1000), undefined)
    assert.equal(checkTotp(SECRET, totpCode(SECRET, 999), nowMs, 1000), undefined)
    assert.equal(checkTotp(SECRET, totpCode(SECRET, 1001), nowMs, 1000), 1001)
  })

  it('refuses codes of another form', () => {
    const code = totpCode(SECRET, 1000)
    for (const wrong of ['', code.slice(1), `${code}0`, `${code} `, '١٢٣٤٥٦', '😀😀😀'])
      assert.equal(checkTotp(SECRET, wrong, 1_000 * 30_000, 0), undefined, wrong)
  })

  it('writes the secret and the link as authenticator apps read them', () => {
    assert.equal(totpSecretText(SECRET), 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ')
    const uri = new URL(totpUri(SECRET, 'my cluster', 'a@b'))
    assert.equal(uri.searchParams.get('issuer'), 'my cluster')
    assert.equal(decodeURIComponent(uri.pathname), '/my cluster:a@b')
    assert.ok(!uri.href.includes('+'))
  })
})
