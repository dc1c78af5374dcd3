// The relay copies every byte in order, in both directions at once, and passes on how each side ends.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, pair, until } from '../test/fixtures/sockets.ts'
import { BufferPool } from './buffers.ts'
import { release } from './handover.ts'
import { type Relay, relay, type RelayOptions } from './relay.ts'

interface Joined {
  readonly client: net.Socket
  readonly target: net.Socket
  readonly relay: Relay
}

async function join(context: TestContext, options: RelayOptions = {}): Promise<Joined> {
  const [a, b] = [await pair(context), await pair(context)]
  const [client, target] = [release(a.inner), release(b.inner)]
  assert.ok(client !== undefined && target !== undefined)
  const joined = relay(client.handle, target.handle, options)
  context.after(() => joined.abort('end of the test'))
  return { client: a.outer, target: b.outer, relay: joined }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Reads to the end in small bites, letting the loop turn between them. */
async function readSlowly(socket: net.Socket): Promise<string> {
  const hash = createHash('sha256')
  socket.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    socket.pause()
    setImmediate(() => socket.resume())
  })
  await once(socket, 'end')
  return hash.digest('hex')
}

describe('relay', () => {
  for (const size of [1, 100, 1024, 65_536, 300_000, 30 << 20])
    it(`copies ${size} bytes both ways at once, then both ends`, async (context) => {
      const buffers = new BufferPool()
      const { client, target, relay: joined } = await join(context, { buffers })
      const [up, down] = [randomBytes(size), randomBytes(size)]
      const heard = Promise.all([readAll(target), readAll(client)])
      client.end(up)
      target.end(down)
      const [atTarget, atClient] = await heard
      assert.equal(sha256(atTarget), sha256(up))
      assert.equal(sha256(atClient), sha256(down))
      assert.equal(await joined.done, 'finished')
      assert.deepEqual(joined.counters(), { fromClientBytes: size, fromTargetBytes: size })
      assert.equal(buffers.lent, 0)
    })

  it('copies every byte to readers that are slow on both sides', async (context) => {
    const { client, target } = await join(context)
    const [up, down] = [randomBytes(12 << 20), randomBytes(9 << 20)]
    const heard = Promise.all([readSlowly(target), readSlowly(client)])
    client.end(up)
    target.end(down)
    assert.deepEqual(await heard, [sha256(up), sha256(down)])
  })

  it('reads no further while the other side does not read, and goes on when it does', async (context) => {
    const { client, target, relay: joined } = await join(context)
    const bytes = randomBytes(64 << 20)
    client.end(bytes)
    let seen = -1
    let still = 0
    // What fits into the kernel's buffers goes through; then nothing moves for a thousand turns.
    await until(() => {
      const now = joined.counters().fromClientBytes
      still = now === seen ? still + 1 : 0
      seen = now
      return still > 1000
    }, 'the relay to stop')
    assert.ok(seen < bytes.length / 2, `read ${seen} bytes for a side that takes none`)
    const heard = createHash('sha256')
    target.on('data', (chunk: Buffer) => heard.update(chunk))
    await once(target, 'end')
    assert.equal(heard.digest('hex'), sha256(bytes))
  })

  it('leaves the loop to others when it has read as much as a turn may', async (context) => {
    const turnBytes = 64 << 10
    const { client, target, relay: joined } = await join(context, { turnBytes })
    let most = 0
    let before = 0
    const look = (): void => {
      const now = joined.counters().fromClientBytes
      most = Math.max(most, now - before)
      before = now
      if (!client.destroyed) setImmediate(look)
    }
    look()
    target.on('end', () => target.end()).resume()
    client.end(randomBytes(32 << 20)).resume()
    await joined.done
    assert.ok(most > 0 && most < turnBytes + max('relayBufferBytes'), `${most} bytes in one turn`)
  })

  it('keeps the other direction open when one side has ended', async (context) => {
    const { client, target, relay: joined } = await join(context)
    client.end('question')
    assert.equal((await readAll(target)).toString(), 'question')
    target.write('one,')
    assert.equal((await readBytes(client, 4)).toString(), 'one,')
    target.end('two')
    assert.equal((await readAll(client)).toString(), 'two')
    assert.equal(await joined.done, 'finished')
  })

  it('sends bytes read before ahead of those that follow', async (context) => {
    const [toTarget, toClient] = [Buffer.from('hello,'), Buffer.from('accept,')]
    const { client, target, relay: joined } = await join(context, { toTarget, toClient })
    client.end('client')
    target.end('target')
    const [atTarget, atClient] = await Promise.all([readAll(target), readAll(client)])
    assert.equal(atTarget.toString(), 'hello,client')
    assert.equal(atClient.toString(), 'accept,target')
    assert.deepEqual(joined.counters(), { fromClientBytes: 12, fromTargetBytes: 13 })
  })

  it('sends a large first piece that the kernel does not take at once', async (context) => {
    const toTarget = randomBytes(20 << 20)
    const { client, target } = await join(context, { toTarget })
    client.end('tail')
    const heard = await readAll(target)
    assert.equal(sha256(heard), sha256(Buffer.concat([toTarget, Buffer.from('tail')])))
  })

  it('passes a reset of the client on to the target', async (context) => {
    const { client, target, relay: joined } = await join(context)
    client.write('x')
    await readBytes(target, 1)
    const end = ending(target)
    client.resetAndDestroy()
    assert.equal(await end, 'ECONNRESET')
    assert.equal(await joined.done, 'client reset')
  })

  it('passes a reset of the target on to the client', async (context) => {
    const { client, target, relay: joined } = await join(context)
    target.write('x')
    await readBytes(client, 1)
    const end = ending(client)
    target.resetAndDestroy()
    assert.equal(await end, 'ECONNRESET')
    assert.equal(await joined.done, 'target reset')
  })

  it('passes a reset on that comes after the same side has ended', async (context) => {
    const { client, target, relay: joined } = await join(context)
    client.end('x')
    await readAll(target)
    client.resetAndDestroy()
    // Noticed when something is sent to the side that is gone.
    const send = (): void => {
      if (!target.destroyed) target.write('y', () => setImmediate(send))
    }
    send()
    assert.equal(await joined.done, 'client reset')
    await until(() => target.errored !== null, 'the target to be cut')
  })

  it('cuts both sides on abort, with the reason it was given', async (context) => {
    const buffers = new BufferPool()
    const { client, target, relay: joined } = await join(context, { buffers })
    const ends = Promise.all([ending(client), ending(target)])
    joined.abort('a lock is in force')
    assert.deepEqual(await ends, ['ECONNRESET', 'ECONNRESET'])
    assert.equal(await joined.done, 'a lock is in force')
    joined.abort('again')
    assert.equal(await joined.done, 'a lock is in force')
    assert.equal(buffers.lent, 0)
  })

  it('shows its counters while it runs, and is still running when idle', async (context) => {
    const { client, target, relay: joined } = await join(context)
    client.write('12345')
    await readBytes(target, 5)
    assert.deepEqual(joined.counters(), { fromClientBytes: 5, fromTargetBytes: 0 })
  })

  it('holds small buffers for a quiet session and gives large ones back after bulk', async (context) => {
    const buffers = new BufferPool()
    const { client, target } = await join(context, { buffers })
    client.write(Buffer.alloc(4 << 20))
    await readBytes(target, 4 << 20)
    for (let i = 0; i < 6; i++) {
      client.write('quiet')
      await readBytes(target, 5)
    }
    assert.equal(buffers.lent, 2)
    const before = buffers.kept
    const large = buffers.take(max('relayBufferBytes'))
    // It came out of what was kept: the session no longer holds it.
    assert.equal(buffers.kept, before - 1)
    buffers.give(large)
  })
})

