// SSH where it ends at the proxy: the cluster records there, or the server has no agent. The session is the proxy's; what runs is the
// agent's, which decides again, or a stock sshd's, which believes a certificate of minutes.

import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { before, describe, it } from 'node:test'

import { EXIT, exitStatus } from '../../cli/exit.ts'
import { keySha256 } from '../../core/cert/key.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import { opensshKeys } from '../../protocols/ssh/transport/openssh.fixture.ts'
import { channelStream } from '../../protocols/ssh/channel-stream.ts'
import { suiteCleanup, temporaryFolder } from '../fixtures/files.ts'
import type { Audited } from '../fixtures/members.ts'
import { freePort } from '../fixtures/net.ts'
import { run as runProgram, start } from '../fixtures/processes.ts'
import { until } from '../fixtures/sockets.ts'
import { run, type SshWorld, sshWorld } from '../fixtures/ssh-world.ts'

const PROXY = '127.0.0.1'

describe('a node behind an agent, in proxy mode', () => {
  const cleanup = suiteCleanup()
  let world: SshWorld

  before(async () => {
    const yaml = 'sluice: { insecure_keys: true }\nauth_service: { session_recording: proxy }\n'
    world = await sshWorld(cleanup, yaml)
  })

  it('runs programs as the login; the proxy tells of the session, the agent that it was forwarded', async () => {
    const connected = await world.connect({ host: PROXY })
    assert.equal(await run(connected, 'id -un'), `${world.login}\n`)
    connected.connection.end()
    const begun = await world.proxy.events.have('ssh.connection', { success: true })
    assert.deepEqual(
      [begun['user'], begun['login'], begun['target_name']],
      ['alice', world.login, 'web-1'],
    )
    const sid = String(begun['sid'])
    await world.proxy.events.have('exec', { command: 'id -un' })
    const forwarded = await world.agent.events.have('session.forward', { sid, success: true })
    assert.equal(forwarded['forwarded_by'], world.proxy.member.id)
    assert.ok(!world.proxy.events.all.some(({ name }) => name === 'session.relay'))
  })

  it('is reached through a jump, whose inner SSH ends at the proxy as well', async () => {
    const outer = await world.jump()
    const from = { host: '127.0.0.1', port: 1 }
    const kind = { kind: 'direct-tcpip', to: { host: 'web-1', port: 22 }, from } as const
    const channel = await outer.connection.open(kind)
    const inner = await world.over(channelStream(channel), world.login, PROXY)
    assert.equal(await run(inner, 'echo jumped'), 'jumped\n')
    await world.proxy.events.have('exec', { command: 'echo jumped' })
    outer.connection.end()
    await until(() => world.agent.agent.sessions === 0, 'the agent has no session')
    const begun = await world.proxy.events.have('exec', { command: 'echo jumped' })
    const isEnd = ({ code, fields }: Audited): boolean =>
      code === 'SLR007I' && fields['sid'] === begun['sid']
    await until(() => world.proxy.events.all.some(isEnd), 'the proxy tells of the end')
  })

  it('records a terminal at the proxy', async () => {
    const { connection } = await world.connect({ host: PROXY })
    const channel = await connection.open({ kind: 'session' })
    const size = { columns: 80, rows: 24, width: 0, height: 0 }
    assert.ok(await channel.request({ kind: 'pty', term: 'xterm', size, modes: new Uint8Array(0) }))
    assert.ok(await channel.request({ kind: 'shell' }))
    await channel.write(Buffer.from('exit\n'))
    while ((await channel.read()) !== undefined);
    const began = await world.proxy.events.have('session.start', { recorded: true })
    assert.equal(began['terminal_size'], '80:24')
    connection.end()
  })

  it('ends a way on which no key was proved yet by a lock on the key of its login', async () => {
    const { answer, socket } = await world.wayTo('web-1')
    assert.equal(answer, 'ok')
    const spki = new X509Certificate(world.alice.certificate).publicKey
    const key_sha256 = keySha256(spki.export({ format: 'der', type: 'spki' }))
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'key' },
      spec: { target: { key_sha256 } },
    }
    await world.control.admin.call('resource-create', { kind: 'lock', document })
    socket.on('error', () => {}).resume()
    await until(() => socket.readableEnded || socket.destroyed, 'the way is closed')
    await world.control.admin.call('resource-delete', { kind: 'lock', name: 'key' })
  })

  it('lets nobody in as a login that is not theirs, and ends with a lock', async () => {
    await assert.rejects(world.connect({ as: 'root', host: PROXY }), /not for the login “root”/)
    const { connection } = await world.connect({ host: PROXY })
    const said: string[] = []
    const channel = await connection.open({ kind: 'session' })
    const command = Buffer.from('exec tail -f /dev/null')
    assert.ok(await channel.request({ kind: 'exec', command }))
    await world.control.admin.call('resource-create', {
      kind: 'lock',
      document: {
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: 'alice' }, message: 'audit' },
      },
    })
    for (let data = await channel.read(); data !== undefined; data = await channel.read())
      said.push(Buffer.from(data.bytes).toString())
    assert.match(said.join(''), /is in force/)
    await until(() => world.agent.agent.sessions === 0, 'the agent has no session')
  })
})

