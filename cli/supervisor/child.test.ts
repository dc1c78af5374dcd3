// One supervised role, as real processes: started, restarted when it crashes, asked to drain, ended when it does not. The role is a
// few lines of the test over the real first lines of every role (cli/roles/bootstrap.ts).

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import net from 'node:net'
import path from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import { type LogFields, type Logger, silentLogger } from '../../core/log.ts'
import { atEnd, openFolder } from '../../test/fixtures/files.ts'
import { alive } from '../../test/fixtures/processes.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { Child, type ChildOptions } from './child.ts'
import { bind } from './listeners.ts'
import type { FromChild } from './messages.ts'

const BOOTSTRAP = path.resolve(import.meta.dirname, '../roles/bootstrap.ts')

/** A role that serves; `begin` and `drain` are its code. */
function program(begin = '', drain = ''): string {
  return `import { runRole } from ${JSON.stringify(BOOTSTRAP)}
runRole('signer', async (start) => {
  ${begin}
  return {
    addresses: { config: start.config },
    reload: async (text) => process.send({ kind: 'ready', addresses: { reloaded: text } }),
    async drain() { ${drain} },
  }
})
`
}

interface Rig {
  readonly child: Child
  readonly heard: FromChild[]
  readonly failed: string[]
  /** What the supervisor said about restarts. */
  readonly restarts: LogFields[]
  /** Waits for the n-th \`ready\`, counted from one. */
  readonly ready: (count: number) => Promise<void>
}

async function start(
  context: TestContext,
  text: string,
  more: Partial<ChildOptions> = {},
): Promise<Rig> {
  const root = await openFolder(context)
  await mkdir(path.join(root, 'cli/roles'), { recursive: true })
  await writeFile(path.join(root, `cli/roles/${more.role ?? 'signer'}.ts`), text)
  const heard: FromChild[] = []
  const failed: string[] = []
  const restarts: LogFields[] = []
  const error: Logger['error'] = (_message, fields = {}) => void restarts.push(fields)
  const child = new Child({
    role: 'signer',
    runtime: { root, node: process.execPath, dispose() {} },
    config: 'the config',
    configFile: '/nowhere/sluice.yaml',
    listeners: {},
    log: { ...silentLogger, error },
    onMessage: (message) => void heard.push(message),
    onFailed: (message) => void failed.push(message),
    ...more,
  })
  atEnd(context, () => child.stop(0))
  await child.start()
  const count = (): number => heard.filter(({ kind }) => kind === 'ready').length
  return {
    child,
    heard,
    failed,
    restarts,
    ready: (wanted) => until(() => count() >= wanted, `ready number ${wanted}`),
  }
}

function pidOf(child: Child): number {
  const { pid } = child
  if (pid === undefined) throw new Error('the role does not run')
  return pid
}

describe('a supervised role', () => {
  it('gets its configuration, and a new one without a restart', async (context) => {
    const { child, heard, ready } = await start(context, program())
    await ready(1)
    const pid = pidOf(child)
    child.reload('another config')
    await ready(2)
    assert.deepEqual(heard, [
      { kind: 'ready', addresses: { config: 'the config' } },
      { kind: 'ready', addresses: { reloaded: 'another config' } },
    ])
    assert.equal(child.pid, pid)
  })

  it('is started again when it is killed, each time after a longer pause, with the newest configuration', async (context) => {
    const { child, heard, restarts, ready } = await start(context, program())
    await ready(1)
    child.reload('another config')
    await ready(2)
    for (const wanted of [3, 4]) {
      process.kill(pidOf(child), 'SIGKILL')
      await ready(wanted)
    }
    assert.deepEqual(restarts, [
      { role: 'signer', how: 'SIGKILL', inMs: 200 },
      { role: 'signer', how: 'SIGKILL', inMs: 400 },
    ])
    assert.deepEqual(heard.at(-1), { kind: 'ready', addresses: { config: 'another config' } })
  })

  it('keeps its port over a crash: who connects in between is served by the next process', async (context) => {
    const serve = `const { default: net } = await import('node:net')
  const server = net.createServer((socket) => socket.end(String(process.pid)))
  server.listen(start.listeners.public)`
    const handle = bind('127.0.0.1:0')
    const { child, ready } = await start(context, program(serve), { listeners: { public: handle } })
    await ready(1)
    const port = portOf(handle)
    const before = await ask(port)
    assert.equal(before, String(pidOf(child)))
    process.kill(pidOf(child), 'SIGKILL')
    await until(() => child.pid === undefined, 'the crash is seen')
    const asked = ask(port)
    await ready(2)
    assert.equal(await asked, String(pidOf(child)))
  })

  it('does not end by signals to its group: the supervisor decides the order', async (context) => {
    const { child, ready, restarts } = await start(context, program())
    await ready(1)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.kill(pidOf(child), signal)
    child.reload('still there')
    await ready(2)
    assert.deepEqual(restarts, [])
  })

  it('ends by itself when it is asked to drain, and is not started again', async (context) => {
    const { child, ready, restarts } = await start(context, program())
    await ready(1)
    const pid = pidOf(child)
    await child.stop(30_000)
    assert.equal(alive(pid), false)
    assert.deepEqual([child.pid, restarts], [undefined, []])
  })

  it('is ended at the deadline when it does not drain', async (context) => {
    const { child, ready } = await start(
      context,
      program('', 'await new Promise(() => setInterval(() => {}, 1000))'),
    )
    await ready(1)
    const pid = pidOf(child)
    await child.stop(100)
    assert.equal(alive(pid), false)
  })

  it('that cannot start says why', async (context) => {
    const { failed } = await start(context, program(`throw new Error('no such folder')`))
    await until(() => failed.length > 0, 'the failure is told')
    assert.deepEqual(failed, ['no such folder'])
  })

  it('is given nothing of the environment that could change how Node runs it', async (context) => {
    process.env['NODE_OPTIONS'] = '--title=smuggled'
    context.after(() => delete process.env['NODE_OPTIONS'])
    const tell = `process.send({ kind: 'ready', addresses: { title: process.title, flags: process.execArgv.join(' ') } })`
    const { heard, ready } = await start(context, program(tell))
    await ready(1)
    const [first] = heard
    assert.ok(first?.kind === 'ready')
    assert.notEqual(first.addresses['title'], 'smuggled')
    assert.match(first.addresses['flags'] ?? '', /--disallow-code-generation-from-strings/)
    assert.match(first.addresses['flags'] ?? '', /--disable-sigusr1/)
  })

  it('lets its heap grow where its threads pass bytes, and nowhere else', async (context) => {
    const tell = `process.send({ kind: 'ready', addresses: { flags: process.execArgv.join(' ') } })`
    for (const role of ['proxy', 'agent', 'control', 'signer'] as const) {
      const { heard, ready } = await start(context, program(tell), { role })
      await ready(1)
      const [first] = heard
      assert.ok(first?.kind === 'ready')
      const streams = role === 'proxy' || role === 'agent'
      assert.equal(first.addresses['flags']?.includes('--heap-growing-percent'), streams, role)
    }
  })
})

/** Everything a server says to a client that only listens. */
function ask(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.setEncoding('utf8').on('data', (text: string) => (said += text))
    socket.once('end', () => resolve(said)).once('error', reject)
  })
}

function portOf(handle: object): number {
  const found: { port?: number } = {}
  ;(handle as { getsockname(into: object): number }).getsockname(found)
  return found.port ?? 0
}
