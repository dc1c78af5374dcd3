// Peers that were let in and do not keep to what was agreed: windows, packets, numbers of channels, answers nobody asked for, key
// exchanges that never end. Memory stays bounded, whatever they send and whether or not they read.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../../../core/limits.ts'
import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import { changed, streamPair } from '../../../test/fake/stream.ts'
import { FakeTimers } from '../../../workers/timers.ts'
import type { SshChannel } from './channel.ts'
import { MESSAGE, OPEN_REFUSED } from './message.ts'
import { Openings, startServer } from './pair.fixture.ts'
import { rawLogin, RawClient, type Raw } from './raw.fixture.ts'
import type { SshTimers } from './transport.ts'
import { Unread } from './unread.ts'
import { InboundWindow, WindowBudget } from './window.ts'

const CHUNK = Buffer.alloc(32_768, 'x')

/** A raw client with a session that the server has taken. */
async function inSession(
  onRequest: () => boolean | Promise<boolean> = () => true,
): Promise<Raw & { id: Uint8Array; channel: SshChannel; openings: Openings }> {
  const openings = new Openings()
  const raw = await rawLogin({ serve: () => openings })
  const opening = openings.next().then((each) => each.accept(onRequest))
  const id = await raw.client.session()
  return { ...raw, id, channel: await opening, openings }
}

