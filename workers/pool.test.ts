// Worker threads that come, go and crash: connections are lost with their thread and with no other, and no descriptor leaks.

import assert from 'node:assert/strict'
import type net from 'node:net'
import { describe, it, type TestContext } from 'node:test'

import { type Clock, FakeClock } from '../core/clock.ts'
import { silentLogger } from '../core/log.ts'
import type { FromEcho, ToEcho } from '../test/fixtures/echo-thread.ts'
import { readAll, readBytes } from '../test/fixtures/net.ts'
import { ending, openSockets, pair, until } from '../test/fixtures/sockets.ts'
import { release } from './handover.ts'
import { Ledger } from './ledger.ts'
import { Pool, type PoolThread } from './pool.ts'

const ENTRY = new URL('../test/fixtures/echo-thread.ts', import.meta.url)

interface Rig {
  readonly pool: Pool<ToEcho, FromEcho>
  readonly heard: FromEcho[]
  readonly lost: number[]
  readonly ledger: Ledger
  /** The ready thread of a slot. */
  readonly at: (slot: number) => PoolThread<ToEcho>
}

async function start(
  context: TestContext,
  count: number,
  clock: Clock = new FakeClock(),
): Promise<Rig> {
  const heard: FromEcho[] = []
  const lost: number[] = []
  const ledger = new Ledger()
  const pool = new Pool<ToEcho, FromEcho>({
    entry: ENTRY,
    count,
    data: (slot) => `data of ${slot}`,
    clock,
    log: silentLogger,
    ledger,
    restartDelayMs: 0,
    onMessage: (_thread, message) => heard.push(message),
    onLost: (thread) => lost.push(thread.slot),
  })
  context.after(() => pool.stop(1000))
  await pool.start()
  const at = (slot: number): PoolThread<ToEcho> => {
    const thread = pool.threads.find((one) => one.slot === slot)
    assert.ok(thread)
    return thread
  }
  return { pool, heard, lost, ledger, at }
}

/** Moves a new connection to a thread and waits until it echoes. */
async function connect(context: TestContext, thread: PoolThread<ToEcho>): Promise<net.Socket> {
  const { outer, inner } = await pair(context)
  const released = release(inner)
  assert.ok(released)
  const message: ToEcho = { kind: 'echo', handle: released.handle, first: Buffer.from('hello') }
  assert.equal(thread.post(message, [released.handle]), true)
  assert.equal((await readBytes(outer, 5)).toString(), 'hello')
  return outer
}

function bell(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4))
}

