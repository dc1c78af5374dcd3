import { equal, rejects } from 'node:assert/strict'
import https from 'node:https'
import { once } from 'node:events'
import { test } from 'node:test'

import { freePort, listen, portOf } from '../test/fixtures/net.ts'
import { makePki } from './fake-postgres.fixture.ts'
import { webGet } from './web-get.ts'

test('a certificate the system’s roots do not cover vouches for nothing, and nothing is asked', async (t) => {
  const { certificate, key } = makePki('localhost').server
  let asked = 0
  const server = https.createServer({ cert: certificate, key }, (_request, response) => {
    asked += 1
    response.end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  await rejects(webGet(`localhost:${portOf(server)}`, '/v1/cas'), {
    code: 'trust.unproven',
    message: /^nothing vouches for the proxy at localhost:\d+: [^;]*$/,
    next: /--ca-pin=/,
  })
  equal(asked, 0)
})

test('what speaks no TLS vouches for nothing', async (t) => {
  const { port } = await listen(t, (socket) => void socket.end('HTTP/1.1 200 OK\r\n\r\n{}'))
  await rejects(webGet(`127.0.0.1:${port}`, '/v1/cas'), { code: 'trust.unproven' })
})

test('an address nobody listens at is unreachable, not unproven', async () => {
  await rejects(webGet(`127.0.0.1:${await freePort()}`, '/'), { code: 'dial.failed' })
})
