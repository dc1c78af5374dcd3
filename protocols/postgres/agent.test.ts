// What a PostgreSQL server sees of an agent that logs in, and what an agent accepts of a server.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { TargetLogin } from '../../core/protocol.ts'
import { authenticationOk, message, ready, startup } from '../../test/fake/postgres-bytes.ts'
import { Rig, type Step } from '../../test/fake/rig.ts'
import { loginOf, start } from '../../test/scripts/postgres.ts'
import { PostgresAgent } from './agent.ts'

const OPENING = startup('user\0alice\0database\0app\0')
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex')

const server = (bytes: Uint8Array | string): Step => ({ from: 'target', bytes: Buffer.from(bytes) })
const secured: Step = { event: { kind: 'tls', side: 'target' } }

function run(tls: TargetLogin['tls'], ...steps: readonly Step[]): Rig {
  return new Rig(new PostgresAgent(loginOf(OPENING, tls))).run([start, ...steps])
}

/** Logs in over TLS and hears these bytes. */
function login(...said: readonly Uint8Array[]): Rig {
  return run('verify-full', server('S'), secured, ...said.map(server))
}

function last(rig: Rig): { kind: string; reason?: string; first?: Uint8Array } {
  const item = rig.decisions.at(-1)
  assert.ok(item && 'act' in item)
  return item.act
}

function failure(rig: Rig): string {
  const action = last(rig)
  assert.equal(action.kind, 'end')
  return action.reason ?? ''
}

const asks = (method: number, more: string = ''): Buffer =>
  message('R', Buffer.concat([Buffer.from([0, 0, 0, method]), Buffer.from(more)]))

test('the server is asked for TLS, then gets the client’s own start-up message and nothing else', () => {
  const rig = run('verify-full')
  assert.deepEqual(rig.written('target'), SSL_REQUEST)
  rig.give('target', Buffer.from('S'))
  assert.deepEqual(last(rig), { kind: 'upgrade-tls', side: 'target', servername: 'db.internal' })
  rig.event({ kind: 'tls', side: 'target' })
  assert.deepEqual(rig.written('target'), Buffer.concat([SSL_REQUEST, OPENING]))
  assert.equal(rig.written('client').length, 0)
})

test('AuthenticationOk makes it ready and is left to the session with what follows', () => {
  const rig = login(Buffer.concat([authenticationOk, ready]))
  assert.deepEqual(last(rig), { kind: 'ready' })
  assert.deepEqual(rig.pending('target'), Buffer.concat([authenticationOk, ready]))
})

test('an AuthenticationOk in pieces comes back whole with `ready`', () => {
  for (let cut = 1; cut < authenticationOk.length; cut++) {
    const rig = login(
      authenticationOk.subarray(0, cut),
      Buffer.concat([authenticationOk.subarray(cut), ready]),
    )
    assert.equal(last(rig).kind, 'ready')
    assert.deepEqual(last(rig).first, Uint8Array.from(authenticationOk))
    assert.deepEqual(rig.pending('target'), ready)
  }
})

test('NegotiateProtocolVersion and notices before the verdict are kept for the client, in order', () => {
  const before = Buffer.concat([message('v', Buffer.alloc(8)), message('N', 'SNOTICE\0\0')])
  const rig = login(before, authenticationOk)
  assert.deepEqual(last(rig).first, Uint8Array.from(before))
  assert.deepEqual(rig.pending('target'), authenticationOk)
})

test('an error of the server is the client’s to see', () => {
  const error = message('E', 'SFATAL\0C28000\0Mno such role\0\0')
  const rig = login(error)
  assert.deepEqual(last(rig), { kind: 'ready' })
  assert.deepEqual(rig.pending('target'), error)
})

test('without TLS by explicit configuration the start-up message goes at once', () => {
  assert.deepEqual(run('off').written('target'), OPENING)
})

test('a server that does not offer TLS gets no start-up message', () => {
  for (const tls of ['verify-full', 'verify-ca', 'insecure'] as const) {
    const rig = run(tls, server('N'))
    assert.match(failure(rig), /does not offer TLS/)
    assert.deepEqual(rig.written('target'), SSL_REQUEST)
  }
})

test('bytes in clear behind the answer to the TLS request fail the dial', () => {
  assert.match(failure(run('verify-full', server('SR'))), /in clear/)
})

test('an error that comes in clear is not shown: anybody could have written it', () => {
  const rig = run('verify-full', server(message('E', 'Msend your password to evil\0\0')))
  assert.doesNotMatch(failure(rig), /evil/)
})

const METHODS: readonly (readonly [number, RegExp])[] = [
  [3, /password in clear.*none is stored/],
  [10, /SCRAM.*none is stored.*tctl db credentials add orders --db-user=alice"$/],
  [7, /Kerberos/],
  [11, /no login allows/],
  [12, /no login allows/],
  [77, /no login allows/],
]

for (const [method, words] of METHODS) {
  test(`a server that asks for method ${method} is answered with nothing and named to the person`, () => {
    const rig = login(asks(method, 'x\0\0'))
    assert.match(failure(rig), words)
    assert.deepEqual(rig.written('target'), Buffer.concat([SSL_REQUEST, OPENING]))
  })
}

test('what is not part of a login fails the dial', () => {
  assert.match(failure(login(message('T', 'x'))), /no login allows/)
  assert.match(failure(login(message('R', 'x'))), /no login allows/)
  assert.match(failure(login(message('R', Buffer.alloc(5)))), /no login allows/)
  assert.match(failure(login(Buffer.from('4500000003', 'hex'))), /bad length/)
  assert.match(failure(login(Buffer.from('457fffffff', 'hex'))), /bad length/)
})

test('a server that talks without letting us in is cut off at a bound', () => {
  const notice = message('N', Buffer.alloc(1000))
  const rig = login()
  for (let count = 0; count < 100 && !rig.ended; count++) rig.give('target', notice)
  assert.match(failure(rig), /too much/)
})

test('a server that closes before it let us in fails the dial', () => {
  const rig = login()
  rig.event({ kind: 'ended', side: 'target' })
  assert.match(failure(rig), /closed/)
})

test('TLS that nobody asked for fails the dial', () => {
  assert.match(failure(run('verify-full', secured)), /unasked/)
})
