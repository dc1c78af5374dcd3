import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'

import { ProxyError } from '../../core/errors.ts'
import { dial, listen, readAll, readBytes } from '../../test/fixtures/net.ts'
import { pair, until } from '../../test/fixtures/sockets.ts'
import { join, LocalProxy, type LocalProxyOptions } from './local-proxy.ts'

const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex')
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex')
const CANCEL_REQUEST = Buffer.from('0000001004d2162e0000000100000002', 'hex')
/** Length 9, protocol 3.0, no parameters. */
const STARTUP = Buffer.from('000000090003000000', 'hex')

interface Scene {
  readonly proxy: LocalProxy
  readonly port: number
  readonly failures: string[]
  /** Connections that reached the far end, in clear and secured. */
  readonly dialled: Socket[]
  readonly secured: Socket[]
}

async function scene(
  t: TestContext,
  tunnel: boolean,
  over: Partial<LocalProxyOptions> = {},
): Promise<Scene> {
  const failures: string[] = []
  const dialled: Socket[] = []
  const secured: Socket[] = []
  const far = (list: Socket[]) => async (): Promise<Socket> => {
    const { outer, inner } = await pair(t)
    list.push(inner)
    inner.resume()
    inner.pause()
    return outer
  }
  const proxy = new LocalProxy({
    host: '127.0.0.1',
    port: 0,
    dial: far(dialled),
    ...(tunnel ? { secure: far(secured) } : {}),
    failed: (text) => void failures.push(text),
    ...over,
  })
  t.after(() => proxy.close())
  return { proxy, port: await proxy.start(), failures, dialled, secured }
}

async function first(list: readonly Socket[], client: Socket): Promise<Socket> {
  await until(() => list.length > 0 || client.destroyed, 'a connection at the far end')
  const [socket] = list
  ok(socket)
  return socket
}

test('plain, bytes pass as they are in both directions', async (t) => {
  const { port, dialled } = await scene(t, false)
  const client = await dial(t, port)
  client.write(SSL_REQUEST)
  const target = await first(dialled, client)
  deepEqual(await readBytes(target, 8), SSL_REQUEST)
  target.write('S')
  equal((await readBytes(client, 1)).toString(), 'S')
})

test('in a tunnel offers of encryption are declined and the start-up goes into TLS whole', async (t) => {
  const { port, secured, dialled } = await scene(t, true)
  const client = await dial(t, port)
  client.write(GSSENC_REQUEST)
  equal((await readBytes(client, 1)).toString(), 'N')
  client.write(SSL_REQUEST)
  equal((await readBytes(client, 1)).toString(), 'N')
  client.write(Buffer.concat([STARTUP, Buffer.from('more')]))
  const target = await first(secured, client)
  deepEqual(
    await readBytes(target, STARTUP.length + 4),
    Buffer.concat([STARTUP, Buffer.from('more')]),
  )
  equal(dialled.length, 0)
})

test('a start-up is understood wherever its bytes are cut', async (t) => {
  const { port, secured } = await scene(t, true)
  const client = await dial(t, port)
  for (const byte of SSL_REQUEST) client.write(Uint8Array.of(byte))
  equal((await readBytes(client, 1)).toString(), 'N')
  for (const byte of STARTUP) client.write(Uint8Array.of(byte))
  deepEqual(await readBytes(await first(secured, client), STARTUP.length), STARTUP)
})

test('a cancel request goes on in clear, as PostgreSQL sends it', async (t) => {
  const { port, secured, dialled } = await scene(t, true)
  const client = await dial(t, port)
  client.write(CANCEL_REQUEST)
  deepEqual(await readBytes(await first(dialled, client), 16), CANCEL_REQUEST)
  equal(secured.length, 0)
})

test('a client that offers encryption again and again is let go', async (t) => {
  const { port, secured } = await scene(t, true)
  const client = await dial(t, port)
  client.on('error', () => {})
  client.write(Buffer.concat([SSL_REQUEST, SSL_REQUEST, SSL_REQUEST, SSL_REQUEST]))
  match((await readAll(client)).toString(), /^N{1,3}$/)
  equal(secured.length, 0)
})

test('a client that leaves before it began opens nothing', async (t) => {
  const { proxy, port, secured } = await scene(t, true)
  const client = await dial(t, port)
  client.end('\0\0\0')
  equal((await readAll(client)).length, 0)
  await until(() => proxy.connections === 0, 'the connection to be forgotten')
  equal(secured.length, 0)
})

test('a database that cannot be reached is said in PostgreSQL, and to the person', async (t) => {
  const away = new ProxyError('dial.failed', 'nobody there', { next: 'Look.' })
  const { port, failures } = await scene(t, true, { secure: () => Promise.reject(away) })
  const client = await dial(t, port)
  client.write(STARTUP)
  const answer = await readAll(client)
  equal(answer[0], 'E'.charCodeAt(0))
  equal(answer.readUInt32BE(1), answer.length - 1)
  match(
    answer.toString('utf8', 5),
    /^SFATAL\0VFATAL\0C08001\0Mtsh: ERROR: nobody there\nLook\.\0\0$/,
  )
  deepEqual(failures, ['ERROR: nobody there\nLook.'])
})

test('a half-close passes, and what the other end still says arrives', async (t) => {
  const { port, dialled } = await scene(t, false)
  const client = await dial(t, port)
  client.end('question')
  const target = await first(dialled, client)
  target.resume()
  equal((await readAll(target)).toString(), 'question')
  target.end('a late answer')
  equal((await readAll(client)).toString(), 'a late answer')
})

test('a reset on one side ends the other', async (t) => {
  const { port, dialled } = await scene(t, false)
  const client = await dial(t, port)
  client.on('error', () => {})
  client.write('x')
  const target = await first(dialled, client)
  await readBytes(target, 1)
  target.resetAndDestroy()
  equal((await readAll(client)).length, 0)
})

test('what was still to be written is written, also when the other end is done and gone', async () => {
  const written: (() => void)[] = []
  const client = new Duplex({
    read() {},
    write: (_chunk, _encoding, done) => void written.push(done),
  })
  const target = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  join(client, target)
  target.push('the last words')
  target.push(null)
  client.push(null)
  await once(target, 'close')
  equal(client.destroyed, false)
  equal(written.length, 1)
  const finished = once(client, 'finish')
  written[0]?.()
  await finished
})

test('a slow reader holds the writer back', async (t) => {
  const { port, dialled } = await scene(t, false)
  const client = await dial(t, port)
  client.write('x')
  const target = await first(dialled, client)
  const block = Buffer.alloc(1 << 20)
  let sent = 0
  while (target.write(block) || target.writableLength < 4 * block.length) {
    sent += block.length
    if (sent > 256 * block.length) break
    await new Promise((resolve) => setImmediate(resolve))
  }
  ok(sent < 256 * block.length, 'everything was taken although nobody reads')
})

test('closing ends the port and every connection', async (t) => {
  const { proxy, port, dialled } = await scene(t, false)
  const client = await dial(t, port)
  client.on('error', () => {})
  client.write('x')
  await first(dialled, client)
  proxy.close()
  equal((await readAll(client)).length, 0)
  await rejects(dial(t, port))
})

test('a port that is taken is said in a sentence', async (t) => {
  const { port } = await listen(t, () => {})
  const proxy = new LocalProxy({
    host: '127.0.0.1',
    port,
    dial: () => Promise.reject(new Error('x')),
    failed: () => {},
  })
  await rejects(proxy.start(), { name: 'CommandError', message: /cannot listen on 127\.0\.0\.1/ })
})
