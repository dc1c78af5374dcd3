// The agent's certificate cache: what is asked of control, what is served without it, and what a refusal does.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { silentLogger } from '../core/log.ts'
import { DbCertificates, type IssuedCertificate } from './db-certificates.ts'

const DAY_MS = 86_400_000
const orders = { kind: 'db', name: 'orders' } as const
const presented = new Uint8Array(1)

/** A control that answers as told, and counts. */
class FakeControl {
  readonly clock = new FakeClock()
  asked = 0
  answer: () => Promise<IssuedCertificate> = () => this.certificate()

  certificate(): Promise<IssuedCertificate> {
    return Promise.resolve({
      certificate: `c${this.asked}`,
      key: 'k',
      expiresAtMs: this.clock.now() + DAY_MS,
    })
  }

  cache(): DbCertificates {
    const issue = (): Promise<IssuedCertificate> => {
      this.asked++
      return this.answer()
    }
    return new DbCertificates(this.clock, issue, silentLogger)
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

describe('DbCertificates', () => {
  it('asks once for clients that arrive together', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    const got = await Promise.all(
      Array.from({ length: 100 }, () => cache.get(orders, 'app', presented)),
    )
    assert.equal(control.asked, 1)
    assert.ok(got.every((one) => one.certificate === 'c1'))
  })

  it('keeps pairs apart: another user of the same database gets a certificate of its own', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    const other = await cache.get(orders, 'admin', presented)
    assert.equal(other.certificate, 'c2')
  })

  it('serves a pair for its whole day while control is away', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    control.answer = () => Promise.reject(new ProxyError('control.unavailable', 'away'))
    control.clock.advance(DAY_MS - 1)
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c1')
    await settled()
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c1')
    control.clock.advance(1)
    await assert.rejects(cache.get(orders, 'app', presented), { code: 'control.unavailable' })
  })

  it('renews after a third of the life without making the session wait', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    control.clock.advance(DAY_MS / 3)
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c1')
    await settled()
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c2')
  })

  it('forgets a pair that control refuses to renew', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    control.answer = () => Promise.reject(new ProxyError('policy.denied', 'no'))
    control.clock.advance(DAY_MS / 2)
    await cache.get(orders, 'app', presented)
    await settled()
    assert.equal(cache.size, 0)
  })

  it('asks again for what changed at control, and waits for the answer', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    cache.outdate()
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c2')
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c2')
    assert.equal(control.asked, 2)
  })

  it('serves on what may have changed while control is away, and forgets what control refuses now', async () => {
    const control = new FakeControl()
    const cache = control.cache()
    await cache.get(orders, 'app', presented)
    cache.outdate()
    control.answer = () => Promise.reject(new ProxyError('control.unavailable', 'away'))
    assert.equal((await cache.get(orders, 'app', presented)).certificate, 'c1')
    control.answer = () => Promise.reject(new ProxyError('policy.denied', 'no'))
    await assert.rejects(cache.get(orders, 'app', presented), { code: 'policy.denied' })
    assert.equal(cache.size, 0)
  })
})
