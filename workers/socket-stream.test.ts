import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { type AddressInfo } from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { atEnd } from '../test/fixtures/files.ts'
import { socketStream } from './socket-stream.ts'

async function pair(context: TestContext): Promise<readonly [net.Socket, net.Socket]> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const near = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
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
