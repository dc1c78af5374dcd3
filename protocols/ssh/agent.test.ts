// Another SSH server as the machine of a session: one of ours that takes the client as forwarded, and OpenSSH's server. A client at one end,
// a program at the other, two SSH connections between them.

import assert from 'node:assert/strict'
import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import { max } from '../../core/limits.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import type { SshServerAccess } from '../../core/ssh/services.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { dial, freePort, listen } from '../../test/fixtures/net.ts'
import { start } from '../../test/fixtures/processes.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { systemTimers } from '../../workers/timers.ts'
import { ChannelOutputs } from './channel-stream.ts'
import {
  clientKey,
  LOCKED,
  noise,
  outputOf,
  readAll,
  rightWith,
  serveOn,
  session,
  type Client,
  type Serving,
  type SessionChange,
} from './session.fixture.ts'
import { opensshKeys, publicLine } from './transport/openssh.fixture.ts'
import {
  certificate,
  HOST,
  HOST_CA,
  keyOf,
  Openings,
  startPair,
  USER_CA,
} from './transport/pair.fixture.ts'
import type { ConnectOptions } from './transport/connect.ts'

interface Chain {
  readonly front: Serving & Client
  readonly back: Serving
}

const SIZE = { columns: 80, rows: 24, width: 0, height: 0 }

/** A proxy's session whose machine is an agent's session. */
function chain(
  back: SessionChange = {},
  front: SessionChange = {},
  connect: Partial<ConnectOptions> = {},
): Chain {
  const [near, far] = streamPair()
  const certificateShown = clientKey().blob
  const serving = serveOn(far, {
    ...back,
    ssh: { forwarded: { certificate: certificateShown }, record: () => undefined, ...back.ssh },
  })
  const access: SshServerAccess = {
    kind: 'server',
    stream: near,
    key: undefined,
    hostCas: [publicBlob(HOST_CA)],
    hostName: HOST,
  }
  const first = session(
    { ...front, ssh: { reach: () => Promise.resolve(access), ...front.ssh } },
    connect,
  )
  return { front: first, back: serving }
}

async function ended({ front, back }: Chain): Promise<void> {
  ;(await front.connected).connection.end()
  await front.over
  await back.over
  assert.equal(back.machine.ended, true)
}

