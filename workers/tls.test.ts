import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { suite, test, type TestContext } from 'node:test'

import { verifyPeer } from '../core/cert/verify.ts'
import type { CertificateRefusal, Verified } from '../core/cert/verify.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { CLUSTER, systemIdentity, testCa, userIdentity } from '../test/fixtures/certificates.ts'
import { dial, listen } from '../test/fixtures/net.ts'
import { until } from '../test/fixtures/sockets.ts'
import {
  pemPair,
  serverPair,
  strangerPair,
  testCluster,
  tlsClient,
  wonTicket,
} from '../test/fixtures/tls.ts'
import { TlsServer, tlsSelfTest } from './tls.ts'
import type { AcceptOptions, Secured, TlsPurpose, TlsServerState } from './tls.ts'

const cluster = testCluster()
const NAME = `t.orders.db.${CLUSTER}`
const STATE: TlsServerState = {
  ...serverPair(cluster),
  clientCas: [cluster.user.der],
  trustRevision: 1,
  ticketKeys: randomBytes(48),
}
const alice = pemPair(cluster.user, userIdentity(), cluster.nowMs)

interface Listening {
  readonly port: number
  /** The next connection's outcome. */
  readonly next: () => Promise<Secured | ProxyError>
}

/** A port whose connections end their TLS in `server`, after `firstBytes` were read ahead. */
async function serve(
  t: TestContext,
  server: TlsServer,
  options: AcceptOptions = {},
  firstBytes = 0,
): Promise<Listening> {
  const outcomes: Promise<Secured | ProxyError>[] = []
  const waiting: ((outcome: Promise<Secured | ProxyError>) => void)[] = []
  const { port } = await listen(t, (raw) => {
    const accept = (first: Uint8Array): void => {
      const outcome = server.accept(raw, first, options).then(greet, (error: unknown) => {
        assert.ok(error instanceof ProxyError)
        return error
      })
      const taker = waiting.shift()
      if (taker === undefined) outcomes.push(outcome)
      else taker(outcome)
    }
    if (firstBytes === 0) return accept(new Uint8Array(0))
    raw.once('data', (chunk: Buffer) => {
      raw.pause()
      raw.unshift(chunk.subarray(firstBytes))
      accept(chunk.subarray(0, firstBytes))
    })
  })
  const next = (): Promise<Secured | ProxyError> =>
    outcomes.shift() ?? new Promise((resolve) => waiting.push(resolve))
  return { port, next }
}

/** A byte from the server makes a client read its session tickets. */
function greet(secured: Secured): Secured {
  secured.socket.on('error', () => undefined)
  secured.socket.write('!')
  return secured
}

/** Closed, in whatever way. */
function gone(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve()
    socket.once('close', () => resolve())
  })
}

async function secured(outcome: Promise<Secured | ProxyError>): Promise<Secured> {
  const value = await outcome
  if (value instanceof ProxyError) throw value
  return value
}

function judge(
  peer: Secured,
  nowMs = Date.now(),
  cas = [cluster.user.der],
): Verified | CertificateRefusal {
  const want = { cas, purpose: 'client', type: 'user', cluster: CLUSTER } as const
  return verifyPeer(peer.chain, want, nowMs)
}

const server = (purpose: TlsPurpose, over: Partial<TlsServerState> = {}): TlsServer =>
  new TlsServer({ purpose, alpn: ['line', 'sluice-link'] }, { ...STATE, ...over })

suite('who a client is', () => {
  test('a user is known by the DER of what he showed', async (t) => {
    const { port, next } = await serve(t, server('user'))
    tlsClient(t, port, alice)
    const peer = await secured(next())
    assert.equal(peer.authorized, true)
    assert.equal(judge(peer).ok, true)
    assert.deepEqual([peer.alpn, peer.serverName, peer.resumed], ['line', NAME, false])
  })

  for (const purpose of ['user', 'session', 'link', 'front'] as const)
    test(`a stranger with a certificate of his own is nobody to ${purpose}`, async (t) => {
      const { port, next } = await serve(t, server(purpose))
      for (const stranger of [strangerPair(), strangerPair(systemIdentity('agent')), undefined]) {
        tlsClient(t, port, stranger)
        const peer = await secured(next())
        assert.equal(peer.authorized, false)
        assert.equal(judge(peer).ok, false)
        peer.socket.destroy()
      }
    })

  test('a host certificate is no user, though TLS between hosts would take it', async (t) => {
    const both = [cluster.user.der, cluster.host.der]
    const { port, next } = await serve(t, server('user', { clientCas: both }))
    tlsClient(t, port, pemPair(cluster.host, systemIdentity('agent'), cluster.nowMs))
    const peer = await secured(next())
    assert.equal(peer.authorized, true)
    assert.equal(judge(peer).ok, false)
  })

  test('a browser is asked for nothing', async (t) => {
    const { port, next } = await serve(t, server('front', { clientCas: [] }))
    tlsClient(t, port, alice)
    assert.deepEqual((await secured(next())).chain, [])
  })
})

