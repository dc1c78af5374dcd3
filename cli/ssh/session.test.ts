import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { before, describe, it, type TestContext } from 'node:test'

import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { suiteCleanup, temporaryFolder } from '../../test/fixtures/files.ts'
import { dial, freePort, listen, readAll, readBytes } from '../../test/fixtures/net.ts'
import { start } from '../../test/fixtures/processes.ts'
import { Input } from '../command.ts'
import type { Size, Streams } from '../streams.ts'
import { fakeTools } from '../tools.fixture.ts'
import { requireLogin } from '../tsh/session.ts'
import { connectNode, type NodeConnection } from './connect.ts'
import { Forwards, type ForwardOptions } from './forwards.ts'
import { loggedInToSsh, ME, NODE, startProxy, startSshd } from './node.fixture.ts'
import { LOST, runSession, type SessionRequest, statusOf } from './session.ts'

/** A person's terminal, or pipes. */
class Keyboard implements Streams {
  readonly input = new PassThrough()
  readonly output: Writable
  readonly errors: Writable
  readonly terminal?: NonNullable<Streams['terminal']>
  out: Buffer = Buffer.alloc(0)
  err = ''
  size: Size = { columns: 90, rows: 20 }
  /** Raw mode, each time it changed. */
  readonly raws: boolean[] = []
  resized: () => void = () => undefined
  #watchers: (() => void)[] = []

  constructor(terminal = false) {
    this.output = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.out = Buffer.concat([this.out, chunk])
        for (const look of this.#watchers) look()
        done()
      },
    })
    this.errors = new Writable({
      write: (chunk, _, done) => done(void (this.err += String(chunk))),
    })
    if (!terminal) return
    this.terminal = {
      name: 'vt100',
      size: () => this.size,
      modes: () => Uint8Array.of(0),
      raw: () => {
        this.raws.push(true)
        return () => void this.raws.push(false)
      },
      onResize: (changed) => {
        this.resized = changed
        return () => {
          this.resized = () => undefined
        }
      },
    }
  }

  /** Resolves when the output holds it. */
  sees(pattern: RegExp): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (pattern.test(this.out.toString())) resolve()
      }
      this.#watchers.push(look)
      look()
    })
  }
}