describe('a session through a proxy', () => {
  it('runs a command at the agent, its bytes both ways, errors apart, its status', async () => {
    const through = chain()
    const { connection } = await through.front.connected
    const channel = await connection.open({ kind: 'session' })
    await channel.request({ kind: 'env', name: 'LANG', value: 'C' })
    const bytes = noise(2_000_000)
    void channel.write(bytes).then(() => channel.end())
    assert.equal(await channel.request({ kind: 'exec', command: Buffer.from('cat') }), true)
    const program = await through.back.machine.program()
    assert.equal(program.request.env['LANG'], 'C')
    assert.ok((await readAll(program.inside)).equals(bytes))
    // Far more errors than output, and nobody waits for the other.
    const errors = noise(1_500_000)
    await Promise.all([
      program.errors.write(errors),
      program.inside.write(bytes),
      program.finish(9),
    ])
    const [output, said] = await outputOf(channel)
    assert.ok(Buffer.from(output, 'latin1').equals(bytes))
    assert.ok(Buffer.from(said, 'latin1').equals(errors))
    await channel.closed
    assert.deepEqual(channel.exit, { kind: 'status', code: 9 })
    await ended(through)
  })

  it('has a terminal with sizes, signals and the recording of the proxy', async () => {
    const through = chain()
    const { connection } = await through.front.connected
    const channel = await connection.open({ kind: 'session' })
    await channel.request({ kind: 'pty', term: 'xterm', size: SIZE, modes: Uint8Array.of(0) })
    assert.equal(await channel.request({ kind: 'shell' }), true)
    const program = await through.back.machine.program()
    assert.equal(program.request.pty?.term, 'xterm')
    await channel.request({ kind: 'window-change', size: { ...SIZE, columns: 132 } })
    channel.notify({ kind: 'signal', name: 'TERM' })
    await program.inside.write(Buffer.from('$ '))
    assert.equal(Buffer.from((await channel.read())?.bytes ?? []).toString(), '$ ')
    await program.finish({ kind: 'signal', name: 'TERM', core: false, text: '' })
    await outputOf(channel)
    await channel.closed
    assert.equal(channel.exit?.kind, 'signal')
    assert.deepEqual([program.sizes.at(-1)?.columns, program.signals], [132, ['TERM']])
    assert.equal(through.front.recorders[0]?.shown.toString(), '$ ')
    await ended(through)
  })

  it('forwards both ways and lends what its client lends', async () => {
    const openings = new Openings()
    const through = chain({}, {}, { handlers: openings })
    const { connection } = await through.front.connected
    const { machine } = through.back
    const to = { host: 'db', port: 5432 }
    const direct = await connection.open({ kind: 'direct-tcpip', to, from: { host: 'x', port: 1 } })
    await direct.write(Buffer.from('question'))
    await direct.end()
    const far = machine.connections[0]?.far
    assert.ok(far)
    assert.equal((await readAll(far)).toString(), 'question')
    const unix = await connection.open({ kind: 'direct-streamlocal', path: '/run/x' })
    assert.deepEqual(machine.connections[1]?.to, { kind: 'unix', path: '/run/x' })
    unix.close()
    const answer = await connection.ask({ kind: 'tcpip-forward', at: { host: '', port: 0 } })
    assert.deepEqual(answer, { granted: true, port: 4321 })
    const channel = await connection.open({ kind: 'session' })
    assert.equal(await channel.request({ kind: 'auth-agent' }), true)
    const x11 = { kind: 'x11', single: false, protocol: 'MIT', cookie: 'ab', screen: 1 } as const
    assert.equal(await channel.request(x11), true)
    await channel.request({ kind: 'exec', command: Buffer.from('xterm') })
    const program = await machine.program()
    assert.equal(program.request.env['SSH_AUTH_SOCK'], '/run/agent.sock')
    assert.equal(program.request.env['DISPLAY'], 'localhost:10.0')
    const kinds: string[] = []
    for (const listener of machine.listeners) {
      const [near] = streamPair()
      listener.connected(near, { host: '127.0.0.1', port: 5 })
      const opening = await openings.next()
      kinds.push(opening.kind.kind)
      opening.accept()
    }
    assert.deepEqual(kinds, ['forwarded-tcpip', 'auth-agent', 'x11'])
    await connection.ask({ kind: 'cancel-tcpip-forward', at: { host: '', port: 4321 } })
    await ended(through)
    assert.equal(machine.listeners[0]?.closed, true)
  })

  it('is refused in the words of the agent', async () => {
    const denied = { ...LOCKED, kind: 'policy', reason: 'not on this machine' } as const
    const through = chain({ host: { authorize: () => Promise.resolve(denied) } })
    await assert.rejects(through.front.connected)
    await Promise.all([through.front.over, through.back.over])
    assert.match(through.front.banner(), /cannot be reached.*not on this machine/)
  })

  it('that the agent ends says why at the terminal', async () => {
    const through = chain()
    const { connection } = await through.front.connected
    const channel = await connection.open({ kind: 'session' })
    await channel.request({ kind: 'exec', command: Buffer.from('sleep') })
    await through.back.machine.program()
    through.back.controller.abort(LOCKED)
    const [, said] = await outputOf(channel)
    assert.match(said, /user alice is locked/)
    connection.end()
    await Promise.all([through.front.over, through.back.over])
  })

  it('does not believe an agent that is another', async () => {
    const front = session({
      ssh: {
        reach: () => {
          const [near, far] = streamPair()
          serveOn(far)
          return Promise.resolve({
            kind: 'server',
            stream: near,
            key: undefined,
            hostCas: [publicBlob(HOST_CA)],
            hostName: 'other.example.com',
          })
        },
      },
    })
    await assert.rejects(front.connected)
    await front.over
    assert.match(front.banner(), /not trusted/)
  })
})

