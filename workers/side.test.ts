import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import tls from 'node:tls'

import { pair } from '../test/fixtures/sockets.ts'
import { serverPair, testCluster } from '../test/fixtures/tls.ts'
import { SideStream } from './side.ts'
import type { SideHandlers } from './side.ts'

function recorder(): { readonly seen: string[]; readonly handlers: SideHandlers } {
  const seen: string[] = []
  const handlers = {
    data: (chunk: Uint8Array): void => void seen.push(Buffer.from(chunk).toString()),
    ended: (): void => void seen.push('ended'),
    gone: (error: Error | undefined): void =>
      void seen.push(error === undefined ? 'gone' : 'reset'),
    drained: (): void => {},
  }
  return { seen, handlers }
}

suite('one end of a session', () => {
  test('keeps the order of bytes that come while others are held', async (t) => {
    const { inner } = await pair(t)
    const { seen, handlers } = recorder()
    const side = new SideStream(handlers)
    side.attach(inner)
    side.hold(Buffer.from('a'))
    inner.emit('data', Buffer.from('b'))
    assert.deepEqual(seen, [])
    assert.equal(Buffer.from(side.takeHeld()).toString(), 'ab')
    assert.equal(side.receivedBytes, 1)
  })

  test('gives its socket away with every byte that was not consumed, and hears nothing more', async (t) => {
    const { outer, inner } = await pair(t)
    const { seen, handlers } = recorder()
    const side = new SideStream(handlers)
    side.attach(inner)
    side.flow(false)
    side.hold(Buffer.from('held,'))
    outer.write('unread')
    while (inner.readableLength < 6) await new Promise((resolve) => setImmediate(resolve))
    const given = side.detach()
    assert.equal(given?.socket, inner)
    assert.equal(Buffer.from(given?.rest ?? '').toString(), 'held,unread')
    outer.destroy()
    inner.destroy()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([seen, side.attached], [[], false])
  })

  test('notices that a socket ended or died before it came', async (t) => {
    const one = await pair(t)
    one.outer.end()
    for await (const chunk of one.inner.iterator({ destroyOnReturn: false })) assert.ok(chunk)
    const ended = recorder()
    new SideStream(ended.handlers).attach(one.inner)
    const two = await pair(t)
    two.inner.destroy()
    const died = recorder()
    new SideStream(died.handlers).attach(two.inner)
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual([ended.seen[0], died.seen[0]], ['ended', 'gone'])
  })

  test('writes what one tick gives to TLS as one record, and the rest of the next tick as another', async (t) => {
    const { outer, inner } = await pair(t)
    const { certificate: cert, key } = serverPair(testCluster())
    const server = tls.createServer({ cert, key })
    const accepted = once(server, 'secureConnection')
    server.emit('connection', inner)
    const client = tls.connect({ socket: outer, rejectUnauthorized: false })
    const records: string[] = []
    // A `data` event is a record.
    client.on('data', (record: Buffer) => records.push(record.toString()))
    const [socket] = (await accepted) as [tls.TLSSocket]
    const side = new SideStream(recorder().handlers)
    side.attach(socket)
    for (const text of ['one ', 'two ', 'three']) side.write([Buffer.from(text)])
    await new Promise((resolve) => setImmediate(resolve))
    side.write([Buffer.from('last')])
    side.end()
    await once(client, 'end')
    assert.deepEqual(records, ['one two three', 'last'])
    side.destroy()
    client.destroy()
  })
})
