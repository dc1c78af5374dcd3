// A session of ours against our own client in memory, on a machine that the test plays: programs, terminals, and what is refused, in
// which words.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import type { ProxyError } from '../../core/errors.ts'
import type { SshGrant } from '../../core/protocol.ts'
import {
  clientKey,
  ended,
  exec,
  LOCKED,
  noise,
  openSession,
  outputOf,
  PTY,
  readAll,
  session,
  SIZE,
  told,
  turns,
} from './session.fixture.ts'
import { INIT, VERSION } from './sftp-bytes.fixture.ts'
import type { SshChannel } from './transport/channel.ts'

describe('a command', () => {
  it('has its input, output, errors, status and environment, and is told of', async () => {
    const it = session()
    const { channel } = await openSession(it)
    channel.notify({ kind: 'env', name: 'LD_PRELOAD', value: 'x' })
    assert.equal(await channel.request({ kind: 'env', name: 'PATH', value: 'x' }), false)
    assert.equal(await channel.request({ kind: 'env', name: 'LC_ALL', value: 'C' }), true)
    await channel.write(Buffer.from('early'))
    await channel.end()
    assert.equal(await channel.request(exec('sort')), true)
    const program = await it.machine.program()
    assert.deepEqual(program.request.env, {
      LC_ALL: 'C',
      SSH_TELEPORT_USER: 'alice',
      SSH_TELEPORT_CLUSTER_NAME: 'test',
      SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 22',
    })
    assert.equal((await readAll(program.inside)).toString(), 'early')
    await program.inside.write(Buffer.from('out'))
    await program.errors.write(Buffer.from('err'))
    await program.finish(3)
    assert.deepEqual(await outputOf(channel), ['out', 'err'])
    await channel.closed
    assert.deepEqual(channel.exit, { kind: 'status', code: 3 })
    await ended(it)
    assert.deepEqual(it.codes(), ['SLH001I', 'T3002E', 'T2006I'])
    assert.equal(told(it, 'T3002E')['exit_code'], 3)
    assert.equal(told(it, 'T3002E')['command'], 'sort')
    assert.deepEqual(told(it, 'T2006I'), {
      decision_id: '01JALLOW',
      bytes_from_client: 5,
      bytes_from_target: 6,
    })
    assert.equal(it.machine.ended, true)
  })

  it('is told of cut, with its length, when it is long', async () => {
    const it = session()
    const { channel } = await openSession(it)
    const command = 'x'.repeat(max('sshCommandToldBytesMax') + 1)
    await channel.request(exec(command))
    const program = await it.machine.program()
    assert.ok(program.request.program.kind === 'exec')
    assert.equal(program.request.program.command.length, command.length)
    await program.finish(0)
    await outputOf(channel)
    await ended(it)
    const { command: shown, command_bytes: bytes } = told(it, 'T3002I')
    assert.deepEqual([String(shown).length, bytes], [command.length - 1, command.length])
  })

  it('ends by a signal, and its client hears of which', async () => {
    const it = session()
    const { channel } = await openSession(it)
    await channel.request(exec('kill $$'))
    const program = await it.machine.program()
    channel.notify({ kind: 'signal', name: 'INT' })
    channel.notify({ kind: 'signal', name: 'INT; rm' })
    const exit = { kind: 'signal', name: 'KILL', core: false, text: 'killed' } as const
    await program.finish(exit)
    await outputOf(channel)
    await channel.closed
    assert.deepEqual(channel.exit, exit)
    assert.deepEqual(program.signals, ['INT'])
    await ended(it)
    assert.equal(told(it, 'T3002E')['exit_signal'], 'KILL')
  })

  it('is hung up when its client leaves, and told of', async () => {
    const it = session()
    const { channel, connection } = await openSession(it)
    await channel.request(exec('sleep'))
    const program = await it.machine.program()
    connection.end()
    await program.hungUp
    await it.over
    assert.match(String(told(it, 'T3002E')['error']), /the client left/)
  })

  it('whose client closes its channel in the middle of output is hung up, and that is no failure of ours', async () => {
    const it = session()
    const { channel } = await openSession(it)
    await channel.request(exec('yes'))
    const program = await it.machine.program()
    const flood = program.inside.write(noise(4_000_000)).catch(() => undefined)
    await channel.read()
    channel.close()
    await program.hungUp
    await flood
    await ended(it)
    assert.equal(told(it, 'T3002E')['error'], 'the client left')
  })

  it('whose client leaves while it is started is hung up', async () => {
    const gate = Promise.withResolvers<void>()
    const it = session()
    const started = it.machine.start.bind(it.machine)
    it.machine.start = async (request) => {
      await gate.promise
      return started(request)
    }
    const { channel, connection } = await openSession(it)
    channel.notify(exec('sleep'))
    await turns()
    connection.end()
    await turns()
    gate.resolve()
    await (await it.machine.program()).hungUp
    await it.over
  })

  it('moves megabytes both ways with nobody’s memory', async () => {
    const it = session()
    const { channel } = await openSession(it)
    await channel.request(exec('cat'))
    const program = await it.machine.program()
    const bytes = noise(3_000_001)
    const copy = async (): Promise<void> => {
      for (;;) {
        const chunk = await program.inside.read()
        if (chunk === undefined) break
        await program.inside.write(chunk)
      }
      await program.finish(0)
    }
    void copy()
    void channel.write(bytes).then(() => channel.end())
    const [output] = await outputOf(channel)
    assert.ok(Buffer.from(output, 'latin1').equals(bytes))
    await ended(it)
  })

  it('that does not start says why on stderr, with the status of a shell', async () => {
    const it = session()
    it.machine.failure = new Error('there is no login alice')
    const { channel } = await openSession(it)
    assert.equal(await channel.request(exec('id')), true)
    const [output, stderr] = await outputOf(channel)
    assert.equal(output, '')
    assert.equal(stderr, 'Sluice: the program could not be started: there is no login alice\r\n')
    await channel.closed
    assert.deepEqual(channel.exit, { kind: 'status', code: 126 })
    await ended(it)
    assert.match(String(told(it, 'T3002E')['error']), /no login alice/)
  })

  it('runs once on a channel', async () => {
    const it = session()
    const { channel } = await openSession(it)
    assert.equal(await channel.request(exec('one')), true)
    assert.equal(await channel.request(exec('two')), false)
    assert.equal(await channel.request({ kind: 'shell' }), false)
    assert.equal(await channel.request(PTY), false)
    await ended(it)
  })

  it('is replaced by the one that the certificate forces, which reads what was asked for', async () => {
    const key = clientKey({ critical: { 'force-command': 'backup --now' } })
    for (const [wish, original] of [
      [exec('rm -rf /'), 'rm -rf /'],
      [{ kind: 'subsystem', name: 'sftp' }, 'subsystem'],
      [{ kind: 'shell' }, undefined],
    ] as const) {
      const it = session({}, { key })
      const { channel } = await openSession(it)
      await channel.request(wish)
      const program = await it.machine.program()
      assert.ok(program.request.program.kind === 'exec')
      assert.equal(Buffer.from(program.request.program.command).toString(), 'backup --now')
      assert.equal(program.request.env['SSH_ORIGINAL_COMMAND'], original)
      await program.finish(0)
      await outputOf(channel)
      await ended(it)
      assert.equal(told(it, 'T3002I')['forced'], true)
    }
  })
})

