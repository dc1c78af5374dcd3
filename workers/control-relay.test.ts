// Connections to control through a proxy: passed on as they are, to the first control that answers, or ended in words of TLS.

import assert from 'node:assert/strict'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import type { SocketHandle } from '../core/messages.ts'
import { freePort, listen, readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { relayToControl } from './control-relay.ts'
import { release } from './handover.ts'
import type { Relay } from './relay.ts'

const HELLO = Buffer.from('client hello')

interface Client {
  readonly outer: net.Socket
  readonly handle: SocketHandle
}

async function client(context: TestContext): Promise<Client> {
  const { outer, inner } = await pair(context)
  const released = release(inner)
  assert.ok(released)
  return { outer, handle: released.handle }
}

function at(port: number): { host: string; port: number } {
  return { host: '127.0.0.1', port }
}

function ignore(): void {}

describe('a connection to control', () => {
  it('is relayed both ways from its first byte on, and counted', async (context) => {
    const { port } = await listen(context, (socket) => {
      socket.once('data', (chunk: Buffer) => socket.end(`heard ${chunk.toString()}`))
    })
    const { outer, handle } = await client(context)
    const over = relayToControl(handle, HELLO, [at(port)], ignore)
    assert.equal((await readAll(outer)).toString(), 'heard client hello')
    outer.end()
    const { reason, counters } = await over
    assert.equal(reason, 'finished')
    assert.deepEqual(counters, { fromClientBytes: HELLO.length, fromTargetBytes: 18 })
  })

  it('goes to the next address when one does not answer', async (context) => {
    const { port } = await listen(context, (socket) => socket.end('second'))
    const { outer, handle } = await client(context)
    const addresses = [at(await freePort()), at(port)]
    const over = relayToControl(handle, HELLO, addresses, ignore)
    assert.equal((await readBytes(outer, 6)).toString(), 'second')
    outer.end()
    await over
  })

  it('is answered with a TLS alert when no control answers', async (context) => {
    const { outer, handle } = await client(context)
    const over = relayToControl(handle, HELLO, [at(await freePort())], () => assert.fail('started'))
    // alert (21), TLS 1.2 record, 2 bytes: fatal, internal_error (80)
    assert.deepEqual([...(await readAll(outer))], [21, 3, 3, 0, 2, 2, 80])
    assert.deepEqual(await over, {
      reason: 'control is away',
      counters: { fromClientBytes: 0, fromTargetBytes: 0 },
    })
  })

  it('ends for both when the proxy stops, and leaves no socket', async (context) => {
    const before = openSockets()
    const { port, server } = await listen(context, (socket) => void socket.resume())
    const { outer, handle } = await client(context)
    const { promise: started, resolve } = Promise.withResolvers<Relay>()
    const over = relayToControl(handle, HELLO, [at(port)], resolve)
    ;(await started).abort('the proxy stops')
    assert.equal((await over).reason, 'the proxy stops')
    assert.match(await ending(outer), /^(end|ECONNRESET)$/)
    outer.destroy()
    server.close()
    await until(() => openSockets() === before, 'every socket is closed')
  })
})
