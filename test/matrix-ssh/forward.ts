// Forwardings: ports of either side, a SOCKS proxy, an agent's keys, a machine in between. Each carries data both ways.

import { deepEqual, equal, match } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

import { freePort, listen, readAll, readBytes } from '../fixtures/net.ts'
import { type Program, start } from '../fixtures/processes.ts'
import { type Cell, opensshOnly, type Seat } from './seat.ts'

const BYTES = 1_000_000
/** Nobody listens here. A second free port may be the first one again, which would lead to itself without end. */
const CLOSED = 1
const GONE_MS = 20_000

const LOCAL: Cell = {
  row: 'a port here that leads there (-L)',
  async run(seat, context) {
    const [echo, port] = [await echoing(context), await freePort()]
    const open = await forwarding(seat, context, ['-L', `127.0.0.1:${port}:127.0.0.1:${echo}`])
    await echoes(connect(port, '127.0.0.1'))
    // Several at once, as a browser does.
    await Promise.all([1, 2, 3].map(async () => await echoes(connect(port, '127.0.0.1'))))
    equal(await ended(open), 0)
  },
}

const LOCAL_SOCKET: Cell = {
  row: 'a socket here that leads to a port there (-L)',
  lacks: opensshOnly,
  async run(seat, context) {
    const echo = await echoing(context)
    const path = seat.here('local.sock')
    const open = await forwarding(seat, context, ['-L', `${path}:127.0.0.1:${echo}`])
    await echoes(connect(path))
    equal(await ended(open), 0)
  },
}

const NOWHERE: Cell = {
  row: 'a port here that leads nowhere (-L)',
  async run(seat, context) {
    const port = await freePort()
    const open = await forwarding(seat, context, ['-L', `127.0.0.1:${port}:127.0.0.1:${CLOSED}`])
    equal((await readAll(connect(port, '127.0.0.1'))).length, 0)
    // The session itself goes on.
    equal(await ended(open), 0)
  },
}

const REMOTE: Cell = {
  row: 'a port there that leads here (-R)',
  lacks: opensshOnly,
  async run(seat, context) {
    const echo = await echoing(context)
    const open = await forwarding(seat, context, ['-R', `127.0.0.1:0:127.0.0.1:${echo}`])
    const line = await open.line(/^Allocated port \d+ for remote forward/)
    const port = Number(/\d+/.exec(line)?.[0])
    await echoes(connect(port, '127.0.0.1'))
    equal(await ended(open), 0)
    await refused(port)
  },
}

const SOCKS: Cell = {
  row: 'a SOCKS proxy (-D)',
  async run(seat, context) {
    const [echo, port] = [await echoing(context), await freePort()]
    const open = await forwarding(seat, context, ['-D', `127.0.0.1:${port}`])
    await echoes(await throughSocks(connect(port, '127.0.0.1'), 'localhost', echo))
    equal(await ended(open), 0)
  },
}

const AGENT: Cell = {
  row: 'an agent’s keys (-A)',
  lacks: opensshOnly,
  async run(seat, context) {
    const { key, env } = await agent(seat, context)
    const [kept] = (await seat.run(seat.words('ssh-add', ['-l']), { env })).stdout.split(' key')
    const seen = await seat.exec('ssh-add -l', { env }, ['-A'])
    deepEqual([seen.code, seen.stderr], [0, ''])
    match(seen.stdout, /^256 SHA256:\S+ a key of the test \(ED25519\)\n$/)
    equal(seen.stdout.startsWith(kept ?? 'nothing'), true)
    // To list is not to use: this has the agent sign.
    const used = await seat.exec(
      `cat > '${seat.there('key.pub')}'; ssh-add -T '${seat.there('key.pub')}'`,
      { env, input: key },
      ['-A'],
    )
    deepEqual([used.code, used.stderr], [0, ''])
    const none = await seat.exec('ssh-add -l', { env }, ['-a'])
    equal(none.code, 2)
  },
}

