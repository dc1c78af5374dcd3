// Each way a hand-over can lose bytes, connections or openSockets, and what is done about it. The ways with a thread that dies are
// in pool.test.ts; those of TLS in tls.test.ts.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import { readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { handoverSelfTest } from './handover-check.ts'
import { adopt, discard, farewell, release } from './handover.ts'

describe('release', () => {
  it('gives the bytes that came in between pause and release', async (context) => {
    const { outer, inner } = await pair(context)
    outer.write('one;')
    const [first]: Buffer[] = (await once(inner.resume(), 'data')) as Buffer[]
    inner.pause()
    outer.write('two;')
    await until(() => inner.readableLength === 4, 'the second piece')
    const released = release(inner)
    assert.ok(released)
    const moved = adopt(released.handle, Buffer.concat([first ?? Buffer.alloc(0), released.rest]))
    outer.end('three;')
    assert.equal((await readAll(moved)).toString(), 'one;two;three;')
    moved.destroy()
  })

  it('hands nothing to the listeners of the socket it empties', async (context) => {
    const { outer, inner } = await pair(context)
    const heard: string[] = []
    inner.on('data', (chunk: Buffer) => heard.push(chunk.toString()))
    inner.pause()
    outer.write('late')
    inner.read(0)
    await until(() => inner.readableLength === 4, 'the bytes')
    const released = release(inner)
    assert.equal(Buffer.from(released?.rest ?? []).toString(), 'late')
    assert.deepEqual(heard, [])
    if (released !== undefined) discard(released.handle)
  })

  it('refuses a socket with bytes that are not sent, and leaves it as it was', async (context) => {
    const { outer, inner } = await pair(context)
    const big = Buffer.alloc(8 << 20, 'x')
    inner.write(big)
    assert.ok(inner.writableLength > 0)
    assert.throws(() => release(inner), RangeError)
    assert.equal((await readBytes(outer, big.length)).equals(big), true)
  })

  it('moves a half-open socket whose peer has ended already, and the end is seen again', async (context) => {
    const { outer, inner } = await pair(context)
    outer.end('last words')
    const [first]: Buffer[] = (await once(inner.resume(), 'data')) as Buffer[]
    await once(inner, 'end')
    const released = release(inner)
    assert.ok(released)
    const moved = adopt(released.handle, first)
    assert.equal((await readAll(moved)).toString(), 'last words')
    moved.end('answer')
    assert.equal((await readAll(outer)).toString(), 'answer')
  })

  it('says that a socket is gone which ended because it was not half-open', async (context) => {
    const { outer, inner } = await pair(context, false)
    outer.end()
    inner.resume()
    await until(() => inner.destroyed, 'the end')
    assert.equal(release(inner), undefined)
  })

  it('says that a socket is gone which was released or destroyed before', async (context) => {
    const { inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    assert.equal(release(inner), undefined)
    discard(released.handle)
  })
})

describe('adopt', () => {
  it('puts the first bytes ahead of those that follow, and keeps our side open after a FIN', async (context) => {
    const { outer, inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    const moved = adopt(released.handle, new Uint8Array(Buffer.from('first,')))
    outer.end('second')
    assert.equal((await readAll(moved)).toString(), 'first,second')
    moved.end('still open')
    assert.equal((await readAll(outer)).toString(), 'still open')
  })
})

describe('farewell and discard', () => {
  it('says a last word to a peer that keeps talking, and closes', async (context) => {
    const { outer, inner } = await pair(context)
    context.mock.timers.enable({ apis: ['setTimeout'] })
    outer.write(Buffer.alloc(1_000_000))
    const before = openSockets()
    const released = release(inner)
    assert.ok(released)
    farewell(released.handle, Buffer.from('no'))
    assert.equal((await readAll(outer)).toString(), 'no')
    outer.end()
    await until(() => openSockets() === before - 2, 'both ends to close before the deadline')
  })

  it('closes within its deadline on a peer that never ends', async (context) => {
    const { outer, inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    context.mock.timers.enable({ apis: ['setTimeout'] })
    farewell(released.handle, Buffer.from('no'))
    assert.equal((await readAll(outer)).toString(), 'no')
    const before = openSockets()
    context.mock.timers.tick(60_000)
    await until(() => openSockets() === before - 1, 'the descriptor')
  })

  it('closes a handle that nobody adopts', async (context) => {
    const { outer, inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    discard(released.handle)
    assert.equal(await ending(outer), 'end')
  })
})

describe('handoverSelfTest', () => {
  it('passes on this Node, and leaves no descriptor behind', async () => {
    await handoverSelfTest()
    const before = openSockets()
    await handoverSelfTest()
    await until(() => openSockets() <= before, 'the descriptors')
  })
})