describe('a server without an agent', () => {
  const cleanup = suiteCleanup()
  let world: SshWorld

  before(async () => {
    world = await sshWorld(cleanup)
    await addNode('old-1', await stockServer(world))
    await addNode('off-1', await freePort())
  })

  async function addNode(name: string, port: number): Promise<void> {
    await world.control.admin.call('resource-create', {
      kind: 'node',
      document: {
        kind: 'node',
        version: 'v2',
        sub_kind: 'openssh',
        metadata: { name, labels: { env: 'test' } },
        spec: { addr: `127.0.0.1:${port}`, hostname: name },
      },
    })
  }

  /** The inventory is on its way to the proxy. */
  async function untilKnown(node: string): Promise<void> {
    let answer = ''
    while (answer !== 'ok') {
      const way = await world.wayTo(node)
      answer = way.answer
      way.socket.destroy()
    }
  }

  /** An sshd of the system that trusts the cluster, with a host certificate of it. */
  async function stockServer({ control, login }: SshWorld): Promise<number> {
    // A new account is locked by its password, which sshd without PAM heeds.
    assert.equal((await runProgram('/usr/sbin/usermod', ['-p', '*', login])).code, 0)
    const folder = await temporaryFolder(cleanup)
    const { privateKey } = generateKeyPairSync('ed25519')
    const publicKey = Buffer.from(publicBlob(privateKey)).toString('base64')
    const wish = { hosts: ['old-1'], publicKey, ttlMs: 3_600_000 }
    const signed = await control.admin.call('auth-sign-ssh-host', wish)
    const certificate = Buffer.from(signed.certificate, 'base64')
    const key = await opensshKeys(folder, privateKey, certificate, 'host')
    const { pem } = await control.admin.call('auth-export', { type: 'openssh' })
    const ca = path.join(folder, 'ca.pub')
    await writeFile(ca, pem)
    if (!existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 })
    const port = await freePort()
    const options = [
      'ListenAddress=127.0.0.1',
      `TrustedUserCAKeys=${ca}`,
      `HostCertificate=${key}-cert.pub`,
      `AllowUsers=${login}`,
      'UsePAM=no',
      'PidFile=none',
      'StrictModes=no',
    ].flatMap((option) => ['-o', option])
    const words = ['-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', key, ...options]
    const sshd = start(cleanup, '/usr/sbin/sshd', words)
    await sshd.line(/Server listening/)
    return port
  }

  it('is reached by whoever may, in any recording mode, and the proxy alone tells of it', async () => {
    await untilKnown('old-1')
    const connected = await world.connect({ node: 'old-1', host: PROXY })
    assert.equal(await run(connected, 'id -un'), `${world.login}\n`)
    connected.connection.end()
    const begun = await world.proxy.events.have('ssh.connection', { success: true })
    assert.deepEqual([begun['target_name'], begun['login']], ['old-1', world.login])
    await world.proxy.events.have('exec', { command: 'id -un' })
    assert.ok(!world.agent.events.all.some(({ name }) => name === 'session.forward'))
  })

  it('that is off is not reached, which is no refusal: tsh ends with another status', async () => {
    await untilKnown('off-1')
    const failure: unknown = await world
      .connect({ node: 'off-1', host: PROXY })
      .catch((error: unknown) => error)
    assert.match(String(failure), /cannot be reached/)
    assert.equal(exitStatus(failure), EXIT.unreachable)
    const refused: unknown = await world
      .connect({ node: 'off-1', host: PROXY, as: 'root' })
      .catch((error: unknown) => error)
    assert.equal(exitStatus(refused), EXIT.denied)
  })
})
