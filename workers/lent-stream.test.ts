import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { TLSSocket } from 'node:tls'

import type { ByteStream } from '../core/stream.ts'
import { pair } from '../test/fixtures/sockets.ts'
import { threadBuffers } from './buffers.ts'
import { lentStream } from './lent-stream.ts'

async function all(stream: ByteStream): Promise<Buffer> {
  const copies: Buffer[] = []
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
    copies.push(Buffer.from(chunk))
    stream.release?.(chunk)
  }
  return Buffer.concat(copies)
}

describe('the stream of a plain connection', () => {
  it('begins with what was read before it, goes on with what comes, and ends with it', async (context) => {
    const { inner: near, outer: far } = await pair(context)
    const before = threadBuffers.lent
    far.write('second ')
    near.resume()
    const [chunk] = (await once(near, 'data')) as [Buffer]
    near.pause()
    near.unshift(chunk)
    near.unshift(Buffer.from('first '))
    const { stream, connection } = lentStream(near)
    const rest = randomBytes(2_000_000)
    far.end(rest)
    const got = await all(stream)
    assert.equal(got.subarray(0, 13).toString(), 'first second ')
    assert.ok(got.subarray(13).equals(rest))
    assert.equal(connection.bytesRead, 7 + rest.length)
    await stream.write(Buffer.from('still open this way'))
    await stream.end()
    far.resume()
    const [said] = (await once(far, 'data')) as [Buffer]
    assert.equal(said.toString(), 'still open this way')
    await stream.closed
    assert.equal(threadBuffers.lent, before)
  })

  it('reads much at a time, where much comes', async (context) => {
    const { inner: near, outer: far } = await pair(context)
    const { stream } = lentStream(near)
    far.end(Buffer.alloc(8_000_000))
    let largest = 0
    for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read()) {
      largest = Math.max(largest, chunk.length)
      stream.release?.(chunk)
    }
    assert.ok(largest > 65_536, `${largest} bytes at the most`)
  })

  it('ends where the connection has ended already', async (context) => {
    const { inner: near, outer: far } = await pair(context)
    far.end('last')
    near.resume()
    near.pause()
    await once(far, 'finish')
    near.on('readable', () => {})
    while (near.readableLength < 4) await new Promise((resolve) => setImmediate(resolve))
    const { stream } = lentStream(near)
    assert.equal((await all(stream)).toString(), 'last')
  })

  it('is lost where the connection is', async (context) => {
    const { inner: near } = await pair(context)
    near.destroy()
    await once(near, 'close')
    const { stream } = lentStream(near)
    await assert.rejects(stream.read(), { code: 'dial.failed' })
    await stream.closed
  })

  it('loses nothing that was not sent yet', async (context) => {
    const { inner: near, outer: far } = await pair(context)
    const large = Buffer.alloc(32 * 1024 * 1024, 'x')
    near.write(large)
    assert.ok(near.writableLength > 0)
    const { stream } = lentStream(near)
    let bytes = 0
    far.on('data', (chunk: Buffer) => (bytes += chunk.length))
    await stream.end()
    far.end()
    await once(far, 'end')
    assert.equal(bytes, large.length)
  })
})

describe('the stream of what is no plain connection', () => {
  it('is its own: under TLS lie other bytes', async (context) => {
    const { inner: near } = await pair(context)
    const tls = new TLSSocket(near)
    tls.on('error', () => {})
    assert.equal(lentStream(tls).connection, tls)
    assert.equal(tls.destroyed, false)
    tls.destroy()
    const through = new PassThrough()
    assert.equal(lentStream(through).connection, through)
  })
})
