// What an agent says to a server that asks for a password: within what an administrator allowed, and to nobody who does not prove
// that it knows the password too.

import assert from 'node:assert/strict'
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { test } from 'node:test'

import type { PasswordMethod, TargetLogin } from '../../core/protocol.ts'
import { authenticationOk, message, ready, startup } from '../../test/fake/postgres-bytes.ts'
import { Rig, type Step } from '../../test/fake/rig.ts'
import { loginOf, start } from '../../test/scripts/postgres.ts'
import { PostgresAgent } from './agent.ts'

const OPENING = startup('user\0alice\0database\0app\0')
const SECRET = 'correct horse'
const END_POINT = Buffer.alloc(32, 7)
const BOTH = 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0'
const PLAIN = 'SCRAM-SHA-256\0\0'

const asks = (method: number, more: string | Uint8Array = ''): Buffer =>
  message('R', Buffer.concat([Buffer.from([0, 0, 0, method]), Buffer.from(more)]))

interface Asked {
  readonly methods?: readonly PasswordMethod[]
  readonly tls?: TargetLogin['tls']
  readonly endPoint?: Uint8Array
}

/** An agent that has sent its start-up message. */
function begin({
  methods = ['scram'],
  tls = 'verify-full',
  endPoint = END_POINT,
}: Asked = {}): Rig {
  const agent = new PostgresAgent(loginOf(OPENING, tls, { password: SECRET, methods }))
  const secured: readonly Step[] = [
    { from: 'target', bytes: Buffer.from('S') },
    { event: { kind: 'tls', side: 'target', ...(endPoint.length > 0 ? { endPoint } : {}) } },
  ]
  return new Rig(agent).run([start, ...(tls === 'off' ? [] : secured)])
}

/** What the agent answers to bytes. */
function answer(rig: Rig, bytes: Uint8Array): Buffer {
  const before = rig.written('target').length
  rig.give('target', bytes)
  return rig.written('target').subarray(before)
}

function failure(rig: Rig): string {
  const item = rig.decisions.at(-1)
  assert.ok(item && 'act' in item && item.act.kind === 'end', 'goes on')
  assert.ok(!item.act.reason.includes(SECRET), 'tells the password')
  return item.act.reason
}

function isReady(rig: Rig): boolean {
  return rig.decisions.some((item) => 'act' in item && item.act.kind === 'ready')
}

interface Initial {
  readonly mechanism: string
  readonly first: string
}

/** SASLInitialResponse: String mechanism, Int32 length, bytes. */
function initial(bytes: Buffer): Initial {
  assert.equal(bytes.toString('latin1', 0, 1), 'p')
  assert.equal(bytes.readUInt32BE(1), bytes.length - 1)
  const zero = bytes.indexOf(0, 5)
  assert.equal(bytes.readUInt32BE(zero + 1), bytes.length - zero - 5)
  return { mechanism: bytes.toString('latin1', 5, zero), first: bytes.toString('latin1', zero + 5) }
}

const hmac = (key: Uint8Array, text: string): Buffer =>
  createHmac('sha256', key).update(text).digest()

/** A server that knows the password: its first message, and its last one for a client's. */
function scramServer(first: string): { serverFirst: string; final: (said: Buffer) => string } {
  const bare = first.slice(first.indexOf('n='))
  const serverFirst = `${bare.slice('n=,'.length)}more,s=c2FsdHNhbHQ=,i=4096`
  const salted = pbkdf2Sync(SECRET, 'saltsalt', 4096, 32, 'sha256')
  const final = (said: Buffer): string => {
    const [withoutProof = ''] = said.toString('latin1', 5).split(',p=')
    const signed = `${bare},${serverFirst},${withoutProof}`
    return `v=${hmac(hmac(salted, 'Server Key'), signed).toString('base64')}`
  }
  return { serverFirst, final }
}

/** As far as the server's last message, which is returned. */
function exchange(rig: Rig, offered: string): Initial & { readonly final: string } {
  const said = initial(answer(rig, asks(10, offered)))
  const { serverFirst, final } = scramServer(said.first)
  return { ...said, final: final(answer(rig, asks(11, serverFirst))) }
}

test('SCRAM bound to the channel is chosen where the server offers it over TLS', () => {
  const rig = begin()
  const { mechanism, first, final } = exchange(rig, BOTH)
  assert.equal(mechanism, 'SCRAM-SHA-256-PLUS')
  assert.match(first, /^p=tls-server-end-point,,n=,r=/)
  rig.give('target', Buffer.concat([asks(12, final), authenticationOk, ready]))
  assert.ok(isReady(rig))
  assert.deepEqual(rig.pending('target'), Buffer.concat([authenticationOk, ready]))
})

test('over TLS that does not offer binding the server is told that we would have bound', () => {
  const { mechanism, first } = initial(answer(begin(), asks(10, PLAIN)))
  assert.equal(mechanism, 'SCRAM-SHA-256')
  assert.match(first, /^y,,n=,r=/)
})

test('without TLS, and with a certificate that names no hash, nothing is bound', () => {
  for (const asked of [{ tls: 'off' }, { endPoint: Buffer.alloc(0) }] as const) {
    const { mechanism, first } = initial(answer(begin(asked), asks(10, BOTH)))
    assert.equal(mechanism, 'SCRAM-SHA-256')
    assert.match(first, /^n,,n=,r=/)
  }
})

