// The fault proxy itself: each fault does what its name says, to the connections it was meant for and to no other.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { describe, it } from 'node:test'

import type { Cleanup } from '../fixtures/files.ts'
import { dial, listen, readAll, readBytes } from '../fixtures/net.ts'
import { ending } from '../fixtures/sockets.ts'
import { beginsWithoutTls, FaultProxy } from './fault-proxy.ts'

interface Joined {
  readonly proxy: FaultProxy
  readonly near: net.Socket
  readonly far: net.Socket
}

const TLS_HELLO = Uint8Array.of(0x16, 3, 1)

async function far(cleanup: Cleanup): Promise<{ port: number; next: () => Promise<net.Socket> }> {
  const waiting: net.Socket[] = []
  const { port, server } = await listen(cleanup, (socket) => {
    socket.pause()
    waiting.push(socket)
  })
  const next = async (): Promise<net.Socket> => {
    while (waiting.length === 0) await once(server, 'connection')
    const socket = waiting.shift()
    assert.ok(socket !== undefined)
    return socket
  }
  return { port, next }
}

/** A connection through a fault proxy, its first byte passed on. */
async function joined(cleanup: Cleanup, first: Uint8Array = Uint8Array.of(1)): Promise<Joined> {
  const { port, next } = await far(cleanup)
  const proxy = await FaultProxy.start(cleanup, port)
  const near = await dial(cleanup, proxy.port)
  near.on('error', () => {})
  near.write(first)
  const socket = await next()
  assert.deepEqual(await readBytes(socket, first.length), Buffer.from(first))
  return { proxy, near, far: socket }
}

const LARGE = Buffer.alloc(3_000_000, 'sluice')

describe('A fault proxy', () => {
  it('carries both ways with backpressure and both half-closes when nothing is wrong', async (context) => {
    const { near, far: other } = await joined(context)
    near.end(LARGE)
    assert.ok((await readAll(other)).equals(LARGE))
    other.end('answer')
    assert.equal((await readAll(near)).toString(), 'answer')
  })

  it('delays every byte and loses none', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    proxy.inflict({ kind: 'delay', ms: 60 })
    const fromMs = performance.now()
    near.write('late')
    assert.equal((await readBytes(other, 4)).toString(), 'late')
    assert.ok(performance.now() - fromMs >= 59)
  })

  it('slows one way to so many bytes a second', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    proxy.inflict({ kind: 'slow', bytesPerSecond: 1000, way: 'to-far' })
    const fromMs = performance.now()
    near.write(Buffer.alloc(200))
    assert.equal((await readBytes(other, 200)).length, 200)
    assert.ok(performance.now() - fromMs >= 140)
    proxy.heal()
    near.end(LARGE)
    assert.equal((await readAll(other)).length, LARGE.length)
  })

  it('stalls until it is healed: the sender cannot write for ever, and every byte comes in the end', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    proxy.inflict({ kind: 'stall' })
    while (near.write(LARGE)) await new Promise((resolve) => setImmediate(resolve))
    const wrote = near.bytesWritten
    near.end()
    proxy.heal()
    assert.equal((await readAll(other)).length, wrote - 1)
  })

  it('turns over one byte and no other', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    proxy.inflict({ kind: 'corrupt', at: 2, way: 'to-far' })
    near.write('abcde')
    assert.deepEqual(await readBytes(other, 5), Buffer.from([97, 98, 99 ^ 0xff, 100, 101]))
  })

  it('cuts: both ends see the end of the other', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    assert.equal(proxy.inflict({ kind: 'cut' }), 1)
    assert.equal(await ending(near), 'end')
    assert.equal(await ending(other), 'end')
  })

  it('resets both ends', async (context) => {
    const { proxy, near, far: other } = await joined(context)
    proxy.inflict({ kind: 'reset' })
    assert.equal(await ending(near), 'ECONNRESET')
    assert.equal(await ending(other), 'ECONNRESET')
  })

  for (const way of ['to-far', 'to-near'] as const)
    it(`half-closes ${way} and carries the other way on`, async (context) => {
      const { proxy, near, far: other } = await joined(context)
      proxy.inflict({ kind: 'half-close', way })
      const [told, talks] = way === 'to-far' ? [other, near] : [near, other]
      assert.equal(await ending(told), 'end')
      told.write('still here')
      assert.equal((await readBytes(talks, 10)).toString(), 'still here')
    })

  it('silences: no byte and no end comes, and neither end is told', async (context) => {
    const { port, next } = await far(context)
    const proxy = await FaultProxy.start(context, port)
    const near = await dial(context, proxy.port)
    near.write('x')
    const other = await next()
    assert.equal((await readBytes(other, 1)).toString(), 'x')
    let heard = 0
    other.on('data', (chunk: Buffer) => (heard += chunk.length))
    other.on('end', () => (heard += 1))
    proxy.inflict({ kind: 'silence' })
    assert.equal(proxy.count(), 0)
    near.end('lost')
    // What a later connection brings comes after it.
    const later = await dial(context, proxy.port)
    later.write('y')
    assert.equal((await readBytes(await next(), 1)).toString(), 'y')
    assert.deepEqual([heard, proxy.count()], [0, 1])
  })

  it('chooses by the first byte, and has rules for connections to come', async (context) => {
    const { port, next } = await far(context)
    const proxy = await FaultProxy.start(context, port)
    const undo = proxy.rule({ kind: 'reset' }, beginsWithoutTls)
    const tls = await dial(context, proxy.port)
    tls.write(TLS_HELLO)
    const kept = await next()
    assert.equal((await readBytes(kept, 3)).length, 3)
    const plain = await dial(context, proxy.port)
    plain.on('error', () => {})
    plain.write('x')
    assert.equal(await ending(plain), 'ECONNRESET')
    undo()
    await next()
    const later = await dial(context, proxy.port)
    later.write('y')
    assert.equal((await readBytes(await next(), 1)).toString(), 'y')
    assert.equal(proxy.count(beginsWithoutTls), 1)
    assert.equal(proxy.inflict({ kind: 'cut' }, beginsWithoutTls), 1)
    assert.equal(await ending(later), 'end')
    tls.write('z')
    assert.equal((await readBytes(kept, 1)).toString(), 'z')
  })
})
