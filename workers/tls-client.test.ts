// TLS towards proxies and targets: contexts are shared between connections, what they are made of never is.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import tls from 'node:tls'

import { userIdentity } from '../test/fixtures/certificates.ts'
import { atEnd } from '../test/fixtures/files.ts'
import { dial, portOf } from '../test/fixtures/net.ts'
import { pemPair, serverPair, testCluster } from '../test/fixtures/tls.ts'
import { connectTls, type TlsClientOptions } from './tls-client.ts'

const NOTHING = new Uint8Array(0)
const cluster = testCluster()

/** A server that says the serial of the certificate it is shown. */
async function listening(test: TestContext): Promise<number> {
  const { certificate: cert, key } = serverPair(cluster)
  const options = { cert, key, requestCert: true, rejectUnauthorized: false }
  const server = tls.createServer({ ...options, ALPNProtocols: ['line'] }, (socket) => {
    socket.on('error', () => {})
    socket.end(
      `${socket.getPeerX509Certificate()?.serialNumber ?? 'nobody'} ${socket.alpnProtocol}`,
    )
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(test, () => void server.close())
  return portOf(server)
}

async function said(
  test: TestContext,
  port: number,
  over: Partial<TlsClientOptions>,
): Promise<string> {
  const raw: net.Socket = await dial(test, port)
  const socket = await connectTls(raw, NOTHING, {
    serverName: 'proxy.test',
    verify: 'ca',
    cas: [cluster.host.der],
    ...over,
  })
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

describe('a TLS client whose contexts are kept', () => {
  it('shows each connection’s own certificate, whoever connected before', async (test) => {
    const port = await listening(test)
    const [alice, bob] = ['alice', 'bob'].map((name) =>
      pemPair(cluster.user, userIdentity({ name }), cluster.nowMs),
    )
    assert.ok(alice !== undefined && bob !== undefined)
    const [asAlice, asBob] = [await said(test, port, alice), await said(test, port, bob)]
    assert.notEqual(asAlice, asBob)
    assert.equal(await said(test, port, alice), asAlice)
    assert.equal(await said(test, port, {}), 'nobody false')
  })

  it('refuses a server of another CA after one of the right CA was believed', async (test) => {
    const port = await listening(test)
    await said(test, port, {})
    await assert.rejects(said(test, port, { cas: [cluster.user.der] }), { code: 'trust.unproven' })
    await assert.rejects(said(test, port, { cas: [] }), { code: 'trust.unproven' })
  })

  it('refuses a wrong name with a context that was used without looking at names', async (test) => {
    const port = await listening(test)
    await said(test, port, { verify: 'ca' })
    await assert.rejects(said(test, port, { verify: 'full' }), { code: 'trust.unproven' })
  })

  it('offers the protocol of its own call', async (test) => {
    const port = await listening(test)
    assert.equal(await said(test, port, { alpn: ['line'] }), 'nobody line')
    assert.equal(await said(test, port, {}), 'nobody false')
  })
})
