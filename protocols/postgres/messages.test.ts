// Every message of the manual, in both directions, and every type it does not know: what passes, what is noted, what ends a session.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { authenticationOk, message, ready, startup } from '../../test/fake/postgres-bytes.ts'
import { Rig, type Step } from '../../test/fake/rig.ts'
import { allowed, secured, start } from '../../test/scripts/postgres.ts'
import { PostgresSession } from './session.ts'

const ALICE = startup('user\0alice\0database\0app\0')

/** As the manual lists them ("Message Formats"): F may be sent by a client in a session, B by a server. */
const FRONTEND = 'BCdcfDEFHPQSX'
const BACKEND = 'K23CWdcGHDIEVnNAtS1sZT'

const client = (bytes: Uint8Array): Step => ({ from: 'client', bytes })
const server = (bytes: Uint8Array): Step => ({ from: 'target', bytes })

function opened(opening: Uint8Array): Rig {
  return new Rig(new PostgresSession()).run([start, secured, client(opening)])
}

function relayed(...steps: readonly Step[]): Rig {
  return opened(ALICE).run([...allowed, server(Buffer.concat([authenticationOk, ready])), ...steps])
}

function others(known: string): string[] {
  const all = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code))
  return all.filter((type) => !known.includes(type))
}

test('every message that a client may send in a session reaches the target as it came', () => {
  const all = Buffer.concat(Array.from(FRONTEND, (type) => message(type, 'body\0')))
  assert.deepEqual(relayed(client(all)).written('target'), all)
})

test('every message that a server may send in a session reaches the client as it came', () => {
  const all = Buffer.concat(Array.from(BACKEND, (type) => message(type, 'body\0')))
  const written = relayed(server(all)).written('client')
  assert.deepEqual(written.subarray(authenticationOk.length + ready.length), all)
})

test('a type that no client may send ends the session and reaches nobody, with or without its length', () => {
  for (const type of others(FRONTEND))
    for (const bytes of [message(type, 'x'), Buffer.from(type, 'latin1')]) {
      const rig = relayed(client(bytes))
      assert.ok(rig.ended, type)
      assert.equal(rig.written('target').length, 0, type)
    }
})

test('a type that no server may send in a session ends it and reaches nobody', () => {
  for (const type of others(BACKEND)) {
    const rig = relayed(server(message(type, 'to be read')))
    assert.ok(rig.ended, type)
    assert.ok(!rig.written('client').includes('to be read'), type)
  }
})

test('a function call is noted as statements are', () => {
  const call = Buffer.from('000003c3000000000000', 'hex')
  const rig = relayed(client(message('F', call)), server(message('V', Buffer.alloc(4))))
  const notes = rig.decisions.flatMap((item) => ('note' in item ? [[item.note, item.body]] : []))
  assert.deepEqual(notes.at(-2), [0x46, call.toString('hex')])
})

test('COPY in both directions at once passes both ways, to the end of each', () => {
  const [wal, status] = [message('d', Buffer.alloc(5000, 1)), message('d', Buffer.alloc(34, 2))]
  const steps: Step[] = [
    client(message('Q', 'START_REPLICATION 0/0\0')),
    server(message('W', Buffer.alloc(3))),
    server(wal),
    client(status),
    server(wal),
    client(message('c')),
    server(Buffer.concat([message('c'), message('C', 'COPY 0\0'), ready])),
  ]
  const rig = relayed(...steps)
  const of = (side: 'client' | 'target'): Buffer =>
    Buffer.concat(
      steps.flatMap((step) => ('from' in step && step.from === side ? [step.bytes] : [])),
    )
  assert.deepEqual(rig.written('target'), of('client'))
  const login = authenticationOk.length + ready.length
  assert.deepEqual(rig.written('client').subarray(login), of('target'))
  assert.equal(rig.ended, false)
})

test('any minor version of 3 and every protocol extension reaches the target as it came', () => {
  for (const version of [0x0003_0000, 0x0003_0002, 0x0003_270f, 0x0003_ffff]) {
    const opening = startup('user\0alice\0_pq_.x\0on\0_pq_.\0\0application_name\0é\0', version)
    const last = opened(opening).run(allowed.slice(0, 1)).decisions.at(-1)
    assert.ok(last && 'act' in last && last.act.kind === 'dial')
    assert.deepEqual(Buffer.from(last.act.opening), opening)
  }
})

test('a start-up message ends where it says: what follows waits for the session', () => {
  const rig = opened(Buffer.concat([ALICE, message('Q', 'select 1\0')]))
  assert.equal(rig.ended, false)
  assert.equal(rig.written('target').length, 0)
  rig.run([...allowed, server(authenticationOk)])
  assert.deepEqual(rig.written('target'), message('Q', 'select 1\0'))
})

test('messages that are pipelined in one chunk with half of the next pass as far as they are known', () => {
  const whole = Buffer.concat([message('P', '\0select 1\0\0\0'), message('B', 'b'), message('S')])
  const next = message('Q', 'select 2\0')
  for (let cut = 0; cut < 5; cut++) {
    const rig = relayed(client(Buffer.concat([whole, next.subarray(0, cut)])))
    assert.deepEqual(rig.written('target'), whole, `${cut}`)
    rig.give('client', next.subarray(cut))
    assert.deepEqual(rig.written('target'), Buffer.concat([whole, next]))
  }
})
