// The public port of a whole cluster among strangers: crowds, floods, odd names, stuffed and spoofed bytes, replayed tickets. Each
// states how much memory the proxy may spend on it, and that an honest client is served in the middle of it.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { before, describe, it } from 'node:test'

import type { PostgresClient } from '../../cli/postgres-client.ts'
import { securePostgres } from '../../cli/postgres-tls.ts'
import { max } from '../../core/limits.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { helloFor, startup } from '../fixtures/knock.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { openSession } from '../fixtures/session.ts'
import { until } from '../fixtures/sockets.ts'
import { ask, crowd, leave, rawHello, residentBytes, serverNames } from '../fixtures/strangers.ts'

const MB = 1024 * 1024
const SETTLE_MS = 30_000
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex')
const GSS_REQUEST = Buffer.from('0000000804d21630', 'hex')
// TLS record: alert, fatal, unrecognized_name(112)
const UNRECOGNIZED_NAME = Buffer.from([21, 3, 3, 0, 2, 2, 112])
// The same of OpenSSL: illegal_parameter, decode_error or protocol_version, since the hello asks for too old a version
const REFUSED_BY_TLS = [47, 50, 70].map((code) => Buffer.from([21, 3, 3, 0, 2, 2, code]))

const lives = (socket: Socket): boolean => !socket.closed && !socket.readableEnded

