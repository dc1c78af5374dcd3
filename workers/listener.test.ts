// The public port as its peers see it: what is recognised, what is answered, who is let go and when, and that nothing stays behind.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { mintSpareTicket } from '../core/tunnel/spare.ts'
import { protocols } from '../protocols/registry.ts'
import { dial, readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, openSockets, until } from '../test/fixtures/sockets.ts'
import type { Arrival } from './arrival.ts'
import { adopt, discard } from './handover.ts'
import { Ledger } from './ledger.ts'
import { Listener, type ListenerOptions } from './listener.ts'
import type { StrangerSummary } from './strangers.ts'
import type { UnfinishedBounds } from './unfinished.ts'

const HELLO = recorded('psql-15')
const DIRECT_HELLO = recorded('libpq-18-direct')
// Length, then the request codes of the PostgreSQL manual, "Message Formats".
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex')
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex')
const CANCEL_REQUEST = Buffer.from('0000001004d2162e0000000700000009', 'hex')
const HEADER = 'PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n'
const BOUNDS: UnfinishedBounds = {
  countMax: 1000,
  perSourceMax: 1000,
  bytesMax: 1 << 20,
  deadlineMs: 10_000,
}
const NO_HEADERS = { mode: 'off', trusted: [] } as const

interface Rig {
  readonly listener: Listener
  readonly port: number
  readonly arrivals: Arrival[]
  readonly summaries: StrangerSummary[]
  readonly ledger: Ledger
  readonly clock: FakeClock
  readonly arrival: () => Promise<Arrival>
}

async function start(context: TestContext, options: Partial<ListenerOptions> = {}): Promise<Rig> {
  const arrivals: Arrival[] = []
  const summaries: StrangerSummary[] = []
  const [ledger, clock] = [new Ledger(), new FakeClock()]
  const listener = new Listener({
    recognisers: protocols,
    publicAddress: 'proxy.example.com:3080',
    proxyProtocol: NO_HEADERS,
    bounds: BOUNDS,
    clock,
    ledger,
    onArrival: (arrival) => arrivals.push(arrival),
    onStrangers: (summary) => summaries.push(summary),
    ...options,
  })
  const port = await listener.listen({ host: '127.0.0.1', port: 0 })
  context.after(() => {
    listener.close()
    for (const arrival of arrivals) if ('handle' in arrival) discard(arrival.handle)
    for (const arrival of arrivals) if (arrival.kind === 'spare') arrival.socket.destroy()
  })
  const arrival = async (): Promise<Arrival> => {
    await until(() => arrivals.length > 0, 'an arrival')
    const first = arrivals.shift()
    assert.ok(first)
    if ('handle' in first) context.after(() => discard(first.handle))
    return first
  }
  return { listener, port, arrivals, summaries, ledger, clock, arrival }
}

