import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'

import { dial, listen, readAll } from '../../test/fixtures/net.ts'
import { EXIT } from '../exit.ts'
import type { Streams } from '../streams.ts'
import { loggedInToSsh, startProxy } from '../ssh/node.fixture.ts'
import { type FakeTools, fakeTools, runCommand } from '../tools.fixture.ts'
import { TSH } from './table.ts'

interface Pipes extends Streams {
  readonly input: PassThrough
  said: Buffer
}

function pipes(): Pipes {
  const made: Pipes = {
    input: new PassThrough(),
    said: Buffer.alloc(0),
    output: new Writable({
      write(chunk: Buffer, _, done) {
        made.said = Buffer.concat([made.said, chunk])
        done()
      },
    }),
    errors: new PassThrough(),
  }
  return made
}

async function setUp(
  t: TestContext,
  port: number,
): Promise<{ tools: FakeTools; streams: Pipes; wanted: string[] }> {
  const { address, wanted } = await startProxy(t, port)
  const streams = pipes()
  const tools = await fakeTools(t, { over: { streams: () => streams } })
  await loggedInToSsh(tools, [address])
  return { tools, streams, wanted }
}

test('bytes go through as they are, both ways, and our end is passed on before the node’s', async (t) => {
  const node = await listen(t, (socket) => {
    socket.write('SSH-2.0-node\r\n')
    void readAll(socket).then((all) => socket.end(`got ${all.length}`))
  })
  const { tools, streams, wanted } = await setUp(t, node.port)
  streams.input.end(Buffer.alloc(3_000_000))
  await runCommand(TSH, tools, 'proxy ssh', ['root@web-1.sluice.test:3022'])
  equal(streams.said.toString(), 'SSH-2.0-node\r\ngot 3000000')
  deepEqual(wanted, ['web-1.sluice.test'])
  equal(tools.printed(), '')
})

test('the node’s end is the end, also while input could still come', async (t) => {
  const node = await listen(t, (socket) => void socket.end('bye'))
  const { tools, streams } = await setUp(t, node.port)
  await runCommand(TSH, tools, 'proxy ssh', ['web-1'])
  equal(streams.said.toString(), 'bye')
  equal(streams.input.isPaused(), true)
})

test('OpenSSH that does not read is not written to, and one that goes away ends it', async (t) => {
  const gone = Promise.withResolvers<void>()
  const node = await listen(t, (socket) => {
    socket.once('close', () => gone.resolve())
    socket.write(Buffer.alloc(8_000_000))
  })
  const { address } = await startProxy(t, node.port)
  const first = Promise.withResolvers<void>()
  const stuck = new Writable({ highWaterMark: 1024, write: () => first.resolve() })
  const streams: Streams = { input: new PassThrough(), output: stuck, errors: new PassThrough() }
  const tools = await fakeTools(t, { over: { streams: () => streams } })
  await loggedInToSsh(tools, [address])
  const running = runCommand(TSH, tools, 'proxy ssh', ['web-1'])
  await first.promise
  // Another connection comes and goes meanwhile: this one had its chance to be read on.
  await readAll(await dial(t, (await listen(t, (socket) => void socket.end())).port))
  ok(stuck.writableLength <= 65_536, `${stuck.writableLength}`)
  stuck.destroy(new Error('EPIPE'))
  await rejects(running, /connection through the proxy broke/)
  await gone.promise
})

test('hosts are written as OpenSSH writes them', async (t) => {
  const node = await listen(t, (socket) => void socket.end())
  const { tools, wanted } = await setUp(t, node.port)
  for (const host of ['web-1', 'root@web-1', 'web-1:22', 'a@b@web-1:22', '[web-1]:22', '[web-1]'])
    await runCommand(TSH, tools, 'proxy ssh', [host])
  deepEqual(new Set(wanted), new Set(['web-1']))
  for (const host of ['', 'root@', ':22', 'a b'])
    await rejects(runCommand(TSH, tools, 'proxy ssh', [host]), { status: EXIT.usage }, host)
})

test('a login of another cluster, or none, is said before anybody is reached', async (t) => {
  const { tools, wanted } = await setUp(t, 1)
  await rejects(runCommand(TSH, tools, 'proxy ssh', ['web-1'], { cluster: 'other.example.com' }), {
    status: EXIT.notLoggedIn,
    message: /is of the cluster sluice\.test, not other\.example\.com/,
  })
  deepEqual(wanted, [])
  const stranger = await fakeTools(t)
  await rejects(runCommand(TSH, stranger, 'proxy ssh', ['web-1']), { status: EXIT.notLoggedIn })
  match(tools.printed(), /^$/)
})