describe('A public port among strangers', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let diagnostics: Diagnostics
  let alice: DatabaseAccess
  let bob: DatabaseAccess
  let port: number
  let pid: number

  before(async () => {
    diagnostics = await Diagnostics.reserve()
    cluster = await startCluster(cleanup, {
      databases: { orders: { version: 15 } },
      extra: { sluice: diagnostics.lines },
    })
    const person = async (): Promise<DatabaseAccess> =>
      (await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })).database('orders')
    alice = await person()
    bob = await person()
    port = Number(cluster.proxy.split(':')[1])
    pid = cluster.pid('proxy')
    await served(alice)
  })

  /** An honest client: connects, asks, leaves. */
  async function served(access: DatabaseAccess): Promise<void> {
    const session: PostgresClient = await openSession(cluster.proxy, access)
    const [result] = await session.query('SELECT 41 + 1')
    session.close()
    assert.deepEqual(result?.rows, [['42']])
  }

  async function quiet(): Promise<void> {
    await diagnostics.until(
      'proxy',
      (metrics) => metrics['unfinished_connections'] === 0,
      SETTLE_MS,
      'no connection is unfinished',
    )
  }

  /** The work may cost the proxy this much memory, and what it cost in time is nobody's but the strangers'. */
  async function within(bytesMax: number, work: () => Promise<void>): Promise<void> {
    const before = residentBytes(pid)
    await work()
    const grown = residentBytes(pid) - before
    assert.ok(grown < bytesMax, `the proxy grew by ${(grown / MB).toFixed(1)} MB`)
    assert.equal(cluster.pid('proxy'), pid, 'the proxy was restarted')
  }

  it('holds 9,000 half hellos of 90 sources under 200 MB, and serves', async () => {
    const half = (await helloFor(alice.reply.serverName)).subarray(0, 900)
    await within(200 * MB, async () => {
      const sockets = await crowd(cleanup, port, { count: 9_000, sources: 90, bytes: half })
      const many = ({ unfinished_connections: held = 0 }: Record<string, number>): boolean =>
        held > 8_000
      await diagnostics.until('proxy', many, SETTLE_MS, 'the crowd is held')
      await served(alice)
      leave(sockets)
      await quiet()
    })
  })

  it('holds no more of one source than its share, and drops its oldest', async () => {
    await within(50 * MB, async () => {
      const bytes = Buffer.from('16', 'hex')
      const sockets = await crowd(cleanup, port, { count: 1_000, sources: 1, bytes })
      for (const socket of sockets) socket.resume()
      const share = max('unfinishedPerSourceMax')
      await until(() => sockets.filter(lives).length <= share, 'the oldest go')
      assert.ok(sockets.slice(-share).every(lives))
      await served(alice)
      leave(sockets)
      await quiet()
    })
  })

  it('answers a flood of SSLRequests with one byte each, and serves', async () => {
    await within(100 * MB, async () => {
      const sockets = await crowd(cleanup, port, { count: 3_000, sources: 30, bytes: SSL_REQUEST })
      let answers = ''
      for (const socket of sockets) socket.on('data', (chunk: Buffer) => (answers += chunk))
      await until(() => answers.length >= 3_000, 'every answer')
      assert.equal(answers, 'S'.repeat(3_000))
      await served(alice)
      leave(sockets)
      await quiet()
    })
  })

  it('ends a hello of 100 KB at its bound', async () => {
    const names = serverNames(Buffer.from(alice.reply.serverName))
    await within(50 * MB, async () => {
      const whole = Buffer.concat([rawHello([names], 65_000), Buffer.alloc(40_000, 0x16)])
      assert.ok(whole.length > 100_000)
      for (let at = 0; at < 20; at++) assert.equal((await ask(cleanup, port, whole)).length, 0)
      await served(alice)
    })
  })

  it('takes every odd server name for none, and gives those nobody has one alert', async () => {
    const name = alice.reply.serverName
    const text = (...names: readonly string[]): Buffer[] => [
      serverNames(...names.map((each) => Buffer.from(each, 'latin1'))),
    ]
    const none: Readonly<Record<string, readonly Buffer[]>> = {
      'no name': [],
      'the same name twice': text(name, name),
      'two lists of names': [...text(name), ...text(name)],
      'an empty name': text(''),
      'a trailing dot': text(`${name}.`),
      'a zero byte behind it': text(`${name}\0`),
      'a zero byte inside': text(name.replace('.', '\0.')),
      'an address': text('127.0.0.1'),
      'a path': text('/var/run/postgresql'),
      'bytes above ASCII': text(name.replace('.', 'é.')),
      'an underscore': text(`_${name.slice(1)}`),
      'over 253 characters': text(`${'a.'.repeat(120)}${name}`),
      '60 KB of it': text('a'.repeat(12_000)),
    }
    // The proxy's own TLS answers, as it answers whoever wants it to end TLS: no ticket is looked at, no agent is met.
    for (const [what, extensions] of Object.entries(none)) {
      const answer = await ask(cleanup, port, rawHello(extensions))
      assert.ok(
        REFUSED_BY_TLS.some((each) => each.equals(answer)),
        `${what}: ${answer.toString('hex')}`,
      )
    }
    const unknown: Readonly<Record<string, readonly Buffer[]>> = {
      'a name nobody has': text('nobody.example'),
      'a target nobody has': text(name.replace('.orders.', '.nosuch.')),
      'a changed ticket': text(`${name.startsWith('b') ? 'c' : 'b'}${name.slice(1)}`),
    }
    for (const [what, extensions] of Object.entries(unknown))
      assert.deepEqual(await ask(cleanup, port, rawHello(extensions)), UNRECOGNIZED_NAME, what)
  })

  it('hears nothing that was stuffed behind a request, and no request twice', async () => {
    const hello = await helloFor(alice.reply.serverName)
    const silent: Readonly<Record<string, readonly Buffer[]>> = {
      'a hello behind SSLRequest (CVE-2021-23214)': [Buffer.concat([SSL_REQUEST, hello])],
      'one byte behind it': [Buffer.concat([SSL_REQUEST, Buffer.of(0)])],
      'a start-up behind it': [
        Buffer.concat([SSL_REQUEST, Buffer.from('0000000900030000', 'hex'), Buffer.of(0)]),
      ],
      'SSLRequest behind GSSENCRequest': [Buffer.concat([GSS_REQUEST, SSL_REQUEST])],
      'a start-up in clear': [Buffer.from('000000090003000000', 'hex')],
      'a start-up of 2 GB': [Buffer.from('7fffffff00030000', 'hex')],
      'a cancel of 2 GB': [Buffer.from('7fffffff04d2162e', 'hex')],
      'a cancel without a key': [Buffer.from('0000000c04d2162e00000001', 'hex')],
    }
    for (const [what, parts] of Object.entries(silent))
      assert.equal((await ask(cleanup, port, ...parts)).length, 0, what)
  })

  it('closes on garbage without a byte', async () => {
    await within(50 * MB, async () => {
      for (let at = 0; at < 200; at++) {
        // Never a first byte that begins something: TLS, a request of PostgreSQL, HTTP, a header, a spare.
        const bytes = Buffer.concat([Buffer.of(0x80 | (at & 15)), randomBytes(1 + at * 40)])
        assert.equal((await ask(cleanup, port, bytes)).length, 0)
      }
      await served(alice)
    })
  })

  it('believes no PROXY header of somebody it was not told to trust', async () => {
    const hello = await helloFor(alice.reply.serverName)
    const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
    const binary = (hex: string): Buffer => Buffer.concat([signature, Buffer.from(hex, 'hex')])
    const headers: Readonly<Record<string, Buffer>> = {
      'version 1': Buffer.from('PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n'),
      'version 1, unknown': Buffer.from('PROXY UNKNOWN\r\n'),
      'version 1 without an end': Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`),
      'version 2': binary('2111000cc0000207c6336401d43101bb'),
      'version 2 of the balancer itself': binary('20000000'),
      'version 2 with extras': binary('21110013c0000207c6336401d43101bb0300040a0b0c0d'),
      'version 2 of 64 KB': binary('2111ffff'),
      'version 2 of another version': binary('3111000c'),
    }
    for (const [what, header] of Object.entries(headers))
      assert.equal((await ask(cleanup, port, Buffer.concat([header, hello]))).length, 0, what)
    const spoofed = (await cluster.events('session.relay')).filter((event) =>
      JSON.stringify(event).includes('192.0.2.'),
    )
    assert.deepEqual(spoofed, [])
  })

  it('answers no guess at a cancel key, and no session ends of one', async () => {
    const session = await openSession(cluster.proxy, alice)
    const answer = session.query("SELECT pg_sleep(1), 'whole'")
    await within(100 * MB, async () => {
      for (let wave = 0; wave < 10; wave++) {
        const guesses = Array.from({ length: 100 }, () => {
          const head = Buffer.from('0000001004d2162e', 'hex')
          return ask(cleanup, port, Buffer.concat([head, randomBytes(8)]))
        })
        for (const heard of await Promise.all(guesses)) assert.equal(heard.length, 0)
      }
    })
    const [result] = await answer
    assert.deepEqual(result?.rows, [['', 'whole']])
    session.close()
  })

  it('ends a session at a second start-up and at messages of 2 GB, in words, without memory for them', async () => {
    const head = (type: string, length: string): Buffer =>
      Buffer.concat([Buffer.from(type), Buffer.from(length, 'hex'), Buffer.alloc(64, 0x20)])
    const bad: Readonly<Record<string, readonly [Buffer, RegExp]>> = {
      'a second start-up': [startup('app', 'postgres'), /0x00 is not allowed here/],
      'a request for TLS inside TLS': [SSL_REQUEST, /0x00 is not allowed here/],
      'a query of 2 GB': [head('Q', '7fffffff'), /0x51 has a bad length/],
      'a query of 4 GB': [head('Q', 'ffffffff'), /0x51 has a bad length/],
      'a query of no length': [head('Q', '00000000'), /0x51 has a bad length/],
      'a row of 2 GB': [head('d', '7fffffff'), /0x64 has a bad length/],
      'a password nobody asked for': [head('p', '00000008'), /0x70 is not allowed here/],
    }
    const agent = cluster.pid('agent')
    const before = residentBytes(agent)
    for (const [what, [bytes, says]] of Object.entries(bad)) {
      const heard = await saidInSession(bytes)
      assert.match(heard, says, what)
      assert.match(heard, /C08P01/, what)
    }
    assert.ok(residentBytes(agent) - before < 100 * MB, 'memory was made for what was announced')
    await served(alice)
  })

  it('refuses a start-up of 2 GB inside TLS, without memory for it', async () => {
    const agent = cluster.pid('agent')
    const before = residentBytes(agent)
    for (const length of ['7fffffff', 'ffffffff', '00002711', '00000000'])
      assert.match(
        await saidAtOnce(
          Buffer.concat([Buffer.from(`${length}00030000`, 'hex'), Buffer.alloc(99)]),
        ),
        /the start-up message has a bad length/,
        length,
      )
    assert.ok(residentBytes(agent) - before < 100 * MB, 'memory was made for what was announced')
  })

  /** Everything the other end says to these bytes, sent as the first inside TLS. */
  async function saidAtOnce(bytes: Buffer): Promise<string> {
    const { reply, key } = alice
    const secure = await securePostgres({
      addresses: [{ host: '127.0.0.1', port }],
      serverName: reply.serverName,
      ca: reply.serverCas,
      certificate: reply.certificate,
      key,
    })
    const heard: Buffer[] = []
    const over = new Promise<void>((resolve) => secure.once('close', () => resolve()))
    secure.on('data', (chunk: Buffer) => heard.push(chunk)).on('error', () => {})
    secure.write(bytes)
    await over
    return Buffer.concat(heard).toString('latin1')
  }

  /** The same behind a good start-up: they wait at the agent until the session is relayed. */
  function saidInSession(bytes: Buffer): Promise<string> {
    return saidAtOnce(Buffer.concat([startup('app', 'postgres'), bytes]))
  }

  it('lets a replayed ticket keep nobody else out', async () => {
    const hello = await helloFor(alice.reply.serverName)
    await within(200 * MB, async () => {
      const sockets = await crowd(cleanup, port, { count: 1_500, sources: 30, bytes: hello })
      for (const socket of sockets) socket.resume()
      await served(bob)
      leave(sockets)
      await diagnostics.until(
        'proxy',
        ({ relayed_sessions: open = 0 }) => open === 0,
        2 * SETTLE_MS,
        'no session of the storm is left',
      )
    })
    // Until the agent has seen them leave, they keep the places of her name, and her own connection would be one more.
    await diagnostics.until(
      'agent',
      ({ sessions: open = 0 }) => open === 0,
      2 * SETTLE_MS,
      'the agent has none either',
    )
    await served(alice)
  })
})
