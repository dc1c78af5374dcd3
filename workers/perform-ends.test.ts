// How performed sessions end that nobody ends politely: deadlines by a fake clock, resets, failures of what they rely on.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'

import { max } from '../core/limits.ts'
import { readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, until } from '../test/fixtures/sockets.ts'
import { finish, HELLO, performRig } from './perform.fixture.ts'
import type { PerformRig, RigOptions } from './perform.fixture.ts'
import type { TestContext } from 'node:test'

/** A session that relays. */
async function running(t: TestContext, options: RigOptions = {}): Promise<PerformRig> {
  const rig = await performRig(t, options)
  rig.client.write(HELLO)
  const far = await rig.target
  far.write('up\n')
  await until(() => rig.heard() === 'up\n', 'the session runs')
  return rig
}

suite('deadlines', () => {
  test('a client that never says who it is is cut', async (t) => {
    const { client, session, timers } = await performRig(t)
    await until(() => session.peer !== undefined, 'TLS')
    timers.advance(max('handshakeDeadlineMs') - 1)
    assert.equal(session.right, undefined)
    timers.advance(1)
    timers.advance(max('sessionLingerMs'))
    await session.done
    assert.equal(await ending(client), 'end')
    assert.equal(timers.size, 0)
  })

  test('a dial that never ends fails at its deadline', async (t) => {
    let dials = 0
    const { client, session, timers } = await performRig(t, {
      services: {
        dial: () => {
          dials++
          return new Promise(() => {})
        },
      },
    })
    client.write(HELLO)
    await until(() => dials === 1, 'the dial')
    timers.advance(max('targetDialDeadlineMs'))
    client.end()
    assert.equal(await session.done, 'dial dial-failed')
    assert.equal(timers.size, 0)
  })

  test('an idle session ends, a busy one does not', async (t) => {
    const world = { options: { clientIdleTimeoutMs: 60_000 } }
    const rig = await running(t, { world })
    const { client, heard, session, timers, target } = rig
    const far = await target
    timers.advance(59_000)
    far.write('busy\n')
    await until(() => heard() === 'up\nbusy\n', 'traffic')
    timers.advance(59_999)
    assert.ok(!client.destroyed)
    timers.advance(1)
    await finish(rig)
    assert.equal(await session.done, '01JOURS')
    assert.equal(heard(), 'up\nbusy\nNO 01JOURS\n')
  })

  test('a session ends with its certificate, also when the wall clock jumps there', async (t) => {
    const world = { options: { disconnectExpiredCert: true } }
    const rig = await running(t, { world })
    const { heard, timers } = rig
    timers.clock.jump(3_599_000)
    timers.advance(999)
    assert.equal(heard(), 'up\n')
    timers.advance(max('wallClockCheckMs'))
    await finish(rig)
    assert.equal(heard(), 'up\nNO 01JOURS\n')
  })

  test('a session may outlive its certificate when nothing forbids it', async (t) => {
    const rig = await running(t)
    rig.timers.advance(86_400_000)
    rig.client.write('on\n')
    assert.equal((await readBytes(await rig.target, 3)).toString(), 'on\n')
    await finish(rig)
  })

  test('a client that does not read its last words is dropped', async (t) => {
    const { client, session, timers } = await running(t)
    session.evict({ decisionId: 'x', kind: 'lock', reason: 'locked', next: '' })
    timers.advance(max('sessionLingerMs') - 1)
    assert.equal(timers.size, 1)
    timers.advance(1)
    await session.done
    assert.equal(await ending(client), 'end')
  })

  for (const reads of [true, false])
    test(`a slow client ${reads ? 'gets all its last bytes' : 'that takes none of them is dropped'}`, async (t) => {
      const { client, heard, session, target, timers } = await running(t)
      const far = await target
      client.pause()
      far.on('error', () => {}).write('x'.repeat(48 * 1024 * 1024))
      let before = 0
      await until(() => {
        const still = session.counters.fromTargetBytes === before && before > 3
        before = session.counters.fromTargetBytes
        return still
      }, 'the client is full')
      session.evict({ decisionId: 'x', kind: 'lock', reason: 'locked', next: '' })
      far.destroy()
      timers.advance(max('sessionLingerMs'))
      if (!reads) {
        timers.advance(max('sessionLingerMs'))
        await session.done
        return
      }
      client.resume()
      await until(() => heard().length === session.counters.fromTargetBytes, 'all of it')
      client.end()
      await session.done
    })

  test('the half of a session that stays open is given up in the end', async (t) => {
    const { client, session, timers, target } = await running(t)
    client.end()
    await readAll((await target).resume())
    timers.advance(max('halfClosedMsMax'))
    assert.equal(await session.done, 'client closed')
  })
})

suite('resets and failures', () => {
  test('a reset of the target reaches the client', async (t) => {
    const { client, session, target } = await running(t)
    const far = await target
    far.resetAndDestroy()
    assert.match(await session.done, /^target (reset|closed)$/)
    await until(() => client.destroyed || client.readableEnded, 'the client is cut')
  })

  test('a reset of the client reaches the target', async (t) => {
    const { client, session, target } = await running(t)
    const far = await target
    client.resetAndDestroy()
    assert.match(await session.done, /^client (reset|closed)$/)
    far.resume()
    await until(() => far.destroyed || far.readableEnded, 'the target is cut')
  })

  test('the last words of a target that is gone reach a slow client', async (t) => {
    const { client, heard, session, target } = await running(t, { deafTo: ['ended'] })
    const far = await target
    client.pause()
    const last = `${'x'.repeat(3_000_000)}\n`
    far.end(last, () => far.destroySoon())
    await once(far, 'close')
    client.resume()
    await until(() => heard().length === 3 + last.length, 'all of it')
    client.end()
    await session.done
  })

  test('TLS that fails ends the session', async (t) => {
    const secureClient = (): Promise<never> => Promise.reject(new Error('no hello'))
    const { session, timers } = await performRig(t, { services: { secureClient } })
    assert.equal(await session.done, 'TLS failed')
    assert.equal(timers.size, 0)
  })

  test('a decision that cannot be made is a denial', async (t) => {
    const authorize = (): Promise<never> => Promise.reject(new Error('broken'))
    const { client, session } = await performRig(t, { services: { authorize } })
    client.write(HELLO)
    assert.equal(await session.done, 'no decision')
  })

  test('a target that does not speak the protocol is not connected', async (t) => {
    const { client, session } = await performRig(t, { greeting: 'GO AWAY\n' })
    client.write(HELLO)
    client.once('end', () => client.end())
    assert.equal(await session.done, 'dial dial-failed')
  })

  test('a client that leaves during the login ends it', async (t) => {
    const { client, session, timers } = await performRig(t)
    client.end('HEL')
    assert.match(await session.done, /client closed|relay ended|hello ended/)
    assert.equal(timers.size, 0)
  })

  test('a client that leaves while the target is dialled ends the dial', async (t) => {
    const signals: AbortSignal[] = []
    const { client, session } = await performRig(t, {
      services: {
        dial: (_right, _opening, signal) => {
          signals.push(signal)
          return new Promise(() => {})
        },
      },
    })
    client.end(HELLO)
    await session.done
    await until(() => signals[0]?.aborted === true, 'the dial is given up')
  })
})