function recorded(client: string): Buffer {
  const url = new URL(`../core/vectors/hello-${client}.txt`, import.meta.url)
  return Buffer.from(readFileSync(url, 'utf8').replace(/^#.*$|\s/gm, ''), 'hex')
}

type Tls = Extract<Arrival, { kind: 'tls' }>

function asTls(arrival: Arrival): Tls {
  assert.ok(arrival.kind === 'tls', arrival.kind)
  return arrival
}

/** One byte a segment, as far as the kernel lets us. */
async function trickle(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  for (const byte of bytes) {
    socket.write(Uint8Array.of(byte))
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('recognition at the port', () => {
  it('reads server name and ALPN of TLS at once, and names the protocol by ALPN', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write(DIRECT_HELLO)
    const arrival = asTls(await rig.arrival())
    assert.equal(arrival.serverName, 'ticket.orders.db.example.com')
    assert.deepEqual([arrival.alpn, arrival.stage], [['postgresql'], ''])
    assert.equal(arrival.protocol, 'postgres')
    assert.deepEqual(Buffer.from(arrival.first), DIRECT_HELLO)
    const { address, trusted } = arrival.source
    assert.deepEqual([address, trusted], ['127.0.0.1', true])
    assert.equal(rig.ledger.empty, true)
  })

  it('hands on every byte when the hello comes in single bytes and more follows', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    await trickle(client, HELLO)
    const arrival = asTls(await rig.arrival())
    client.end('what follows')
    const moved = adopt(arrival.handle, arrival.first)
    const all = await readAll(moved)
    assert.deepEqual(all, Buffer.concat([HELLO, Buffer.from('what follows')]))
    moved.destroy()
  })

  it('gives the bytes memory of their own, so that no other connection travels along', async (context) => {
    const trusted = { mode: 'on', trusted: ['127.0.0.0/8'] } as const
    const rig = await start(context, { proxyProtocol: trusted })
    const client = await dial(context, rig.port)
    client.write(Buffer.concat([Buffer.from(HEADER), HELLO]))
    const { first } = asTls(await rig.arrival())
    assert.equal(first.buffer.byteLength, HELLO.length)
  })

  it('answers S to an SSLRequest and goes on with the hello', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    await trickle(client, SSL_REQUEST)
    assert.equal((await readBytes(client, 1)).toString(), 'S')
    client.write(HELLO)
    const arrival = asTls(await rig.arrival())
    assert.deepEqual([arrival.stage, arrival.protocol], ['ssl', 'postgres'])
    assert.deepEqual(Buffer.from(arrival.first), HELLO)
  })

  it('answers N to a GSSENCRequest, then S', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write(GSSENC_REQUEST)
    assert.equal((await readBytes(client, 1)).toString(), 'N')
    client.write(SSL_REQUEST)
    assert.equal((await readBytes(client, 1)).toString(), 'S')
    client.write(HELLO)
    assert.equal(asTls(await rig.arrival()).stage, 'ssl')
  })

  it('ends a connection with bytes behind its SSLRequest without an answer', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write(Buffer.concat([SSL_REQUEST, HELLO]))
    assert.equal((await readAll(client)).length, 0)
    assert.equal(rig.listener.counters.unknown, 1)
    assert.deepEqual(rig.arrivals, [])
  })

  it('does so even when the protocol would have answered', async (context) => {
    const answer = { verdict: 'answer', bytes: Buffer.from('S'), consumed: 8, stage: 'x' } as const
    const careless = { name: 'careless', alpn: [], recognise: () => answer }
    const rig = await start(context, { recognisers: [careless] })
    const client = await dial(context, rig.port)
    client.write('12345678+')
    assert.equal((await readAll(client)).length, 0)
  })

  it('ends a connection that asks for TLS twice, or for something else after its answer', async (context) => {
    const rig = await start(context)
    for (const second of [SSL_REQUEST, Buffer.from('GET / HTTP/1.1\r\n\r\n')]) {
      const client = await dial(context, rig.port)
      client.write(SSL_REQUEST)
      await readBytes(client, 1)
      client.write(second)
      assert.equal((await readAll(client)).length, 0)
    }
    assert.equal(rig.listener.counters.unknown, 2)
  })

  it('passes a CancelRequest on and closes without a word', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write(CANCEL_REQUEST)
    assert.equal((await readAll(client)).length, 0)
    const arrival = await rig.arrival()
    assert.ok(arrival.kind === 'signal' && arrival.protocol === 'postgres')
    assert.deepEqual(Buffer.from(arrival.key), CANCEL_REQUEST.subarray(8))
  })

  it('hands a protocol that begins without TLS on', async (context) => {
    const ssh = {
      name: 'ssh',
      alpn: [],
      recognise: (first: Uint8Array) => ({ verdict: first.length < 4 ? 'more' : 'mine' }) as const,
    }
    const rig = await start(context, { recognisers: [ssh] })
    const client = await dial(context, rig.port)
    await trickle(client, Buffer.from('SSH-'))
    const arrival = await rig.arrival()
    assert.ok(arrival.kind === 'protocol' && arrival.protocol === 'ssh')
    assert.equal(Buffer.from(arrival.first).toString(), 'SSH-')
  })

  it('hands a spare on with its preface, and one that goes on talking not', async (context) => {
    const rig = await start(context)
    const claims = {
      agentId: 'a',
      proxyId: 'p',
      spareId: 's',
      issuedAtMs: 1,
      nonce: Buffer.alloc(16),
    }
    const preface = mintSpareTicket(Buffer.alloc(32), claims)
    const good = await dial(context, rig.port)
    await trickle(good, preface)
    const arrival = await rig.arrival()
    assert.ok(arrival.kind === 'spare' && arrival.preface.spareId === 's')
    arrival.socket.destroy()
    const bad = await dial(context, rig.port)
    bad.write(Buffer.concat([preface, Buffer.from('x')]))
    assert.equal((await readAll(bad)).length, 0)
    assert.deepEqual(rig.arrivals, [])
  })

  it('sends plain HTTP to the public address whatever host was asked for', async (context) => {
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write('GET /x HTTP/1.1\r\nHost: evil.example\r\n\r\n')
    const answer = (await readAll(client)).toString()
    assert.match(answer, /^HTTP\/1\.1 308 /)
    assert.match(answer, /\r\nLocation: https:\/\/proxy\.example\.com:3080\/\r\n/)
    assert.doesNotMatch(answer, /evil/)
    assert.equal(rig.listener.counters.http, 1)
  })

  it('closes what it does not know, counts it, and sums it up by source', async (context) => {
    const rig = await start(context)
    for (const junk of ['hello', '\x16\x02\x01', '\x00\x00\x00\x08zzzz', 'QUIT\r\n']) {
      const client = await dial(context, rig.port)
      client.write(junk)
      assert.match(await ending(client), /^(end|ECONNRESET)$/)
    }
    assert.equal(rig.listener.counters.unknown, 4)
    rig.listener.close()
    assert.deepEqual(rig.summaries, [
      { total: 4, sources: [{ source: '127.0.0.1', count: 4 }], others: 0 },
    ])
  })
})

