// SCRAM against the RFC's own example, against a server written here, and against servers that cheat.

import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { describe, it } from 'node:test'

import { max } from './limits.ts'
import { saslPrep } from './saslprep.ts'
import { type ChannelBinding, ScramClient } from './scram.ts'

const NONCE = Buffer.from('rOprNGfwEbeRWgbNEkqO', 'utf8').subarray(0, 18)
const PASSWORD = 'pencil'

function answered(client: ScramClient, serverFirst: string): string {
  const answer = client.answer(serverFirst)
  assert.ok('message' in answer, JSON.stringify(answer))
  return answer.message
}

function problem(client: ScramClient, serverFirst: string): string {
  const answer = client.answer(serverFirst)
  assert.ok('problem' in answer)
  return answer.problem
}

const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

/** The server's half, from RFC 5802's formulas: who it lets in, and its proof. */
function server(first: string, serverFirst: string, final: string): { good: boolean; v: string } {
  const bare = first.slice(first.indexOf('n='))
  const [, salt = '', count = ''] = /,s=([^,]+),i=(\d+)$/.exec(serverFirst) ?? []
  const salted = pbkdf2Sync(PASSWORD, Buffer.from(salt, 'base64'), Number(count), 32, 'sha256')
  const [withoutProof = '', proof = ''] = final.split(',p=')
  const signed = `${bare},${serverFirst},${withoutProof}`
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest()
  const signature = hmac(storedKey, signed)
  const clientKey = Buffer.from(proof, 'base64').map((byte, i) => byte ^ (signature[i] ?? 0))
  const good = createHash('sha256').update(clientKey).digest().equals(storedKey)
  return { good, v: `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}` }
}

const client = (binding: ChannelBinding = 'none'): ScramClient =>
  new ScramClient(PASSWORD, NONCE, binding)
const nonceOf = (first: string): string => first.slice(first.indexOf('r=') + 2)
const firstOf = (scram: ScramClient, more = 'server', tail = ',s=c2FsdHNhbHQ=,i=4096'): string =>
  `r=${nonceOf(scram.first)}${more}${tail}`

describe('SCRAM', () => {
  it('the server of this test is the one of RFC 7677’s example', () => {
    // The example's nonce is no base64 of 18 bytes, and it names a user; both go into what is signed, so it is formed here.
    const nonce = 'rOprNGfwEbeRWgbNEkqO'
    const serverFirst = `r=${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`
    const final =
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
    const { good, v } = server(`n,,n=user,r=${nonce}`, serverFirst, final)
    assert.deepEqual([good, v], [true, 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='])
  })

  for (const [name, binding, header] of [
    ['without a channel to bind to', 'none', 'n,,'],
    ['over TLS whose server does not offer binding', 'unoffered', 'y,,'],
    [
      'bound to the server’s certificate',
      { endPoint: Buffer.from('hash of it') },
      'p=tls-server-end-point,,',
    ],
  ] as const) {
    it(`is believed by a server and believes it, ${name}`, () => {
      const scram = client(binding)
      assert.equal(scram.first, `${header}n=,r=${NONCE.toString('base64')}`)
      const serverFirst = firstOf(scram)
      const final = answered(scram, serverFirst)
      const bound = Buffer.from(/^c=([^,]+),/.exec(final)?.[1] ?? '', 'base64').toString()
      assert.equal(bound, typeof binding === 'string' ? header : `${header}hash of it`)
      const { good, v } = server(scram.first, serverFirst, final)
      assert.ok(good)
      assert.equal(scram.verify(v), undefined)
    })
  }

  it('does not believe a server that does not know the password', () => {
    const scram = client()
    answered(scram, firstOf(scram))
    for (const final of [
      `v=${Buffer.alloc(32).toString('base64')}`,
      `v=${Buffer.alloc(31).toString('base64')}`,
      'v=',
      '',
      'e=other-error',
      `v=${'A'.repeat(10_000)}`,
    ])
      assert.ok(scram.verify(final), final.slice(0, 50))
  })

  it('believes no proof before it was asked for its own', () => {
    const scram = client()
    assert.ok(scram.verify(`v=${Buffer.alloc(32).toString('base64')}`))
  })

  it('does not believe a proof with anything behind it', () => {
    const scram = client()
    const serverFirst = firstOf(scram)
    const { v } = server(scram.first, serverFirst, answered(scram, serverFirst))
    assert.ok(scram.verify(`${v},x=1`))
    assert.ok(scram.verify(`${v}\n`))
  })

  it('goes on with no nonce but its own, made longer', () => {
    const scram = client()
    assert.match(problem(scram, firstOf(scram, '')), /does not go on from ours/)
    assert.match(problem(scram, 'r=other,s=c2FsdA==,i=4096'), /does not go on from ours/)
  })

  it('bounds the count both ways', () => {
    const scram = client()
    const count = (i: number | string): string => firstOf(scram, 'x', `,s=c2FsdA==,i=${i}`)
    assert.match(problem(scram, count(max('scramIterationsMin') - 1)), /fewer/)
    assert.match(problem(scram, count(1)), /fewer/)
    assert.match(problem(scram, count(max('scramIterationsMax') + 1)), /more/)
    assert.match(problem(scram, count(9_999_999_999)), /more/)
    answered(scram, count(max('scramIterationsMin')))
  })

  it('takes no message of another form', () => {
    const scram = client()
    const nonce = nonceOf(scram.first)
    for (const text of [
      '',
      `m=ext,${firstOf(scram)}`,
      firstOf(scram, 'x', ',s=c2FsdA==,i=4096,x=1'),
      firstOf(scram, 'x', ',s=,i=4096'),
      firstOf(scram, 'x', ',s=c2FsdA,i=4096'),
      firstOf(scram, 'x', ',s=c2FsdA==,i=04096'),
      firstOf(scram, 'x', ',s=c2FsdA==,i=-4096'),
      firstOf(scram, 'x', ',s=c2FsdA==,i=4e9'),
      `r=${nonce}é,s=c2FsdA==,i=4096`,
      `r=${nonce}${'x'.repeat(2000)},s=c2FsdA==,i=4096`,
    ])
      assert.match(problem(scram, text), /does not follow SCRAM/, text.slice(0, 60))
  })
})

describe('SASLprep as PostgreSQL applies it', () => {
  const CASES: readonly (readonly [string, string, string])[] = [
    ['ASCII stays, control characters too', 'p\u0007 q', 'p\u0007 q'],
    ['a soft hyphen is nothing', 'I\u00adX', 'IX'],
    ['a no-break space is a space', 'a\u00a0b', 'a b'],
    ['compatibility forms are composed', '\u2168\u00aa', 'IXa'],
    ['letters and marks are composed', 'e\u0301', '\u00e9'],
    ['a prohibited character leaves all as it is', '\u00ad\u0627\ue000', '\u00ad\u0627\ue000'],
    ['the last code points of a plane are prohibited', '\u00ad\u{2fffe}', '\u00ad\u{2fffe}'],
    ['nothing left leaves it as it is', '\u00ad', '\u00ad'],
    ['an emoji stays', '🔑', '🔑'],
  ]
  for (const [name, password, prepared] of CASES)
    it(name, () => assert.equal(saslPrep(password), prepared))
})
