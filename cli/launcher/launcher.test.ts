// The launcher as a process, as root, with its agent's end: what programs of logins are, see and leave behind.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync } from 'node:fs'
import { before, describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import type { Program } from '../../core/ssh/machine.ts'
import { suiteCleanup } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { exec, readText, say, startWorld, throwawayLogin, type World } from './launcher.fixture.ts'

const MB = 1024 ** 2

describe('a program of a login', () => {
  const cleanup = suiteCleanup()
  let world: World

  before(async () => {
    world = await startWorld(cleanup)
  })

  it('runs in the home of the login, with its groups and no other', async (context) => {
    const login = await throwawayLogin(context)
    const command = exec('id -un; id -Gn; pwd; echo oops >&2; exit 3')
    const { out, err, exit } = await say(world.machine(login), command)
    assert.equal(err, 'oops\n')
    const [name, groups = '', home] = out.split('\n')
    assert.equal(name, login)
    assert.deepEqual(groups.split(' ').sort(), [login, 'games', 'users'].sort())
    assert.match(home ?? '', /home$/)
    assert.deepEqual(exit, { kind: 'status', code: 3 })
  })

  it('has nothing of the launcher: no descriptor, no right, no lowered or raised limit, no variable', async (context) => {
    const login = await throwawayLogin(context)
    const machine = world.machine(login)
    const files = await say(machine, exec('ls /proc/self/fd'))
    // What a child of this test has, which a test's own parents may have handed down.
    const usual = await run('/bin/ls', ['/proc/self/fd'])
    assert.equal(files.out, usual.stdout)
    const status = await say(machine, exec('cat /proc/self/status'))
    assert.match(status.out, /^CapEff:\s+0+$/m)
    assert.match(status.out, /^CapPrm:\s+0+$/m)
    // Or sudo would be of no use.
    assert.match(status.out, /^NoNewPrivs:\s+0$/m)
    assert.match(status.out, /^SigIgn:\s+0+$/m)
    const limits = await say(machine, exec('ulimit -S -n; ulimit -S -c; ulimit -H -c; umask'))
    const [open, core, , umask] = limits.out.split('\n')
    assert.deepEqual([open, core, umask], ['1024', '0', '0022'])
    const env = await say(
      machine,
      exec('env', { LD_PRELOAD: '/x', PATH: '/x', LC_TIME: 'C.UTF-8' }),
    )
    const byName = (a = '', b = ''): number => (a < b ? -1 : 1)
    const names = env.out
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('=')[0])
    assert.deepEqual(names.sort(byName), [...ENVIRONMENT, 'LC_TIME'].sort(byName))
    assert.match(env.out, /^PATH=\/usr\/local\/bin:/m)
    assert.match(env.out, /^SSH_CONNECTION=192\.0\.2\.7 50022 192\.0\.2\.1 3022$/m)
    assert.match(env.out, /^SSH_SLUICE_USER=alice$/m)
  })

  it('keeps what it said when it leaves its input unread', async () => {
    const program = await world.machine('root').start(exec('head -c 3; exec <&-; echo; echo end'))
    const writing = program.io.write(Buffer.alloc(MB, 'x')).catch(() => undefined)
    assert.equal(await readText(program.io), 'xxx\nend\n')
    assert.deepEqual(await program.exit, { kind: 'status', code: 0 })
    await writing
  })

  it('hears the end of its input, and its end is heard', async () => {
    const { out } = await say(world.machine('root'), exec('cat; echo end'), 'all of it ')
    assert.equal(out, 'all of it end\n')
  })

  it('passes 100 MB each way unchanged, at the pace of the slower', async () => {
    const program = await world.machine('root').start(exec('cat'))
    const block = randomBytes(MB)
    const [sent, received] = [createHash('sha256'), createHash('sha256')]
    const write = async (): Promise<void> => {
      for (let count = 0; count < 100; count++) {
        sent.update(block)
        await program.io.write(block)
      }
      await program.io.end()
    }
    const writing = write()
    let bytes = 0
    for (
      let chunk = await program.io.read();
      chunk !== undefined;
      chunk = await program.io.read()
    ) {
      received.update(chunk)
      bytes += chunk.length
    }
    await writing
    assert.equal(bytes, 100 * MB)
    assert.equal(received.digest('hex'), sent.digest('hex'))
    assert.deepEqual(await program.exit, { kind: 'status', code: 0 })
  })

  it('may be twenty at once', async () => {
    const machine = world.machine('root')
    const all = Array.from({ length: 20 }, (_, at) =>
      say(machine, exec(`echo ${at}; cat`), `in ${at}`),
    )
    const said = await Promise.all(all)
    assert.deepEqual(
      said.map(({ out }) => out),
      said.map((_, at) => `${at}\nin ${at}`),
    )
  })

  it('is given its command as bytes, whatever they are', async () => {
    const command = Buffer.concat([
      Buffer.from("printf '%s' '"),
      Buffer.of(0xff, 0x81, 0x5c, 0x0a),
      Buffer.from("é' | od -An -tx1"),
    ])
    const { out } = await say(world.machine('root'), {
      program: { kind: 'exec', command },
      env: {},
    })
    assert.equal(out.trim(), 'ff 81 5c 0a c3 a9')
  })

  it('is signalled with all it started, and its signal is its end', async () => {
    const program = await world.machine('root').start(exec('sleep 1000 & echo $!; wait'))
    const child = Number(Buffer.from((await program.io.read()) ?? []).toString())
    program.signal('NONSENSE')
    program.signal('TERM')
    const exit = await program.exit
    assert.deepEqual(exit, { kind: 'signal', name: 'TERM', core: false, text: '' })
    await until(() => !existsSync(`/proc/${child}`), 'what it started is gone')
  })

  it('is hung up when the session ends', async () => {
    const machine = world.machine('root')
    const program = await machine.start(exec('sleep 1000 & echo $!; wait'))
    const child = Number(Buffer.from((await program.io.read()) ?? []).toString())
    machine.end()
    await until(() => !existsSync(`/proc/${child}`), 'the program is gone')
  })

  it('that is a login shell knows it', async (context) => {
    const login = await throwawayLogin(context)
    const shell = { program: { kind: 'shell' }, env: {} } as const
    const { out } = await say(
      world.machine(login),
      shell,
      'echo "$0"; shopt -q login_shell && echo login\n',
    )
    assert.equal(out, '-bash\nlogin\n')
  })

  it('begins in / with a word about it when the login cannot enter its home', async (context) => {
    const login = await throwawayLogin(context)
    const home = (await say(world.machine(login), exec('pwd'))).out.trim()
    // As root it could be entered: it is the login that must.
    chmodSync(home, 0)
    const { out, err } = await say(world.machine(login), exec('pwd'))
    assert.equal(out, '/\n')
    assert.match(err, /Could not enter the home folder/)
  })

  it('with sftp is the machine’s sftp-server', async () => {
    const sftp = { program: { kind: 'subsystem', name: 'sftp' }, env: {} } as const
    const program = await world.machine('root').start(sftp)
    // SSH_FXP_INIT of version 3 (draft-ietf-secsh-filexfer-02 section 4).
    await program.io.write(Buffer.from('000000050100000003', 'hex'))
    const answer = Buffer.from((await program.io.read()) ?? [])
    assert.equal(answer.subarray(4, 9).toString('hex'), '0200000003')
    program.end()
  })

  it('outlives a launcher that is killed: it has its own connections', async (context) => {
    const own = await startWorld(context)
    const program = await own.machine('root').start(exec('read line; echo "still $line"; cat'))
    await own.process.kill('SIGKILL')
    await program.io.write(Buffer.from('here\n'))
    await program.io.end()
    assert.equal(await readText(program.io), 'still here\n')
    // Nobody is left who would know better.
    assert.deepEqual(await program.exit, { kind: 'status', code: 255 })
  })

  it('leaves nothing behind: no descriptor, no child, no entry', async (context) => {
    await quiet(world)
    const before = await world.counts()
    const login = await throwawayLogin(context)
    for (let round = 0; round < 3; round++) {
      const machine = world.machine(login)
      await Promise.all(Array.from({ length: 5 }, () => say(machine, exec('cat'), 'x')))
      const left: Program = await machine.start(exec('sleep 1000'))
      await assert.rejects(world.machine('nobody-such').start(exec('true')))
      machine.end()
      await left.exit
    }
    await quiet(world)
    assert.deepEqual(await world.counts(), before)
    const children = await run('/bin/ps', ['-o', 'args=', '--ppid', String(world.process.pid)])
    assert.deepEqual(
      children.stdout.split('\n').filter((line) => !/terminals-main|^$/.test(line)),
      [],
    )
  })

  it('that ended while another holds its output ends the session when that is silent', async (context) => {
    const program = await world.machine('root').start(exec('sleep 1000 & echo $!; exit 5'))
    assert.deepEqual(await program.exit, { kind: 'status', code: 5 })
    const pid = Number(Buffer.from((await program.io.read()) ?? []).toString())
    context.mock.timers.enable({ apis: ['setTimeout'] })
    // From the call on, each of these waits.
    const reading = [program.io.read(), program.stderr?.read() ?? Promise.reject(new Error('none'))]
    context.mock.timers.tick(max('launchLingerMs'))
    assert.deepEqual(await Promise.all(reading), [undefined, undefined])
    assert.ok(existsSync(`/proc/${pid}`))
    process.kill(pid, 'SIGKILL')
  })
})

