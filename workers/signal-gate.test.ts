// The bound on guessing: what counts, for how long, and that no burst outruns the count.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { SignalGate, type Settle, type SignalGateOptions } from './signal-gate.ts'

const MINUTE_MS = 60_000

interface Rig {
  readonly gate: SignalGate
  readonly clock: FakeClock
  readonly open: Settle[]
  readonly deaf: string[]
  /** Enters and keeps what is let in open. */
  readonly enter: (name?: string) => boolean
  /** Enters, is let in, and turns out so. */
  readonly tried: (hit: boolean, name?: string) => boolean
}

function rig(over: Partial<SignalGateOptions> = {}): Rig {
  const [clock, open, deaf] = [new FakeClock(), [] as Settle[], [] as string[]]
  const onDeaf = (name: string): void => void deaf.push(name)
  const gate = new SignalGate({ clock, wrongMax: 3, waitingMax: 2, onDeaf, ...over })
  const enter = (name = 'a'): boolean => gate.enter(name, (settle) => void open.push(settle))
  const tried = (hit: boolean, name = 'a'): boolean => gate.enter(name, (settle) => settle(hit))
  return { gate, clock, open, deaf, enter, tried }
}

describe('the gate of signals', () => {
  it('lets any number through that hit', () => {
    const { tried, deaf } = rig()
    for (let i = 0; i < 100; i++) assert.ok(tried(true))
    assert.deepEqual(deaf, [])
  })

  it('is deaf for a minute after so many wrong ones, tells it once, and hears other names', () => {
    const { tried, clock, deaf } = rig()
    for (let i = 0; i < 3; i++) assert.ok(tried(false))
    assert.deepEqual(deaf, ['a'])
    assert.equal(tried(true), false)
    assert.ok(tried(true, 'b'))
    clock.advance(MINUTE_MS - 1)
    assert.equal(tried(true), false)
    clock.advance(1)
    assert.ok(tried(true))
    assert.deepEqual(deaf, ['a'])
  })

  it('is deaf for a whole minute from the last wrong one', () => {
    const { tried, clock } = rig()
    tried(false)
    clock.advance(MINUTE_MS - 1)
    tried(false)
    tried(false)
    clock.advance(2)
    assert.equal(tried(true), false)
    clock.advance(MINUTE_MS - 3)
    assert.equal(tried(true), false)
    clock.advance(1)
    assert.ok(tried(true))
  })

  it('forgets wrong ones that are a minute old', () => {
    const { tried, clock } = rig()
    for (let i = 0; i < 20; i++) {
      assert.ok(tried(false))
      assert.ok(tried(false))
      clock.advance(MINUTE_MS)
    }
  })

  it('counts what is on its way as wrong until it hit, and lets the next wait for that', () => {
    const { enter, open } = rig()
    for (let i = 0; i < 5; i++) assert.ok(enter())
    assert.equal(open.length, 3)
    // Two wait, and no more may.
    assert.equal(enter(), false)
    open[0]?.(true)
    assert.equal(open.length, 4)
    open[1]?.(false)
    open[2]?.(false)
    assert.equal(open.length, 4)
    open[3]?.(true)
    assert.equal(open.length, 5)
  })

  it('drops who waits when the last on its way was wrong', () => {
    const { enter, open, tried } = rig()
    for (let i = 0; i < 5; i++) enter()
    for (const settle of open.splice(0)) settle(false)
    assert.equal(open.length, 0)
    // Their places are free again.
    for (let i = 0; i < 3; i++) enter('b')
    assert.ok(enter('b'))
    assert.ok(enter('b'))
    assert.equal(tried(true), false)
  })

  it('counts one that is settled twice once', () => {
    const { enter, open, tried, deaf } = rig()
    enter()
    for (let i = 0; i < 3; i++) open[0]?.(false)
    assert.ok(tried(true))
    assert.deepEqual(deaf, [])
  })

  it('remembers a bounded number of names, and none of them after its minute', () => {
    const { gate, tried, clock } = rig()
    for (let i = 0; i < max('signalNamesMax') + 100; i++) tried(false, `n${i}`)
    assert.equal(gate.size, max('signalNamesMax'))
    gate.sweep()
    assert.equal(gate.size, max('signalNamesMax'))
    clock.advance(MINUTE_MS)
    gate.sweep()
    assert.equal(gate.size, 0)
  })
})