describe('a file transfer', () => {
  it('waits for the audit log before its bytes pass, either way', async () => {
    let room = Promise.withResolvers<void>()
    const it = session({ ssh: { auditRoom: () => room.promise } })
    const { channel } = await openSession(it)
    await channel.request({ kind: 'subsystem', name: 'sftp' })
    const program = await it.machine.program()
    await channel.write(INIT)
    const asked = program.inside.read()
    let passed = ''
    void asked.then(() => (passed += 'up'))
    await turns()
    assert.equal(passed, '')
    room.resolve()
    await asked
    room = Promise.withResolvers<void>()
    await program.inside.write(VERSION)
    const answered = channel.read()
    void answered.then(() => (passed += ' down'))
    await turns()
    assert.equal(passed, 'up')
    room.resolve()
    await answered
    await program.finish(0)
    await ended(it)
    assert.deepEqual(it.codes(), ['T3001I', 'TS021I', 'T2006I'])
  })
})

describe('a terminal', () => {
  it('is recorded before it is shown, under an id of its own, with its sizes', async () => {
    const it = session()
    const { channel } = await openSession(it)
    assert.equal(await channel.request(PTY), true)
    assert.equal(await channel.request({ kind: 'shell' }), true)
    const program = await it.machine.program()
    assert.deepEqual(program.request.pty?.size, SIZE)
    const [recorder] = it.recorders
    assert.ok(recorder)
    assert.deepEqual(
      [recorder.start.columns, recorder.start.rows, recorder.start.term],
      [80, 24, 'xterm'],
    )
    await channel.write(Buffer.from('typed: secret'))
    assert.equal(Buffer.from((await program.inside.read()) ?? []).toString(), 'typed: secret')
    const size = { ...SIZE, columns: 100 }
    await channel.request({ kind: 'window-change', size })
    await channel.request({ kind: 'window-change', size })
    recorder.full = true
    await program.inside.write(Buffer.from('shown'))
    let seen = false
    const reading = channel.read().then((data) => {
      seen = true
      return data
    })
    while (recorder.shown.length === 0) await new Promise((resolve) => setImmediate(resolve))
    await turns()
    assert.equal(seen, false, 'shown before the recorder had room')
    recorder.drain()
    assert.equal(Buffer.from((await reading)?.bytes ?? []).toString(), 'shown')
    await program.finish(0)
    await outputOf(channel)
    await ended(it)
    assert.equal(recorder.shown.toString(), 'shown')
    assert.deepEqual(recorder.sizes, ['100x24'])
    assert.equal(recorder.sealed, 'the program ended')
    assert.deepEqual(program.sizes.length, 2)
    assert.deepEqual(it.codes(), ['T2000I', 'T2003I', 'T2006I', 'T2004I'])
    const { sid } = told(it, 'T2004I')
    assert.equal(sid, recorder.start.sid)
    assert.equal(told(it, 'T2000I')['sid'], sid)
    assert.equal(program.request.env['SSH_SESSION_ID'], sid)
  })

  it('does not begin when it cannot be recorded, and says why', async () => {
    const refusal = { ...LOCKED, kind: 'unavailable', reason: 'the disk is full' } as const
    const it = session({ ssh: { record: () => refusal } })
    const { channel } = await openSession(it)
    await channel.request(PTY)
    await channel.request({ kind: 'shell' })
    const [, stderr] = await outputOf(channel)
    assert.match(stderr, /01JLOCK.*the disk is full/)
    await ended(it)
    assert.deepEqual(it.codes(), [])
  })

  it('is not given to a certificate that permits none', async () => {
    const it = session({}, { key: clientKey({ extensions: {} }) })
    const { channel } = await openSession(it)
    assert.equal(await channel.request(PTY), false)
    await ended(it)
    assert.deepEqual(it.codes(), ['SLH001W'])
  })
})

