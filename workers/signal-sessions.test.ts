// Who is told of a signal: the session whose key it is, of several that may share a handle; after guesses, nobody for a minute.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { signalHandle } from '../core/tunnel/signal.ts'
import { type SignalFrom, SignalSessions } from './signal-sessions.ts'
import { SignalSlots } from './signal-slots.ts'

const at = (address: string): SignalFrom => ({ address, port: 1 })

function key(handle: number, secret: number, length = 4): Uint8Array {
  const bytes = Buffer.alloc(4 + length, secret)
  bytes.writeUInt32BE(handle, 0)
  return bytes
}

describe('the sessions of a thread that signals reach', () => {
  it('one is told by its key, with where the signal came from, and no other', () => {
    const sessions = new SignalSessions(new FakeClock())
    const told: string[] = []
    sessions.add(key(7, 1), (from) => told.push(`a ${from.address}`))
    // Another proxy with the same bits gave the same handle.
    sessions.add(key(7, 2), (from) => told.push(`b ${from.address}`))
    sessions.add(key(8, 1), (from) => told.push(`c ${from.address}`))
    assert.ok(sessions.signal(key(7, 2), at('x')))
    assert.ok(sessions.signal(key(7, 1), at('y')))
    assert.deepEqual(told, ['b x', 'a y'])
    assert.equal(sessions.signal(key(9, 1), at('z')), false)
    assert.equal(sessions.signal(key(7, 1, 32), at('z')), false)
    assert.equal(sessions.signal(Buffer.alloc(3), at('z')), false)
    assert.equal(told.length, 2)
  })

  it('one that was guessed at is deaf for a minute, to the right key too', () => {
    const clock = new FakeClock()
    const sessions = new SignalSessions(clock)
    let told = 0
    sessions.add(key(7, 1), () => told++)
    for (let i = 2; i < 5; i++) assert.equal(sessions.signal(key(7, i), at('x')), false)
    assert.equal(sessions.signal(key(7, 1), at('x')), false)
    clock.advance(60_000)
    assert.ok(sessions.signal(key(7, 1), at('x')))
    assert.equal(told, 1)
  })

  it('nothing is left of one that is over, nor counted against the next of its handle', () => {
    const sessions = new SignalSessions(new FakeClock())
    const end = sessions.add(key(7, 1), () => assert.fail('told after its end'))
    for (let i = 2; i < 5; i++) sessions.signal(key(7, i), at('x'))
    end()
    end()
    assert.equal(sessions.size, 0)
    assert.equal(sessions.signal(key(7, 1), at('x')), false)
    sessions.add(key(7, 9), () => {})
    assert.ok(sessions.signal(key(7, 9), at('x')))
  })
})

describe('the slots of a proxy', () => {
  it('gives each session another handle, none 0, and a freed one as late as possible', () => {
    const slots = new SignalSlots<string>('proxy-1', 2 ** 20, 2 ** 20 - 3)
    const given = ['a', 'b', 'c', 'd'].map((owner) => slots.take(owner))
    const at = (slot: number): number => signalHandle('proxy-1', slot)
    assert.deepEqual(given, [at(2 ** 20 - 2), at(2 ** 20 - 1), at(1), at(2)])
    assert.equal(slots.owner(at(1)), 'c')
    slots.free(at(1))
    assert.equal(slots.owner(at(1)), undefined)
    assert.equal(slots.take('e'), at(3))
    assert.equal(slots.size, 4)
  })

  it('skips what is taken, and has none for one session too many', () => {
    const slots = new SignalSlots<number>('proxy-1', 1024)
    for (let i = 1; i < 1024; i++) assert.notEqual(slots.take(i), 0)
    assert.equal(slots.take(0), 0)
    slots.free(signalHandle('proxy-1', 711))
    assert.equal(slots.take(0), signalHandle('proxy-1', 711))
  })
})
