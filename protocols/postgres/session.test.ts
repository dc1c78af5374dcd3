// What a PostgreSQL client sees: which start-ups are let on, how refusals read, what the relay carries and what ends it.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Refusal } from '../../core/protocol.ts'
import {
  authenticationOk,
  errorFields,
  message,
  ready,
  request,
  startup,
} from '../../test/fake/postgres-bytes.ts'
import { Rig, type Step } from '../../test/fake/rig.ts'
import { peer, right, target } from '../../test/scripts/people.ts'
import { allowed, secured, start } from '../../test/scripts/postgres.ts'
import { PostgresSession } from './session.ts'

const ALICE = startup('user\0alice\0database\0app\0')

const client = (bytes: Uint8Array): Step => ({ from: 'client', bytes })
const server = (bytes: Uint8Array): Step => ({ from: 'target', bytes })

function run(...steps: readonly Step[]): Rig {
  return new Rig(new PostgresSession()).run(steps)
}

function opened(bytes: Uint8Array): Rig {
  return run(start, secured, client(bytes))
}

function relayed(...steps: readonly Step[]): Rig {
  const login = [start, secured, client(ALICE), ...allowed, server(authenticationOk)]
  return run(...login, server(ready), ...steps)
}

/** The one ErrorResponse a client was sent behind `before` bytes of the target. */
function said(rig: Rig, before: number = 0): Record<string, string> {
  assert.ok(rig.ended)
  const fields = errorFields(rig.written('client').subarray(before))
  assert.ok(fields, rig.written('client').toString('latin1'))
  assert.equal(fields['S'], 'FATAL')
  assert.equal(fields['V'], 'FATAL')
  return fields
}

function actions(rig: Rig): string[] {
  return rig.decisions.flatMap((item) => ('act' in item ? [item.act.kind] : []))
}

const LOGIN_BYTES = authenticationOk.length + ready.length

function refusal(kind: Refusal['kind']): Refusal {
  return { decisionId: '01JX', kind, reason: 'role "dev" allows no db_users', next: 'Ask for it.' }
}

test('user and database are authorised, the start-up message is forwarded as it came', () => {
  const rig = run(start, secured, client(ALICE), ...allowed)
  const acts = rig.decisions.flatMap((item) => ('act' in item ? [item.act] : []))
  assert.deepEqual(acts, [
    { kind: 'upgrade-tls', side: 'client' },
    { kind: 'authorize', access: { target, principal: 'alice', resource: 'app' } },
    { kind: 'dial', right, opening: Uint8Array.from(ALICE) },
  ])
})

test('without a database name, or with an empty one, the one called like the user is authorised', () => {
  for (const parameters of ['user\0alice\0', 'database\0\0user\0alice\0']) {
    const last = opened(startup(parameters)).decisions.at(-1)
    assert.ok(last && 'act' in last && last.act.kind === 'authorize')
    assert.equal(last.act.access.resource, 'alice')
  }
})

test('a byte order mark in a name is judged as part of it', () => {
  const last = opened(startup('user\0\ufeffalice\0')).decisions.at(-1)
  assert.ok(last && 'act' in last && last.act.kind === 'authorize')
  assert.equal(last.act.access.principal, '\ufeffalice')
})

const REFUSED: readonly (readonly [
  what: string,
  bytes: Uint8Array,
  code: string,
  words: RegExp,
])[] = [
  ['a parameter that comes twice', startup('user\0alice\0user\0root\0'), '08P01', /twice/],
  ['no user', startup('database\0app\0'), '08P01', /no database user/],
  ['a name the server would cut', startup(`user\0${'a'.repeat(64)}\0`), '08P01', /63 bytes/],
  ['a long name in few characters', startup(`user\0${'é'.repeat(32)}\0`), '08P01', /63 bytes/],
  [
    'bytes that are not UTF-8',
    startup(Buffer.from('75736572 00ff00'.replace(' ', ''), 'hex')),
    '08P01',
    /malformed/,
  ],
  ['bytes behind the terminator', startup('user\0alice\0\0x'), '08P01', /follow/],
  ['no terminator', startup('user\0alice'), '08P01', /malformed/],
  ...['', 'TRUE', 't', 'of', 'y', '01', 'Database', 'logical'].map(
    (value) =>
      [
        `replication=${value || 'nothing'}`,
        startup(`user\0alice\0replication\0${value}\0`),
        '08P01',
        /replication is one of false, .*database$/,
      ] as const,
  ),
  ['protocol 2', startup('', 0x0002_0000), '0A000', /version 2\.0/],
  ['a second SSLRequest', request(80877103), '08P01', /inside TLS/],
  ['a GSSENCRequest', request(80877104), '08P01', /inside TLS/],
  ['an announced length of 2 GB', Buffer.from('7fffffff', 'hex'), '08P01', /bad length/],
  ['an announced length of 3', Buffer.from('00000003', 'hex'), '08P01', /bad length/],
  ['an announced length of 0', Buffer.from('00000000', 'hex'), '08P01', /bad length/],
  ['a length without a version', Buffer.from('00000004', 'hex'), '08P01', /malformed/],
]