describe('a session on a node', () => {
  const cleanup = suiteCleanup()
  let address = ''

  before(async () => {
    address = (await startProxy(cleanup, await startSshd(cleanup))).address
  })

  async function connect(t: TestContext, forwards?: Forwards): Promise<NodeConnection> {
    const tools = await fakeTools(t)
    await loggedInToSsh(tools, [address])
    const login = await requireLogin(tools, new Input([]))
    const wanted = { node: NODE, hostName: `${NODE}.${CLUSTER}`, user: ME }
    const connected = await connectNode(tools, login, wanted, forwards)
    t.after(() => connected.end())
    await forwards?.start(connected.connection)
    t.after(() => forwards?.close())
    return connected
  }

  async function session(
    t: TestContext,
    keyboard: Keyboard,
    command: string | undefined,
    change: Partial<SessionRequest> = {},
    forwards?: Forwards,
  ): Promise<number> {
    const { connection } = await connect(t, forwards)
    const request = { pty: false, env: {}, forwardAgent: false, ...change }
    const words = command === undefined ? {} : { command: Buffer.from(command) }
    return await runSession(connection, { ...request, ...words }, keyboard)
  }

  it('gives output, errors and status of a command apart', async (t) => {
    const keyboard = new Keyboard()
    keyboard.input.end('typed')
    equal(await session(t, keyboard, 'cat; echo err >&2; exit 7'), 7)
    deepEqual([keyboard.out.toString(), keyboard.err], ['typed', 'err\n'])
  })

  it('tells of a status that comes long after the output has ended, and of signals', async (t) => {
    const late = 'exec >&- 2>&-; read line; exit 9'
    const keyboard = new Keyboard()
    keyboard.input.end('go\n')
    equal(await session(t, keyboard, late), 9)
    equal(await session(t, new Keyboard(), 'kill -TERM $$'), 143)
    equal(statusOf({ kind: 'signal', name: 'KILL', core: false, text: '' }), 137)
    equal(statusOf(undefined), LOST)
  })

  it('moves many bytes both ways and keeps each', async (t) => {
    const keyboard = new Keyboard()
    const bytes = randomBytes(8_000_000)
    keyboard.input.end(bytes)
    equal(await session(t, keyboard, 'cat'), 0)
    equal(digest(keyboard.out), digest(bytes))
  })

  it('waits for a reader of ours that is slow, and does not fill memory meanwhile', async (t) => {
    const keyboard = new Keyboard()
    let held = 0
    let most = 0
    const slow = new Writable({
      highWaterMark: 16 * 1024,
      write: (chunk: Buffer, _, done) => {
        held += chunk.length
        most = Math.max(most, slow.writableLength)
        setImmediate(done)
      },
    })
    const streams: Streams = { input: keyboard.input, output: slow, errors: keyboard.errors }
    const { connection } = await connect(t)
    const command = Buffer.from('head -c 4000000 /dev/zero')
    const request = { command, pty: false, env: {}, forwardAgent: false }
    equal(await runSession(connection, request, streams), 0)
    equal(held, 4_000_000)
    ok(most < 128 * 1024, `${most}`)
  })

  it('gives the node a terminal, follows its size, and takes raw mode back', async (t) => {
    const keyboard = new Keyboard(true)
    const running = session(
      t,
      keyboard,
      'trap "stty size; exit 4" WINCH; echo $TERM; stty size; while :; do sleep 0.01; done',
      { pty: true },
    )
    await keyboard.sees(/vt100\r\n20 90\r\n/)
    deepEqual(keyboard.raws, [true])
    keyboard.size = { columns: 133, rows: 50 }
    keyboard.resized()
    equal(await running, 4)
    match(keyboard.out.toString(), /50 133/)
    deepEqual(keyboard.raws, [true, false])
  })

  it('runs a shell, and ends it at ~. while the rest of what is typed goes to the node', async (t) => {
    const keyboard = new Keyboard(true)
    const running = session(t, keyboard, undefined, { pty: true })
    keyboard.input.write("echo 'one''two'; cat\r")
    await keyboard.sees(/onetwo/)
    keyboard.input.write('~?~~x\r')
    await keyboard.sees(/~x\r\n/)
    match(keyboard.err, /Supported escape sequences/)
    keyboard.input.write('~.')
    equal(await running, LOST)
    deepEqual(keyboard.raws, [true, false])
    equal(keyboard.input.listenerCount('data'), 0)
  })

  it('passes variables the node takes', async (t) => {
    const keyboard = new Keyboard()
    const env = { LC_TEST: 'a value', LD_PRELOAD: '/nothing' }
    equal(await session(t, keyboard, 'echo "$LC_TEST,$LD_PRELOAD"', { env }), 0)
    equal(keyboard.out.toString(), 'a value,\n')
  })

  it('lends the ssh-agent when told to, and only then', async (t) => {
    const socket = join(await temporaryFolder(t), 'agent')
    await start(t, 'ssh-agent', ['-D', '-a', socket]).line(/SSH_AUTH_SOCK/)
    const lent = new Forwards({ ...NOTHING, agentSocket: socket })
    const keyboard = new Keyboard()
    const command = 'ssh-add -l; echo "${SSH_AUTH_SOCK:-none}"'
    await session(t, keyboard, command, { forwardAgent: true }, lent)
    match(keyboard.out.toString(), /The agent has no identities/)
    const alone = new Keyboard()
    await session(t, alone, command, {}, new Forwards(NOTHING))
    match(alone.out.toString(), /none/)
    // Asked for, but nothing here to lend: what the node opens is refused.
    const refused = new Keyboard()
    const asks = 'ssh-add -l >/dev/null 2>&1 || echo no agent'
    await session(t, refused, asks, { forwardAgent: true }, new Forwards(NOTHING))
    equal(refused.out.toString(), 'no agent\n')
  })
})

const NOTHING: ForwardOptions = { local: [], remote: [], dynamic: [], failed: () => undefined }

