import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { permitBody, writePermit } from '../core/permit.ts'
import { FakeClock } from '../core/clock.ts'
import type { SshWish } from './proxy-options.ts'
import { SshPermits } from './ssh-permits.ts'

const NOW_MS = Date.UTC(2026, 10, 20, 12)
const WISH: SshWish = {
  target: { kind: 'node', name: 'web-1' },
  principal: 'app',
  certificate: Buffer.from('a certificate'),
}

function permit(expiresAtMs: number): Uint8Array {
  const body = permitBody({
    certificate: 'a'.repeat(64),
    target: WISH.target,
    proxyId: '5f0f7d0e-3a53-4f53-9f0e-0f5a3f1c2b4d',
    expiresAtMs,
  })
  return writePermit(body, Buffer.alloc(64))
}

class Control {
  answer: Uint8Array | Error = permit(NOW_MS + 60_000)
  asked = 0
  readonly ask = (): Promise<Uint8Array> => {
    this.asked++
    return this.answer instanceof Error ? Promise.reject(this.answer) : Promise.resolve(this.answer)
  }
}

const AWAY = new ProxyError('control.unavailable', 'Control is away.')
const NO = new ProxyError('policy.denied', 'No role allows it.')

describe('permits for SSH', () => {
  it('are asked for each time while control is there', async () => {
    const control = new Control()
    const permits = new SshPermits(new FakeClock(NOW_MS), control.ask)
    await permits.get(WISH)
    control.answer = permit(NOW_MS + 70_000)
    assert.equal(await permits.get(WISH), control.answer)
    assert.equal(control.asked, 2)
  })

  it('serve on while control is away, until they end', async () => {
    const clock = new FakeClock(NOW_MS)
    const control = new Control()
    const permits = new SshPermits(clock, control.ask)
    const first = await permits.get(WISH)
    control.answer = AWAY
    clock.advance(59_999)
    assert.equal(await permits.get(WISH), first)
    clock.advance(1)
    await assert.rejects(permits.get(WISH), AWAY)
    assert.equal(permits.size, 0)
  })

  it('are over when control says no', async () => {
    const control = new Control()
    const permits = new SshPermits(new FakeClock(NOW_MS), control.ask)
    await permits.get(WISH)
    control.answer = NO
    await assert.rejects(permits.get(WISH), NO)
    control.answer = AWAY
    await assert.rejects(permits.get(WISH), AWAY)
  })

  it('are for one certificate, one login and one node', async () => {
    const control = new Control()
    const permits = new SshPermits(new FakeClock(NOW_MS), control.ask)
    await permits.get(WISH)
    control.answer = AWAY
    for (const over of [
      { certificate: Buffer.from('another') },
      { principal: 'root' },
      { target: { kind: 'node', name: 'web-2' } },
    ] as const)
      await assert.rejects(permits.get({ ...WISH, ...over }), AWAY)
  })

  it('are no more than a bound, the oldest gone first', async () => {
    const control = new Control()
    const permits = new SshPermits(new FakeClock(NOW_MS), control.ask)
    for (let at = 0; at <= max('sshPermitsKeptMax'); at++)
      await permits.get({ ...WISH, principal: `p${at}` })
    assert.equal(permits.size, max('sshPermitsKeptMax'))
    control.answer = AWAY
    await assert.rejects(permits.get({ ...WISH, principal: 'p0' }), AWAY)
  })
})