suite('tickets', () => {
  test('a resumed session carries the certificate it was won with', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const session = await wonTicket(t, port, alice)
    const full = await secured(next())
    tlsClient(t, port, undefined, { session })
    const resumed = await secured(next())
    assert.deepEqual([full.resumed, resumed.resumed], [false, true])
    assert.deepEqual(resumed.chain, full.chain)
    assert.equal(judge(resumed).ok, true)
  })

  test('a ticket of one purpose is nothing to another with the same keys', async (t) => {
    const user = await serve(t, server('user'))
    const session = await wonTicket(t, user.port, alice)
    for (const purpose of ['link', 'session', 'front'] as const) {
      const other = await serve(t, server(purpose, { clientCas: [cluster.host.der] }))
      tlsClient(t, other.port, undefined, { session })
      const peer = await secured(other.next())
      assert.deepEqual([peer.resumed, peer.chain, peer.authorized], [false, [], false])
    }
  })

  test('a certificate that expired since is refused on its resumed session', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const session = await wonTicket(t, port, alice)
    await next()
    tlsClient(t, port, undefined, { session })
    const peer = await secured(next())
    assert.deepEqual([peer.resumed, peer.authorized], [true, true], 'TLS alone would let it in')
    const refusal = judge(peer, Date.now() + 86_400_000)
    assert.ok(!refusal.ok)
    assert.equal(refusal.code, 'cert.expired')
  })

  test('a certificate whose CA was removed is refused on its resumed session', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const session = await wonTicket(t, port, alice)
    await next()
    tlsClient(t, port, undefined, { session })
    const peer = await secured(next())
    assert.equal(peer.resumed, true)
    assert.equal(judge(peer, Date.now(), [testCa('user CA', cluster.nowMs).der]).ok, false)
  })

  test('a change of trust ends resumption, with the ticket keys unchanged', async (t) => {
    const one = server('user')
    const { port, next } = await serve(t, one)
    const session = await wonTicket(t, port, alice)
    await next()
    one.replace({ ...STATE, trustRevision: 2, clientCas: [cluster.host.der] })
    tlsClient(t, port, undefined, { session })
    const stranger = await secured(next())
    assert.deepEqual([stranger.resumed, stranger.chain], [false, []])
    tlsClient(t, port, alice)
    assert.equal((await secured(next())).authorized, false)
  })

  test('new ticket keys end resumption', async (t) => {
    const one = server('user')
    const { port, next } = await serve(t, one)
    const session = await wonTicket(t, port, alice)
    await next()
    one.replaceTicketKeys(randomBytes(48))
    tlsClient(t, port, undefined, { session })
    assert.equal((await secured(next())).resumed, false)
  })

  test('workers that share keys share sessions', async (t) => {
    const [a, b] = [await serve(t, server('user')), await serve(t, server('user'))]
    const session = await wonTicket(t, a.port, alice)
    tlsClient(t, b.port, undefined, { session })
    assert.equal((await secured(b.next())).resumed, true)
  })
})

