// SSH to a node in node mode, whole: control's certificates, the way in at a real proxy, a spare, the agent's worker, the launcher and
// a program of the login. The client is ours; what runs is the machine's.

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'

import { startLauncher, throwawayLogin } from '../../cli/launcher/launcher.fixture.ts'
import type { LoginReply } from '../../control/api/messages.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import { readWayInAnswer, writeWanted } from '../../core/ssh/way-in.ts'
import { certificateKey, hostVerifier } from '../../protocols/ssh/transport/host-key.ts'
import { type Connected, connectSsh } from '../../protocols/ssh/transport/connect.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { systemTimers } from '../../workers/timers.ts'
import {
  loginWithSsh,
  newPerson,
  startTestControl,
  type TestControl,
  type TestPerson,
} from '../fixtures/control.ts'
import { openFolder } from '../fixtures/files.ts'
import {
  type Audited,
  type RealAgent,
  realAgent,
  type RealProxy,
  realProxy,
} from '../fixtures/members.ts'
import { until } from '../fixtures/sockets.ts'

describe('a node behind an agent, in node mode', () => {
  const ends: (() => unknown)[] = []
  const cleanup = { after: (end: () => unknown) => void ends.push(end) }
  const { privateKey } = generateKeyPairSync('ed25519')
  let control: TestControl
  let proxy: RealProxy
  let agent: RealAgent
  let alice: TestPerson
  let login: string
  let ssh: LoginReply['ssh']

  before(async () => {
    login = await throwawayLogin(cleanup)
    control = await startTestControl()
    cleanup.after(() => control.remove())
    proxy = await realProxy(cleanup, control)
    const root = await openFolder(cleanup)
    await startLauncher(cleanup, root).line(/^ready/)
    agent = await realAgent(cleanup, control, {
      name: 'orders',
      targetPort: 1,
      proxies: [`127.0.0.1:${proxy.port}`],
      node: { name: 'web-1', launcher: path.join(root, 'run') },
    })
    const blob = Buffer.from(publicBlob(privateKey)).toString('base64')
    const traits = { logins: [login] }
    alice = await newPerson(control, 'alice', ['access'], traits)
    ;({ ssh } = await loginWithSsh(control, alice, blob))
    await until(() => agent.agent.linkedProxies > 0, 'the agent is linked')
  })

  after(async () => {
    for (const end of ends.reverse()) await end()
  })

  /** The proxy's answer, and the connection behind it. */
  async function wayTo(node: string): Promise<{ answer: string; socket: tls.TLSSocket }> {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: proxy.port,
      ALPNProtocols: ['sluice-ssh'],
      rejectUnauthorized: false,
      cert: alice.certificate,
      key: alice.key,
    })
    socket.allowHalfOpen = true
    cleanup.after(() => socket.destroy())
    socket.write(writeWanted(node))
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      const bytes = chunk as Buffer
      const reading = readWayInAnswer(bytes)
      assert.ok(reading.verdict === 'line')
      if (reading.end < bytes.length) socket.unshift(bytes.subarray(reading.end))
      return { socket, answer: reading.value.open ? 'ok' : reading.value.sentence }
    }
    throw new Error('the proxy said nothing')
  }

  async function connect(as = login): Promise<Connected> {
    const { answer, socket } = await wayTo('web-1')
    assert.equal(answer, 'ok')
    const { certificate = '', hostCas = [] } = ssh ?? {}
    const cas = hostCas.map((ca) => Buffer.from(ca, 'base64'))
    return await connectSsh({
      stream: socketStream(socket),
      timers: systemTimers,
      user: as,
      key: certificateKey(Buffer.from(certificate, 'base64'), privateKey),
      verifyHost: hostVerifier(cas, 'web-1', Date.now),
    })
  }

  async function run({ connection }: Connected, command: string): Promise<string> {
    const channel = await connection.open({ kind: 'session' })
    assert.ok(await channel.request({ kind: 'exec', command: Buffer.from(command) }))
    let output = ''
    for (let data = await channel.read(); data !== undefined; data = await channel.read())
      output += Buffer.from(data.bytes).toString()
    return output
  }

  it('runs programs as the login, and both hosts tell of it', async () => {
    const connected = await connect()
    assert.equal(await run(connected, 'id -un'), `${login}\n`)
    connected.connection.end()
    const begun = await agent.events.have('ssh.connection', { success: true })
    assert.deepEqual(
      [begun['user'], begun['login'], begun['target_name']],
      ['alice', login, 'web-1'],
    )
    const sid = String(begun['sid'])
    const exec = await agent.events.have('exec', { command: 'id -un' })
    assert.equal(exec['login'], login)
    const isEnd = (event: Audited): boolean =>
      event.code === 'SLR007I' && event.fields['sid'] === sid
    await until(() => agent.events.all.some(isEnd), 'the end is told')
    const relayed = await proxy.events.have('session.relay', { sid })
    assert.equal(relayed['agent_id'], agent.member.id)
  })

  it('is reached by its agent’s id and its name under the cluster, and by nothing else', async () => {
    for (const name of [agent.member.id, 'WEB-1', 'web-1.sluice.test']) {
      const { answer, socket } = await wayTo(name)
      assert.equal(answer, 'ok', name)
      socket.destroy()
    }
    const { answer } = await wayTo('web-2')
    assert.match(answer, /^no role of yours grants a node of this name/)
  })

  it('lets nobody in as a login that is not theirs', async () => {
    await assert.rejects(connect('root'), /left before authentication/)
  })

  it('ends with a lock, of which the agent says why', async () => {
    const connected = await connect()
    const said: string[] = []
    const channel = await connected.connection.open({ kind: 'session' })
    assert.ok(
      await channel.request({ kind: 'exec', command: Buffer.from('exec tail -f /dev/null') }),
    )
    await control.admin.call('resource-create', {
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
    await until(() => agent.agent.sessions === 0, 'the agent has no session')
    const { answer } = await wayTo('web-1')
    assert.match(answer, /^lock targeting User:"alice"/)
  })
})