describe('forwarded ports', () => {
  const cleanup = suiteCleanup()
  let address = ''

  before(async () => {
    address = (await startProxy(cleanup, await startSshd(cleanup))).address
  })

  async function forward(
    t: TestContext,
    change: Partial<ForwardOptions>,
  ): Promise<{ connected: NodeConnection; forwards: Forwards }> {
    const tools = await fakeTools(t)
    await loggedInToSsh(tools, [address])
    const login = await requireLogin(tools, new Input([]))
    const wanted = { node: NODE, hostName: `${NODE}.${CLUSTER}`, user: ME }
    const forwards = new Forwards({ ...NOTHING, ...change })
    const connected = await connectNode(tools, login, wanted, forwards)
    t.after(async () => {
      forwards.close()
      await connected.end()
    })
    await forwards.start(connected.connection)
    return { connected, forwards }
  }

  it('lead from here to a place the node reaches, with half-closes', async (t) => {
    const echo = await listen(t, (socket) => void readAll(socket).then((all) => socket.end(all)))
    const port = await freePort()
    const from = { host: '127.0.0.1', port }
    await forward(t, { local: [{ from, to: { host: '127.0.0.1', port: echo.port } }] })
    const bytes = randomBytes(1_000_000)
    const socket = await dial(t, port)
    socket.end(bytes)
    equal(digest(await readAll(socket)), digest(bytes))
  })

  it('say what failed when the place cannot be reached, and go on', async (t) => {
    const [port, nowhere] = [await freePort(), await freePort()]
    const told = Promise.withResolvers<string>()
    await forward(t, {
      local: [{ from: { host: '127.0.0.1', port }, to: { host: '127.0.0.1', port: nowhere } }],
      failed: told.resolve,
    })
    const socket = await dial(t, port)
    equal((await readAll(socket)).length, 0)
    match(await told.promise, /A forwarded connection failed: The other side refused/)
  })

  it('lead from the node to a place here, and nowhere nobody asked for', async (t) => {
    const hello = await listen(t, (socket) => void socket.end('hello'))
    const told: string[] = []
    const { connected, forwards } = await forward(t, {
      remote: [
        { from: { host: '127.0.0.1', port: 0 }, to: { host: '127.0.0.1', port: hello.port } },
      ],
      failed: (text) => void told.push(text),
    })
    const port = Number(/port (\d+)/.exec(told.join())?.[1])
    equal((await readAll(await dial(t, port))).toString(), 'hello')
    // The node listens on a port we did not ask for in these forwards.
    const at = { host: '127.0.0.1', port: 0 }
    const other = await connected.connection.ask({ kind: 'tcpip-forward', at })
    equal((await readAll(await dial(t, other.port ?? 0))).toString(), '')
    forwards.close()
    equal((await readAll(await dial(t, port))).toString(), '')
    await rejects(
      forwards.start(connected.connection).then(() =>
        new Forwards({
          ...NOTHING,
          remote: [{ from: { host: '127.0.0.1', port: hello.port }, to: at }],
        }).start(connected.connection),
      ),
      /does not let you listen/,
    )
  })

  it('are chosen by programs that speak SOCKS 5', async (t) => {
    const hello = await listen(t, (socket) => void socket.end('hello'))
    const port = await freePort()
    await forward(t, { dynamic: [{ host: '127.0.0.1', port }] })
    const socket = await dial(t, port)
    socket.write(Uint8Array.of(5, 1, 0))
    deepEqual([...(await readBytes(socket, 2))], [5, 0])
    const wanted = [5, 1, 0, 1, 127, 0, 0, 1, hello.port >> 8, hello.port & 0xff]
    for (const byte of wanted) socket.write(Uint8Array.of(byte))
    deepEqual([...(await readBytes(socket, 10))].slice(0, 2), [5, 0])
    equal((await readAll(socket)).toString(), 'hello')
    const refused = await dial(t, port)
    const nowhere = await freePort()
    refused.write(Uint8Array.of(5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, nowhere >> 8, nowhere & 0xff))
    deepEqual([...(await readAll(refused))].slice(0, 4), [5, 0, 5, 4])
    const old = await dial(t, port)
    old.write(Uint8Array.of(4, 1, 0, 80))
    equal((await readAll(old)).length, 0)
  })

  it('that are taken are told before anything runs', async (t) => {
    const taken = await listen(t, () => undefined)
    const from = { host: '127.0.0.1', port: taken.port }
    await rejects(forward(t, { dynamic: [from] }), /cannot listen on 127.0.0.1:\d+: .*EADDRINUSE/)
  })
})

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
