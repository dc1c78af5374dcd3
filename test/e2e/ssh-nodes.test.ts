// SSH to a node in node mode, whole: control's certificates, the way in at a real proxy, a spare, the agent's worker, the launcher and
// a program of the login. The client is ours; what runs is the machine's.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { ProxyError } from '../../core/errors.ts'
import { channelStream } from '../../protocols/ssh/channel-stream.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import type { Audited } from '../fixtures/members.ts'
import { until } from '../fixtures/sockets.ts'
import { run, type SshWorld, sshWorld } from '../fixtures/ssh-world.ts'

describe('a node behind an agent, in node mode', () => {
  const cleanup = suiteCleanup()
  let world: SshWorld

  before(async () => {
    world = await sshWorld(cleanup)
  })

  it('runs programs as the login, and both hosts tell of it', async () => {
    const connected = await world.connect()
    assert.equal(await run(connected, 'id -un'), `${world.login}\n`)
    connected.connection.end()
    const begun = await world.agent.events.have('ssh.connection', { success: true })
    assert.deepEqual(
      [begun['user'], begun['login'], begun['target_name']],
      ['alice', world.login, 'web-1'],
    )
    const sid = String(begun['sid'])
    const exec = await world.agent.events.have('exec', { command: 'id -un' })
    assert.equal(exec['login'], world.login)
    const isEnd = (event: Audited): boolean =>
      event.code === 'SLR007I' && event.fields['sid'] === sid
    await until(() => world.agent.events.all.some(isEnd), 'the end is told')
    const relayed = await world.proxy.events.have('session.relay', { sid })
    assert.equal(relayed['agent_id'], world.agent.member.id)
  })

  it('is reached by its agent’s id and its name under the cluster, and by nothing else', async () => {
    for (const name of [world.agent.member.id, 'WEB-1', 'web-1.sluice.test']) {
      const { answer, socket } = await world.wayTo(name)
      assert.equal(answer, 'ok', name)
      socket.destroy()
    }
    const { answer } = await world.wayTo('web-2')
    assert.match(answer, /^no role of yours grants a node of this name/)
  })

  it('is reached through a jump, which leads nowhere else and runs nothing', async () => {
    const outer = await world.jump()
    const from = { host: '127.0.0.1', port: 1 }
    const kind = { kind: 'direct-tcpip', to: { host: 'web-1', port: 22 }, from } as const
    const channel = await outer.connection.open(kind)
    const inner = await world.over(channelStream(channel), world.login, 'web-1')
    assert.equal(await run(inner, 'id -un'), `${world.login}\n`)
    await assert.rejects(outer.connection.open(kind), /refused/)
    inner.connection.end()
    outer.connection.end()
    const second = await world.jump()
    await assert.rejects(
      second.connection.open({ ...kind, to: { host: '127.0.0.1', port: 22 } }),
      (error) =>
        error instanceof ProxyError && /no role of yours grants a node/.test(error.detail ?? ''),
    )
    const shell = await second.connection.open({ kind: 'session' })
    assert.ok(await shell.request({ kind: 'shell' }))
    const said = await shell.read()
    assert.match(Buffer.from(said?.bytes ?? []).toString(), /ssh -J/)
    second.connection.end()
    await until(() => world.agent.agent.sessions === 0, 'the agent has no session')
  })

  it('lets nobody in as a login that is not theirs', async () => {
    await assert.rejects(world.connect({ as: 'root' }), {
      code: 'login.failed',
      message: /not for the login “root”/,
    })
  })

  it('ends with a lock, of which the agent says why', async () => {
    const connected = await world.connect()
    const said: string[] = []
    const channel = await connected.connection.open({ kind: 'session' })
    assert.ok(
      await channel.request({ kind: 'exec', command: Buffer.from('exec tail -f /dev/null') }),
    )
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
    assert.match(said.join(''), /lock targeting User:"alice" is in force/)
    await until(() => world.agent.agent.sessions === 0, 'the agent has no session')
    const { answer } = await world.wayTo('web-1')
    assert.match(answer, /^lock targeting User:"alice"/)
  })
})