describe('a launcher without root', () => {
  it('serves its own login, terminals and forwarding too, and no other', async (context) => {
    const own = await throwawayLogin(context)
    const world = await startWorld(context, own)
    const machine = world.machine(own)
    assert.equal((await say(machine, exec('id -un'))).out, `${own}\n`)
    const size = { columns: 80, rows: 24, width: 0, height: 0 }
    const pty = { term: 'xterm', size, modes: Buffer.of(0) }
    assert.match((await say(machine, { ...exec('tty'), pty })).out, /^\/dev\/pts\//)
    const at = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
    assert.ok((await machine.listen(at, () => {})).port > 0)
    for (const other of ['root', 'daemon'])
      await assert.rejects(world.machine(other).start(exec('true')), /runs without root/)
  })
})

const ENVIRONMENT = [
  'HOME',
  'USER',
  'LOGNAME',
  'SHELL',
  'PATH',
  'PWD',
  'SHLVL',
  '_',
  'SSH_CLIENT',
  'SSH_CONNECTION',
  'SSH_SESSION_ID',
  'SSH_SESSION_WEBPROXY_ADDR',
  ...['USER', 'LOGIN', 'CLUSTER_NAME', 'HOST_UUID'].flatMap((name) => [
    `SSH_SLUICE_${name}`,
    `SSH_TELEPORT_${name}`,
  ]),
]

/** Until nothing but the feed of trust is connected. */
async function quiet(world: Awaited<ReturnType<typeof startWorld>>): Promise<void> {
  for (;;) {
    const { connections, programs, helpers } = await world.counts()
    if (connections <= 1 && programs === 0 && helpers === 0) return
  }
}
