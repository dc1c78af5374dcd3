// OpenSSH's own programs against a session of ours on loopback, on a machine that runs commands as whoever runs the tests: what people
// and scripts do, what each refusal looks like on their screen, and a lock in the middle.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import type { Host, SshGrant } from '../../core/protocol.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import type { SshServices } from '../../core/ssh/services.ts'
import { atEnd, temporaryFolder } from '../../test/fixtures/files.ts'
import { freePort, listen } from '../../test/fixtures/net.ts'
import { run, start, type Output, type Program } from '../../test/fixtures/processes.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { systemTimers } from '../../workers/timers.ts'
import { LocalMachine } from './machine.fixture.ts'
import { ALL_PERMITTED, LOCKED, serveOn, type Serving } from './session.fixture.ts'
import { opensshKeys } from './transport/openssh.fixture.ts'
import { certificate, HOST, HOST_CA, keyOf } from './transport/pair.fixture.ts'

interface Change {
  readonly grant?: Partial<SshGrant>
  readonly host?: Partial<Host>
  readonly ssh?: Partial<SshServices>
}

interface Setting {
  readonly folder: string
  readonly machine: LocalMachine
  readonly servings: Serving[]
  /** Options of every client. */
  readonly options: readonly string[]
  readonly port: number
  ssh(args: readonly string[], input?: string): Promise<Output>
  /** One that goes on. */
  startSsh(args: readonly string[]): Program
  codes(): string[]
}

async function setting(t: TestContext, change: Change = {}): Promise<Setting> {
  const folder = await temporaryFolder(t)
  const machine = new LocalMachine(folder)
  atEnd(t, () => machine.end())
  const servings: Serving[] = []
  const { port } = await listen(t, (socket) => {
    const ssh: Partial<SshServices> = {
      timers: systemTimers,
      reach: () => Promise.resolve({ kind: 'machine', machine }),
      ...change.ssh,
    }
    servings.push(serveOn(socketStream(socket), { ...change, ssh }))
  })
  const options = await clientOptions(folder)
  const args = (more: readonly string[]): string[] => [...options, '-p', String(port), ...more]
  const env = { PATH: process.env['PATH'], LC_TEST: 'of the client', SECRET: 'x' }
  return {
    folder,
    machine,
    servings,
    options,
    port,
    ssh: (more, input) =>
      run('/usr/bin/ssh', args(more), { env, ...(input === undefined ? {} : { input }) }),
    startSsh: (more) => start(t, '/usr/bin/ssh', args(more)),
    codes: () => servings.flatMap((each) => each.codes()),
  }
}

async function clientOptions(folder: string): Promise<string[]> {
  const key = keyOf('ed25519')
  const identity = await opensshKeys(folder, key, certificate(key, { extensions: ALL_PERMITTED }))
  const known = join(folder, 'known_hosts')
  const blob = Buffer.from(publicBlob(HOST_CA)).toString('base64')
  await writeFile(known, `@cert-authority ${HOST} ssh-ed25519 ${blob}\n`)
  const options = [
    `HostKeyAlias=${HOST}`,
    `UserKnownHostsFile=${known}`,
    'GlobalKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=yes',
    'IdentitiesOnly=yes',
    'PasswordAuthentication=no',
    'User=alice',
    `IdentityFile=${identity}`,
    'ControlMaster=no',
  ]
  return ['-F', '/dev/null', ...options.flatMap((option) => ['-o', option])]
}