describe('Pool', () => {
  it('starts its threads with what each was given, and talks to all of them', async (context) => {
    const { pool, heard } = await start(context, 2)
    pool.broadcast({ kind: 'say', text: 'hi' })
    await until(() => heard.length === 2, 'both answers')
    const said = heard.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
    assert.deepEqual(said, [
      { kind: 'said', slot: 0, data: 'data of 0', text: 'hi' },
      { kind: 'said', slot: 1, data: 'data of 1', text: 'hi' },
    ])
  })

  it('tells a thread that still starts what is told to all', async (context) => {
    const heard: FromEcho[] = []
    const pool = new Pool<ToEcho, FromEcho>({
      entry: ENTRY,
      count: 1,
      data: () => 'old',
      clock: new FakeClock(),
      log: silentLogger,
      onMessage: (_thread, message) => heard.push(message),
    })
    context.after(() => pool.stop(1000))
    const started = pool.start()
    pool.broadcast({ kind: 'say', text: 'new' })
    await started
    await until(() => heard.length > 0, 'the answer')
    assert.deepEqual(heard, [{ kind: 'said', slot: 0, data: 'old', text: 'new' }])
  })

  it('moves a connection with the bytes read before, which lives on to its own end', async (context) => {
    const { heard, at } = await start(context, 1)
    const socket = await connect(context, at(0))
    socket.end(' world')
    assert.equal((await readAll(socket)).toString(), ' world')
    await until(() => heard.some((one) => one.kind === 'ended'), 'the end')
    assert.deepEqual(heard.at(-1), { kind: 'ended', heard: 'hello world' })
  })

  it('chooses the thread with the fewest connections, and equal ones in turn', async (context) => {
    const { pool, at } = await start(context, 2)
    const turns = [pool.least()?.slot, pool.least()?.slot, pool.least()?.slot]
    assert.deepEqual(new Set(turns), new Set([0, 1]))
    at(0).enter()
    assert.deepEqual([pool.least()?.slot, pool.least()?.slot], [1, 1])
    at(1).enter()
    at(1).enter()
    assert.deepEqual([pool.least()?.slot, pool.least()?.slot], [0, 0])
    at(0).leave()
    assert.equal(at(0).load, 0)
  })

  it('gives nothing to a thread whose report is overdue while another is well', async (context) => {
    const clock = new FakeClock()
    const { pool, heard, at } = await start(context, 2, clock)
    const wake = bell()
    at(0).post({ kind: 'block', bell: wake })
    at(0).post({ kind: 'say', text: 'awake' })
    clock.advance(5000)
    await until(() => at(1).delayMs < 50, 'a report of the other thread')
    assert.ok(at(0).delayMs > 50)
    at(1).enter()
    assert.deepEqual([pool.least()?.slot, pool.least()?.slot], [1, 1])
    Atomics.store(wake, 0, 1)
    Atomics.notify(wake, 0)
    await until(() => heard.length === 1, 'the thread to wake')
  })

  it('replaces a thread that throws; its connections close, those of others live', async (context) => {
    const { pool, lost, ledger, at } = await start(context, 2)
    const before = openSockets()
    const first = at(0).id
    const dying = [await connect(context, at(0)), await connect(context, at(0))]
    const living = await connect(context, at(1))
    const ends = Promise.all(dying.map(ending))
    at(0).post({ kind: 'throw' })
    for (const end of await ends) assert.match(end, /^(end|ECONNRESET)$/)
    await until(() => pool.threads.length === 2, 'a replacement')
    assert.deepEqual([lost, ledger.count('worker threads')], [[0], 2])
    assert.notEqual(at(0).id, first)
    living.write('still here')
    assert.equal((await readBytes(living, 10)).toString(), 'still here')
    await connect(context, at(0))
    for (const socket of dying) socket.destroy()
    await until(() => openSockets() === before + 4, 'the descriptors of the lost connections')
  })

  it('closes a handle that is posted to a thread which is known to be gone', async (context) => {
    const { pool, lost, at } = await start(context, 1)
    const gone = at(0)
    gone.post({ kind: 'throw' })
    await until(() => lost.length === 1 && pool.threads.length === 1, 'the replacement')
    const { outer, inner } = await pair(context)
    const before = openSockets()
    const released = release(inner)
    assert.ok(released)
    assert.equal(gone.post({ kind: 'echo', handle: released.handle }, [released.handle]), false)
    assert.equal(await ending(outer), 'end')
    await until(() => openSockets() === before - 1, 'the descriptor')
  })

  it('loses no descriptor to a thread that has ended before anybody saw it', async (context) => {
    const { lost, at } = await start(context, 1)
    const { outer, inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    const ended = bell()
    const thread = at(0)
    thread.post({ kind: 'exit', bell: ended })
    // Main does not turn until the thread is past its last message: its `exit` cannot have been seen.
    Atomics.wait(ended, 0, 0, 5000)
    thread.post({ kind: 'echo', handle: released.handle }, [released.handle])
    assert.match(await ending(outer), /^(end|ECONNRESET)$/)
    await until(() => lost.length === 1, 'the exit')
  })

  it('lets threads finish when it stops, and ends those that do not in time', async (context) => {
    const { pool, heard, ledger, at } = await start(context, 2)
    const socket = await connect(context, at(1))
    const end = ending(socket)
    at(0).post({ kind: 'block', bell: bell() })
    await pool.stop(200)
    assert.deepEqual([pool.threads, ledger.empty], [[], true])
    assert.equal(heard.filter((one) => one.kind === 'stopping').length, 1)
    assert.match(await end, /^(end|ECONNRESET)$/)
    assert.equal(pool.least(), undefined)
  })

  it('says that it could not start when a thread fails at once', async (context) => {
    const entry = new URL('./no-such-thread.ts', import.meta.url)
    const clock = new FakeClock()
    const options = { entry, count: 1, data: () => 0, clock, log: silentLogger, onMessage() {} }
    const pool = new Pool<ToEcho, FromEcho>(options)
    context.after(() => pool.stop(0))
    await assert.rejects(pool.start(), { code: 'runtime.unfit' })
  })
})
