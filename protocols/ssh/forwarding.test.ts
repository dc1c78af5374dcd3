// Forwarded connections, listeners and what a client lends, between our own client and a machine that the test plays.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import type { ProxyError } from '../../core/errors.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { noise, outputOf, readAll, session, type Client, type Serving } from './session.fixture.ts'
import type { SshChannel } from './transport/channel.ts'
import { Openings } from './transport/pair.fixture.ts'

const FROM = { host: '192.0.2.9', port: 1024 }
const DB = { kind: 'direct-tcpip', to: { host: 'db.example.com', port: 5432 }, from: FROM } as const

async function ended(serving: Serving & Client): Promise<void> {
  ;(await serving.connected).connection.end()
  await serving.over
}

async function send(channel: SshChannel, bytes: Uint8Array): Promise<void> {
  await channel.write(bytes)
  await channel.end()
}

describe('a connection from the client', () => {
  it('carries bytes both ways, each way until its own end, and is told of', async () => {
    const it = session()
    const { connection } = await it.connected
    const channel = await connection.open(DB)
    const [connected] = it.machine.connections
    assert.ok(connected)
    assert.deepEqual(connected.to, { kind: 'tcp', host: 'db.example.com', port: 5432 })
    const question = noise(600_000)
    const [heard] = await Promise.all([readAll(connected.far), send(channel, question)])
    assert.ok(heard.equals(question))
    await connected.far.write(Buffer.from('answer'))
    await connected.far.end()
    assert.deepEqual(await outputOf(channel), ['answer', ''])
    await channel.closed
    await ended(it)
    const place = { direction: 'local', addr: 'db.example.com:5432', from: '192.0.2.9:1024' }
    const decision = { decision_id: '01JALLOW' }
    assert.deepEqual(it.told, [
      { code: 'T3003I', fields: { ...decision, ...place } },
      {
        code: 'T3003S',
        fields: { ...decision, ...place, bytes_from_client: 600_000, bytes_from_target: 6 },
      },
    ])
  })

  it('that cannot be made says so, and is told of', async () => {
    const it = session()
    const { connection } = await it.connected
    it.machine.failure = new Error('connection refused')
    const says = (sentence: RegExp) => (error: ProxyError) => sentence.test(error.detail ?? '')
    await assert.rejects(connection.open(DB), says(/no connection: connection refused/))
    for (const to of [
      { host: '', port: 1 },
      { host: 'a b', port: 1 },
      { host: 'a', port: 0 },
    ])
      await assert.rejects(connection.open({ ...DB, to }), says(/no such place/))
    await assert.rejects(connection.open({ kind: 'direct-streamlocal', path: '/a\0b' }))
    await ended(it)
    assert.deepEqual(it.codes(), Array(5).fill('T3003E'))
  })

  it('that the other side loses is closed, and one that the client closes is cut', async () => {
    const it = session()
    const { connection } = await it.connected
    const [lost, closed] = [await connection.open(DB), await connection.open(DB)]
    const [first, second] = it.machine.connections
    first?.far.abort(new Error('reset'))
    await lost.closed
    closed.close()
    await assert.rejects(async () => {
      await second?.far.read()
      await second?.far.write(Buffer.from('x'))
    })
    await closed.closed
    await ended(it)
    assert.equal(it.codes().filter((code) => code === 'T3003S').length, 2)
  })
})