describe('deadlines of a relay', () => {
  it('ends it when no byte moved for the idle time, and not before', async (context) => {
    const [a, b] = [await pair(context), await pair(context)]
    const [client, target] = [release(a.inner), release(b.inner)]
    assert.ok(client !== undefined && target !== undefined)
    context.mock.timers.enable({ apis: ['setTimeout'] })
    const clock = new FakeClock()
    const joined = relay(client.handle, target.handle, { idleMsMax: 1000, clock })
    const pass = (ms: number): void => {
      clock.advance(ms)
      context.mock.timers.tick(ms)
    }
    pass(600)
    b.outer.write('a')
    await readBytes(a.outer, 1)
    pass(999)
    a.outer.write('b')
    await readBytes(b.outer, 1)
    pass(1)
    pass(998)
    assert.equal(a.outer.destroyed, false)
    const end = ending(a.outer)
    pass(1)
    assert.equal(await joined.done, 'idle')
    assert.equal(await end, 'ECONNRESET')
  })

  it('ends it at its deadline whatever moves', async (context) => {
    const [a, b] = [await pair(context), await pair(context)]
    const [client, target] = [release(a.inner), release(b.inner)]
    assert.ok(client !== undefined && target !== undefined)
    context.mock.timers.enable({ apis: ['setTimeout'] })
    const joined = relay(client.handle, target.handle, { endsInMs: 5000 })
    context.mock.timers.tick(4999)
    a.outer.write('b')
    await readBytes(b.outer, 1)
    context.mock.timers.tick(1)
    assert.equal(await joined.done, 'deadline')
  })
})