describe('PROXY headers at the port', () => {
  const trusted = ['127.0.0.0/8']

  async function sourceOf(
    context: TestContext,
    proxyProtocol: ListenerOptions['proxyProtocol'],
    header: string,
  ): Promise<string> {
    const rig = await start(context, { proxyProtocol })
    const client = await dial(context, rig.port)
    const end = ending(client)
    client.write(Buffer.concat([Buffer.from(header, 'latin1'), HELLO]))
    await until(() => rig.arrivals.length > 0 || rig.listener.counters.unknown > 0, 'a verdict')
    if (rig.listener.counters.unknown > 0) assert.match(await end, /^(end|ECONNRESET)$/)
    if (rig.arrivals.length === 0) return 'closed'
    const { source, first } = asTls(await rig.arrival())
    assert.equal(first.length, HELLO.length)
    return `${source.address} ${source.trusted ? 'trusted' : 'not trusted'}`
  }

  it('are believed from trusted networks, also in single bytes', async (context) => {
    for (const mode of ['on', 'unset'] as const)
      assert.equal(await sourceOf(context, { mode, trusted }, HEADER), '192.0.2.7 trusted')
    const rig = await start(context, { proxyProtocol: { mode: 'on', trusted } })
    const client = await dial(context, rig.port)
    await trickle(client, Buffer.concat([Buffer.from(HEADER), SSL_REQUEST]))
    assert.equal((await readBytes(client, 1)).toString(), 'S')
    await trickle(client, HELLO)
    assert.equal(asTls(await rig.arrival()).source.port, 54_321)
  })

  it('close the connection from elsewhere, in every mode', async (context) => {
    const elsewhere = ['203.0.113.0/24']
    for (const mode of ['on', 'unset', 'off'] as const)
      assert.equal(await sourceOf(context, { mode, trusted: elsewhere }, HEADER), 'closed', mode)
    assert.equal(await sourceOf(context, { mode: 'off', trusted }, HEADER), 'closed')
  })

  it('are demanded with `on`, and without one the source is not trusted with `unset`', async (context) => {
    assert.equal(await sourceOf(context, { mode: 'on', trusted }, ''), 'closed')
    assert.equal(await sourceOf(context, { mode: 'on', trusted: ['203.0.113.1'] }, ''), 'closed')
    assert.equal(await sourceOf(context, { mode: 'unset', trusted }, ''), '127.0.0.1 not trusted')
    assert.equal(await sourceOf(context, { mode: 'unset', trusted: [] }, ''), '127.0.0.1 trusted')
  })

  it('come once and well-formed', async (context) => {
    for (const bad of [HEADER + HEADER, 'PROXY TCP4 x y 1 2\r\n'])
      assert.equal(await sourceOf(context, { mode: 'on', trusted }, bad), 'closed')
    const local = '\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'
    assert.equal(await sourceOf(context, { mode: 'on', trusted }, local), '127.0.0.1 not trusted')
  })

  it('need trusted networks to be demanded', () => {
    const options = { proxyProtocol: { mode: 'on', trusted: [] } } as const
    const make = (): Listener =>
      new Listener({
        recognisers: [],
        publicAddress: 'x',
        bounds: BOUNDS,
        clock: new FakeClock(),
        ledger: new Ledger(),
        onArrival() {},
        ...options,
      })
    assert.throws(make, { code: 'config.invalid' })
  })
})