suite('the handshake', () => {
  const refused = async (
    t: TestContext,
    accept: AcceptOptions,
    client: ConnectionOptions,
  ): Promise<void> => {
    const one = server('user')
    const { port, next } = await serve(t, one, accept)
    const socket = tlsClient(t, port, alice, client)
    const outcome = await next()
    assert.ok(outcome instanceof ProxyError)
    assert.equal(outcome.code, 'protocol.violation')
    await gone(socket)
    assert.equal(one.pending, 0)
  }

  test('the name asked for must be the one of the frame', (t) =>
    refused(t, { serverName: NAME }, { servername: `t.payments.db.${CLUSTER}` }))

  test('no name is not the name of the frame', (t) =>
    refused(t, { serverName: NAME }, { servername: '' }))

  test('a name is compared without its case', async (t) => {
    const { port, next } = await serve(t, server('user'), { serverName: NAME.toUpperCase() })
    tlsClient(t, port, alice, { servername: NAME.replace('orders', 'ORDERS') })
    assert.equal((await secured(next())).serverName, NAME)
  })

  test('a resumed session may not ask for another name than it was won for', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const session = await wonTicket(t, port, alice)
    await next()
    tlsClient(t, port, undefined, { session, servername: `t.payments.db.${CLUSTER}` })
    assert.equal((await secured(next())).resumed, false)
  })

  test('a client without ALPN is let in only where it may be', async (t) => {
    const { port, next } = await serve(t, server('user'), { alpnOptional: true })
    tlsClient(t, port, alice, { ALPNProtocols: [] })
    assert.equal((await secured(next())).alpn, undefined)
    await refused(t, {}, { ALPNProtocols: [] })
  })

  test('an ALPN name nobody has is refused', (t) =>
    refused(t, { alpnOptional: true }, { ALPNProtocols: ['smtp'] }))

  test('TLS 1.2 is refused', (t) => refused(t, {}, { maxVersion: 'TLSv1.2' }))

  test('the first group is the hybrid one', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const client = tlsClient(t, port, alice)
    await next()
    assert.match(JSON.stringify(client.getEphemeralKeyInfo()), /X25519MLKEM768/)
  })

  for (const firstBytes of [1, 5, 200])
    test(`${firstBytes} bytes read ahead belong to the handshake`, async (t) => {
      const { port, next } = await serve(t, server('user'), {}, firstBytes)
      tlsClient(t, port, alice)
      assert.equal(judge(await secured(next())).ok, true)
    })

  test('a client that says nothing is cut at the deadline', async (t) => {
    const silent = new TlsServer({ purpose: 'user', alpn: ['line'], deadlineMs: 20 }, STATE)
    const { port, next } = await serve(t, silent)
    const socket = await dial(t, port)
    const outcome = await next()
    assert.ok(outcome instanceof ProxyError)
    socket.resume()
    await once(socket, 'end')
    assert.equal(silent.pending, 0)
  })

  test('a client that leaves or says nonsense is forgotten', async (t) => {
    const one = server('user')
    const { port, next } = await serve(t, one)
    const rude = await dial(t, port)
    rude.end('GET / HTTP/1.1\r\n\r\n')
    assert.ok((await next()) instanceof ProxyError)
    const leaver = await dial(t, port)
    const outcome = next()
    leaver.destroy()
    assert.ok((await outcome) instanceof ProxyError)
    assert.equal(one.pending, 0)
  })

  test('handshakes beyond the bound are refused at once', async (t) => {
    const one = server('user')
    const { port, next } = await serve(t, one)
    const bound = max('unfinishedHandshakesPerWorkerMax')
    const sockets = await Promise.all(Array.from({ length: bound }, () => dial(t, port)))
    const surplus = net.connect(port, '127.0.0.1')
    surplus.on('error', () => undefined)
    await gone(surplus)
    assert.equal(one.pending, bound)
    for (const socket of sockets) socket.destroy()
    const outcomes = await Promise.all(Array.from({ length: bound + 1 }, next))
    const codes = outcomes.map((outcome) => (outcome instanceof ProxyError ? outcome.code : ''))
    assert.equal(codes.filter((code) => code === 'limit.exceeded').length, 1)
    assert.equal(one.pending, 0)
  })

  test('a name that fills the bound makes room for others, and for nobody of its own', async (t) => {
    const one = server('user')
    const bound = max('unfinishedHandshakesPerWorkerMax')
    const crowded = await serve(t, one, { serverName: 'crowded.test' })
    const honest = await serve(t, one, { serverName: `t.orders.db.${CLUSTER}` })
    const crowd: net.Socket[] = []
    for (let i = 0; i < bound; i++) crowd.push(await dial(t, crowded.port))
    await until(() => one.pending === bound, 'the bound is filled')
    const client = tlsClient(t, honest.port, alice)
    assert.equal((await secured(honest.next())).authorized, true)
    client.destroy()
    // It was the oldest that went, and the room is nobody's of the same name for long.
    assert.equal(((await crowded.next()) as ProxyError).code, 'protocol.violation')
    await dial(t, crowded.port)
    const surplus = net.connect(crowded.port, '127.0.0.1')
    surplus.on('error', () => undefined)
    await gone(surplus)
    assert.equal(one.pending, bound)
    for (const socket of crowd) socket.destroy()
  })

  test('a client may close its half and still be answered', async (t) => {
    const { port, next } = await serve(t, server('user'))
    const client = tlsClient(t, port, alice)
    client.allowHalfOpen = true
    const peer = await secured(next())
    client.end('last')
    peer.socket.resume()
    await once(peer.socket, 'end')
    peer.socket.end('answer')
    const answer = Buffer.concat(await client.toArray())
    assert.equal(answer.toString(), '!answer')
  })

  test('this Node leads from a TLS socket to the socket under it', tlsSelfTest)
})