for (const [what, bytes, code, words] of REFUSED) {
  test(`a start-up with ${what} is refused and reaches nobody`, () => {
    const rig = opened(bytes)
    const fields = said(rig)
    assert.equal(fields['C'], code)
    assert.match(fields['M'] ?? '', words)
    assert.deepEqual(actions(rig), ['upgrade-tls', 'end'])
  })
}

test('replication is authorised as what it is, and as the database its kind reads', () => {
  const access = (value: string): object => {
    const rig = opened(startup(`user\0alice\0database\0app\0replication\0${value}\0`))
    const last = rig.decisions.at(-1)
    assert.ok(last && 'act' in last && last.act.kind === 'authorize', value)
    return last.act.access
  }
  for (const value of ['false', 'off', 'no', '0'])
    assert.deepEqual(access(value), { target, principal: 'alice', resource: 'app' })
  const all = { target, principal: 'alice', resource: 'replication', replication: true }
  for (const value of ['true', 'on', 'yes', '1']) assert.deepEqual(access(value), all)
  assert.deepEqual(access('database'), { ...all, resource: 'app' })
})

const CANCEL = 80877102

test('a cancel request inside TLS is passed on with its key, and ends without an answer', () => {
  for (const keyBytes of [4, 32, 256]) {
    const key = Buffer.alloc(4 + keyBytes, 7)
    for (const tls of [secured, { event: { kind: 'tls', side: 'client' } } as const]) {
      const rig = run(start, tls, client(request(CANCEL, key)))
      assert.equal(rig.written('client').length, 0)
      const acts = rig.decisions.flatMap((item) => ('act' in item ? [item.act] : []))
      assert.deepEqual(acts.slice(1), [
        { kind: 'signal', key: Uint8Array.from(key) },
        { kind: 'end', reason: 'cancel request' },
      ])
    }
  }
})

test('a cancel request inside TLS with no key, or with an endless one, reaches nobody', () => {
  for (const bytes of [0, 4, 7, 261, 5000]) {
    const rig = opened(request(CANCEL, Buffer.alloc(bytes)))
    assert.deepEqual(actions(rig), ['upgrade-tls', 'end'])
  }
})

const SIGNAL = { handle: 0x7ff00001, secret: Uint8Array.from({ length: 32 }, (_, i) => 100 + i) }

/** A session that cancel requests reach, whose target has let it in. */
function keyed(...steps: readonly Step[]): Rig {
  const named: Step = { event: { kind: 'start', stage: 'ssl', target, nowMs: 0, signal: SIGNAL } }
  const login = [named, secured, client(ALICE), ...allowed, server(authenticationOk)]
  return run(...login, ...steps)
}

test('the client is shown the session’s handle and a key of its own, as long as the server’s', () => {
  for (const [real, shown] of [
    [4, 4],
    [32, 32],
    [16, 16],
    [256, 32],
  ] as const) {
    const body = Buffer.concat([Buffer.from([0, 0, 4, 210]), Buffer.alloc(real, 9)])
    const rig = keyed(server(message('K', body)), server(ready))
    const mine = Buffer.concat([Buffer.from('7ff00001', 'hex'), SIGNAL.secret.subarray(0, shown)])
    const written = rig.written('client').subarray(authenticationOk.length)
    assert.deepEqual(written, Buffer.concat([message('K', mine), ready]))
    const act = rig.decisions.find((item) => 'act' in item && item.act.kind === 'signal-key')
    assert.deepEqual(act && 'act' in act ? act.act : undefined, {
      kind: 'signal-key',
      shown: Uint8Array.from(mine),
      real: Uint8Array.from(body),
    })
  }
})

test('without a handle the server’s own key passes as it came', () => {
  const key = message('K', Buffer.alloc(8, 9))
  const rig = run(start, secured, client(ALICE), ...allowed, server(authenticationOk), server(key))
  assert.deepEqual(rig.written('client'), Buffer.concat([authenticationOk, key]))
  assert.ok(!actions(rig).includes('signal-key'))
})

test('hostile server: a key that is too short, too long, endless or comes twice ends the session', () => {
  const good = message('K', Buffer.alloc(8))
  for (const [bytes, words] of [
    [message('K', Buffer.alloc(7)), /too short/],
    [message('K', ''), /too short/],
    [message('K', Buffer.alloc(261)), /longer than this place allows/],
    [Buffer.from('4b3fffffff', 'hex'), /longer than this place allows/],
    [Buffer.concat([good, good]), /came twice/],
    [Buffer.concat([good, ready, good]), /came twice/],
  ] as const) {
    const rig = keyed(server(bytes))
    assert.ok(rig.ended)
    const audited = rig.decisions.at(-2)
    assert.ok(audited && 'act' in audited && audited.act.kind === 'audit')
    assert.match(String(audited.act.fields['payload']), words)
  }
})

