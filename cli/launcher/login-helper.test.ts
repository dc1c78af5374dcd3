// What is opened as a login: connections and listeners, the ssh-agent's socket, displays; whose they are, and that nothing stays.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { before, describe, it } from 'node:test'

import type { ByteStream } from '../../core/stream.ts'
import { openFolder, suiteCleanup } from '../../test/fixtures/files.ts'
import { listen, portOf } from '../../test/fixtures/net.ts'
import { run } from '../../test/fixtures/processes.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { launchPaths } from '../../workers/launch-wire.ts'
import {
  exec,
  readText,
  say,
  startWorld,
  throwawayLogin,
  visit,
  type World,
} from './launcher.fixture.ts'

const LOOPBACK = '127.0.0.1'

const cleanup = suiteCleanup()
/** One for all tests of this file that do not change what it believes. */
let launcher: World

before(async () => {
  launcher = await startWorld(cleanup)
})

describe('a connection of a login', () => {
  it('goes where it should, both ways, each end heard', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const { server } = await listen(context, (socket) => {
      let got = 0
      socket.on('data', (bytes) => (got += bytes.length)).on('end', () => socket.end(`got ${got}`))
    })
    const stream = await world
      .machine(login)
      .connect({ kind: 'tcp', host: LOOPBACK, port: portOf(server) })
    const bytes = randomBytes(5_000_000)
    await stream.write(bytes)
    await stream.end()
    assert.equal(await readText(stream), `got ${bytes.length}`)
  })

  it('is the login’s: a socket it may not connect to is refused, with the reason', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const file = path.join(await openFolder(context), 'closed.sock')
    const server = net.createServer((socket) => socket.end('hello'))
    context.after(() => void server.close())
    const umask = process.umask(0o077)
    await new Promise<void>((resolve) => server.listen(file, resolve))
    process.umask(umask)
    const at = { kind: 'unix', path: file } as const
    await assert.rejects(world.machine(login).connect(at), /The connection failed: EACCES/)
    assert.equal(await readText(await world.machine('root').connect(at)), 'hello')
  })

  it('that cannot be made says why', async (context) => {
    const world = visit(launcher, context)
    const machine = world.machine('root')
    const closed = net.createServer().listen(0, LOOPBACK)
    await new Promise((resolve) => closed.once('listening', resolve))
    const port = portOf(closed)
    await new Promise((resolve) => closed.close(resolve))
    const connecting = machine.connect({ kind: 'tcp', host: LOOPBACK, port })
    await assert.rejects(connecting, /The connection failed: ECONNREFUSED/)
  })

  it('is for nobody whose roles allow no forwarding', async (context) => {
    const world = await startWorld(context)
    const none = { localForwarding: false, remoteForwarding: false }
    const role = world.control.role({ options: { ssh: none } })
    world.feed.offer(world.control.snapshot([role]))
    const at = { kind: 'unix', path: '/nowhere' } as const
    await untilRefused(() => world.machine('root').connect(at), /allow no forwarding/)
  })
})

describe('a listener of a login', () => {
  it('hands over each connection with where it came from, and closes when it is told', async (context) => {
    const world = visit(launcher, context)
    const machine = world.machine(await throwawayLogin(context))
    const hosts: string[] = []
    const listening = await machine.listen(
      { kind: 'tcp', host: LOOPBACK, port: 0 },
      (stream, from) => {
        hosts.push(from.host)
        void echo(stream)
      },
    )
    assert.ok(listening.port > 0)
    const said = await Promise.all(
      ['one', 'two', 'three'].map((word) => talk(listening.port, word)),
    )
    assert.deepEqual(said, ['one', 'two', 'three'])
    assert.deepEqual(hosts, [LOOPBACK, LOOPBACK, LOOPBACK])
    listening.close()
    await untilRefused(() => talk(listening.port, 'x').then(() => undefined), /ECONNREFUSED/)
  })

  it('is the login’s: its path belongs to it, and privileged ports do not', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const machine = world.machine(login)
    const home = (await say(machine, exec('pwd'))).out.trim()
    const file = path.join(home, 'listener.sock')
    await machine.listen({ kind: 'unix', path: file }, (stream) => void echo(stream))
    const { uid, mode } = statSync(file)
    assert.deepEqual([uid, mode & 0o077], [await idOf(login), 0])
    const privileged = machine.listen({ kind: 'tcp', host: LOOPBACK, port: 1 }, () => {})
    const outcome = await privileged.then(
      () => 'listens',
      (error: unknown) => String(error),
    )
    assert.match(outcome, (await mayBindLow()) ? /listens/ : /Listening there failed: EACCES/)
    const elsewhere = machine.listen({ kind: 'unix', path: '/etc/sluice-test.sock' }, () => {})
    await assert.rejects(elsewhere, /Listening there failed: EACCES/)
  })
})