describe('a peer that is in', () => {
  it('sends no more than the window, read or not', async () => {
    const { client, id, server } = await inSession()
    const { connection } = await server
    const fits = Math.floor(max('sshWindowStartBytes') / CHUNK.length)
    for (let sent = 0; sent < fits; sent++) client.send(MESSAGE.data, id, string(CHUNK))
    client.send(MESSAGE.globalRequest, string('x'), Uint8Array.of(1))
    assert.equal(await client.type(), MESSAGE.requestFailure)
    client.send(MESSAGE.data, id, string('x'))
    assert.match((await connection.closed)?.message ?? '', /more data came than the window/)
  })

  it('is told of more window as its data is read, and of none when it is not', async () => {
    const { client, id, channel } = await inSession()
    const half = max('sshWindowStartBytes') / 2 / CHUNK.length
    for (let sent = 0; sent < half; sent++) client.send(MESSAGE.data, id, string(CHUNK))
    for (let read = 0; read < half; read++) await channel.read()
    const adjust = await client.next()
    assert.equal(adjust[0], MESSAGE.windowAdjust)
    assert.ok(new SshReader(adjust.subarray(5)).u32() >= max('sshWindowStartBytes') / 2)
  })

  it('is told of a larger window when its reader had to wait for it', async () => {
    const { client, id, channel } = await inSession()
    const half = max('sshWindowStartBytes') / 2 / CHUNK.length
    const waiting = channel.read()
    for (let sent = 0; sent < half; sent++) client.send(MESSAGE.data, id, string(CHUNK))
    await waiting
    for (let read = 1; read < half; read++) await channel.read()
    const adjust = await client.next()
    assert.ok(new SshReader(adjust.subarray(5)).u32() > max('sshWindowStartBytes'))
  })

  const WRONG: Readonly<Record<string, (id: Uint8Array, client: RawClient) => void>> = {
    'a packet over the maximum': (id, client) =>
      client.send(MESSAGE.data, id, string(Buffer.alloc(32_769))),
    'data behind its end': (id, client) => {
      client.send(MESSAGE.eof, id)
      client.send(MESSAGE.data, id, string('x'))
    },
    'data of an unknown type': (id, client) =>
      client.send(MESSAGE.extendedData, id, u32(2), string('x')),
    'a message behind its close': (id, client) => {
      client.send(MESSAGE.close, id)
      client.send(MESSAGE.eof, id)
    },
    'a message for no channel': (_id, client) => client.send(MESSAGE.eof, u32(99)),
    'an answer of a channel that nobody asked': (id, client) =>
      client.send(MESSAGE.channelSuccess, id),
    'an answer that nobody asked for': (_id, client) => client.send(MESSAGE.requestFailure),
    'a channel that nobody asked for': (_id, client) =>
      client.send(MESSAGE.channelConfirm, u32(99), u32(1), u32(1), u32(1)),
    'a refusal of what nobody asked for': (_id, client) =>
      client.send(MESSAGE.channelRefused, u32(99), u32(1), string(''), string('')),
    'a confirmation of its own channel': (id, client) =>
      client.send(MESSAGE.channelConfirm, id, u32(1), u32(1), u32(1)),
    'a window over 32 bits': (id, client) =>
      client.send(MESSAGE.windowAdjust, id, u32(0xffff_ffff)),
    'a request cut short': (id, client) =>
      client.send(MESSAGE.channelRequest, id, string('exec'), Uint8Array.of(1), u32(100)),
    'a channel of packets of nothing': (_id, client) =>
      client.send(MESSAGE.channelOpen, string('session'), u32(1), u32(1), u32(0)),
    'success of an authentication': (_id, client) => client.send(MESSAGE.authSuccess),
  }
  for (const [name, send] of Object.entries(WRONG))
    it(`ends its connection with ${name}`, async () => {
      const { client, id, server } = await inSession()
      const { connection } = await server
      send(id, client)
      assert.equal((await connection.closed)?.code, 'protocol.violation')
      assert.equal(connection.channels, 0)
    })

  it('is refused what nobody allows: channels, requests, subsystems, messages', async () => {
    const { client, id } = await inSession(() => false)
    const refusals: [string, number][] = [
      ['unheard-of', OPEN_REFUSED.unknownType],
      ['x11', OPEN_REFUSED.prohibited],
      ['forwarded-tcpip', OPEN_REFUSED.prohibited],
      ['auth-agent@openssh.com', OPEN_REFUSED.prohibited],
    ]
    const address = [string('h'), u32(1)]
    for (const [kind, reason] of refusals) {
      const fields = [string(kind), u32(7), u32(1000), u32(1000), ...address, ...address]
      client.send(MESSAGE.channelOpen, ...fields)
      const reply = new SshReader((await client.next()).subarray(1))
      assert.deepEqual([reply.u32(), reply.u32()], [7, reason], kind)
    }
    for (const name of ['unheard-of', 'shell', 'subsystem']) {
      client.send(MESSAGE.channelRequest, id, string(name), Uint8Array.of(1), string('sftp'))
      assert.equal(await client.type(), MESSAGE.channelFailure, name)
    }
    for (const name of ['unheard-of', 'tcpip-forward']) {
      client.send(MESSAGE.globalRequest, string(name), Uint8Array.of(1), ...address)
      assert.equal(await client.type(), MESSAGE.requestFailure, name)
    }
    assert.equal(client.transport.over, false)
  })

  it('opens no session after it has said that it will not', async () => {
    const { client, server } = await inSession()
    const { connection } = await server
    client.send(MESSAGE.globalRequest, string('no-more-sessions@openssh.com'), Uint8Array.of(0))
    client.send(MESSAGE.channelOpen, string('session'), u32(1), u32(1), u32(1))
    assert.equal((await connection.closed)?.code, 'protocol.violation')
  })

  it('has only so many channels, decided or not, and their numbers come back', async () => {
    const { client, id, openings } = await inSession()
    for (let number = 1; number < max('sshChannelsMax'); number++)
      client.send(MESSAGE.channelOpen, string('session'), u32(number), u32(1), u32(1))
    client.send(MESSAGE.channelOpen, string('session'), u32(999), u32(1), u32(1))
    const refusal = new SshReader((await client.next()).subarray(1))
    assert.deepEqual([refusal.u32(), refusal.u32()], [999, OPEN_REFUSED.shortage])
    const undecided = await openings.next()
    undecided.refuse('prohibited', 'no')
    assert.equal(await client.type(), MESSAGE.channelRefused)
    client.send(MESSAGE.close, id)
    assert.equal(await client.type(), MESSAGE.close)
    client.send(MESSAGE.channelOpen, string('session'), u32(1), u32(1), u32(1))
    client.send(MESSAGE.channelOpen, string('session'), u32(2), u32(1), u32(1))
    client.send(MESSAGE.channelOpen, string('session'), u32(3), u32(1), u32(1))
    const next = new SshReader((await client.next()).subarray(1))
    assert.equal(next.u32(), 3)
  })

  it('waits for its answers, of which only so many are owed', async () => {
    const { client, id, server } = await inSession(() => new Promise<boolean>(() => undefined))
    const { connection } = await server
    for (let count = 0; count <= max('sshRequestsMax'); count++)
      client.send(MESSAGE.channelRequest, id, string('shell'), Uint8Array.of(1))
    assert.match((await connection.closed)?.message ?? '', /sshRequestsMax/)
  })

  it('is not read when it does not read, and its answers stay bounded', async () => {
    const [near, far] = streamPair()
    const timers = new FakeTimers()
    let stopped = false
    const deaf = changed(far, {
      write: (bytes: Uint8Array) =>
        stopped ? new Promise<void>(() => undefined) : far.write(bytes),
    })
    const server = startServer(deaf, timers)
    const client = new RawClient(near, timers)
    await client.service()
    await client.prove()
    await client.next()
    client.transport.admit()
    await server
    stopped = true
    const request = [string('x'.repeat(1)), Uint8Array.of(1)]
    let sent = 0
    // Each request costs an answer of 36 bytes; what the server does not read fills the way to it.
    for (; client.transport.writable && sent < 500_000; sent++) {
      client.send(MESSAGE.globalRequest, ...request)
      if (sent % 256 === 0) for (let turn = 0; turn < 4; turn++) await immediate()
    }
    const answers = max('sshRepliesBytesMax') / 36
    assert.ok(sent > answers && sent < 2 * answers, `${sent} requests were taken`)
  })

  it('that does not hear is written no more than sshUnsentBytesMax, whatever its window', async () => {
    const openings = new Openings()
    const [near, far] = streamPair()
    let stuck = false
    let taken = 0
    const slow = changed(far, {
      write: (bytes) => {
        taken += bytes.length
        return stuck ? new Promise<void>(() => undefined) : far.write(bytes)
      },
    })
    void startServer(slow, new FakeTimers(), { serve: () => openings })
    const client = new RawClient(near, new FakeTimers())
    await client.service()
    await client.prove()
    await client.next()
    const opening = openings.next().then((each) => each.accept())
    await client.session(0, 0x7fff_ffff)
    const channel = await opening
    stuck = true
    taken = 0
    let written = 0
    const writing = (async () => {
      for (; ; written += 65_536) await channel.write(Buffer.alloc(65_536))
    })()
    writing.catch(() => undefined)
    for (let turn = 0; turn < 200; turn++) await immediate()
    assert.ok(taken > 0 && written <= 2 * max('sshUnsentBytesMax'), `${written} bytes`)
  })

  it('cannot hold a key exchange open, nor what waits for its end', async () => {
    for (const flood of [false, true]) {
      const { client, actions, server } = await deafClient()
      const { connection } = await server
      actions.get(max('sshRekeyMs'))?.()
      await immediate()
      const request = [string('x'), Uint8Array.of(1)]
      for (let sent = 0; flood && sent <= max('sshHeldPacketsMax'); sent++) {
        client.send(MESSAGE.globalRequest, ...request)
        if (sent % 64 === 0) for (let turn = 0; turn < 8; turn++) await immediate()
      }
      if (!flood) actions.get(max('sshExchangeMs'))?.()
      const expected = flood ? /sshHeldPacketsMax/ : /sshExchangeMs/
      assert.match((await connection.closed)?.message ?? '', expected)
    }
  })

  it('is asked for a sign of life and left when it gives none', async () => {
    const [near, far] = streamPair()
    const timers = new FakeTimers()
    const server = startServer(far, timers)
    const client = new RawClient(near, new FakeTimers())
    await client.service()
    await client.prove()
    await client.next()
    const { connection } = await server
    for (let count = 0; count < 3; count++) timers.advance(max('sshKeepaliveMs'))
    assert.equal(await client.type(), MESSAGE.globalRequest)
    timers.advance(2 * max('sshKeepaliveMs'))
    assert.match((await connection.closed)?.message ?? '', /does not answer/)
  })
})