test('a server that offers only what we cannot do is named, and gets no answer', () => {
  for (const [asked, offered] of [
    [{ tls: 'off' }, 'SCRAM-SHA-256-PLUS\0\0'],
    [{}, 'OAUTHBEARER\0\0'],
  ] as const) {
    const rig = begin(asked)
    assert.equal(answer(rig, asks(10, offered)).length, 0)
    assert.match(failure(rig), /mechanism that Sluice does not know/)
  }
})

test('hostile server: let in without its proof is not believed, at any step of SCRAM', () => {
  const early = begin()
  answer(early, asks(10, BOTH))
  early.give('target', authenticationOk)
  assert.match(failure(early), /without proving/)
  const late = begin()
  exchange(late, BOTH)
  late.give('target', authenticationOk)
  assert.match(failure(late), /without proving/)
})

test('hostile server: a wrong proof is not believed', () => {
  const rig = begin()
  exchange(rig, BOTH)
  rig.give('target', asks(12, `v=${Buffer.alloc(32).toString('base64')}`))
  assert.match(failure(rig), /did not prove/)
})

test('hostile server: asking twice, for less after more, or out of turn ends the login', () => {
  const orders: readonly (readonly Buffer[])[] = [
    [asks(10, BOTH), asks(10, BOTH)],
    [asks(10, BOTH), asks(3)],
    [asks(3), asks(3)],
    [asks(3), asks(10, BOTH)],
    [asks(11, 'r=x,s=c2FsdA==,i=4096')],
    [asks(12, 'v=')],
    [asks(10, BOTH), asks(12, 'v=')],
  ]
  for (const order of orders) {
    const rig = begin({ methods: ['scram', 'md5', 'cleartext'] })
    for (const bytes of order) rig.give('target', bytes)
    assert.match(failure(rig), /no login allows/)
  }
})

test('hostile server: a million iterations are not computed', () => {
  const rig = begin()
  const { first } = initial(answer(rig, asks(10, BOTH)))
  const nonce = first.slice(first.indexOf('r=') + 2)
  assert.equal(answer(rig, asks(11, `r=${nonce}x,s=c2FsdA==,i=1000000`)).length, 0)
  assert.match(failure(rig), /iterations/)
})

test('hostile server: a list of mechanisms without an end, or with bytes behind it, is none', () => {
  for (const list of [
    '',
    '\0',
    'SCRAM-SHA-256',
    'SCRAM-SHA-256\0',
    'x\0'.repeat(5000),
    `${PLAIN}x`,
  ]) {
    const rig = begin()
    rig.give('target', asks(10, list))
    assert.match(failure(rig), /no login allows/, JSON.stringify(list.slice(0, 20)))
  }
})

test('md5 and a password in clear are proved where an administrator allowed them', () => {
  const digest = (text: string, more: Uint8Array): string =>
    createHash('md5').update(text).update(more).digest('hex')
  const salt = Buffer.from([1, 2, 3, 255])
  const rig = begin({ methods: ['md5'] })
  const expected = `md5${digest(digest(`${SECRET}alice`, Buffer.alloc(0)), salt)}\0`
  assert.deepEqual(answer(rig, asks(5, salt)), message('p', expected))
  rig.give('target', authenticationOk)
  assert.ok(isReady(rig))
  const clear = begin({ methods: ['cleartext'], tls: 'verify-ca' })
  assert.deepEqual(answer(clear, asks(3)), message('p', `${SECRET}\0`))
})

test('a method that nobody allowed is refused with the command that allows it', () => {
  const salt = Buffer.alloc(4)
  const cases: readonly (readonly [readonly PasswordMethod[], Buffer, RegExp])[] = [
    [['scram', 'cleartext'], asks(5, salt), /md5.*tctl db credentials add orders .*--allow-md5"$/],
    [['scram', 'md5'], asks(3), /clear.*tctl db credentials add orders .*--allow-cleartext"$/],
    [['md5'], asks(10, BOTH), /SCRAM.*--db-user=alice"$/],
  ]
  for (const [methods, bytes, words] of cases) {
    const rig = begin({ methods })
    assert.equal(answer(rig, bytes).length, 0)
    assert.match(failure(rig), words)
  }
})

test('a password in clear goes over no connection whose other end is not verified', () => {
  for (const tls of ['insecure', 'off'] as const) {
    const rig = begin({ methods: ['cleartext'], tls })
    assert.equal(answer(rig, asks(3)).length, 0)
    assert.match(failure(rig), /verified TLS only/)
  }
})

test('a server that trusts needs no password, and its error about one is the client’s to see', () => {
  const trusting = begin()
  trusting.give('target', authenticationOk)
  assert.ok(isReady(trusting))
  const wrong = begin()
  exchange(wrong, BOTH)
  const error = message('E', 'SFATAL\0C28P01\0Mpassword authentication failed\0\0')
  wrong.give('target', error)
  assert.ok(isReady(wrong))
  assert.deepEqual(wrong.pending('target'), error)
})
