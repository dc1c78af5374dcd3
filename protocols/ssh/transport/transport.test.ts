// Two ends of ours against each other in memory: key exchange, certificates both ways, channels, keys changed under load.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'

import { max } from '../../../core/limits.ts'
import { publicBlob } from '../../../core/ssh/key.ts'
import { changed, streamPair } from '../../../test/fake/stream.ts'
import type { SshChannel } from './channel.ts'
import { certificateKey, hostVerifier } from './host-key.ts'
import { hostKey, HOST, HOST_CA, KEYS, Openings, startPair, userKey } from './pair.fixture.ts'
import type { GlobalAnswer } from './connection.ts'
import type { ChannelRequest, GlobalRequest } from './requests.ts'
import type { SshTimers } from './transport.ts'

describe('a connection of ours', () => {
  for (const name of Object.keys(KEYS))
    it(`is authenticated both ways with ${name} certificates, post-quantum and strict`, async () => {
      const pair = startPair({
        accept: { hostKeys: [hostKey(name)] },
        connect: { key: userKey(name) },
      })
      const [client, server] = [await pair.client, await pair.server]
      assert.equal(client.handshake.kex, 'mlkem768x25519-sha256')
      assert.equal(client.handshake.strict, true)
      assert.equal(client.handshake.cipher, 'aes128-gcm@openssh.com')
      assert.deepEqual(client.handshake, server.handshake)
      assert.equal(server.right.user, 'alice')
      assert.equal(server.right.certificate.keyId, 'alice@example.com')
      assert.deepEqual(client.host.principals, [HOST, '127.0.0.1'])
    })

  it('runs a command: requests answered, output and errors in order, status and ends', async () => {
    const openings = new Openings()
    const pair = startPair({ accept: { serve: () => openings } })
    const { connection } = await pair.client
    const asked: ChannelRequest[] = []
    const opened = connection.open({ kind: 'session' })
    const inside = (await openings.next()).accept((request) => {
      asked.push(request)
      return request.kind !== 'env'
    })
    const channel = await opened
    const size = { columns: 80, rows: 24, width: 0, height: 0 }
    const modes = Uint8Array.of(0)
    assert.equal(await channel.request({ kind: 'pty', term: 'xterm', size, modes }), true)
    assert.equal(await channel.request({ kind: 'env', name: 'LANG', value: 'C' }), false)
    const command = Buffer.from([0x63, 0xff])
    assert.equal(await channel.request({ kind: 'exec', command }), true)
    channel.notify({ kind: 'signal', name: 'INT' })
    await channel.write(Buffer.from('in'))
    await channel.end()
    assert.equal((await inside.read())?.bytes.toString(), 'in')
    assert.equal(await inside.read(), undefined)
    await inside.write(Buffer.from('out'))
    await inside.write(Buffer.from('err'), true)
    await inside.finish({ kind: 'status', code: 3 })
    assert.deepEqual(await all(channel), [
      ['out', false],
      ['err', true],
    ])
    await Promise.all([channel.closed, inside.closed])
    assert.deepEqual(channel.exit, { kind: 'status', code: 3 })
    assert.deepEqual(
      asked.map(({ kind }) => kind),
      ['pty', 'env', 'exec', 'signal'],
    )
    assert.deepEqual(asked[2], { kind: 'exec', command })
    assert.equal(connection.channels, 0)
  })

  it('keeps data and its early end until somebody reads', async () => {
    const openings = new Openings()
    const pair = startPair({ accept: { serve: () => openings } })
    const { connection } = await pair.client
    const opened = connection.open({ kind: 'session' })
    const opening = await openings.next()
    const inside = opening.accept(() => true)
    const channel = await opened
    await channel.write(Buffer.from('early'))
    await channel.end()
    assert.equal(await channel.request({ kind: 'exec', command: Buffer.from('cat') }), true)
    assert.deepEqual(await all(inside), [['early', false]])
    await inside.write(Buffer.from('late'))
    await inside.finish({ kind: 'signal', name: 'TERM', core: false, text: 'gone' })
    assert.deepEqual(await all(channel), [['late', false]])
    assert.deepEqual(channel.exit, { kind: 'signal', name: 'TERM', core: false, text: 'gone' })
  })

  it('moves megabytes both ways at once through changing keys, and every byte arrives', async () => {
    const openings = new Openings()
    const ages: (() => void)[] = []
    const timers: SshTimers = {
      after: (ms, action) => {
        if (ms === max('sshRekeyMs')) ages.push(action)
        return () => undefined
      },
    }
    const pair = startPair({
      accept: { timers, serve: () => openings },
      connect: { timers },
    })
    const { connection } = await pair.client
    const opened = connection.open({ kind: 'session' })
    const inside = (await openings.next()).accept()
    const channel = await opened
    const before = ages.length
    const [up, down] = [randomBytes(3_000_001), randomBytes(3_000_001)]
    const send = async (from: SshChannel, bytes: Uint8Array): Promise<void> => {
      for (let at = 0; at < bytes.length; at += 100_000) {
        await from.write(bytes.subarray(at, at + 100_000))
        // The age of the newest key is over, now for one end, now for the other.
        if (at === 1_000_000 || at === 2_000_000) ages.at(-1)?.()
      }
      await from.end()
    }
    const [gotUp, gotDown] = await Promise.all([
      hash(inside),
      hash(channel),
      send(channel, up),
      send(inside, down),
    ])
    assert.equal(gotUp, digest(up))
    assert.equal(gotDown, digest(down))
    // Each exchange sets the age anew on both ends.
    assert.ok(ages.length >= before + 4, `${ages.length - before} keys`)
  })

  it('opens channels of every kind, by the side that may', async () => {
    const [ofServer, ofClient] = [new Openings(), new Openings()]
    const pair = startPair({
      accept: { serve: () => ofServer },
      connect: { handlers: ofClient },
    })
    const [client, server] = [await pair.client, await pair.server]
    const [to, from] = [
      { host: 'db.internal', port: 5432 },
      { host: '::1', port: 40000 },
    ]
    const path = '/run/some.sock'
    for (const kind of [
      { kind: 'direct-tcpip', to, from },
      { kind: 'direct-streamlocal', path },
    ] as const) {
      const opened = client.connection.open(kind)
      const opening = await ofServer.next()
      assert.deepEqual(opening.kind, kind)
      opening.accept()
      assert.deepEqual((await opened).kind, kind)
      await assert.rejects(server.connection.open(kind), /refused/)
    }
    for (const kind of [
      { kind: 'forwarded-tcpip', to, from },
      { kind: 'forwarded-streamlocal', path },
      { kind: 'auth-agent' },
      { kind: 'x11', from },
    ] as const) {
      const opened = server.connection.open(kind)
      const opening = await ofClient.next()
      assert.deepEqual(opening.kind, kind)
      opening.refuse('connectFailed', 'not today')
      await assert.rejects(opened, /refused/)
      await assert.rejects(client.connection.open(kind), /refused/)
    }
  })

  it('answers what is asked of the connection, and refuses it without a handler', async () => {
    class Handlers {
      readonly port = 4711
      async global(request: GlobalRequest): Promise<GlobalAnswer> {
        await Promise.resolve()
        if (request.kind !== 'tcpip-forward') return { granted: false }
        return { granted: true, port: this.port }
      }
    }
    const pair = startPair({ accept: { serve: () => new Handlers() } })
    const [client, server] = [await pair.client, await pair.server]
    const at = { host: 'localhost', port: 0 }
    const answers = await Promise.all([
      client.connection.ask({ kind: 'tcpip-forward', at }),
      client.connection.ask({ kind: 'streamlocal-forward', path: '/x' }),
    ])
    assert.deepEqual(answers, [{ granted: true, port: 4711 }, { granted: false }])
    assert.deepEqual(await server.connection.ask({ kind: 'tcpip-forward', at }), { granted: false })
  })

  it('ends in good order: what was written arrives, waiters are told', async () => {
    const openings = new Openings()
    const streams = streamPair()
    const pair = startPair({ streams, accept: { serve: () => openings } })
    const [client, server] = [await pair.client, await pair.server]
    const opened = client.connection.open({ kind: 'session' })
    const inside = (await openings.next()).accept()
    const channel = await opened
    await inside.write(Buffer.from('last words'))
    server.connection.end()
    assert.deepEqual(await all(channel), [['last words', false]])
    assert.equal(await client.connection.closed, undefined)
    await assert.rejects(channel.write(Buffer.from('x')))
    await assert.rejects(client.connection.open({ kind: 'session' }), { code: 'dial.failed' })
    await Promise.all(streams.map(({ closed }) => closed))
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(pair.timers.size, 0)
  })

  it('gives every chunk back, also what comes after its end', async () => {
    const [near, far] = streamPair()
    const held = new Set<Uint8Array>()
    const counted = changed(far, {
      read: async () => {
        const chunk = await far.read()
        if (chunk !== undefined) held.add(chunk)
        return chunk
      },
      release: (chunk) => void held.delete(chunk),
    })
    const pair = startPair({ streams: [near, counted] })
    const [client, server] = [await pair.client, await pair.server]
    server.connection.end()
    await near.write(Buffer.from('late'))
    await client.connection.closed
    await Promise.all([near.closed, far.closed])
    assert.equal(held.size, 0)
  })

  it('lets a client in without a proof only where the caller says who it is', async () => {
    const refused = startPair({ connect: { key: undefined } })
    await assert.rejects(refused.client, { code: 'login.failed' })
    const right = (await startPair().server).right
    const asked: string[] = []
    const pair = startPair({
      connect: { key: undefined },
      accept: {
        authorizeNone: (user) => {
          asked.push(user)
          return Promise.resolve(right)
        },
      },
    })
    assert.equal((await pair.server).right, right)
    await pair.client
    assert.deepEqual(asked, ['alice'])
  })

  it('signs with a key that takes its time, as one behind an agent does', async () => {
    const key = userKey('rsa')
    const pair = startPair({
      connect: { key: { ...key, sign: (data, name) => Promise.resolve(key.sign(data, name)) } },
    })
    await pair.client
    assert.equal((await pair.server).right.algorithm, 'rsa-sha2-512-cert-v01@openssh.com')
  })

  it('trusts no host of another CA, another name or a user’s certificate', async () => {
    const verify = (ca = HOST_CA, name = HOST) => hostVerifier([publicBlob(ca)], name, Date.now)
    const other = KEYS['p256'] ?? HOST_CA
    await assert.rejects(startPair({ connect: { verifyHost: verify(other) } }).client, {
      code: 'cert.chain',
    })
    await assert.rejects(startPair({ connect: { verifyHost: verify(HOST_CA, 'node2') } }).client, {
      code: 'cert.identity',
    })
    const user = startPair({ accept: { hostKeys: [userKey()] } })
    await assert.rejects(user.client, { code: 'cert.purpose' })
    await assert.rejects(user.server)
  })

  it('refuses a host that shows a certificate without holding its key', async () => {
    const stolen = certificateKey(hostKey().blob, KEYS['p256'] ?? HOST_CA)
    await assert.rejects(startPair({ accept: { hostKeys: [stolen] } }).client, {
      code: 'protocol.violation',
    })
  })
})

async function all(channel: SshChannel): Promise<[string, boolean][]> {
  const found: [string, boolean][] = []
  for (;;) {
    const data = await channel.read()
    if (data === undefined) return found
    found.push([Buffer.from(data.bytes).toString(), data.stderr])
  }
}

async function hash(channel: SshChannel): Promise<string> {
  const sum = createHash('sha256')
  for (;;) {
    const data = await channel.read()
    if (data === undefined) return sum.digest('hex')
    sum.update(data.bytes)
  }
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
