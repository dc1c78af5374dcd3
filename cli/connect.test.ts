import { equal, match, rejects } from 'node:assert/strict'
import http from 'node:http'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { type TestContext, test } from 'node:test'

import { freePort, listen, portOf } from '../test/fixtures/net.ts'
import { connectTo, httpProxyFor } from './connect.ts'

async function greeted(socket: Duplex): Promise<string> {
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return bytes.toString()
}

const never = (): AbortSignal => new AbortController().signal

test('the first address that answers is used', async (t) => {
  const { port } = await listen(t, (socket) => void socket.end('hello'))
  const dead = await freePort()
  const connect = connectTo(() => [`127.0.0.1:${dead}`, `127.0.0.1:${port}`])
  equal(await greeted(await connect(never())), 'hello')
})

test('who cannot be reached is said with the address', async () => {
  const dead = await freePort()
  await rejects(connectTo(() => [`127.0.0.1:${dead}`])(never()), {
    code: 'dial.failed',
    retry: true,
    message: new RegExp(`^the proxy at 127\\.0\\.0\\.1:${dead} cannot be reached: .*ECONNREFUSED`),
  })
  await rejects(
    connectTo(() => [`127.0.0.1:${dead}`], 'control')(never()),
    /^ProxyError: control at/,
  )
  await rejects(connectTo(() => [])(never()), /no address of the proxy is known/)
})

test('a connection that is given up is over at once', async () => {
  const signal = AbortSignal.abort(new Error('given up'))
  await rejects(connectTo(() => ['192.0.2.1:443', '192.0.2.2:443'])(signal), {
    code: 'dial.failed',
    message: /192\.0\.2\.1:443 cannot be reached: given up/,
  })
})

test('HTTP proxies are for what is not on this machine and not excluded', () => {
  const env = { HTTPS_PROXY: 'http://p:3128', NO_PROXY: 'intranet, .example.com,*.example.org' }
  equal(httpProxyFor('a.test', env)?.host, 'p:3128')
  for (const host of [
    'localhost',
    '127.0.0.1',
    '::1',
    'intranet',
    'x.intranet',
    'example.com',
    'a.example.com',
    'b.example.org',
  ])
    equal(httpProxyFor(host, env), undefined, host)
  equal(httpProxyFor('badexample.com', env)?.host, 'p:3128')
  equal(httpProxyFor('a.test', { https_proxy: 'p:3128' })?.host, 'p:3128')
  equal(httpProxyFor('a.test', { HTTPS_PROXY: 'p', NO_PROXY: '*' }), undefined)
  equal(httpProxyFor('a.test', { HTTPS_PROXY: '' }), undefined)
  equal(httpProxyFor('a.test', {}), undefined)
})

/** An HTTP proxy that answers CONNECT; what it was asked is kept. */
async function httpProxy(
  t: TestContext,
  status: number,
): Promise<{ url: string; asked: string[]; authorizations: (string | undefined)[] }> {
  const asked: string[] = []
  const authorizations: (string | undefined)[] = []
  const server = http.createServer()
  server.on('connect', (request: http.IncomingMessage, socket: Duplex) => {
    asked.push(request.url ?? '')
    authorizations.push(request.headers['proxy-authorization'])
    // The target's first bytes may come with the proxy's answer.
    socket.end(`HTTP/1.1 ${status} X\r\n\r\nhello`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return {
    url: `http://user:p%40ss@127.0.0.1:${portOf(server)}`,
    asked,
    authorizations,
  }
}

async function withProxy<T>(url: string, work: () => Promise<T>): Promise<T> {
  const before = process.env['HTTPS_PROXY']
  process.env['HTTPS_PROXY'] = url
  try {
    return await work()
  } finally {
    if (before === undefined) delete process.env['HTTPS_PROXY']
    else process.env['HTTPS_PROXY'] = before
  }
}

test('through an HTTP proxy a connection is asked for by name, with its credentials', async (t) => {
  const { url, asked, authorizations } = await httpProxy(t, 200)
  const socket = await withProxy(url, () => connectTo(() => ['far.test:443'])(never()))
  equal(await greeted(socket), 'hello')
  equal(asked[0], 'far.test:443')
  equal(authorizations[0], `Basic ${Buffer.from('user:p@ss').toString('base64')}`)
})

test('an HTTP proxy that refuses is named', async (t) => {
  const { url } = await httpProxy(t, 403)
  const failure: unknown = await withProxy(url, () =>
    connectTo(() => ['far.test:443'])(never()),
  ).catch((error: unknown) => error)
  match(
    String(failure),
    /far\.test:443 cannot be reached: the HTTP proxy 127\.0\.0\.1:\d+ answered 403/,
  )
})