describe('what a session may not do', () => {
  const REFUSED: readonly (readonly [
    keyof SshGrant,
    string,
    (channel: SshChannel) => Promise<boolean>,
    string,
  ])[] = [
    ['fileCopy', 'T3010E', (channel) => channel.request(exec('scp -t /tmp/x')), 'ssh_file_copy'],
    [
      'fileCopy',
      'T3010E',
      (channel) => channel.request(exec('/usr/bin/scp -v -f x')),
      'ssh_file_copy',
    ],
    [
      'fileCopy',
      'TS020E',
      (channel) => channel.request(exec('/usr/lib/openssh/sftp-server')),
      'ssh_file_copy',
    ],
    [
      'fileCopy',
      'TS020E',
      (channel) => channel.request({ kind: 'subsystem', name: 'sftp' }),
      'ssh_file_copy',
    ],
  ]
  for (const [grant, code, ask, why] of REFUSED)
    it(`${code} is said on stderr and told of, and nothing starts`, async () => {
      const it = session({ grant: { [grant]: false } })
      const { channel } = await openSession(it)
      assert.equal(await ask(channel), true)
      const [output, stderr] = await outputOf(channel)
      assert.equal(output, '')
      assert.match(stderr, new RegExp(`^Sluice: .*${why}`))
      await channel.closed
      assert.deepEqual(channel.exit, { kind: 'status', code: 126 })
      await ended(it)
      assert.deepEqual(it.codes(), [code])
    })

  it('lends, forwards and opens nothing that its roles or its certificate do not allow', async () => {
    const none = {
      forwardAgent: false,
      x11: false,
      localForwarding: false,
      remoteForwarding: false,
    }
    const narrow = clientKey({ extensions: { 'permit-pty': '' } })
    for (const change of [
      { session: { grant: none }, connect: {} },
      { session: {}, connect: { key: narrow } },
    ]) {
      const it = session(change.session, change.connect)
      const { channel, connection } = await openSession(it)
      assert.equal(await channel.request({ kind: 'auth-agent' }), false)
      const x11 = { kind: 'x11', single: false, protocol: 'MIT', cookie: 'aa', screen: 0 } as const
      assert.equal(await channel.request(x11), false)
      const to = { host: 'db', port: 5432 }
      const opening = connection.open({ kind: 'direct-tcpip', to, from: { host: 'x', port: 1 } })
      await assert.rejects(opening, (error: ProxyError) =>
        /ssh_port_forwarding/.test(error.detail ?? ''),
      )
      await assert.rejects(connection.open({ kind: 'direct-streamlocal', path: '/run/x' }))
      assert.deepEqual(await connection.ask({ kind: 'tcpip-forward', at: { host: '', port: 0 } }), {
        granted: false,
      })
      assert.deepEqual(await connection.ask({ kind: 'streamlocal-forward', path: '/tmp/x' }), {
        granted: false,
      })
      await ended(it)
      assert.deepEqual(it.codes(), ['T3013W', 'T3008W', 'T3003E', 'T3003E', 'T3003E', 'T3003E'])
      assert.deepEqual([it.machine.listeners, it.machine.connections], [[], []])
    }
  })

  it('has as many sessions at once as its roles allow, and one more when one is over', async () => {
    const it = session({ grant: { sessionsMax: 1 } })
    const { channel, connection } = await openSession(it)
    await assert.rejects(connection.open({ kind: 'session' }), (error: ProxyError) =>
      /max_sessions/.test(error.detail ?? ''),
    )
    channel.close()
    await channel.closed
    const again = await connection.open({ kind: 'session' })
    again.close()
    await ended(it)
    assert.deepEqual(it.codes(), ['SLH001W'])
  })

  it('asks for no other subsystem', async () => {
    const it = session()
    const { channel } = await openSession(it)
    assert.equal(await channel.request({ kind: 'subsystem', name: 'netconf' }), false)
    assert.equal(await channel.request(exec('id')), true)
    await ended(it)
    assert.equal(told(it, 'T3001E')['name'], 'netconf')
  })

  it('is refused so often, each time in the log, and then no more', async () => {
    const it = session({ grant: { localForwarding: false } })
    const { connection } = await it.connected
    const kind = { kind: 'direct-streamlocal', path: '/run/x' } as const
    for (let count = 0; count <= max('sshRefusalsMax'); count++)
      await connection.open(kind).catch(() => undefined)
    await it.over
    assert.match(connection.farewell, /sshRefusalsMax/)
    assert.equal(it.codes().filter((code) => code === 'T3003E').length, max('sshRefusalsMax'))
  })
})