const JUMP: Cell = {
  row: 'a machine in between (-J)',
  lacks: (seat) =>
    opensshOnly(seat) ?? (seat.parts.jump === undefined ? 'there is none here' : undefined),
  async run(seat) {
    const jump = ['-J', seat.parts.jump ?? '']
    const input = randomBytes(BYTES).toString('hex')
    const { code, stdout, stderr } = await seat.exec('cat; exit 5', { input }, jump)
    deepEqual([code, stderr, stdout === input], [5, '', true])
  },
}

export const FORWARD: readonly Cell[] = [LOCAL, LOCAL_SOCKET, NOWHERE, REMOTE, SOCKS, AGENT, JUMP]

/** A session that carries forwardings until its input ends. Its command runs only once they are made. */
async function forwarding(
  seat: Seat,
  context: TestContext,
  flags: readonly string[],
): Promise<Program> {
  const strict = seat.parts.client.openssh ? ['-o', 'ExitOnForwardFailure=yes'] : []
  const [ssh = '', ...words] = seat.ssh([...strict, ...flags], 'echo ready; exec head -n 1')
  const program = start(context, ssh, words, { env: seat.env() })
  await program.line(/^ready$/)
  return program
}

async function ended(open: Program): Promise<number | null> {
  open.write('end\n')
  return (await open.exit).code
}

/** A forwarded port ends with its session, if a moment after its client: until then it takes connections and closes them. */
async function refused(port: number): Promise<void> {
  for (const untilMs = performance.now() + GONE_MS; performance.now() < untilMs; ) {
    const socket = connect(port, '127.0.0.1')
      .resume()
      .on('error', () => undefined)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    try {
      await once(socket, 'connect')
    } catch (error) {
      // Reset: it was taken by a listener that closed before it was looked at.
      match(String(error), /ECONNREFUSED|ECONNRESET/)
      if (String(error).includes('ECONNREFUSED')) return
    }
    socket.end()
    await closed
  }
  throw new Error('the port still takes connections')
}

/** A server at the target's side that sends back what it gets. */
async function echoing(context: TestContext): Promise<number> {
  return (await listen(context, (socket) => void socket.pipe(socket))).port
}

/** Sends a megabyte and its end, and wants it all back. */
async function echoes(socket: Socket): Promise<void> {
  const bytes = randomBytes(BYTES)
  socket.end(bytes)
  equal((await readAll(socket)).equals(bytes), true, 'what came back is not what was sent')
}

/** RFC 1928: no authentication, a name that the far side looks up. */
async function throughSocks(socket: Socket, host: string, port: number): Promise<Socket> {
  socket.write(Uint8Array.of(5, 1, 0))
  deepEqual([...(await readBytes(socket, 2))], [5, 0])
  const name = Buffer.from(host)
  const to = [...name, port >> 8, port & 0xff]
  socket.write(Uint8Array.of(5, 1, 0, 3, name.length, ...to))
  // Version, success, reserved, then an IPv4 address and a port that mean nothing here.
  const [version, reply, , kind] = await readBytes(socket, 10)
  deepEqual([version, reply, kind], [5, 0, 1])
  return socket
}

/** An agent of this client's release that holds a key. */
async function agent(
  seat: Seat,
  context: TestContext,
): Promise<{ readonly key: string; readonly env: NodeJS.ProcessEnv }> {
  const env = { SSH_AUTH_SOCK: seat.here('agent.sock') }
  const [path = '', ...flags] = seat.words('ssh-agent', ['-D', '-a', env.SSH_AUTH_SOCK])
  const program = start(context, path, flags, { env: seat.env() })
  await program.line(/SSH_AUTH_SOCK/)
  const key = seat.here('agent-key')
  const how = ['-q', '-t', 'ed25519', '-N', '', '-C', 'a key of the test', '-f', key]
  equal((await seat.run(['/usr/bin/ssh-keygen', ...how])).code, 0)
  const added = await seat.run(seat.words('ssh-add', ['-q', key]), { env })
  equal(added.code, 0, added.stderr)
  return { key: await readFile(`${key}.pub`, 'utf8'), env }
}
