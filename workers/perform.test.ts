import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { suite, test } from 'node:test'

import { max } from '../core/limits.ts'
import { readAll, readBytes } from '../test/fixtures/net.ts'
import { until } from '../test/fixtures/sockets.ts'
import { finish, HELLO, openTap, performRig, refusal } from './perform.fixture.ts'

suite('a session from start to end', () => {
  test('bytes flow both ways once the target is in, and both ends close', async (t) => {
    const { client, heard, session, target, timers, right } = await performRig(t)
    client.write(HELLO)
    const far = await target
    await until(() => heard() === '', 'the greeting belongs to the login')
    client.write('ping\n')
    assert.equal((await readBytes(far, 5)).toString(), 'ping\n')
    far.write('pong\n')
    await until(() => heard() === 'pong\n', 'the answer')
    assert.equal(session.right, right)
    assert.equal(session.peer?.identity.name, 'alice')
    client.end()
    await readAll(far.resume())
    far.end('bye\n')
    assert.equal(await session.done, 'relay ended')
    await until(() => heard() === 'pong\nbye\n', 'the last word')
    assert.deepEqual(session.counters, {
      fromClientBytes: HELLO.length + 5,
      fromTargetBytes: 9,
      notes: 14,
    })
    assert.equal(timers.size, 0)
  })

  test('what a client sends ahead waits for the target and arrives whole', async (t) => {
    const first = Buffer.from(`${HELLO}one\ntwo\n`)
    const { target, session, client } = await performRig(t, { start: { first } })
    const far = await target
    client.end('three\n')
    assert.equal((await readAll(far.resume())).toString(), 'one\ntwo\nthree\n')
    far.end()
    await session.done
  })

  test('where the client’s bytes are cut makes no difference', async (t) => {
    const bytes = Buffer.from(`${HELLO}ab\ncd\n`)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const start = { first: bytes.subarray(0, cut) }
      const { target, session, client } = await performRig(t, { start })
      client.end(bytes.subarray(cut))
      const far = await target
      assert.equal((await readAll(far.resume())).toString(), 'ab\ncd\n', `cut at ${cut}`)
      far.end()
      await session.done
    }
  })

  test('what the target says with its greeting belongs to the session', async (t) => {
    const rig = await performRig(t, { greeting: 'WELCOME\nnews\n' })
    rig.client.write(HELLO)
    await until(() => rig.heard() === 'news\n', 'the rest of the greeting')
    await finish(rig)
  })

  test('30 MB through a slow reader arrive unchanged', async (t) => {
    const { client, session, target } = await performRig(t)
    client.removeAllListeners('data')
    client.write(HELLO)
    const far = await target
    const sent = randomBytes(8 * 1024 * 1024)
    far.end(sent)
    const hash = createHash('sha256')
    let received = 0
    for await (const chunk of client as AsyncIterable<Buffer>) {
      hash.update(chunk)
      received += chunk.length
      if (received % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(received, sent.length)
    assert.deepEqual(hash.digest(), createHash('sha256').update(sent).digest())
    client.end()
    await session.done
  })

  test('a client that does not read stops the target, within the bound', async (t) => {
    const { client, session, target } = await performRig(t)
    client.removeAllListeners('data')
    client.pause()
    client.write(HELLO)
    const far = await target
    const total = 48 * 1024 * 1024
    far.end(Buffer.alloc(total, 'x'))
    let before = -1
    await until(() => {
      const still = session.counters.fromTargetBytes === before && before > 0
      before = session.counters.fromTargetBytes
      return still
    }, 'the target is stopped')
    const kernelMax = 12 * 1024 * 1024
    assert.ok(before < max('sessionBufferedBytesMax') + kernelMax, `read ${before}`)
    assert.ok(far.writableLength > 0)
    let received = 0
    client.on('data', (chunk: Buffer) => (received += chunk.length)).resume()
    await once(client, 'end')
    assert.equal(received, total)
    client.end()
    await session.done
  })
})

test('a client that sends ahead of its login is stopped, within the bound', async (t) => {
  const never = (): Promise<never> => new Promise(() => {})
  const { client, session } = await performRig(t, { services: { authorize: never } })
  client.write(HELLO)
  client.write(Buffer.alloc(24 * 1024 * 1024))
  let before = -1
  await until(() => {
    const still = session.counters.fromClientBytes === before && before > 0
    before = session.counters.fromClientBytes
    return still
  }, 'the client is stopped')
  assert.ok(before < max('sessionBufferedBytesMax'), `read ${before}`)
  client.resetAndDestroy()
  session.evict(refusal('lock'))
  await session.done
})

suite('the tap', () => {
  test('a full tap stops the bytes it has not taken, and only until it is ready', async (t) => {
    const ready = Promise.withResolvers<void>()
    let full = true
    const taken: number[] = []
    const tap = {
      ...openTap(),
      put: (code: number) => {
        if (full) return false
        taken.push(code)
        return true
      },
      ready: () => ready.promise,
    }
    const rig = await performRig(t, { services: { tap: () => tap } })
    const { client, session, target } = rig
    client.write(HELLO)
    const far = await target
    client.write('kept\n')
    const arrived: string[] = []
    far.on('data', (chunk: Buffer) => arrived.push(chunk.toString())).resume()
    await until(() => session.counters.fromClientBytes === HELLO.length + 5, 'the bytes came')
    assert.deepEqual(arrived, [])
    full = false
    ready.resolve()
    await until(() => arrived.join('') === 'kept\n', 'the bytes pass')
    assert.deepEqual(taken, [1, 1, 1, 1, 1])
    await finish(rig)
  })

  test('both sides wait for one tap once: waking it does not multiply the waits', async (t) => {
    const waits: (() => void)[] = []
    const offered = new Set<number>()
    const tap = {
      ...openTap(),
      put: (code: number) => {
        offered.add(code)
        return false
      },
      ready: () => new Promise<void>((resolve) => waits.push(resolve)),
    }
    const rig = await performRig(t, { services: { tap: () => tap } })
    rig.client.write(HELLO)
    const far = await rig.target
    rig.client.write('one\n')
    far.write('two\n')
    await until(() => offered.size === 2, 'both sides have come to the tap')
    for (let wakes = 1; wakes < 10; wakes++) {
      assert.equal(waits.length, wakes)
      waits.at(-1)?.()
      await until(() => waits.length > wakes, 'it is asked again')
    }
    rig.session.evict(refusal('lock'))
    await finish(rig)
  })

  test('a recording that fails ends the session', async (t) => {
    const tap = {
      ...openTap(),
      put: () => false,
      ready: () => Promise.reject(new Error('disk full')),
    }
    const { client, session, target } = await performRig(t, { services: { tap: () => tap } })
    client.write(HELLO)
    await target
    client.write('lost\n')
    assert.equal(await session.done, 'the recording failed')
  })

  test('a session that waits for its tap is evicted all the same', async (t) => {
    const never = (): Promise<never> => new Promise(() => {})
    const tap = { ...openTap(), put: () => false, ready: never }
    const rig = await performRig(t, { services: { tap: () => tap } })
    rig.client.write(HELLO)
    await rig.target
    rig.client.write('kept\n')
    await until(() => rig.session.counters.fromClientBytes === HELLO.length + 5, 'the bytes')
    rig.client.write('unread\n')
    rig.session.evict(refusal('lock'))
    await finish(rig)
    assert.equal(rig.heard(), 'NO 01Jlock\n')
  })

  test('the recording is sealed with the reason of the end', async (t) => {
    const sealed: string[] = []
    const seal = (reason: string): Promise<void> => {
      sealed.push(reason)
      return Promise.resolve()
    }
    const rig = await performRig(t, { services: { tap: () => ({ ...openTap(), seal }) } })
    rig.client.write(HELLO)
    await rig.target
    await until(() => rig.session.right !== undefined, 'the right')
    rig.session.evict(refusal('lock'))
    await finish(rig)
    assert.deepEqual(sealed, ['01Jlock'])
  })
})

suite('refusals', () => {
  test('a denial known from the start is said once the client can hear it', async (t) => {
    const dials: string[] = []
    const { client, heard, session } = await performRig(t, {
      start: { denial: refusal('expired') },
      services: {
        dial: () => {
          dials.push('dialled')
          return Promise.reject(new Error('never'))
        },
      },
    })
    client.end(HELLO)
    await session.done
    assert.equal(heard(), 'NO 01Jexpired\n')
    assert.deepEqual(dials, [])
  })

  test('why a certificate was refused is said', async (t) => {
    const { client, heard, session } = await performRig(t, {
      services: {
        secureClient: (socket, first) => {
          socket.unshift(first)
          return Promise.resolve({ socket, refusal: refusal('identity') })
        },
      },
      start: { first: Buffer.from(HELLO) },
    })
    client.end()
    await session.done
    assert.equal(heard(), 'NO 01Jidentity\n')
  })

  test('what policy refuses is said, and no target is dialled', async (t) => {
    const { client, heard, session } = await performRig(t, {
      services: { authorize: () => Promise.resolve({ refusal: refusal('policy') }) },
    })
    client.end(HELLO)
    await session.done
    assert.equal(heard(), 'NO 01Jpolicy\n')
    assert.equal(session.right, undefined)
  })

  test('an eviction is said, and no byte passes after it', async (t) => {
    const { client, heard, session, target } = await performRig(t)
    client.write(HELLO)
    const far = await target
    far.write('line\n')
    await until(() => heard() === 'line\n', 'the session runs')
    session.evict(refusal('lock'))
    client.write('late\n')
    far.write('later\n')
    client.end()
    assert.equal((await readAll(far.resume())).toString(), '')
    far.end()
    assert.equal(await session.done, '01Jlock')
    assert.equal(heard(), 'line\nNO 01Jlock\n')
  })

  test('an eviction inside a line cuts, because nothing can be said there', async (t) => {
    const rig = await performRig(t)
    rig.client.write(HELLO)
    const far = await rig.target
    far.write('half a li')
    await until(() => rig.heard() === 'half a li', 'the session runs')
    rig.session.evict(refusal('lock'))
    await finish(rig)
    assert.equal(rig.heard(), 'half a li')
  })

  test('an eviction before the client can hear it is kept until then', async (t) => {
    const { client, heard, session } = await performRig(t)
    await until(() => session.peer !== undefined, 'TLS')
    session.evict(refusal('lock'))
    client.end(HELLO)
    await session.done
    assert.equal(heard(), 'NO 01Jlock\n')
  })

  test('a session that does not end when it must is cut', async (t) => {
    const rig = await performRig(t, { deafTo: ['evict'] })
    rig.client.write(HELLO)
    const far = await rig.target
    far.write('line\n')
    await until(() => rig.heard() === 'line\n', 'the session runs')
    rig.session.evict(refusal('lock'))
    assert.equal(await rig.session.done, 'because of lock')
    assert.equal(rig.heard(), 'line\n')
  })

  test('an eviction while the target is dialled gives the dial up', async (t) => {
    const signals: AbortSignal[] = []
    const { client, heard, session } = await performRig(t, {
      services: {
        dial: (_right, _opening, signal) => {
          signals.push(signal)
          return new Promise(() => {})
        },
      },
    })
    client.write(HELLO)
    await until(() => signals.length === 1, 'the dial')
    session.evict(refusal('lock'))
    client.end()
    await session.done
    assert.equal(signals[0]?.aborted, true)
    assert.equal(heard(), 'NO 01Jlock\n')
  })
})
