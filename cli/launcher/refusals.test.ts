// What the launcher refuses, though its agent asks for it: certificates of others, for others, restricted, locked; requests that are
// none; everybody who is not the agent.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { before, describe, it } from 'node:test'

import { IDENTITY_EXTENSION, identityText } from '../../core/cert/ssh-identity.ts'
import { max } from '../../core/limits.ts'
import { userIdentity } from '../../test/fixtures/certificates.ts'
import { suiteCleanup } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { ending } from '../../test/fixtures/sockets.ts'
import { frame } from '../../workers/framed.ts'
import { type LaunchAsk, launchPaths } from '../../workers/launch-wire.ts'
import {
  AGENT_UID,
  type CertificateWish,
  exec,
  FakeControl,
  newCa,
  say,
  startWorld,
  throwawayLogin,
  visit,
  type World,
} from './launcher.fixture.ts'

const ALICE = userIdentity({ roles: ['ops'] })

const cleanup = suiteCleanup()
/** One for all tests of this file that do not change what it believes. */
let launcher: World

before(async () => {
  launcher = await startWorld(cleanup)
})

describe('the launcher refuses', () => {
  it('a certificate that does not make its bearer this login of this machine now', async (context) => {
    const world = visit(launcher, context)
    const now = BigInt(Math.floor(Date.now() / 1000))
    const carrying = (text: string): CertificateWish => ({
      extensions: { [IDENTITY_EXTENSION]: text },
    })
    const cases: readonly (readonly [RegExp, CertificateWish])[] = [
      [/its CA is not trusted/, { ca: newCa() }],
      [/it has expired/, { validBefore: now - 1n }],
      [/it is not valid yet/, { validAfter: now + 60n }],
      [/it is a host certificate/, { kind: 'host' }],
      [/not for the login "root"/, { principals: ['daemon'] }],
      [/names no principal/, { principals: [] }],
      [/critical option nobody here enforces/, { critical: { 'verify-required': '' } }],
      [/carries no identity/, { extensions: {} }],
      [/carries no identity/, carrying('AAAA')],
      [/another cluster/, { identity: userIdentity({ roles: ['ops'], cluster: 'other.test' }) }],
      [/key id is not the person/, { keyId: 'bob' }],
      [/Refused: /, { identity: userIdentity({ roles: [] }) }],
      [/Refused: /, { identity: userIdentity({ roles: ['no-such-role'] }) }],
    ]
    for (const [reason, wish] of cases)
      await refused(world, { certificate: world.control.certificate('root', wish) }, reason)
    const broken = Uint8Array.from(world.control.certificate('root'))
    broken[40] = (broken[40] ?? 0) ^ 1
    await refused(world, { certificate: broken }, /malformed/)
    await refused(world, { certificate: new Uint8Array(0) }, /malformed/)
    await refused(
      world,
      { node: { ...world.ask('root').node, labels: { env: 'prod' } } },
      /Refused: /,
    )
  })

  it('clients of other addresses than the certificate is for', async (context) => {
    const world = visit(launcher, context)
    const restricted = (list: string): Partial<LaunchAsk> => ({
      certificate: world.control.certificate('root', { critical: { 'source-address': list } }),
    })
    await refused(world, restricted('198.51.100.0/24,10.0.0.1'), /not for clients of this address/)
    await refused(world, restricted('192.0.2.0/24,nonsense'), /names addresses that are none/)
    const { out } = await say(
      world.machine('root', restricted('10.0.0.1,192.0.2.0/24')),
      exec('echo in'),
    )
    assert.equal(out, 'in\n')
    const nowhere = { ...restricted('192.0.2.0/24'), client: { host: '', port: 0 } }
    await refused(world, nowhere, /not for clients of this address/)
  })

  it('every program but the one that the certificate commands', async (context) => {
    const world = visit(launcher, context)
    const critical = { 'force-command': 'echo "forced for $SSH_ORIGINAL_COMMAND"' }
    const certificate = world.control.certificate('root', { critical })
    const machine = world.machine('root', { certificate })
    assert.equal((await say(machine, exec('id; uname'))).out, 'forced for id; uname\n')
    const shell = { program: { kind: 'shell' }, env: {} } as const
    assert.equal((await say(machine, shell)).out, 'forced for \n')
    const sftp = { program: { kind: 'subsystem', name: 'sftp' }, env: {} } as const
    assert.equal((await say(machine, sftp)).out, 'forced for sftp\n')
  })

  it('a terminal, where the certificate does not permit one', async (context) => {
    const world = visit(launcher, context)
    const extensions = { [IDENTITY_EXTENSION]: identityText(ALICE) }
    const certificate = world.control.certificate('root', { extensions })
    const pty = {
      term: '',
      size: { columns: 1, rows: 1, width: 0, height: 0 },
      modes: Buffer.of(0),
    }
    const starting = world.machine('root', { certificate }).start({ ...exec('tty'), pty })
    await assert.rejects(starting, /does not permit a terminal/)
  })

  it('whoever a lock names, from the moment it heard of it, and never an older set again', async (context) => {
    const world = await startWorld(context)
    const machine = world.machine('root')
    const older = world.control.locks()
    const target = { user: 'alice' }
    world.feed.offer(world.control.locks({ locks: [{ name: 'l', createdAtMs: 0, target }] }))
    await eventually(() => refused(world, {}, /lock targeting User:"alice"/))
    world.feed.offer(older)
    await world.process.line(/is refused.*was seen before/)
    await assert.rejects(machine.start(exec('true')), /lock targeting/)
    world.feed.offer(new FakeControl().locks())
    await world.process.line(/is refused.*no valid signature/)
    await assert.rejects(machine.start(exec('true')), /lock targeting/)
  })

  it('credentials that were reset', async (context) => {
    const world = await startWorld(context)
    world.feed.offer(world.control.locks({ generations: { 'user:local/alice': 2 } }))
    await eventually(() => refused(world, {}, /was reset since this login/))
  })

  it('logins that the machine does not have, or that ended, or are root by another name', async (context) => {
    const world = visit(launcher, context)
    const expired = await throwawayLogin(context, ['--expiredate', '2001-01-01'])
    await refused(world, world.ask(expired), /has expired/)
    for (const name of ['no-such-login', '0', '-h', 'root:x', '../root'])
      await refused(world, world.ask(name), /no account|none this machine could have/)
    const toor = await throwawayLogin(context, ['--uid', '0', '--non-unique'])
    await refused(world, world.ask(toor), /another name of root/)
    const closed = await throwawayLogin(context)
    await run('/usr/sbin/usermod', ['--shell', '/nonexistent/shell', closed])
    await refused(world, world.ask(closed), /shell of .* cannot be run/)
  })

  it('what the shell of a closed account says is its answer', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    await run('/usr/sbin/usermod', ['--shell', '/usr/sbin/nologin', login])
    const { out, exit } = await say(world.machine(login), exec('id'))
    assert.match(out, /not available/)
    assert.deepEqual(exit, { kind: 'status', code: 1 })
  })

  it('messages that are too long, cut or of another form', async (context) => {
    const world = visit(launcher, context)
    const path = launchPaths(world.folder).launcher
    const head = Buffer.alloc(4)
    head.writeUInt32BE(max('launchRequestBytesMax') + 1)
    const cases: readonly Uint8Array[] = [
      head,
      Buffer.concat([head, randomBytes(1000)]),
      frame(Buffer.from('no JSON')),
      frame(Buffer.from('{"kind":"program"}')),
      frame(Buffer.from('{"kind":"trust","signers":[],"more":1}')),
      frame(Buffer.from('[]')),
    ]
    for (const bytes of cases) {
      const socket = await dial(path)
      socket.write(bytes)
      assert.equal(await ending(socket), 'end')
    }
    const cut = await dial(path)
    cut.end(frame(Buffer.from('{"kind":"program"}')).subarray(0, 9))
    assert.equal(await ending(cut), 'end')
    assert.equal((await say(world.machine('root'), exec('echo well'))).out, 'well\n')
  })

  it('everybody who is not the agent: its folder lets the agent’s uid through alone', async (context) => {
    const world = visit(launcher, context)
    const path = launchPaths(world.folder).launcher
    const program = `require('net').connect(${JSON.stringify(path)}).on('connect', () => { console.log('in'); process.exit() }).on('error', (e) => console.log(e.code))`
    const as = async (uid: number): Promise<string> => {
      const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
      const { stdout, stderr } = await run('/usr/bin/setpriv', [
        ...ids,
        process.execPath,
        '-e',
        program,
      ])
      return stdout.trim() === '' ? stderr : stdout.trim()
    }
    assert.equal(await as(AGENT_UID), 'in')
    assert.equal(await as(65_534), 'EACCES')
    assert.equal(await as(1), 'EACCES')
  })
})

async function refused(world: World, over: Partial<LaunchAsk>, reason: RegExp): Promise<void> {
  const { ask } = { ask: world.ask('root', over) }
  const certificate = over.certificate ?? world.control.certificate(ask.login)
  const answer = await world.request({
    kind: 'program',
    ask: { ...ask, certificate },
    program: { kind: 'exec', command: Buffer.from('true') },
    env: {},
  })
  assert.equal(answer.kind, 'refused')
  assert.match(answer.kind === 'refused' ? answer.reason : '', reason)
}

/** Until what was handed on has been heard. */
async function eventually(check: () => Promise<void>): Promise<void> {
  for (let round = 0; round < 100; round++) {
    const failure = await check().then(
      () => undefined,
      (error: unknown) => error,
    )
    if (failure === undefined) return
  }
  await check()
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true })
    socket.once('connect', () => resolve(socket)).once('error', reject)
  })
}
