// Clients that were let in and mean harm to a session: each class of attack that other access proxies and SSH libraries were open to, as far
// as it meets channels, requests and programs. The transport's own are in transport/hostile-*.test.ts.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import { string, u32 } from '../../core/ssh/bytes.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { FakeTimers } from '../../workers/timers.ts'
import { clientKey, LOCKED, serveOn, type Serving, type SessionChange } from './session.fixture.ts'
import { message } from './sftp-bytes.fixture.ts'
import { MESSAGE } from './transport/message.ts'
import { certificate, keyOf } from './transport/pair.fixture.ts'
import { certificateKey } from './transport/host-key.ts'
import { RawClient } from './transport/raw.fixture.ts'

const YES = Uint8Array.of(1)
const NO = Uint8Array.of(0)

interface Raw {
  readonly client: RawClient
  readonly serving: Serving
}

/** A client whose every message the test writes, before its login. */
async function stranger(change: SessionChange = {}): Promise<Raw> {
  const [near, far] = streamPair()
  const serving = serveOn(far, change)
  const client = new RawClient(near, new FakeTimers())
  await client.service()
  return { client, serving }
}

async function within(change: SessionChange = {}): Promise<Raw> {
  const raw = await stranger(change)
  await raw.client.prove({ key: clientKey() })
  assert.equal(await raw.client.type(), MESSAGE.authSuccess)
  raw.client.transport.admit()
  return raw
}

async function leave({ client, serving }: Raw): Promise<void> {
  client.transport.end()
  await serving.over
}

function exec(client: RawClient, id: Uint8Array, command: string): void {
  client.send(MESSAGE.channelRequest, id, string('exec'), YES, string(command))
}

describe('before its login a client', () => {
  it('has the right of the certificate that signed, not of one it offered (CVE-2024-45337)', async () => {
    const identified: string[] = []
    const raw = await stranger({
      host: {
        identify: (bytes) => {
          identified.push(Buffer.from(bytes).toString('hex'))
          return Promise.resolve(LOCKED)
        },
      },
    })
    const [offered, signing] = [clientKey(), otherKey()]
    raw.client.offer(offered)
    assert.equal(await raw.client.type(), MESSAGE.authKeyOk)
    await raw.client.prove({ key: signing })
    assert.equal(await raw.client.type(), MESSAGE.authBanner)
    assert.deepEqual(identified, [Buffer.from(signing.blob).toString('hex')])
    await leave(raw)
  })

  it('opens no channel and asks for nothing', async () => {
    for (const type of [MESSAGE.channelOpen, MESSAGE.globalRequest]) {
      const raw = await stranger()
      raw.client.send(type, string('session'), u32(0), u32(1), u32(1))
      await raw.serving.over
      assert.deepEqual(raw.serving.codes(), [])
    }
  })

  it('is decided for one login: another name in the next request ends it', async () => {
    const raw = await stranger({ host: { identify: () => Promise.resolve(LOCKED) } })
    await raw.client.prove({ key: clientKey() })
    await raw.client.prove({ user: 'root', key: clientKey({ principals: ['root'] }) })
    await raw.serving.over
    assert.equal(raw.serving.machine.ended, false)
  })
})

function otherKey(): ReturnType<typeof certificateKey> {
  return certificateKey(certificate(keyOf('p384')), keyOf('p384'))
}