test('behind a key that is only begun a refusal is still heard: nothing of it has passed', () => {
  const rig = keyed(server(message('K', Buffer.alloc(8)).subarray(0, 9)))
  rig.event({ kind: 'evict', refusal: refusal('lock') })
  assert.equal(said(rig, authenticationOk.length)['C'], '57P01')
})

test('a client without a certificate is told so, after its start-up message', () => {
  const unknown: Step = { event: { kind: 'tls', side: 'client' } }
  assert.equal(run(start, unknown).written('client').length, 0)
  const fields = said(run(start, unknown, client(ALICE)))
  assert.equal(fields['C'], '28000')
  assert.match(fields['M'] ?? '', /^access denied by Sluice policy/)
  assert.match(fields['H'] ?? '', /tsh db login/)
})

test('a refusal that came with the handshake is the one that is said', () => {
  const expired: Step = { event: { kind: 'tls', side: 'client', refusal: refusal('expired') } }
  const fields = said(run(start, expired, client(ALICE)))
  assert.equal(fields['C'], '28000')
  assert.match(fields['M'] ?? '', /decision 01JX/)
})

test('ALPN decides: another name ends the connection, none is allowed behind an SSLRequest only', () => {
  const direct: Step = { event: { kind: 'start', stage: '', target, nowMs: 0 } }
  const tls = (alpn?: string): Step => ({
    event: { kind: 'tls', side: 'client', peer, ...(alpn === undefined ? {} : { alpn }) },
  })
  assert.equal(run(start, tls(), client(ALICE)).ended, false)
  assert.equal(run(start, tls('postgresql'), client(ALICE)).ended, false)
  assert.equal(run(direct, tls('postgresql'), client(ALICE)).ended, false)
  assert.equal(run(start, tls('h2'), client(ALICE)).ended, true)
  assert.equal(run(direct, tls('h2'), client(ALICE)).ended, true)
  assert.equal(run(direct, tls(), client(ALICE)).ended, true)
})

test('each kind of refusal has its SQLSTATE, the decision, its reason and what to do next', () => {
  const codes: readonly (readonly [Refusal['kind'], string])[] = [
    ['identity', '28000'],
    ['lock', '28000'],
    ['expired', '28000'],
    ['policy', '42501'],
    ['limit', '53300'],
    ['unavailable', '08006'],
  ]
  for (const [kind, code] of codes) {
    const rig = opened(ALICE)
    rig.refuse(refusal(kind))
    const fields = said(rig)
    assert.equal(fields['C'], code, kind)
    assert.match(fields['M'] ?? '', /Sluice.*, decision 01JX: role "dev" allows no db_users$/)
    assert.equal(fields['D'], 'This was decided by Sluice, not by PostgreSQL.')
    assert.equal(fields['H'], 'Ask for it.')
  }
})

test('a policy denial reads as people are told to look for it', () => {
  const rig = opened(ALICE)
  rig.refuse(refusal('policy'))
  assert.match(said(rig)['M'] ?? '', /^access denied by Sluice policy, decision 01JX: /)
})

test('text of a stranger loses its control characters and its length', () => {
  const rig = opened(ALICE)
  rig.refuse({ ...refusal('policy'), reason: `\u001b[2J\0\u202e${'x'.repeat(100_000)}` })
  const text = said(rig)['M'] ?? ''
  assert.match(text, /: \?\[2J\?\?x+…$/)
  assert.ok(text.length <= 1024)
})

test('a failed dial says that the database could not be reached, and that access was allowed', () => {
  const dialled = run(start, secured, client(ALICE), { event: { kind: 'authorized', right } })
  dialled.event({ kind: 'dial-failed', message: 'connection refused' })
  const fields = said(dialled)
  assert.equal(fields['C'], '08006')
  assert.match(fields['M'] ?? '', /connection refused/)
  assert.match(fields['D'] ?? '', /was allowed/)
})

test('a running session that is ended is told with admin_shutdown between two messages', () => {
  const rig = relayed(client(message('Q', 'select 1\0')))
  rig.event({ kind: 'evict', refusal: refusal('lock') })
  const fields = said(rig, LOGIN_BYTES)
  assert.equal(fields['C'], '57P01')
  assert.match(fields['M'] ?? '', /^session ended by Sluice policy, decision 01JX: /)
})

test('inside a message of the target nothing of ours is said: the session is cut', () => {
  const row = message('D', Buffer.alloc(100))
  const rig = relayed(server(row.subarray(0, 50)))
  const before = rig.written('client').length
  rig.event({ kind: 'evict', refusal: refusal('lock') })
  assert.ok(rig.ended)
  assert.equal(rig.written('client').length, before)
})

test('behind a cut head of the target a refusal is still heard: no byte of that message has passed', () => {
  const rig = relayed(server(message('D', Buffer.alloc(100)).subarray(0, 4)))
  rig.event({ kind: 'evict', refusal: refusal('lock') })
  assert.equal(said(rig, LOGIN_BYTES)['C'], '57P01')
})

const NOT_ALLOWED: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ['a password', message('p', 'secret\0')],
  ['a second start-up message', ALICE],
  ['a message of the server', message('T', 'x')],
  ['a length below 4', Buffer.from('5100000003', 'hex')],
  ['an announced length of 2 GB', Buffer.from('517fffffff', 'hex')],
]

