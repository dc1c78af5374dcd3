// Both halves together over what real clients and servers said: every byte arrives as recorded, and every statement is noted.
// The servers were PostgreSQL 15 and 18, the clients psql 15, pgbench 15 and libpq 18; vectors/ holds the bytes.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Action, Observation } from '../../core/protocol.ts'
import type { Recorded } from '../../test/fake/vectors.ts'
import { Rig } from '../../test/fake/rig.ts'
import { right } from '../../test/scripts/people.ts'
import { allowed, loginOf, secured, start, VECTORS, vector } from '../../test/scripts/postgres.ts'
import { postgres } from './index.ts'
import { PostgresObserver } from './observer.ts'

const NOTED = [
  'Query',
  'Parse',
  'Bind',
  'Execute',
  'Close',
  'FunctionCall',
  'Terminate',
  'Describe',
  'Sync',
  'ErrorResponse',
  'CommandComplete',
  'RowDescription',
  'ReadyForQuery',
  'ParseComplete',
  'BindComplete',
  'CloseComplete',
  'NoData',
  'EmptyQueryResponse',
  'PortalSuspended',
  'FunctionCallResponse',
  'CopyInResponse',
  'CopyOutResponse',
  'CopyBothResponse',
]

function last(rig: Rig): Action | undefined {
  const item = rig.decisions.at(-1)
  return item !== undefined && 'act' in item ? item.act : undefined
}

/** Log in with the agent half; returns what the session is to see of the target from then on. */
function logIn(opening: Uint8Array, said: readonly Recorded[], chunkBytes: number): Buffer {
  const agent = new Rig(postgres.agent(loginOf(opening))).run([
    start,
    { from: 'target', bytes: Buffer.from('S') },
    { event: { kind: 'tls', side: 'target' } },
  ])
  const all = Buffer.concat(said.map(({ bytes }) => bytes))
  for (let at = 0; at < all.length; at += chunkBytes) {
    agent.give('target', all.subarray(at, at + chunkBytes))
  }
  const ready = agent.decisions.find((item) => 'act' in item && item.act.kind === 'ready')
  assert.ok(ready && 'act' in ready && ready.act.kind === 'ready')
  return Buffer.concat([ready.act.first ?? new Uint8Array(0), agent.pending('target')])
}

function play(recorded: readonly Recorded[], chunkBytes: number): Rig {
  const [opening, ...rest] = recorded
  assert.ok(opening)
  const rig = new Rig(postgres.session()).run([start, secured])
  rig.give('client', opening.bytes)
  const dialled = rig.run([{ event: { kind: 'authorized', right } }])
  const dial = last(dialled)
  assert.ok(dial?.kind === 'dial')
  const until = rest.findIndex(({ from }) => from === 'client')
  const greeting = rest.slice(0, until < 0 ? rest.length : until)
  rig.run(allowed.slice(1))
  rig.give('target', logIn(dial.opening, greeting, chunkBytes))
  for (const { from, bytes } of rest.slice(greeting.length)) {
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      rig.give(from, bytes.subarray(at, at + chunkBytes))
    }
  }
  return rig
}

for (const name of VECTORS) {
  for (const chunkBytes of [65_536, 7, 1]) {
    test(`${name} in chunks of ${chunkBytes}: bytes arrive as recorded, statements are noted`, () => {
      const recorded = vector(name)
      const rig = play(recorded, chunkBytes)
      const of = (side: 'client' | 'target'): Buffer =>
        Buffer.concat(recorded.filter(({ from }) => from === side).map(({ bytes }) => bytes))
      assert.deepEqual(rig.written('client'), of('target'))
      // The start-up message goes to the target by way of the agent half.
      const startupBytes = recorded[0]?.bytes.length ?? 0
      assert.deepEqual(rig.written('target'), of('client').subarray(startupBytes))
      assert.equal(rig.ended, false)
      const notes = rig.decisions.flatMap((item) => ('note' in item ? [item.body] : []))
      const expected = recorded
        .filter(({ name: message, from }) => {
          const [kind = ''] = message.split(' ')
          return (
            NOTED.includes(kind) ||
            (from === 'client' && kind.startsWith('Copy') && kind !== 'CopyData')
          )
        })
        .map(({ bytes }) => bytes.toString('hex', 5))
      assert.deepEqual(notes, expected)
      const told: Observation[] = []
      const observer = new PostgresObserver((observation) => told.push(observation))
      for (const item of rig.decisions) {
        if (!('note' in item)) continue
        const body = Buffer.from(item.body, 'hex')
        assert.ok(observer.note(item.note, body, 0, body.length, 0, 0))
      }
      observer.end()
      assert.equal(observer.fault, undefined)
      // Each of these messages is one statement of its own. Who follows changes leaves in the middle of the answer; nobody else does.
      const asked = recorded.filter(({ name: kind }) =>
        /^(Query|Execute|FunctionCall)\b/.test(kind),
      )
      assert.equal(told.filter(({ code }) => !/^TPG0[013]/.test(code)).length, asked.length)
      const open = told.filter(({ fields }) => fields['unanswered'] !== undefined)
      assert.equal(open.length, name.endsWith('-replication') ? 1 : 0)
    })
  }
}

test('a server that asked for a password is named, and the client hears nothing of its question', () => {
  const recorded = vector('psql15-pg15-scram')
  const opening = recorded[0]?.bytes ?? Buffer.alloc(0)
  const agent = new Rig(postgres.agent(loginOf(opening, 'off'))).run([start])
  agent.give('target', recorded[1]?.bytes ?? Buffer.alloc(0))
  const action = last(agent)
  assert.ok(action?.kind === 'end')
  assert.match(action.reason, /SCRAM/)
})