describe('once it is in, a client', () => {
  it('reaches no place past the one gate, by a kind of channel or by a session (Teleport 10.3.11)', async () => {
    const none = { localForwarding: false, remoteForwarding: false }
    const raw = await within({ grant: none })
    const address = [string('169.254.169.254'), u32(80), string('x'), u32(1)]
    for (const kind of [
      'direct-tcpip',
      'forwarded-tcpip',
      'tun@openssh.com',
      'auth-agent@openssh.com',
    ]) {
      raw.client.send(MESSAGE.channelOpen, string(kind), u32(0), u32(1), u32(100), ...address)
      assert.equal(await raw.client.type(), MESSAGE.channelRefused, kind)
    }
    await leave(raw)
    assert.deepEqual(raw.serving.machine.connections, [])
    assert.deepEqual(raw.serving.codes(), ['T3003E', 'SLH001W', 'SLH001W', 'SLH001W'])
  })

  it('is served no subsystem but sftp, however it is spelt (GHSA-c9v7-wmwj-vf6x)', async () => {
    const raw = await within()
    const id = await raw.client.session()
    for (const name of ['', 'SFTP', 'sftp ', 'sftp\0', 'proxy:host:22', 'x'.repeat(10_000)]) {
      raw.client.send(MESSAGE.channelRequest, id, string('subsystem'), YES, string(name))
      assert.equal(await raw.client.type(), MESSAGE.channelFailure, name)
    }
    await leave(raw)
    const names = raw.serving.told.map(({ fields }) => String(fields['name']).length)
    assert.ok(names.every((length) => length <= max('shownTextMax')))
  })

  it('sets no variable that changes what a shell runs, and not without end', async () => {
    const raw = await within()
    const id = await raw.client.session()
    const set = async (name: string, value: string): Promise<boolean> => {
      raw.client.send(MESSAGE.channelRequest, id, string('env'), YES, string(name), string(value))
      return (await raw.client.type()) === MESSAGE.channelSuccess
    }
    for (const name of [
      'LD_PRELOAD',
      'PATH',
      'BASH_ENV',
      'ENV',
      'IFS',
      'SSH_AUTH_SOCK',
      'LC_',
      'LC_A=B',
      'LANG\0X',
    ])
      assert.equal(await set(name, 'x'), false, name)
    assert.equal(await set('LANG', 'a\0b'), false)
    assert.equal(await set('LANG', 'x'.repeat(max('sshVariableBytesMax') + 1)), false)
    for (let count = 0; count < max('sshVariablesMax'); count++)
      assert.equal(await set(`LC_X${count}`, 'x'), true)
    assert.equal(await set('LC_MORE', 'x'), false)
    assert.equal(await set('LC_X0', 'y'), true)
    await leave(raw)
  })

  it('gives no terminal whose name or modes are something else', async () => {
    const raw = await within()
    const id = await raw.client.session()
    const size = [80, 24, 0, 0].map(u32)
    for (const [term, modes] of [
      ['x y', ''],
      ['x\u001b[2J', ''],
      ['x'.repeat(65), ''],
      ['xterm', 'x'.repeat(max('sshModesBytesMax') + 1)],
    ] as const) {
      const fields = [string(term), ...size, string(modes)]
      raw.client.send(MESSAGE.channelRequest, id, string('pty-req'), YES, ...fields)
      assert.equal(await raw.client.type(), MESSAGE.channelFailure, term)
    }
    await leave(raw)
  })

  it('changes the size of its terminal no faster than the recorder takes it, and within 16 bits', async () => {
    const raw = await within()
    const id = await raw.client.session()
    const huge = [0xffff_ffff, 0xffff_ffff, 0, 0].map(u32)
    raw.client.send(
      MESSAGE.channelRequest,
      id,
      string('pty-req'),
      YES,
      string('x'),
      ...huge,
      string(''),
    )
    raw.client.send(MESSAGE.channelRequest, id, string('shell'), YES)
    const program = await raw.serving.machine.program()
    assert.equal(program.request.pty?.size.columns, 0xffff)
    assert.deepEqual([await raw.client.type(), await raw.client.type()], [99, 99])
    const [recorder] = raw.serving.recorders
    assert.ok(recorder)
    recorder.full = true
    for (let count = 0; count <= max('sshRequestsMax') + 1; count++) {
      const size = [count + 1, 24, 0, 0].map(u32)
      raw.client.send(MESSAGE.channelRequest, id, string('window-change'), NO, ...size)
    }
    await raw.client.closed
    assert.ok(recorder.sizes.length <= 1)
    recorder.drain()
    await raw.serving.over
    assert.match(JSON.stringify(raw.serving.told), /sshRequestsMax/)
  })

  it('ends its file transfer with what cannot be attributed, and the bytes do not pass', async () => {
    const raw = await within()
    const id = await raw.client.session()
    raw.client.send(MESSAGE.channelRequest, id, string('subsystem'), YES, string('sftp'))
    const program = await raw.serving.machine.program()
    assert.equal(await raw.client.type(), MESSAGE.channelSuccess)
    const heard = program.inside.read().then(
      (bytes) => Buffer.from(bytes ?? []).toString('hex'),
      () => 'hung up',
    )
    raw.client.send(MESSAGE.data, id, string(message(200, 1, 'run@example.com', 'rm -rf /')))
    await program.hungUp
    assert.equal(await heard, 'hung up')
    const said = await raw.client.next()
    assert.equal(said[0], MESSAGE.extendedData)
    assert.match(said.toString('latin1'), /the file transfer ends/)
    await leave(raw)
    assert.deepEqual(raw.serving.codes(), ['T3001I', 'SLH002E', 'TS021I', 'T2006I'])
  })

  it('sends more than its window to a program that does not read, and is cut off', async () => {
    const raw = await within()
    const id = await raw.client.session()
    exec(raw.client, id, 'sleep 1000')
    const program = await raw.serving.machine.program()
    const chunk = string(Buffer.alloc(32_768))
    for (
      let sent = 0;
      sent < 2 * max('sshWindowBytesMax') && !raw.client.transport.over;
      sent += 32_768
    ) {
      raw.client.send(MESSAGE.data, id, chunk)
      if (sent % (1024 * 1024) === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await raw.client.closed
    await program.hungUp
    await raw.serving.over
    assert.match(JSON.stringify(raw.serving.told), /more data came than the window allows/)
  })

  it('opens and closes channels for ever, and nothing of them stays', async () => {
    const raw = await within()
    for (let count = 0; count < 2000; count++) {
      const id = await raw.client.session(count)
      raw.client.send(MESSAGE.close, id)
      while ((await raw.client.type()) !== MESSAGE.close);
    }
    await leave(raw)
    assert.deepEqual(raw.serving.told, [])
  })
})