describe('the outputs of another server’s program', () => {
  it('wait here for their reader only so far, while the other is read', async () => {
    const openings = new Openings()
    const pair = startPair({ accept: { serve: () => openings } })
    const { connection } = await pair.client
    const opened = connection.open({ kind: 'session' })
    const far = (await openings.next()).accept()
    const { output, stderr } = new ChannelOutputs(await opened)
    const flood = noise(4 * max('sshWindowStartBytes'))
    let written = false
    const writing = (async () => {
      // Pieces, so that the window could grow with a reader that keeps up.
      for (let at = 0; at < 16; at++) await far.write(flood, true)
      written = true
      await far.write(Buffer.from('out'))
      far.close()
    })()
    const read = output.read()
    for (let turn = 0; turn < 5000; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.equal(written, false, 'all of it was taken for nobody')
    assert.equal((await readAll(stderr)).length, 16 * flood.length)
    await writing
    assert.equal(Buffer.from((await read) ?? []).toString(), 'out')
    assert.equal(await output.read(), undefined)
  })
})

describe('OpenSSH’s server as the machine', () => {
  const USER = userInfo().username

  async function sshd(t: TestContext): Promise<number> {
    const folder = await temporaryFolder(t)
    const host = keyOf('ed25519')
    const path = await opensshKeys(folder, host, certificate(host, { kind: 'host' }))
    const ca = join(folder, 'ca.pub')
    await writeFile(ca, publicLine(publicBlob(USER_CA)))
    if (userInfo().uid === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 })
    const port = await freePort()
    const options = [
      `HostCertificate=${path}-cert.pub`,
      'ListenAddress=127.0.0.1',
      `TrustedUserCAKeys=${ca}`,
      'UsePAM=no',
      'PidFile=none',
      'StrictModes=no',
      'Subsystem=sftp /usr/lib/openssh/sftp-server',
    ].flatMap((option) => ['-o', option])
    const server = start(t, '/usr/sbin/sshd', [
      '-D',
      '-e',
      '-f',
      '/dev/null',
      '-p',
      String(port),
      '-h',
      path,
      ...options,
    ])
    await server.line(/Server listening/)
    return port
  }

  async function through(t: TestContext, port: number): Promise<Serving & Client> {
    const key = keyOf('ed25519')
    const extensions = { 'permit-pty': '', 'permit-port-forwarding': '' }
    const minutes = certificate(key, { principals: [USER], extensions })
    const stream = socketStream(await dial(t, port))
    const access: SshServerAccess = {
      kind: 'server',
      stream,
      key: { certificate: minutes, key },
      hostCas: [publicBlob(HOST_CA)],
      hostName: HOST,
    }
    return session(
      {
        host: { authorize: () => Promise.resolve(rightWith({}, USER)) },
        ssh: { timers: systemTimers, reach: () => Promise.resolve(access) },
      },
      { user: USER, key: clientKey({ principals: [USER] }) },
    )
  }

  it('runs commands and terminals, transfers files, forwards', async (t) => {
    const it = await through(t, await sshd(t))
    const { connection } = await it.connected
    const run = async (command: string, pty: boolean): Promise<[string, string, unknown]> => {
      const channel = await connection.open({ kind: 'session' })
      if (pty)
        await channel.request({ kind: 'pty', term: 'xterm', size: SIZE, modes: Uint8Array.of(0) })
      assert.equal(await channel.request({ kind: 'exec', command: Buffer.from(command) }), true)
      const said = await outputOf(channel)
      await channel.closed
      return [...said, channel.exit]
    }
    assert.deepEqual(await run('echo out; echo err >&2; exit 4', false), [
      'out\n',
      'err\n',
      { kind: 'status', code: 4 },
    ])
    const [screen] = await run('stty size', true)
    assert.match(screen, /24 80/)
    const sftp = await connection.open({ kind: 'session' })
    assert.equal(await sftp.request({ kind: 'subsystem', name: 'sftp' }), true)
    await sftp.write(Buffer.from('000000050100000003', 'hex'))
    const version = Buffer.from((await sftp.read())?.bytes ?? []).subarray(4, 9)
    assert.equal(version.toString('hex'), '0200000003')
    sftp.close()
    const echo = await listen(t, (socket) => void socket.end('hello from behind\n'))
    const to = { host: '127.0.0.1', port: echo.port }
    const direct = await connection.open({ kind: 'direct-tcpip', to, from: to })
    assert.deepEqual(await outputOf(direct), ['hello from behind\n', ''])
    connection.end()
    await it.over
    assert.ok(it.codes().includes('TS021I'))
  })
})
