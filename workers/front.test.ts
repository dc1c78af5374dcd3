// What a browser gets at the public port: pages under strict headers, a short list of API calls, and nothing a page of another
// site could have sent. Requests are written as bytes; TLS ends before the front.

import assert from 'node:assert/strict'
import type { TLSSocket } from 'node:tls'
import { describe, it, type TestContext } from 'node:test'

import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { readAll } from '../test/fixtures/net.ts'
import { pair } from '../test/fixtures/sockets.ts'
import { type ApiReply, Front } from './front.ts'

const ORIGIN = 'https://proxy.test:8443'
const JSON_TYPE = 'application/json'

interface Answer {
  readonly status: number
  readonly head: string
  readonly body: string
}

interface Rig {
  readonly calls: string[]
  readonly ask: (
    request: string,
    headers?: Readonly<Record<string, string>>,
    body?: string,
  ) => Promise<Answer>
}

function start(context: TestContext, answer: () => Promise<ApiReply> = async () => OK): Rig {
  const calls: string[] = []
  const front = new Front({
    pages: new Map([
      ['/', { type: 'text/html', body: Buffer.from('<h1>home</h1>') }],
      ['/invite/*', { type: 'text/html', body: Buffer.from('<h1>invite</h1>') }],
    ]),
    gateway: [
      { method: 'GET', path: /^\/v1\/ping$/ },
      { method: 'POST', path: /^\/v1\/invites\/[^/]+$/ },
    ],
    origin: ORIGIN,
    call(method, path, body) {
      calls.push(`${method} ${path} ${body}`)
      return answer()
    },
    log: silentLogger,
  })
  context.after(() => front.close())
  return {
    calls,
    async ask(request, headers = {}, body = '') {
      const { outer, inner } = await pair(context)
      // The front sees a socket whose TLS has ended; that it did is the worker's business.
      front.accept(inner as unknown as TLSSocket)
      inner.resume()
      const lines = Object.entries({ host: 'proxy.test', connection: 'close', ...headers })
      const length = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`]
      const head = [`${request} HTTP/1.1`, ...lines.map((line) => line.join(': ')), ...length]
      outer.write(`${head.join('\r\n')}\r\n\r\n${body}`)
      const [answerHead = '', answerBody = ''] = (await readAll(outer)).toString().split('\r\n\r\n')
      return { status: Number(answerHead.split(' ')[1]), head: answerHead, body: answerBody }
    },
  }
}

const OK: ApiReply = { status: 200, body: '{"ok":true}' }

describe('pages', () => {
  it('are served by exact path and below a path, and nowhere else', async (context) => {
    const { ask } = start(context)
    assert.match((await ask('GET /')).body, /home/)
    assert.match((await ask('GET /invite/abc?x=1')).body, /invite/)
    assert.equal((await ask('GET /other')).status, 404)
    assert.equal((await ask('POST /')).status, 404)
  })

  it('come with headers that forbid frames, foreign scripts and caches, errors too', async (context) => {
    const { ask } = start(context)
    for (const { head } of [await ask('GET /'), await ask('GET /other'), await ask('GET /v1/x')]) {
      assert.match(head, /content-security-policy: default-src 'none';.*frame-ancestors 'none'/)
      assert.match(head, /strict-transport-security: max-age=/)
      assert.match(head, /x-content-type-options: nosniff/)
      assert.match(head, /cache-control: no-store/)
    }
  })

  it('have no body when only their head is asked for', async (context) => {
    const { status, body } = await start(context).ask('HEAD /')
    assert.deepEqual([status, body], [200, ''])
  })
})

describe('calls', () => {
  it('reach control when they are on the list, with its status and words', async (context) => {
    const { ask, calls } = start(context, async () => ({ status: 429, body: '{"error":1}' }))
    const { status, body } = await ask('GET /v1/ping')
    assert.deepEqual([status, calls], [429, ['GET /v1/ping ']])
    assert.match(body, /{"error":1}/)
  })

  it('that are not on the list do not reach control', async (context) => {
    const { ask, calls } = start(context)
    assert.equal((await ask('GET /v1/users')).status, 404)
    assert.equal((await ask('DELETE /v1/ping')).status, 404)
    assert.deepEqual(calls, [])
  })

  it('that change something must come from our own pages, as JSON', async (context) => {
    const { ask, calls } = start(context)
    const post = async (headers: Readonly<Record<string, string>>): Promise<number> =>
      (await ask('POST /v1/invites/t', headers, '{}')).status
    assert.equal(await post({ 'content-type': JSON_TYPE }), 403)
    assert.equal(await post({ 'content-type': JSON_TYPE, origin: `${ORIGIN}.evil.test` }), 403)
    assert.equal(await post({ 'content-type': 'text/plain', origin: ORIGIN }), 403)
    assert.equal(await post({ 'content-type': `${JSON_TYPE}x`, origin: ORIGIN }), 403)
    assert.deepEqual(calls, [])
    assert.equal(await post({ 'content-type': `${JSON_TYPE}; charset=utf-8`, origin: ORIGIN }), 200)
    assert.deepEqual(calls, ['POST /v1/invites/t {}'])
  })

  it('with a body over the limit are refused before control hears of them', async (context) => {
    const { ask, calls } = start(context)
    const headers = { 'content-type': JSON_TYPE, origin: ORIGIN }
    const { status } = await ask(
      'POST /v1/invites/t',
      headers,
      'x'.repeat(max('apiBodyBytesMax') + 1),
    )
    assert.deepEqual([status, calls], [413, []])
  })

  it('say that control is away when it is', async (context) => {
    const { status, body } = await start(context, () => Promise.reject(new Error('gone'))).ask(
      'GET /v1/ping',
    )
    assert.equal(status, 503)
    assert.match(body, /control\.unavailable/)
  })
})