describe('OpenSSH’s programs', () => {
  it('run commands: output, errors, status, signals, an empty input, the environment', async (t) => {
    const s = await setting(t)
    const output = await s.ssh(['127.0.0.1', 'echo out; echo err >&2; exit 7'])
    assert.deepEqual(output, { code: 7, signal: null, stdout: 'out\n', stderr: 'err\n' })
    const killed = await s.ssh(['127.0.0.1', 'kill -KILL $$'])
    assert.equal(killed.code, 255)
    assert.equal((await s.ssh(['127.0.0.1', 'wc -c'], '')).stdout, '0\n')
    const sent = ['-o', 'SendEnv=LC_TEST SECRET', '127.0.0.1']
    const env = await s.ssh([...sent, 'echo $LC_TEST,$SECRET,$SSH_TELEPORT_USER'])
    assert.equal(env.stdout, 'of the client,,alice\n')
    assert.equal((await s.ssh(['127.0.0.1', 'yes | head -c 5000000 | wc -c'])).stdout, '5000000\n')
    // A program that reads a part of its input and ends does not hold its client.
    const file = join(s.folder, 'large')
    await writeFile(file, Buffer.alloc(4_000_000))
    const head = await run('/bin/sh', [
      '-c',
      'file=$1; shift; exec "$@" <"$file"',
      'sh',
      file,
      '/usr/bin/ssh',
      ...s.options,
      '-p',
      String(s.port),
      '127.0.0.1',
      'head -c 3 | wc -c',
    ])
    assert.equal(head.stdout, '3\n', head.stderr)
    for (const serving of s.servings) await serving.over
    assert.equal(s.codes().filter((code) => /^T3002[IE]$/.test(code)).length, 6)
  })

  it('have terminals: size, shell and its status, recorded as shown', async (t) => {
    const s = await setting(t)
    const shell = await s.ssh(['-tt', '127.0.0.1'], 'echo typed\nexit 5\n')
    assert.equal(shell.code, 5, shell.stderr)
    assert.match(shell.stdout, /^\d+x\d+[\s\S]*typed/)
    await s.servings[0]?.over
    const [recorder] = s.servings[0]?.recorders ?? []
    assert.match(recorder?.shown.toString() ?? '', /^\d+x\d+[\s\S]*typed/)
    assert.deepEqual(s.codes(), ['T2000I', 'T2003I', 'T2006I', 'T2004I'])
  })

  it('copy files with sftp, scp and scp -O, each told of', async (t) => {
    const s = await setting(t)
    const from = join(s.folder, 'from')
    const bytes = randomBytes(700_001)
    await writeFile(from, bytes)
    const common = [...s.options, '-P', String(s.port)]
    for (const old of [[], ['-O']]) {
      const [up, down] = [join(s.folder, `up${old.length}`), join(s.folder, `down${old.length}`)]
      for (const [source, to] of [
        [from, `alice@127.0.0.1:${up}`],
        [`alice@127.0.0.1:${up}`, down],
      ] as const) {
        const copied = await run('/usr/bin/scp', [...common, ...old, source, to])
        assert.equal(copied.code, 0, copied.stderr)
      }
      assert.ok((await readFile(down)).equals(bytes))
    }
    const batch = join(s.folder, 'batch')
    const commands = ['mkdir d', 'put from d/f', 'rename d/f d/g', 'ls d', 'rm d/g', 'rmdir d']
    await writeFile(batch, [`cd ${s.folder}`, `lcd ${s.folder}`, ...commands, ''].join('\n'))
    const sftp = await run('/usr/bin/sftp', [...common, '-b', batch, '127.0.0.1'])
    assert.equal(sftp.code, 0, sftp.stderr)
    for (const serving of s.servings) await serving.over
    const codes = s.codes()
    const counted = (code: string): number => codes.filter((each) => each === code).length
    assert.deepEqual(['T3005I', 'T3004I', 'T3001I', 'TS021I'].map(counted), [1, 1, 3, 3])
    for (const code of ['TS012I', 'TS016I', 'TS009I', 'TS010I', 'TS011I', 'TS013I'])
      assert.equal(counted(code), 1, code)
    assert.equal(counted('SLH002E'), 0)
    const closed = s.servings.flatMap(({ told }) => told).filter(({ code }) => code === 'TS002I')
    const amounts = closed.map(({ fields }) => [fields['bytes_read'], fields['bytes_written']])
    assert.deepEqual(amounts, [
      [0, bytes.length],
      [bytes.length, 0],
      [0, bytes.length],
    ])
  })

  it('forward: -W, -L, -D and -R, by port and by path', async (t) => {
    const s = await setting(t)
    const echo = await listen(t, (socket) => void socket.end('hello from behind\n'))
    const through = await s.ssh(['-W', `127.0.0.1:${echo.port}`, '127.0.0.1'])
    assert.equal(through.stdout, 'hello from behind\n', through.stderr)
    const [local, dynamic, remote] = [await freePort(), await freePort(), await freePort()]
    const path = join(s.folder, 'listen.sock')
    const client = s.startSsh([
      '-v',
      '-N',
      '-L',
      `127.0.0.1:${local}:127.0.0.1:${echo.port}`,
      '-D',
      `127.0.0.1:${dynamic}`,
      '-R',
      `${remote}:127.0.0.1:${echo.port}`,
      '-R',
      `${path}:127.0.0.1:${echo.port}`,
      '127.0.0.1',
    ])
    await client.line(
      /remote forward success.*listen.*sock|All remote forwarding requests processed/,
    )
    assert.equal(await said({ port: local }), 'hello from behind\n')
    assert.equal(await said({ port: remote }), 'hello from behind\n')
    assert.equal(await said({ path }), 'hello from behind\n')
    const socks = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, echo.port >> 8, echo.port & 255])
    assert.match(await said({ port: dynamic }, socks), /hello from behind\n$/)
    await client.kill()
    for (const serving of s.servings) await serving.over
    const counts = (code: string): number => s.codes().filter((each) => each === code).length
    assert.deepEqual([counts('T3003I'), counts('T3003E')], [7, 0])
  })

  it('lend their ssh-agent to programs, and nothing once they are gone', async (t) => {
    const s = await setting(t)
    const socket = join(s.folder, 'agent.sock')
    const agent = start(t, '/usr/bin/ssh-agent', ['-D', '-a', socket])
    await agent.line(/SSH_AUTH_SOCK/)
    const env = { ...process.env, SSH_AUTH_SOCK: socket }
    assert.equal((await run('/usr/bin/ssh-add', ['-q', join(s.folder, 'id')], { env })).code, 0)
    const args = [
      ...s.options,
      '-A',
      '-p',
      String(s.port),
      '127.0.0.1',
      'ssh-add -l; echo $SSH_AUTH_SOCK',
    ]
    const output = await run('/usr/bin/ssh', args, { env })
    assert.match(output.stdout, /ED25519/, output.stderr)
    await s.servings[0]?.over
    assert.ok(s.codes().includes('T3013I'))
    const path = output.stdout.trim().split('\n').at(-1) ?? ''
    await assert.rejects(stat(path))
  })

  it('show people why they are refused', async (t) => {
    const denied = { ...LOCKED, kind: 'policy', reason: 'no role of yours allows it' } as const
    const s = await setting(t, { host: { authorize: () => Promise.resolve(denied) } })
    const output = await s.ssh(['127.0.0.1', 'id'])
    assert.equal(output.code, 255)
    const sentence = 'denied by Sluice policy (decision 01JLOCK): no role of yours allows it.'
    assert.ok(output.stderr.startsWith(sentence), output.stderr)
    const quiet = await s.ssh(['-o', 'LogLevel=ERROR', '127.0.0.1', 'id'])
    assert.match(quiet.stderr, /disconnect.*denied by Sluice policy.*no role of yours allows it/i)
  })

  it('show what a session may not do', async (t) => {
    const none = {
      forwardAgent: false,
      x11: false,
      localForwarding: false,
      remoteForwarding: false,
      fileCopy: false,
    }
    const s = await setting(t, { grant: none })
    const common = [...s.options, '-P', String(s.port)]
    for (const old of [[], ['-O']]) {
      const copied = await run('/usr/bin/scp', [
        ...common,
        ...old,
        import.meta.filename,
        '127.0.0.1:/tmp/x',
      ])
      assert.notEqual(copied.code, 0)
      assert.match(copied.stderr, /Sluice: copying files is not allowed by your roles/)
    }
    const through = await s.ssh(['-W', '127.0.0.1:1', '127.0.0.1'])
    assert.match(through.stderr, /not allowed by your roles \(ssh_port_forwarding.local\)/)
    const remote = ['-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:1', '127.0.0.1', 'id']
    assert.match((await s.ssh(remote)).stderr, /remote port forwarding failed/)
    assert.match((await s.ssh(['-s', '127.0.0.1', 'netconf'])).stderr, /subsystem request failed/)
  })

  it('are told of a lock in the middle, at the terminal and at the end', async (t) => {
    const s = await setting(t)
    const client = s.startSsh(['-tt', '127.0.0.1', 'echo up; cat'])
    await client.line(/up/)
    const [serving] = s.servings
    serving?.controller.abort(LOCKED)
    const output = await client.exit
    assert.equal(output.code, 255)
    assert.match(
      output.stderr,
      /session ended by Sluice policy \(decision 01JLOCK\): user alice is locked/,
    )
    await serving?.over
  })
})

/** Everything that is heard at a place, after `first` was said. */
function said(
  place: { readonly port: number } | { readonly path: string },
  first: Uint8Array = Buffer.alloc(0),
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const where = 'port' in place ? { host: '127.0.0.1', port: place.port } : place
  let heard = ''
  const socket = connect(where)
  socket
    .once('connect', () => socket.write(first))
    .setEncoding('latin1')
    .on('data', (text: string) => {
      heard += text
    })
    .once('end', () => resolve(heard))
    .once('error', reject)
  return promise
}