describe('bounds at the port', () => {
  it('drop a silent connection at its deadline', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] })
    const rig = await start(context)
    const client = await dial(context, rig.port)
    client.write(HELLO.subarray(0, -1))
    await until(() => rig.ledger.count('unfinished connections') === 1, 'the connection')
    const end = ending(client)
    rig.clock.advance(BOUNDS.deadlineMs)
    context.mock.timers.tick(BOUNDS.deadlineMs)
    assert.match(await end, /^(end|ECONNRESET)$/)
    assert.equal(rig.listener.counters.dropped.deadline, 1)
    assert.equal(rig.ledger.empty, true)
  })

  it('drop the oldest connection of a source that has too many', async (context) => {
    const rig = await start(context, { bounds: { ...BOUNDS, perSourceMax: 2 } })
    const clients = []
    for (let i = 0; i < 3; i++) {
      clients.push(await dial(context, rig.port))
      await until(() => rig.listener.counters.accepted === i + 1, 'the connection')
    }
    const [oldest] = clients
    assert.ok(oldest)
    assert.equal(await ending(oldest), 'end')
    assert.equal(rig.listener.counters.dropped.source, 1)
    assert.equal(rig.listener.unfinished, 2)
  })

  it('count a source by the address behind a trusted header', async (context) => {
    const proxyProtocol = { mode: 'on', trusted: ['127.0.0.1'] } as const
    const rig = await start(context, { proxyProtocol, bounds: { ...BOUNDS, perSourceMax: 1 } })
    const header = (last: number): string => `PROXY TCP4 192.0.2.${last} 198.51.100.1 5 443\r\n`
    const say = async (text: string): Promise<net.Socket> => {
      const client = await dial(context, rig.port)
      client.write(text)
      return client
    }
    const first = await say(header(1))
    await say(header(2))
    const silent = [await say(''), await say('')]
    await until(() => rig.listener.unfinished === 4, 'all of them')
    const end = ending(first)
    await say(header(1))
    assert.equal(await end, 'end')
    assert.equal(rig.listener.unfinished, 4)
    for (const one of silent) assert.equal(one.destroyed, false)
  })

  it('drop the oldest when all hellos together are too many bytes', async (context) => {
    const rig = await start(context, { bounds: { ...BOUNDS, bytesMax: 2 * HELLO.length } })
    const part = HELLO.subarray(0, HELLO.length - 10)
    const clients = [await dial(context, rig.port), await dial(context, rig.port)]
    for (const client of clients) client.write(part)
    const third = await dial(context, rig.port)
    await until(() => rig.listener.counters.accepted === 3, 'all of them')
    third.write(part)
    await until(() => rig.listener.counters.dropped.bytes === 1, 'the drop')
    assert.equal(rig.listener.unfinished, 2)
  })

  it('end a connection whose first bytes are more than a hello may be', async (context) => {
    const endless = {
      name: 'endless',
      alpn: [],
      recognise: () => ({ verdict: 'more' }) as const,
    }
    const rig = await start(context, { recognisers: [endless] })
    const client = await dial(context, rig.port)
    client.write(Buffer.alloc(max('helloBytesMax') + 1, 'x'))
    assert.match(await ending(client), /^(end|ECONNRESET)$/)
    assert.equal(rig.listener.counters.unknown, 1)
  })

  it('count those who leave by themselves', async (context) => {
    const rig = await start(context)
    const clients = [await dial(context, rig.port), await dial(context, rig.port)]
    await until(() => rig.listener.unfinished === 2, 'both')
    clients[0]?.end()
    clients[1]?.resetAndDestroy()
    await until(() => rig.listener.counters.left === 2, 'both to leave')
    assert.equal(rig.ledger.empty, true)
  })

  it('leave nothing behind after many connections of all kinds', async (context) => {
    const rig = await start(context, {
      onArrival: (arrival) => {
        if ('handle' in arrival) discard(arrival.handle)
      },
    })
    const before = openSockets()
    const says = [HELLO, CANCEL_REQUEST, Buffer.from('GET / HTTP/1.0\r\n\r\n'), Buffer.from('junk')]
    for (let round = 0; round < 25; round++)
      await Promise.all(
        says.map(async (bytes) => {
          const client = net.connect({ port: rig.port, host: '127.0.0.1' })
          client.write(bytes)
          await ending(client)
          client.destroy()
        }),
      )
    const { tls, signal, http, unknown } = rig.listener.counters
    assert.deepEqual([tls, signal, http, unknown], [25, 25, 25, 25])
    await until(() => openSockets() === before, 'the descriptors')
    assert.equal(rig.ledger.empty, true)
  })
})