describe('the socket of a forwarded agent', () => {
  it('is for the login’s programs alone, and gone with the session', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const machine = world.machine(login)
    const socket = await machine.agentSocket(
      // The session may be ended before the end of this connection is heard.
      (stream) => void echo(stream).catch(() => undefined),
    )
    const folder = path.dirname(socket.path)
    assert.deepEqual(
      [statSync(folder).uid, statSync(folder).mode & 0o777],
      [await idOf(login), 0o700],
    )
    const program = `require('net').connect(process.env.SSH_AUTH_SOCK).on('data', (d) => { console.log(String(d)); process.exit() }).write('ping')`
    const ask = exec(`'${process.execPath}' -e "${program}"`, { SSH_AUTH_SOCK: socket.path })
    assert.equal((await say(machine, ask)).out, 'ping\n')
    machine.end()
    await until(() => !existsSync(folder), 'the folder is gone')
  })
})

describe('a display', () => {
  it('is in the login’s Xauthority under its name, and taken out again', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const machine = world.machine(login)
    const cookie = randomBytes(16).toString('hex')
    const wish = { protocol: 'MIT-MAGIC-COOKIE-1', cookie, screen: 0 }
    const listening = await machine.x11(wish, (stream) => void echo(stream))
    const number = Number(/^localhost:(\d+)\.0$/.exec(listening.display)?.[1])
    assert.ok(number >= 10)
    const list = exec('xauth -q list', { DISPLAY: listening.display })
    assert.match(
      (await say(machine, list)).out,
      new RegExp(`unix:${number} +MIT-MAGIC-COOKIE-1 +${cookie}`),
    )
    assert.equal(await talk(6000 + number, 'hello'), 'hello')
    listening.close()
    await eventually(async () =>
      assert.doesNotMatch((await say(machine, list)).out, new RegExp(cookie)),
    )
  })
})

describe('the helper of a login', () => {
  it('is one for all sessions of the login, runs as it, and ends with the last of them', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const [one, two] = [world.machine(login), world.machine(login)]
    const at = { kind: 'tcp', host: LOOPBACK, port: 0 } as const
    await Promise.all([one.listen(at, () => {}), two.listen(at, () => {})])
    assert.equal((await world.counts()).helpers, 1)
    const helpers = await helperOwners(world)
    assert.deepEqual(helpers, [login])
    one.end()
    await two.listen(at, () => {})
    assert.equal((await world.counts()).helpers, 1)
    two.end()
    await eventually(async () => assert.equal((await world.counts()).helpers, 0))
    await eventually(async () => assert.deepEqual(await helperOwners(world), []))
    const { logins } = launchPaths(world.folder)
    await eventually(async () => assert.deepEqual(readdirSync(logins), []))
  })

  it('that is killed is started anew for the next wish', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const machine = world.machine(login)
    const at = { kind: 'tcp', host: LOOPBACK, port: 0 } as const
    await machine.listen(at, () => {})
    await run('/bin/kill', ['-9', ...(await helperPids(world))])
    await eventually(async () => assert.ok((await machine.listen(at, () => {})).port > 0))
    assert.deepEqual(await helperOwners(world), [login])
  })

  it('lets nobody in but its login and the agent', async (context) => {
    const world = visit(launcher, context)
    const machine = world.machine(await throwawayLogin(context))
    await machine.listen({ kind: 'tcp', host: LOOPBACK, port: 0 }, () => {})
    const { logins } = launchPaths(world.folder)
    const file = path.join(logins, readdirSync(logins)[0] ?? '', 'helper.sock')
    const other = await throwawayLogin(context)
    await assert.rejects(world.machine(other).connect({ kind: 'unix', path: file }), /EACCES/)
  })
})

async function echo(stream: ByteStream): Promise<void> {
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read())
    await stream.write(chunk)
  await stream.end()
}

/** Says a word to a port, and hears what comes back. */
function talk(port: number, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = ''
    const socket = net.connect({ port, host: LOOPBACK, allowHalfOpen: true })
    socket.setEncoding('utf8').on('data', (text: string) => (said += text))
    socket.once('end', () => resolve(said)).once('error', reject)
    socket.end(word)
  })
}

async function idOf(login: string): Promise<number> {
  return Number((await run('/usr/bin/id', ['-u', login])).stdout)
}

/** Some machines let everybody have every port. */
async function mayBindLow(): Promise<boolean> {
  const { stdout } = await run('/bin/cat', ['/proc/sys/net/ipv4/ip_unprivileged_port_start'])
  return Number(stdout) <= 1
}

async function helperLines(world: World): Promise<readonly string[]> {
  const args = ['-ww', '-o', 'pid=,user:64=,args=', '--ppid', String(world.process.pid)]
  const { stdout } = await run('/bin/ps', args)
  return stdout.split('\n').filter((line) => line.includes('helper-main'))
}

async function helperOwners(world: World): Promise<readonly (string | undefined)[]> {
  return (await helperLines(world)).map((line) => line.trim().split(/\s+/)[1])
}

async function helperPids(world: World): Promise<readonly string[]> {
  return (await helperLines(world)).map((line) => line.trim().split(/\s+/)[0] ?? '')
}

/** Until what was said or closed has had its effect. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + 30_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() > endMs) throw error
    }
  }
}

async function untilRefused(attempt: () => Promise<unknown>, reason: RegExp): Promise<void> {
  await eventually(() => assert.rejects(attempt(), reason))
}
