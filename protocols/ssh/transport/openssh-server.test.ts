// Our client against OpenSSH's own server on loopback, with user and host certificates of each kind: commands, data both ways through
// keys that the server changes, forwardings, and whom either side refuses.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import { publicBlob } from '../../../core/ssh/key.ts'
import { suiteCleanup, temporaryFolder } from '../../../test/fixtures/files.ts'
import { dial, freePort, listen } from '../../../test/fixtures/net.ts'
import { start, type Program } from '../../../test/fixtures/processes.ts'
import { lentStream } from '../../../workers/lent-stream.ts'
import { systemTimers } from '../../../workers/timers.ts'
import type { SshChannel } from './channel.ts'
import { connectSsh, type Connected, type ConnectOptions } from './connect.ts'
import type { ChannelOpening } from './connection.ts'
import { certificateKey, hostVerifier } from './host-key.ts'
import { opensshKeys, publicLine, spoiled } from './openssh.fixture.ts'
import { certificate, HOST, HOST_CA, KEYS, keyOf, USER_CA } from './pair.fixture.ts'

const USER = userInfo().username
const EXTENSIONS = { 'permit-pty': '', 'permit-port-forwarding': '' }
const SSHD = '/usr/sbin/sshd'

describe('our client against OpenSSH’s server', () => {
  const cleanup = suiteCleanup()
  let port = 0
  let sshd: Program

  before(async () => {
    const folder = await temporaryFolder(cleanup)
    const hosts = Object.keys(KEYS).map(async (name) => {
      const path = await opensshKeys(
        folder,
        keyOf(name),
        certificate(keyOf(name), { kind: 'host' }),
        name,
      )
      return ['-h', path, '-o', `HostCertificate=${path}-cert.pub`]
    })
    const ca = join(folder, 'ca.pub')
    await writeFile(ca, publicLine(publicBlob(USER_CA)))
    // Where root's server locks up the part that talks to strangers; a package's service would make it.
    if (userInfo().uid === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 })
    port = await freePort()
    const options = [
      'ListenAddress=127.0.0.1',
      `TrustedUserCAKeys=${ca}`,
      'UsePAM=no',
      'PidFile=none',
      'StrictModes=no',
      'RekeyLimit=1M',
      'MaxStartups=100',
      'Subsystem=sftp /usr/lib/openssh/sftp-server',
    ].flatMap((option) => ['-o', option])
    const keys = (await Promise.all(hosts)).flat()
    sshd = start(cleanup, SSHD, [
      '-D',
      '-e',
      '-f',
      '/dev/null',
      '-p',
      String(port),
      ...keys,
      ...options,
    ])
    await sshd.line(/Server listening/)
  })

  async function connectTo(change: Partial<ConnectOptions> = {}): Promise<Connected> {
    const key = keyOf('ed25519')
    return connectSsh({
      stream: spoiled(lentStream(await dial(cleanup, port)).stream),
      timers: systemTimers,
      user: USER,
      key: certificateKey(certificate(key, { principals: [USER], extensions: EXTENSIONS }), key),
      verifyHost: hostVerifier([publicBlob(HOST_CA)], HOST, Date.now),
      ...change,
    })
  }

  for (const name of Object.keys(KEYS))
    it(`is let in with a ${name} certificate and runs a command`, async () => {
      const key = keyOf(name)
      const blob = certificate(key, { principals: [USER] })
      const { connection, handshake } = await connectTo({ key: certificateKey(blob, key) })
      assert.equal(handshake.kex, 'curve25519-sha256')
      assert.match(handshake.hostKey, /^ssh-ed25519-cert/)
      const channel = await connection.open({ kind: 'session' })
      const command = Buffer.from('echo out; echo err >&2; exit 7')
      assert.equal(await channel.request({ kind: 'exec', command }), true)
      const { out, err } = await collect(channel)
      assert.deepEqual([out.toString(), err.toString()], ['out\n', 'err\n'])
      assert.deepEqual(channel.exit, { kind: 'status', code: 7 })
      connection.end()
      assert.equal(await connection.closed, undefined)
    })

  it('moves data both ways through keys changed each megabyte', async () => {
    const { connection } = await connectTo()
    const channel = await connection.open({ kind: 'session' })
    assert.equal(await channel.request({ kind: 'exec', command: Buffer.from('cat') }), true)
    const bytes = randomBytes(6_000_001)
    const [{ out }] = await Promise.all([
      collect(channel),
      channel.write(bytes).then(() => channel.end()),
    ])
    assert.equal(digest(out), digest(bytes))
    connection.end()
  })

  it('has a terminal, and its size changed', async () => {
    const { connection } = await connectTo()
    const channel = await connection.open({ kind: 'session' })
    const size = { columns: 81, rows: 25, width: 0, height: 0 }
    const pty = { kind: 'pty', term: 'vt100', size, modes: Uint8Array.of(0) } as const
    assert.equal(await channel.request(pty), true)
    const command = Buffer.from(
      'trap "stty size; exit 4" WINCH; stty size; while :; do sleep 0.01; done',
    )
    assert.equal(await channel.request({ kind: 'exec', command }), true)
    assert.match((await channel.read())?.bytes.toString() ?? '', /25 81/)
    channel.notify({ kind: 'window-change', size: { ...size, columns: 99 } })
    const { out } = await collect(channel)
    assert.match(out.toString(), /25 99/)
    assert.deepEqual(channel.exit, { kind: 'status', code: 4 })
    connection.end()
  })

  it('forwards ports and sockets both ways', async (t) => {
    const openings: ((opening: ChannelOpening) => void)[] = []
    const handlers = { open: (opening: ChannelOpening): void => openings.shift()?.(opening) }
    const { connection } = await connectTo({ handlers })
    const hello = await listen(cleanup, (socket) => void socket.end('hello'))
    const from = { host: '127.0.0.1', port: 1 }
    const to = { host: '127.0.0.1', port: hello.port }
    const direct = await connection.open({ kind: 'direct-tcpip', to, from })
    assert.equal((await collect(direct)).out.toString(), 'hello')
    const nowhere = { host: '127.0.0.1', port: await freePort() }
    await assert.rejects(connection.open({ kind: 'direct-tcpip', to: nowhere, from }), {
      code: 'dial.failed',
    })
    const at = { host: '127.0.0.1', port: 0 }
    const answer = await connection.ask({ kind: 'tcpip-forward', at })
    assert.equal(answer.granted, true)
    const forwarded = new Promise<ChannelOpening>((resolve) => openings.push(resolve))
    const socket = await dial(cleanup, answer.port ?? 0)
    socket.end('from outside')
    const opening = await forwarded
    assert.equal(opening.kind.kind, 'forwarded-tcpip')
    assert.equal((await collect(opening.accept())).out.toString(), 'from outside')
    const path = join(await temporaryFolder(t), 'socket')
    assert.equal((await connection.ask({ kind: 'streamlocal-forward', path })).granted, true)
    const there = new Promise<ChannelOpening>((resolve) => openings.push(resolve))
    const through = await connection.open({ kind: 'direct-streamlocal', path })
    const back = await there
    assert.deepEqual(back.kind, { kind: 'forwarded-streamlocal', path })
    const end = back.accept()
    await through.write(Buffer.from('around'))
    await through.end()
    assert.equal((await collect(end)).out.toString(), 'around')
    const taken = { host: '127.0.0.1', port: hello.port }
    assert.equal((await connection.ask({ kind: 'tcpip-forward', at: taken })).granted, false)
    connection.end()
  })

  it('speaks to a subsystem, and is refused one that does not exist', async () => {
    const { connection } = await connectTo()
    const sftp = await connection.open({ kind: 'session' })
    assert.equal(await sftp.request({ kind: 'subsystem', name: 'sftp' }), true)
    // SSH_FXP_INIT of version 3, answered by SSH_FXP_VERSION.
    await sftp.write(Buffer.from([0, 0, 0, 5, 1, 0, 0, 0, 3]))
    assert.equal((await sftp.read())?.bytes[4], 2)
    const none = await connection.open({ kind: 'session' })
    assert.equal(await none.request({ kind: 'subsystem', name: 'none' }), false)
    connection.end()
  })

  it('is refused as somebody else, and refuses a host it does not know', async () => {
    const key = keyOf('ed25519')
    const blob = certificate(key, { principals: ['somebody'] })
    await assert.rejects(connectTo({ key: certificateKey(blob, key) }), { code: 'login.failed' })
    await assert.rejects(connectTo({ key: undefined }), { code: 'login.failed' })
    const wanted = hostVerifier([publicBlob(USER_CA)], HOST, Date.now)
    await assert.rejects(connectTo({ verifyHost: wanted }), { code: 'cert.chain' })
    assert.match(sshd.output(), /name is not a listed principal/)
  })
})

async function collect(channel: SshChannel): Promise<{ out: Buffer; err: Buffer }> {
  const [out, err]: [Uint8Array[], Uint8Array[]] = [[], []]
  for (let data = await channel.read(); data !== undefined; data = await channel.read())
    (data.stderr ? err : out).push(data.bytes)
  channel.close()
  await channel.closed
  return { out: Buffer.concat(out), err: Buffer.concat(err) }
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