describe('a listener', () => {
  it('serves a socket that was bound by somebody else', async (context) => {
    const rig = await start(context)
    rig.listener.close()
    interface Factory {
      _createServerHandle(address: string, port: number, family: 4): object
    }
    const handle = (net as unknown as Factory)._createServerHandle('127.0.0.1', 0, 4)
    const arrivals: Arrival[] = []
    const listener = new Listener({
      recognisers: protocols,
      publicAddress: 'x',
      proxyProtocol: NO_HEADERS,
      bounds: BOUNDS,
      clock: new FakeClock(),
      ledger: new Ledger(),
      onArrival: (arrival) => arrivals.push(arrival),
    })
    context.after(() => listener.close())
    const port = await listener.listen(handle)
    const client = await dial(context, port)
    client.write(HELLO)
    await until(() => arrivals.length === 1, 'the arrival')
    discard(asTls(arrivals[0] ?? assert.fail()).handle)
  })

  it('says that a port is taken, and lets everybody unfinished go when it closes', async (context) => {
    const rig = await start(context)
    const other = await start(context)
    other.listener.close()
    const taken = other.listener.listen({ host: '127.0.0.1', port: rig.port })
    await assert.rejects(taken, { code: 'EADDRINUSE' })
    const client = await dial(context, rig.port)
    await until(() => rig.listener.unfinished === 1, 'the connection')
    rig.listener.close()
    assert.equal(await ending(client), 'end')
    assert.equal(rig.ledger.empty, true)
  })
})
