// Addresses as sluice.yaml has them, and ports bound before any role runs.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, it } from 'node:test'

import { ProxyError } from '../../core/errors.ts'
import { listen } from '../../test/fixtures/net.ts'
import { bind, splitAddress } from './listeners.ts'

describe('an address', () => {
  it('is a host and a port, a bracketed IPv6 address and a port, or a port alone for all addresses', () => {
    assert.deepEqual(splitAddress('proxy.test:443'), { host: 'proxy.test', port: 443 })
    assert.deepEqual(splitAddress('[::1]:3025'), { host: '::1', port: 3025 })
    assert.deepEqual(splitAddress(':443'), { host: '0.0.0.0', port: 443 })
  })

  it('that is something else is refused with its text', () => {
    for (const text of ['', 'host', 'host:', '::1:443', 'host:65536', 'host:4a', 'https://h:1'])
      assert.throws(
        () => splitAddress(text),
        (error) => error instanceof ProxyError && error.message.includes(`"${text}"`),
        text,
      )
  })
})

describe('bind', () => {
  it('holds a port without listening on it, until somebody does', async (context) => {
    const handle = bind('127.0.0.1:0')
    const server = net.createServer().listen(handle)
    context.after(() => void server.close())
    await once(server, 'listening')
    const address = server.address()
    assert.ok(typeof address === 'object' && address !== null && address.port > 0)
  })

  it('says that a port is taken, and what to do', async (context) => {
    const { port } = await listen(context, (socket) => socket.destroy())
    assert.throws(
      () => bind(`127.0.0.1:${port}`),
      (error) =>
        error instanceof ProxyError &&
        error.message.includes(`127.0.0.1:${port}`) &&
        error.message.includes('in use') &&
        (error.next ?? '').includes('web_listen_addr'),
    )
  })

  it('says that the machine has no such address', () => {
    // 192.0.2.0/24 is for documentation (RFC 5737); no machine has an address of it.
    assert.throws(() => bind('192.0.2.1:0'), /no such address/)
  })
})
