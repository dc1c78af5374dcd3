import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'

import { suiteCleanup } from '../../test/fixtures/files.ts'
import { freePort } from '../../test/fixtures/net.ts'
import { start } from '../../test/fixtures/processes.ts'
import { rmSync } from 'node:fs'
import { readPrivateKey } from '../../core/ssh/private-key.ts'
import { EXIT, exitStatus } from '../exit.ts'
import { readText } from '../profile.ts'
import { SshAgent } from '../ssh-agent.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { Input } from '../command.ts'
import { type FakeTools, fakeTools, HOST_CA } from '../tools.fixture.ts'
import { requireLogin } from '../tsh/session.ts'
import { connectNode, type NodeConnection, type NodeWanted } from './connect.ts'
import { requireSshLogin } from './login.ts'
import { loggedInToSsh, ME, NODE, startProxy, startSshd, type TestProxy } from './node.fixture.ts'

const WANTED: NodeWanted = { node: NODE, hostName: `${NODE}.${CLUSTER}`, user: ME }

describe('a connection to a node', () => {
  const cleanup = suiteCleanup()
  let port = 0
  let proxy: TestProxy

  before(async () => {
    port = await startSshd(cleanup)
    proxy = await startProxy(cleanup, port)
  })

  async function connect(
    t: TestContext,
    proxies: readonly string[],
    wanted: Partial<NodeWanted> = {},
    prepare: (tools: FakeTools) => void | Promise<void> = () => undefined,
    env: Readonly<Record<string, string>> = {},
  ): Promise<NodeConnection> {
    const tools = await fakeTools(t, { env })
    await loggedInToSsh(tools, proxies)
    await prepare(tools)
    const login = await requireLogin(tools, new Input([]))
    return await connectNode(tools, login, { ...WANTED, ...wanted })
  }

  it('is there when certificates of both sides hold', async (t) => {
    const { connection, host, end } = await connect(t, [proxy.address])
    deepEqual(host.principals, [`${NODE}.${CLUSTER}`, NODE])
    deepEqual(proxy.wanted, [NODE])
    deepEqual(proxy.authorized, [true])
    await end()
    equal(await connection.closed, undefined)
  })

  it('goes through the next proxy when one cannot be reached, or is none', async (t) => {
    const other = await startProxy(t, port, { alpn: 'h2' })
    const rude = await startProxy(t, port, { says: Buffer.from('HTTP/1.1 400 Bad Request\r\n') })
    const gone = `127.0.0.1:${await freePort()}`
    await (await connect(t, [gone, other.address, rude.address, proxy.address])).end()
    await rejects(connect(t, [gone]), { code: 'dial.failed', message: /cannot be reached/ })
    await rejects(connect(t, [other.address]), /ALPN|PROTOCOL/i)
    await rejects(connect(t, [rude.address]), /answers otherwise than a proxy/)
  })

  it('is refused by the first proxy that refuses, in its words and without its control characters', async (t) => {
    const sentence = 'denied by Sluice policy\u001b[2J'
    const refusing = await startProxy(t, port, {
      answer: () => ({ open: false, away: false, sentence }),
    })
    const error = await connect(t, [refusing.address, proxy.address]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    equal(exitStatus(error), EXIT.denied)
    match(String(error), /does not open the way: denied by Sluice policy.?\[2J/)
    equal(String(error).includes('\u001b'), false)
  })

  it('of a node that is away is told apart from a refusal', async (t) => {
    const sentence = 'the node is not reached: no agent is connected'
    const waiting = await startProxy(t, port, {
      answer: () => ({ open: false, away: true, sentence }),
    })
    await rejects(connect(t, [waiting.address, proxy.address]), {
      status: EXIT.unreachable,
      message: /does not open the way: the node is not reached: no agent/,
    })
  })

  it('trusts no proxy of another cluster or another name', async (t) => {
    const named = await startProxy(t, port, { address: '192.0.2.1' })
    await rejects(connect(t, [named.address]), { code: 'dial.failed', message: /altnames/ })
    const strange = (tools: FakeTools): void => {
      const file = join(tools.folder, 'tsh/keys/127.0.0.1/cas', `${CLUSTER}.pem`)
      tools.profiles.put(file, HOST_CA)
    }
    await rejects(connect(t, [proxy.address], {}, strange), {
      code: 'dial.failed',
      next: /did not prove to be of this cluster/,
    })
  })

  it('refuses a host of another name, and one whose CA is not the cluster’s', async (t) => {
    await rejects(connect(t, [proxy.address], { hostName: 'web-2.sluice.test' }), {
      code: 'cert.identity',
    })
    const foreign = (tools: FakeTools): void => {
      const files = join(tools.folder, 'tsh/keys/127.0.0.1')
      const user = readText(join(files, 'alice.pub')) ?? ''
      tools.profiles.put(join(files, 'cas', `${CLUSTER}-ssh.pub`), user)
    }
    await rejects(connect(t, [proxy.address], {}, foreign), { code: 'cert.chain' })
  })

  it('is refused as a login the certificate is not for, and names that cannot be sent are not', async (t) => {
    await rejects(connect(t, [proxy.address], { user: 'nobody-else' }), { code: 'login.failed' })
    const logins = ['deploy', 'root']
    await rejects(connect(t, [proxy.address], { user: 'nobody-else', logins }), {
      status: EXIT.denied,
      next: `Your logins on ${NODE}: deploy, root.`,
    })
    await rejects(connect(t, [proxy.address], { user: 'nobody-else', logins: ['nobody-else'] }), {
      code: 'login.failed',
      next: undefined,
    })
    await rejects(connect(t, [proxy.address], { node: 'a b' }), { status: EXIT.usage })
    await rejects(connect(t, [proxy.address], { node: 'a\nnode b' }), { status: EXIT.usage })
  })

  it('signs with the ssh-agent when the key is nowhere else', async (t) => {
    const socket = join((await fakeTools(t)).folder, 'agent')
    await start(t, 'ssh-agent', ['-D', '-a', socket]).line(/SSH_AUTH_SOCK/)
    const agentOnly = async (tools: FakeTools): Promise<void> => {
      const ssh = requireSshLogin(tools, await requireLogin(tools, new Input([])))
      const key = readPrivateKey(ssh.key ?? '')
      rmSync(join(tools.folder, 'tsh/keys/127.0.0.1/alice'))
      if (socket !== tools.env['SSH_AUTH_SOCK']) return
      const certificate = ssh.certificate.raw
      await new SshAgent(socket).add({ key, certificate, comment: 'x' })
    }
    const env = { SSH_AUTH_SOCK: socket }
    await (await connect(t, [proxy.address], {}, agentOnly, env)).end()
    await rejects(connect(t, [proxy.address], {}, agentOnly), { status: EXIT.notLoggedIn })
  })
})
