import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { atEnd } from '../test/fixtures/files.ts'
import { BufferPool } from './buffers.ts'
import { LentReads } from './lent-reads.ts'
import { socketStream } from './socket-stream.ts'

async function pair(
  context: TestContext,
  onread?: LentReads,
): Promise<readonly [net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const options = { port, host: '127.0.0.1', allowHalfOpen: true }
  const near = net.connect(onread === undefined ? options : { ...options, onread })
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [
    [net.Socket],
    unknown,
  ]
  atEnd(context, () => {
    near.destroy()
    far.destroy()
    server.close()
  })
  return [near, far]
}

describe('pieces written to a socket at once', () => {
  it('arrive in order and unjoined memory is free to go when it resolves', async (context) => {
    const [near, far] = await pair(context)
    const stream = socketStream(near)
    const pieces = [Buffer.from('a'), Buffer.alloc(300_000, 'b'), Buffer.from('c')]
    const written = stream.writeAll?.(pieces)
    far.resume()
    const got: Buffer[] = []
    far.on('data', (chunk: Buffer) => got.push(chunk))
    await written
    for (const piece of pieces) piece.fill('z')
    await stream.end()
    await once(far, 'end')
    assert.equal(Buffer.concat(got).toString(), `a${'b'.repeat(300_000)}c`)
  })

  it('do not resolve while the kernel has not taken all of them, and reject when the socket goes', async (context) => {
    const [near] = await pair(context)
    const stream = socketStream(near)
    let settled = false
    // More than both socket buffers hold, and nobody reads.
    const written = stream.writeAll?.([Buffer.alloc(64 * 1024 * 1024), Buffer.from('x')])
    written?.then(
      () => (settled = true),
      () => (settled = true),
    )
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(settled, false)
    stream.abort(new Error('cut'))
    await assert.rejects(written ?? Promise.resolve(), /cut/)
  })

  it('resolves at once for none', async (context) => {
    const [near] = await pair(context)
    await socketStream(near).writeAll?.([])
  })
})

describe('reads that are lent', () => {
  it('are the bytes in order, and stay as they are until they are given back', async (context) => {
    const pool = new BufferPool()
    const reads = new LentReads(pool)
    const [near, far] = await pair(context, reads)
    near.once('close', () => reads.close())
    const stream = socketStream(near, reads)
    const sent = randomBytes(3_000_000)
    far.end(sent)
    const held: Uint8Array[] = []
    const copies: Buffer[] = []
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
      held.push(chunk)
      copies.push(Buffer.from(chunk))
      if (held.length < 3) continue
      // The oldest of three: what was read since has overwritten none of it.
      assert.deepEqual(Buffer.from(held[0] ?? []), copies.at(-3))
      stream.release?.(held.shift() ?? Buffer.of())
    }
    assert.ok(Buffer.concat(copies).equals(sent))
    for (const chunk of held) stream.release?.(chunk)
    near.destroy()
    await stream.closed
    assert.equal(pool.lent, 0)
  })

  it('come one by one: nothing is read while a chunk waits to be taken', async (context) => {
    const reads = new LentReads(new BufferPool())
    const [near, far] = await pair(context, reads)
    const stream = socketStream(near, reads)
    far.write(Buffer.alloc(1_000_000))
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(near.bytesRead < 2048, `${near.bytesRead} bytes read for nobody`)
    let bytes = 0
    while (bytes < 1_000_000) {
      const chunk = await stream.read()
      bytes += chunk?.length ?? 0
      stream.release?.(chunk ?? Buffer.of())
    }
    assert.equal(bytes, 1_000_000)
  })

  it('give back a chunk once, and what is none of theirs not at all', async (context) => {
    const pool = new BufferPool()
    const reads = new LentReads(pool)
    const [near, far] = await pair(context, reads)
    const stream = socketStream(near, reads)
    far.write('word')
    const chunk = (await stream.read()) ?? Buffer.of()
    assert.equal(Buffer.from(chunk).toString(), 'word')
    for (const each of [chunk, chunk, chunk.subarray(1), Buffer.alloc(20_000)])
      stream.release?.(each)
    assert.equal(pool.kept, 1)
  })

  it('end, and reject when the stream is cut', async (context) => {
    const reads = new LentReads(new BufferPool())
    const [near, far] = await pair(context, reads)
    const stream = socketStream(near, reads)
    far.end()
    assert.equal(await stream.read(), undefined)
    await stream.write(Buffer.from('still open'))
    const others = new LentReads(new BufferPool())
    const [other] = await pair(context, others)
    const cut = socketStream(other, others)
    const reading = cut.read()
    cut.abort(new Error('cut'))
    await assert.rejects(reading, /cut/)
  })
})