for (const [what, bytes] of NOT_ALLOWED) {
  test(`${what} from a client in a session ends it, is audited, and does not reach the target`, () => {
    const rig = relayed(client(message('S')), client(bytes))
    assert.equal(said(rig, LOGIN_BYTES)['C'], '08P01')
    assert.deepEqual(rig.written('target'), message('S'))
    assert.deepEqual(actions(rig).slice(-2), ['audit', 'end'])
    const audited = rig.decisions.at(-2)
    assert.ok(audited && 'act' in audited && audited.act.kind === 'audit')
    assert.match(String(audited.act.fields['payload']), /^message type 0x.*\(from the client\)$/)
  })
}

test('a target that asks for a password in a running session is not heard', () => {
  const ask = message('R', Buffer.from([0, 0, 0, 3]))
  assert.equal(said(relayed(server(ask)), LOGIN_BYTES)['C'], '08P01')
  const first = run(start, secured, client(ALICE), ...allowed, server(message('E', 'x\0\0')))
  const before = first.written('client').length
  first.give('target', ask)
  assert.equal(said(first, before)['C'], '08P01')
})

test('statements are noted in order with their bodies, blind messages are not', () => {
  const statements = [message('P', 's\0select $1\0\0\0'), message('B', 'b'), message('D', 'S\0')]
  const rig = relayed(
    client(Buffer.concat([...statements, message('E', 'e'), message('H'), message('S')])),
    server(message('C', 'SELECT 1\0')),
    client(Buffer.concat([message('d', 'data'), message('c'), message('X')])),
  )
  const notes = rig.decisions.flatMap((item) => ('note' in item ? [[item.note, item.body]] : []))
  const hex = (text: string): string => Buffer.from(text).toString('hex')
  assert.deepEqual(notes, [
    [0x100 + 0x5a, hex('I')],
    [0x50, hex('s\0select $1\0\0\0')],
    [0x42, hex('b')],
    [0x44, hex('S\0')],
    [0x45, hex('e')],
    [0x53, ''],
    [0x100 + 0x43, hex('SELECT 1\0')],
    [0x63, ''],
    [0x58, ''],
  ])
})

test('a statement that could not be noted is not forwarded until it could', () => {
  let room = false
  const rig = new Rig(new PostgresSession(), () => room)
  const error = message('E', 'Mx\0\0')
  for (const step of [start, secured, client(ALICE), ...allowed]) {
    if ('event' in step) rig.event(step.event)
    else rig.give(step.from, step.bytes)
  }
  rig.give('client', Buffer.concat([message('H'), message('Q', 'select 1\0')]))
  assert.deepEqual(rig.written('target'), message('H'))
  room = true
  rig.event({ kind: 'tap-ready' })
  assert.deepEqual(rig.written('target'), Buffer.concat([message('H'), message('Q', 'select 1\0')]))
  rig.give('target', error)
  assert.deepEqual(rig.written('client'), error)
})

test('a client that closes its half still gets its answers; a target that closes ends the session', () => {
  const rig = relayed(client(message('Q', 'select 1\0')))
  rig.event({ kind: 'ended', side: 'client' })
  rig.give('target', ready)
  assert.equal(rig.written('client').length, LOGIN_BYTES + ready.length)
  assert.equal(rig.ended, false)
  rig.event({ kind: 'ended', side: 'target' })
  assert.ok(rig.ended)
})

test('an event that the phase does not wait for ends the session', () => {
  const rig = run(start, { event: { kind: 'connected' } })
  assert.ok(rig.ended)
  assert.equal(opened(ALICE).ended, false)
  assert.ok(run(start, secured, client(ALICE), { event: { kind: 'connected' } }).ended)
})

test('bytes of a target are never read as a start-up message', () => {
  const session = new PostgresSession()
  const rig = new Rig(session).run([start, secured])
  assert.equal(session.bytes('target', ALICE, 0, rig), 0)
  assert.deepEqual(actions(rig), ['upgrade-tls'])
})
