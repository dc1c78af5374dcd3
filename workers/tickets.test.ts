// What one routing ticket can cost: unaccepted dials, waiting dials, a rate; and that nothing of it stays behind.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { type Dial, TicketGate } from './tickets.ts'

function enterMany(
  gate: TicketGate,
  count: number,
): { started: number[]; dials: (Dial | undefined)[] } {
  const started: number[] = []
  const dials = Array.from({ length: count }, (_, i) => gate.enter('t', () => started.push(i)))
  return { started, dials }
}

describe('TicketGate', () => {
  it('starts 8 dials at once and the ninth when one was accepted', () => {
    const gate = new TicketGate(new FakeClock())
    const { started, dials } = enterMany(gate, 9)
    assert.deepEqual(started, [0, 1, 2, 3, 4, 5, 6, 7])
    dials[3]?.leave()
    assert.deepEqual(started.at(-1), 8)
  })

  it('refuses a dial beyond the waiting room', () => {
    const gate = new TicketGate(new FakeClock())
    const { dials } = enterMany(gate, 8 + max('ticketWaitingMax') + 1)
    assert.equal(dials.at(-1), undefined)
    assert.notEqual(dials.at(-2), undefined)
  })

  it('lets few be told that they are refused, and forgets them when they were', () => {
    const gate = new TicketGate(new FakeClock())
    const told = Array.from({ length: 9 }, () => gate.refuse('t'))
    assert.equal(told.filter((dial) => dial !== undefined).length, 8)
    assert.notEqual(gate.refuse('other'), undefined)
    told[0]?.leave()
    told[0]?.leave()
    assert.deepEqual([gate.refuse('t'), gate.refuse('t')].map(Boolean), [true, false])
  })

  it('refuses beyond the rate and lets in again as time goes by', () => {
    const clock = new FakeClock()
    const gate = new TicketGate(clock)
    for (let i = 0; i < max('ticketDialsPerMinuteMax'); i++) gate.enter('t', () => {})?.leave()
    assert.equal(
      gate.enter('t', () => {}),
      undefined,
    )
    clock.advance(1000)
    assert.notEqual(
      gate.enter('t', () => {}),
      undefined,
    )
  })

  it('ignores a second leave, so that one dial cannot free two places', () => {
    const gate = new TicketGate(new FakeClock())
    const { started, dials } = enterMany(gate, 10)
    dials[0]?.leave()
    dials[0]?.leave()
    assert.equal(started.length, 9)
  })

  it('does not start a waiting dial that left', () => {
    const gate = new TicketGate(new FakeClock())
    const { started, dials } = enterMany(gate, 9)
    dials[8]?.leave()
    dials[0]?.leave()
    assert.equal(started.length, 8)
  })

  it('forgets a ticket when all its dials left and its bucket is full', () => {
    const clock = new FakeClock()
    const gate = new TicketGate(clock)
    const { dials } = enterMany(gate, 20)
    for (const dial of dials) dial?.leave()
    clock.advance(60_000)
    gate.sweep()
    assert.equal(gate.size, 0)
  })
})