function windowOf(budget: WindowBudget): InboundWindow {
  const window = InboundWindow.of(budget)
  if (window === undefined) throw new Error('no window')
  return window
}

describe('what is unread', () => {
  it('is bounded for all channels of a connection together', () => {
    const budget = new WindowBudget()
    let open = 0
    const windows: InboundWindow[] = []
    for (let window = InboundWindow.of(budget); window !== undefined; ) {
      windows.push(window)
      window = InboundWindow.of(budget)
    }
    for (const window of windows) open += window.size
    assert.ok(open <= max('sshUnreadBytesMax'))
    for (const window of windows) window.release()
    assert.notEqual(InboundWindow.of(budget), undefined)
  })

  it('grows with a reader that has to wait to sshWindowBytesMax, and never otherwise', () => {
    const waits = windowOf(new WindowBudget())
    for (let count = 0; count < 100_000; count++) {
      waits.starve()
      if (waits.arrive(1000)) waits.read(1000)
    }
    assert.equal(waits.size, max('sshWindowBytesMax'))
    const busy = windowOf(new WindowBudget())
    for (let count = 0; count < 100_000; count++) if (busy.arrive(1000)) busy.read(1000)
    assert.equal(busy.size, max('sshWindowStartBytes'))
    const lazy = windowOf(new WindowBudget())
    while (lazy.arrive(1000));
    lazy.starve()
    lazy.read(1000)
    assert.equal(lazy.size, max('sshWindowStartBytes'))
  })

  it('eases behind a reader that never waits, and gives back what it eased by', () => {
    const budget = new WindowBudget()
    const window = windowOf(budget)
    let open = window.size
    const fill = (): void => {
      assert.ok(window.arrive(open))
      open = 0
    }
    const read = (bytes: number): void => {
      open += window.read(bytes)
    }
    while (window.size < max('sshWindowBytesMax')) {
      window.starve()
      fill()
      read(window.size)
    }
    let peak = 0
    for (let cycle = 0; cycle < 100; cycle++) {
      fill()
      const { size } = window
      read(size / 2)
      read(size - size / 2)
      peak = cycle < 50 ? 0 : Math.max(peak, size)
    }
    assert.ok(peak <= 2 * max('sshWindowStartBytes'), `${peak} bytes of window`)
    window.release()
    assert.ok(budget.take(max('sshUnreadBytesMax')))
  })

  it('is granted again in halves, however far behind its reader is', () => {
    const window = windowOf(new WindowBudget())
    let open = window.size
    for (let cycle = 0; cycle < 1000; cycle++) {
      if (open > 0) assert.ok(window.arrive(open))
      open = window.read(1024)
      assert.ok(open === 0 || open >= max('sshWindowStartBytes') / 4, `${open} bytes granted`)
    }
  })

  it('costs little more than its bytes, in whatever pieces it comes', () => {
    const unread = new Unread()
    for (let count = 0; count < 200_000; count++) unread.push(Buffer.of(count), count % 2 === 0)
    const found = new Map<boolean, number>()
    let pieces = 0
    for (let data = unread.shift(); data !== undefined; data = unread.shift()) {
      pieces += 1
      for (const byte of data.bytes) {
        const next: number = found.get(data.stderr) ?? (data.stderr ? 0 : 1)
        assert.equal(byte, next % 256)
        found.set(data.stderr, next + 2)
      }
    }
    assert.ok(pieces < 1100, `${pieces} pieces`)
    assert.deepEqual([found.get(true), found.get(false)], [200_000, 200_001])
  })
})

/** A client that is in and hears nothing any more; and what the server's timers would do, by their time. */
async function deafClient(): Promise<{
  client: RawClient
  actions: Map<number, () => void>
  server: ReturnType<typeof startServer>
}> {
  const [near, far] = streamPair()
  let deaf = false
  const hearing = changed(near, {
    read: () => (deaf ? new Promise<undefined>(() => undefined) : near.read()),
  })
  const actions = new Map<number, () => void>()
  const timers: SshTimers = {
    after: (ms, action) => {
      actions.set(ms, action)
      return () => undefined
    },
  }
  const server = startServer(far, timers)
  const client = new RawClient(hearing, new FakeTimers())
  await client.service()
  await client.prove()
  await client.next()
  client.transport.admit()
  await server
  deaf = true
  // The read that was under way hears one answer more.
  client.send(MESSAGE.globalRequest, string('x'), Uint8Array.of(1))
  await client.next()
  return { client, actions, server }
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
