// How an agent checks its targets: when, how many at once, what it forgets.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { DEFAULT_HEALTH_CHECK } from '../core/health.ts'
import { max } from '../core/limits.ts'
import { type CheckedTarget, HealthChecks } from './health-checks.ts'
import type { DialledTarget } from './target-dial.ts'
import { FakeTimers } from './timers.ts'

interface Dial {
  readonly name: string
  readonly host: string
  readonly atMs: number
  readonly answer: () => void
  readonly fail: (reason: string) => void
  readonly signal: AbortSignal
}

function start(): {
  checks: HealthChecks
  timers: FakeTimers
  dials: Dial[]
  changes: () => number
  advance: (ms: number) => Promise<void>
} {
  const timers = new FakeTimers()
  const dials: Dial[] = []
  let changes = 0
  const checks = new HealthChecks({
    clock: timers.clock,
    timers,
    random: () => 0.5,
    connect: (target: DialledTarget, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('no answer in time')))
        dials.push({
          name: target.ref.name,
          host: target.host,
          atMs: timers.clock.monotonic(),
          answer: resolve,
          fail: (reason) => reject(new Error(reason)),
          signal,
        })
      }),
    changed: () => changes++,
  })
  const advance = async (ms: number): Promise<void> => {
    timers.advance(ms)
    await settled()
  }
  return { checks, timers, dials, changes: () => changes, advance }
}

/** What promises do after a connect has ended. */
async function settled(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve()
}

function target(name: string, over: Partial<CheckedTarget> = {}): CheckedTarget {
  return {
    ref: { kind: 'db', name },
    host: `${name}.test`,
    port: 5432,
    check: DEFAULT_HEALTH_CHECK,
    ...over,
  }
}

describe('Health checks', () => {
  it('begin soon, come each interval, and tell a change once', async () => {
    const { checks, dials, changes, advance } = start()
    checks.watch([target('orders')])
    assert.deepEqual(checks.reports()[0]?.status, 'unknown')
    await advance(2000)
    dials[0]?.answer()
    await settled()
    assert.deepEqual([checks.reports()[0]?.status, changes()], ['healthy', 1])
    await advance(DEFAULT_HEALTH_CHECK.intervalMs)
    dials[1]?.answer()
    await settled()
    assert.deepEqual([dials.length, changes()], [2, 1])
    await advance(DEFAULT_HEALTH_CHECK.intervalMs)
    dials[2]?.fail('refused')
    await settled()
    assert.deepEqual(
      checks.reports().map(({ name, status, reason }) => [name, status, reason]),
      [['orders', 'unhealthy', 'refused']],
    )
    assert.deepEqual([changes(), checks.unhealthy()], [2, ['db/orders']])
    // Asked more often until it answers again.
    await advance(max('healthRecheckMs'))
    assert.equal(dials.length, 4)
  })

  it('take silence for no', async () => {
    const { checks, dials, advance } = start()
    checks.watch([target('orders')])
    await advance(2000)
    await advance(DEFAULT_HEALTH_CHECK.timeoutMs)
    assert.equal(checks.reports()[0]?.reason, 'no answer in time')
    assert.equal(checks.open, 0)
    assert.equal(dials.length, 1)
  })

  it('open a bounded number of connections; the others wait their turn', async () => {
    const { checks, dials, advance } = start()
    const most = max('healthChecksAtOnceMax')
    checks.watch(Array.from({ length: most + 5 }, (_, at) => target(`db${at}`)))
    await advance(2000)
    assert.deepEqual([dials.length, checks.open], [most, most])
    for (const dial of dials.slice()) dial.answer()
    await settled()
    assert.deepEqual([dials.length, checks.open], [most + 5, 5])
  })

  it('keep what is known of a target that stays, and forget one that changed or went', async () => {
    const { checks, dials, advance } = start()
    checks.watch([target('orders'), target('stock')])
    await advance(2000)
    for (const dial of dials) dial.answer()
    await settled()
    checks.watch([target('orders'), target('stock', { host: 'elsewhere.test' })])
    assert.deepEqual(
      checks.reports().map(({ name, status }) => [name, status]),
      [
        ['orders', 'healthy'],
        ['stock', 'unknown'],
      ],
    )
    checks.watch([target('orders')])
    assert.equal(checks.size, 1)
  })

  it('leave a target alone that nobody wants checked', async () => {
    const { checks, timers } = start()
    const { check: _, ...unchecked } = target('orders')
    checks.watch([unchecked])
    assert.deepEqual([checks.size, timers.size], [0, 0])
  })

  it('end with their timers and connections', async () => {
    const { checks, timers, dials, changes, advance } = start()
    checks.watch([target('orders'), target('stock')])
    checks.watch([])
    assert.equal(timers.size, 0)
    checks.watch([target('orders'), target('stock')])
    await advance(2000)
    checks.stop()
    await settled()
    assert.ok(dials.every(({ signal }) => signal.aborted))
    assert.deepEqual([checks.size, checks.open, timers.size, changes()], [0, 0, 0, 0])
  })
})
