// Which addresses a resource may send an agent to, and that nothing but what was judged is dialled.

import assert from 'node:assert/strict'
import net from 'node:net'
import { describe, it } from 'node:test'

import type { DialGuard } from '../core/agent-target.ts'
import { listen } from '../test/fixtures/net.ts'
import { addressProblem, dialTarget, type DialledTarget, type DialWorld } from './target-dial.ts'

const GUARD: DialGuard = {
  section: 'db_service',
  allowed: [],
  ownPorts: [3025],
  ownAddresses: ['198.51.100.7:443'],
}
const OPEN = { ...GUARD, allowed: ['127.0.0.0/8', '::1'] }

function target(host: string, port: number, guard?: DialledTarget['guard']): DialledTarget {
  return {
    ref: { kind: 'db', name: 'orders' },
    host,
    port,
    ...(guard === undefined ? {} : { guard }),
  }
}

function world(...addresses: readonly string[]): DialWorld & { asked: number } {
  const made = {
    asked: 0,
    resolve: () => {
      made.asked++
      return Promise.resolve(addresses)
    },
    ownAddresses: () => ['192.0.2.9'],
  }
  return made
}

describe('An address that a resource names', () => {
  const closed = [
    '127.0.0.1',
    '127.9.9.9',
    '0.0.0.0',
    '::1',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '169.254.169.254',
    '::ffff:a9fe:a9fe',
    'fe80::1',
    'fd00:ec2::254',
    '100.100.100.200',
    '168.63.129.16',
    '224.0.0.1',
    'ff02::1',
  ]
  for (const address of closed)
    it(`is refused when it is ${address}`, () => {
      assert.match(addressProblem(address, 5432, GUARD, []) ?? '', /resources_may_dial/)
    })

  it('is refused by who dials, and for want of which line', async () => {
    const guard = { ...GUARD, section: 'proxy_service' } as const
    await assert.rejects(dialTarget(target('127.0.0.1', 22, guard), new AbortController().signal), {
      message: /from this proxy: .*proxy_service\.resources_may_dial of this proxy does not list/,
    })
  })

  it('is taken elsewhere, also in private networks', () => {
    for (const address of ['10.0.0.5', '192.168.1.1', '203.0.113.9', '2001:db8::1', 'fd12::1'])
      assert.equal(addressProblem(address, 5432, GUARD, []), undefined, address)
  })

  it('is taken when the agent’s file allows its network, but never at a port of ours', () => {
    assert.equal(addressProblem('127.0.0.1', 5432, OPEN, []), undefined)
    assert.equal(addressProblem('::1', 5432, OPEN, []), undefined)
    assert.match(addressProblem('169.254.1.1', 5432, OPEN, []) ?? '', /link-local/)
    assert.match(addressProblem('127.0.0.1', 3025, OPEN, []) ?? '', /own/)
    assert.match(addressProblem('192.0.2.9', 3025, GUARD, ['192.0.2.9']) ?? '', /own/)
    assert.match(addressProblem('198.51.100.7', 443, GUARD, []) ?? '', /own/)
    assert.equal(addressProblem('192.0.2.9', 5432, GUARD, ['192.0.2.9']), undefined)
  })
})

describe('Dialling a target', () => {
  const signal = (): AbortSignal => AbortSignal.timeout(5000)

  it('resolves a resource’s name once and dials what was judged', async (t) => {
    const { port } = await listen(t, (socket) => socket.end())
    const once = world('127.0.0.1')
    const socket = await dialTarget(target('db.invalid', port, OPEN), signal(), once)
    t.after(() => socket.destroy())
    assert.equal(once.asked, 1)
    assert.equal(socket.remoteAddress, '127.0.0.1')
  })

  it('dials only those of several addresses that may be dialled', async (t) => {
    let visits = 0
    const { port } = await listen(t, (socket) => {
      visits++
      socket.destroy()
    })
    const guard = { ...GUARD, allowed: ['127.0.0.2'] }
    const mixed = world('127.0.0.1', '169.254.169.254', '127.0.0.2')
    await assert.rejects(
      dialTarget(target('db.invalid', port, guard), signal(), mixed),
      /ECONNREFUSED 127\.0\.0\.2/,
    )
    assert.equal(visits, 0)
  })

  it('tries the next address when the first does not answer', async (t) => {
    const { port } = await listen(t, (socket) => socket.end())
    const two = world('127.0.0.2', '127.0.0.1')
    const socket = await dialTarget(target('db.invalid', port, OPEN), signal(), two)
    assert.equal(socket.remoteAddress, '127.0.0.1')
    socket.destroy()
  })

  it('says which address is refused and what would allow it', async () => {
    await assert.rejects(
      dialTarget(target('db.invalid', 5432, GUARD), signal(), world('169.254.169.254')),
      /orders cannot be reached from its agent: 169\.254\.169\.254:5432 is refused: .*resources_may_dial/,
    )
  })

  it('is not held up by a name service that never answers', async () => {
    const silent: DialWorld = { resolve: () => new Promise(() => {}), ownAddresses: () => [] }
    const stop = new AbortController()
    const dial = dialTarget(target('db.invalid', 5432, GUARD), stop.signal, silent)
    stop.abort()
    await assert.rejects(dial, /not resolved in time/)
  })

  it('dials the agent’s own targets as its file says', async (t) => {
    const { port } = await listen(t, (socket) => socket.end())
    const never = world()
    const socket = await dialTarget(target('127.0.0.1', port), signal(), never)
    assert.ok(socket instanceof net.Socket)
    assert.equal(never.asked, 0)
    socket.destroy()
  })
})
