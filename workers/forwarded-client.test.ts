// A proxy that has proved itself to an agent and then dawdles: it holds a connection of the agent's until the deadline, no longer.

import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import tls from 'node:tls'

import { forwardName, SESSION_ALPN, writeForward } from '../core/tunnel/forward.ts'
import { CLUSTER, systemIdentity } from '../test/fixtures/certificates.ts'
import { forgedServer } from '../test/fixtures/forge.ts'
import { testSnapshot } from '../test/fixtures/rights.ts'
import { readBytes } from '../test/fixtures/net.ts'
import { ending, pair } from '../test/fixtures/sockets.ts'
import { pemPair, testCluster } from '../test/fixtures/tls.ts'
import { acceptForwarded, type ForwardedClient } from './forwarded-client.ts'
import { TlsServer } from './tls.ts'

const ca = testCluster()
const PROXY = systemIdentity('proxy')
const NAME = forwardName({ kind: 'db' }, 'orders', CLUSTER)
const PREFACE = writeForward({ certificate: randomBytes(500), permit: randomBytes(20) })

/** A proxy's TLS connection, and what the agent makes of it. */
async function met(
  context: TestContext,
  deadlineMs: number,
  caller = PROXY,
): Promise<{ readonly proxy: tls.TLSSocket; readonly forwarded: Promise<ForwardedClient> }> {
  const { outer, inner } = await pair(context)
  const keys = forgedServer(ca.target, [`*.orders.db.${CLUSTER}`])
  const state = { clientCas: [ca.host.der], trustRevision: 1, ticketKeys: randomBytes(48) }
  const server = new TlsServer({ purpose: 'session', alpn: [SESSION_ALPN] }, { ...keys, ...state })
  context.after(() => server.destroyAll())
  const { certificate: cert, key } = pemPair(ca.host, caller, ca.nowMs)
  const own = { cert, key, servername: NAME, ALPNProtocols: [SESSION_ALPN] }
  const proxy = tls.connect({ socket: outer, rejectUnauthorized: false, ...own })
  proxy.on('error', () => {})
  const snapshot = testSnapshot({ nowMs: ca.nowMs, cas: { host: [ca.host.der] } })
  const by = { proxyId: PROXY.id, serverName: NAME, snapshot, nowMs: ca.nowMs, deadlineMs }
  return { proxy, forwarded: acceptForwarded(server, inner, new Uint8Array(0), by) }
}

describe('a forwarded client', () => {
  it('is read byte by byte, and what follows the preface is the client’s', async (context) => {
    const { proxy, forwarded } = await met(context, 10_000)
    for (const byte of PREFACE) proxy.write(Uint8Array.of(byte))
    proxy.write('HELLO')
    const { socket, certificate, permit } = await forwarded
    assert.deepEqual(writeForward({ certificate, permit }), PREFACE)
    assert.equal((await readBytes(socket, 5)).toString(), 'HELLO')
    proxy.destroy()
  })

  it('is given up at the deadline when its preface does not end', async (context) => {
    const { proxy, forwarded } = await met(context, 100)
    proxy.write(PREFACE.subarray(0, PREFACE.length - 1))
    await assert.rejects(forwarded, { code: 'protocol.violation', message: /in time/ })
    assert.match(await ending(proxy), /^(end|close|ECONNRESET)$/)
  })

  for (const [who, caller, reason] of [
    ['another proxy of the cluster', { ...PROXY, id: randomUUID() }, /not the proxy that ordered/],
    ['an agent, by the same id', { ...systemIdentity('agent'), id: PROXY.id }, /refused/],
  ] as const)
    it(`is refused from ${who}`, async (context) => {
      const { proxy, forwarded } = await met(context, 10_000, caller)
      proxy.write(PREFACE)
      await assert.rejects(forwarded, { code: 'trust.unproven', message: reason })
      assert.match(await ending(proxy), /^(end|close|ECONNRESET)$/)
    })
})