describe('a listener on the machine', () => {
  it('is on its loopback whatever was asked for, and brings connections as they were asked for', async () => {
    const openings = new Openings()
    const it = session({}, { handlers: openings })
    const { connection } = await it.connected
    const answer = await connection.ask({ kind: 'tcpip-forward', at: { host: '0.0.0.0', port: 0 } })
    assert.deepEqual(answer, { granted: true, port: 4321 })
    const [listener] = it.machine.listeners
    assert.deepEqual(listener?.at, { kind: 'tcp', host: 'localhost', port: 0 })
    const [near, far] = streamPair()
    listener?.connected(near, { host: '127.0.0.1', port: 999 })
    const opening = await openings.next()
    assert.deepEqual(opening.kind, {
      kind: 'forwarded-tcpip',
      to: { host: '0.0.0.0', port: 4321 },
      from: { host: '127.0.0.1', port: 999 },
    })
    const channel = opening.accept()
    await far.write(Buffer.from('to the client'))
    await far.end()
    assert.deepEqual(await outputOf(channel), ['to the client', ''])
    await send(channel, Buffer.from('back'))
    assert.equal((await readAll(far)).toString(), 'back')
    const cancel = { kind: 'cancel-tcpip-forward', at: { host: '0.0.0.0', port: 4321 } } as const
    assert.deepEqual(await connection.ask(cancel), { granted: true })
    assert.deepEqual(await connection.ask(cancel), { granted: false })
    assert.equal(listener?.closed, true)
    await ended(it)
    assert.deepEqual(it.codes(), ['T3003I', 'T3003I', 'T3003S', 'T3003S'])
  })

  it('is opened once for one name, and so many times for one connection', async () => {
    const it = session()
    const { connection } = await it.connected
    const ask = (path: string): Promise<{ granted: boolean }> =>
      connection.ask({ kind: 'streamlocal-forward', path })
    assert.equal((await ask('/tmp/0')).granted, true)
    assert.equal((await ask('/tmp/0')).granted, false)
    for (let count = 1; count < max('sshForwardsMax'); count++)
      assert.equal((await ask(`/tmp/${count}`)).granted, true)
    assert.equal((await ask('/tmp/more')).granted, false)
    await connection.ask({ kind: 'cancel-streamlocal-forward', path: '/tmp/0' })
    assert.equal((await ask('/tmp/more')).granted, true)
    await ended(it)
  })

  it('whose client does not take a connection drops it', async () => {
    const it = session()
    const { connection } = await it.connected
    await connection.ask({ kind: 'streamlocal-forward', path: '/tmp/x' })
    const [near, far] = streamPair()
    it.machine.listeners[0]?.connected(near, FROM)
    await assert.rejects(far.read())
    await ended(it)
    assert.deepEqual(it.codes(), ['T3003I', 'T3003E'])
  })
})

describe('what a client lends', () => {
  it('is one ssh-agent for all programs of a connection, and a display for one', async () => {
    const openings = new Openings()
    const it = session({}, { handlers: openings })
    const { connection } = await it.connected
    const [first, second] = [
      await connection.open({ kind: 'session' }),
      await connection.open({ kind: 'session' }),
    ]
    for (const channel of [first, second])
      assert.equal(await channel.request({ kind: 'auth-agent' }), true)
    const x11 = {
      kind: 'x11',
      single: true,
      protocol: 'MIT-MAGIC-COOKIE-1',
      cookie: 'ab12',
    } as const
    assert.equal(await first.request({ ...x11, screen: 0 }), true)
    assert.equal(await second.request({ ...x11, cookie: 'ab12; rm', screen: 0 }), false)
    await first.request({ kind: 'exec', command: Buffer.from('xterm') })
    const program = await it.machine.program()
    assert.equal(program.request.env['SSH_AUTH_SOCK'], '/run/agent.sock')
    assert.equal(program.request.env['DISPLAY'], 'localhost:10.0')
    assert.deepEqual(
      it.machine.listeners.map(({ at }) => at),
      ['agent', 'x11'],
    )
    const [agent, display] = it.machine.listeners
    for (const [listener, kind] of [
      [agent, { kind: 'auth-agent' }],
      [display, { kind: 'x11', from: FROM }],
    ] as const) {
      const [near, far] = streamPair()
      listener?.connected(near, FROM)
      const opening = await openings.next()
      assert.deepEqual(opening.kind, kind)
      const channel = opening.accept()
      await far.write(Buffer.from('?'))
      assert.equal(Buffer.from((await channel.read())?.bytes ?? []).toString(), '?')
    }
    // One connection was asked for.
    const [near, far] = streamPair()
    display?.connected(near, FROM)
    await assert.rejects(far.read())
    await ended(it)
    assert.deepEqual(
      it.codes().filter((code) => /^T30(08|13)/.test(code)),
      ['T3013I', 'T3008I', 'T3008W'],
    )
  })

  it('is asked for before the program, never after', async () => {
    const it = session()
    const { connection } = await it.connected
    const channel = await connection.open({ kind: 'session' })
    await channel.request({ kind: 'shell' })
    assert.equal(await channel.request({ kind: 'auth-agent' }), false)
    assert.equal(await channel.request({ kind: 'env', name: 'LANG', value: 'C' }), false)
    await ended(it)
    assert.deepEqual(it.machine.listeners, [])
  })
})
