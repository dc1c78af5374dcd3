// Session leases with control, without it, and after it has forgotten them.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { errorCode, ProxyError } from '../core/errors.ts'
import { silentLogger } from '../core/log.ts'
import { HeldLeases, type LeaseControl } from './held-leases.ts'

const AWAY = new ProxyError('control.unavailable', 'away')
const FULL = new ProxyError('limit.exceeded', 'alice has 2 sessions')

function start(mode: 'strict' | 'best_effort' = 'best_effort'): {
  leases: HeldLeases<string>
  calls: string[]
  answer: (error: Error | undefined) => void
} {
  const calls: string[] = []
  let failure: Error | undefined
  let number = 0
  const call = <T>(text: string, value: T): Promise<T> => {
    calls.push(text)
    return failure === undefined ? Promise.resolve(value) : Promise.reject(failure)
  }
  const control: LeaseControl = {
    takeLease: ({ user }) => call(`take ${user}`, `lease${++number}`),
    keepLease: (lease, { issuer, user }) => call(`keep ${lease} ${issuer}/${user}`, undefined),
    releaseLease: (lease) => call(`release ${lease}`, undefined),
  }
  const leases = new HeldLeases<string>({ control, mode: () => mode, log: silentLogger })
  return { leases, calls, answer: (error) => (failure = error) }
}

function wish(user: string, connectionsMax = 2): Parameters<HeldLeases<string>['take']>[1] {
  return { issuer: 'local', user, decisionId: 'd', connectionsMax }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) => errorCode(error) ?? String(error),
  )
}

describe('Held leases', () => {
  it('are control’s to give while it answers, also when this process has few', async () => {
    const { leases, answer } = start()
    assert.equal(await leases.take('t', wish('alice')), 'lease1')
    answer(FULL)
    assert.equal(await codeOf(leases.take('t', wish('alice'))), 'limit.exceeded')
    assert.equal(leases.size, 1)
  })

  it('are counted here up to the limit while control is away, for each person', async () => {
    const { leases, answer } = start()
    await leases.take('t', wish('alice'))
    answer(AWAY)
    assert.match(await leases.take('t', wish('alice')), /^[0-9a-f]{32}$/)
    assert.equal(await codeOf(leases.take('t', wish('alice'))), 'limit.exceeded')
    assert.equal(await codeOf(leases.take('t', wish('bob'))), 'done')
  })

  it('are not given at all while control is away where sessions are counted strictly', async () => {
    const { leases, answer } = start('strict')
    answer(AWAY)
    assert.equal(await codeOf(leases.take('t', wish('alice'))), 'control.unavailable')
    assert.equal(leases.size, 0)
  })

  it('are told to control again when it is back, those it never gave too', async () => {
    const { leases, calls, answer } = start()
    await leases.take('t', wish('alice'))
    answer(AWAY)
    const own = await leases.take('t', wish('alice'))
    await leases.keep()
    assert.equal(leases.size, 2)
    answer(undefined)
    calls.length = 0
    await leases.keep()
    assert.deepEqual(calls, ['keep lease1 local/alice', `keep ${own} local/alice`])
  })

  it('go back when the session ends, or the thread that held them', async () => {
    const { leases, calls } = start()
    const first = await leases.take('one', wish('alice'))
    await leases.take('two', wish('alice'))
    leases.release(first)
    leases.release(first)
    leases.lost('two')
    assert.equal(leases.size, 0)
    assert.deepEqual(calls.slice(2), ['release lease1', 'release lease2'])
  })
})
