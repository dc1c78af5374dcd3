import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { before, describe, it, type TestContext } from 'node:test'

import type { Node } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { suiteCleanup } from '../../test/fixtures/files.ts'
import { dial, freePort, listen, readAll } from '../../test/fixtures/net.ts'
import { EXIT } from '../exit.ts'
import {
  loggedInToSsh,
  ME,
  NODE,
  startProxy,
  startSshd,
  type TestProxy,
} from '../ssh/node.fixture.ts'
import {
  type Answers,
  FakeControl,
  type FakeOptions,
  type FakeTools,
  fakeTools,
  runCommand,
} from '../tools.fixture.ts'
import { TSH } from './table.ts'

const HOUR_MS = 3_600_000

export function node(name: string, over: Partial<Node> = {}): Node {
  const id = `id-of-${name}`
  const labels = { env: 'prod' }
  return { id, name, address: '', labels, logins: [ME], online: true, subKind: '', ...over }
}

function answers(nodes: readonly Node[], mode: 'relay' | 'terminate' = 'relay'): Answers {
  return {
    me: () => ({
      user: 'alice',
      roles: [],
      traits: {},
      expiresAtMs: Date.now() + HOUR_MS,
      cluster: CLUSTER,
      proxies: [],
      mode,
    }),
    nodes: ({ labels }) => ({
      items:
        labels === undefined
          ? nodes
          : nodes.filter((each) => labels.includes(each.labels['env'] ?? '?')),
    }),
  }
}

describe('tsh ssh', () => {
  const cleanup = suiteCleanup()
  let proxy: TestProxy
  let second = 0

  before(async () => {
    const port = await startSshd(cleanup)
    // Nodes web-2 and web-3, whose host certificate names both.
    second = await startSshd(cleanup, { principals: [`web-2.${CLUSTER}`, `web-3.${CLUSTER}`] })
    proxy = await startProxy(cleanup, (name) => (name === NODE ? port : second))
  })

  async function setUp(
    t: TestContext,
    given: Answers = answers([node(NODE)]),
    options: FakeOptions = {},
  ): Promise<{ tools: FakeTools; control: FakeControl }> {
    const control = new FakeControl(given)
    const tools = await fakeTools(t, { ...options, control })
    await loggedInToSsh(tools, [proxy.address])
    return { tools, control }
  }

  async function ssh(
    tools: FakeTools,
    args: readonly string[],
    options: Readonly<Record<string, unknown>> = {},
  ): Promise<number> {
    try {
      await runCommand(TSH, tools, 'ssh', args, options)
      return 0
    } catch (error) {
      if (error instanceof Error && error.name === 'ProgramEnded' && 'status' in error)
        return Number(error.status)
      throw error
    }
  }

  it('runs a command by name, by name in the cluster and by id, as whoever runs it', async (t) => {
    const { tools, control } = await setUp(t)
    for (const host of [NODE, `${NODE}.${CLUSTER}`, `id-of-${NODE}`, NODE.toUpperCase()])
      equal(await ssh(tools, [host, 'echo', "'a  b'", '$((1+1))']), 0)
    equal(tools.printed(), 'a  b 2\n'.repeat(4))
    equal(await ssh(tools, [`${ME}@${NODE}`, 'id -un >&2; exit 3']), 3)
    equal(tools.noted(), `${ME}\n`)
    deepEqual(
      control.asked.slice(0, 2).map(({ name }) => name),
      ['me', 'nodes'],
    )
    equal(control.closed, true)
  })

  it('goes to a node by the name it knows when control is silent, and believes the node alone', async (t) => {
    const silent = (): never => {
      throw new ProxyError('control.unavailable', 'control is away')
    }
    const { tools } = await setUp(t, { me: silent, nodes: silent })
    equal(await ssh(tools, [NODE, 'echo there']), 0)
    equal(tools.printed(), 'there\n')
    await rejects(ssh(tools, ['web-9', 'true']), {
      status: EXIT.unreachable,
      message: /control did not say in time where sessions of web-9 end/,
    })
    await rejects(ssh(tools, ['env=prod', 'true']), { code: 'control.unavailable' })
  })

  it('believes a proxy where sessions end at proxies, and no node then', async (t) => {
    const { tools } = await setUp(t, answers([node(NODE)], 'terminate'))
    await rejects(ssh(tools, [NODE, 'true']), { code: 'cert.identity' })
  })

  it('says which hosts a name could mean, and that there is none', async (t) => {
    const twins = ['a', 'b'].map((name) =>
      node(name, { address: '192.0.2.1:22', subKind: 'openssh' }),
    )
    const { tools } = await setUp(t, answers(twins))
    await rejects(ssh(tools, ['192.0.2.1', 'true']), {
      status: EXIT.usage,
      message: /ambiguous host.*\n {2}id-of-a a 192.0.2.1:22\n {2}id-of-b b /,
    })
    await rejects(ssh(tools, ['none', 'true']), /no node none that your roles let you see/)
    for (const host of ['', '@', 'root@', '@web', '-oProxyCommand=x'])
      await rejects(ssh(tools, [host]), { status: EXIT.usage }, host)
  })

  it('asks for a login where there are several, and says so where there is none', async (t) => {
    const nodes = [
      node('none', { logins: [] }),
      node('two', { logins: ['deploy', 'backup'] }),
      node(NODE, { logins: ['x', ME] }),
    ]
    const { tools } = await setUp(t, answers(nodes))
    await rejects(ssh(tools, ['none', 'true']), { status: EXIT.denied })
    await rejects(ssh(tools, ['two', 'true']), { next: 'One of deploy, backup.' })
    equal(await ssh(tools, [NODE, 'true']), 0)
    await rejects(ssh(tools, [NODE, 'true'], { login: 'somebody' }), {
      status: EXIT.denied,
      next: /^Your logins on /,
    })
  })

  it('runs on all nodes with certain labels, each line named, and tells who failed', async (t) => {
    const nodes = [node('web-2'), node('web-3'), node(NODE, { labels: { env: 'test' } })]
    const { tools } = await setUp(t, answers(nodes))
    equal(await ssh(tools, ['env=prod', 'echo one; printf two; echo err >&2']), 0)
    deepEqual(tools.printed().trimEnd().split('\n').sort(), [
      '[web-2] one',
      '[web-2] two',
      '[web-3] one',
      '[web-3] two',
    ])
    deepEqual(tools.noted().trimEnd().split('\n').sort(), ['[web-2] err', '[web-3] err'])
    equal(await ssh(tools, ['env=prod', 'exit 5']), EXIT.failure)
    match(tools.noted(), /\[web-2\] ended with status 5[\s\S]*2 of 2 nodes failed: web-2, web-3/)
    await rejects(ssh(tools, ['env=prod']), /these labels name 2 nodes: give a command/)
    await rejects(ssh(tools, ['env=none', 'true']), /no node with env=none/)
  })

  it('writes what each node said to files of its own', async (t) => {
    const { tools } = await setUp(t, answers([node('web-2'), node('web-3')]))
    const logs = join(tools.folder, 'logs')
    equal(await ssh(tools, ['env=prod', 'echo out; echo err >&2'], { logDir: logs }), 0)
    for (const name of ['web-2', 'web-3']) {
      equal(await readFile(join(logs, `${name}.stdout`), 'utf8'), 'out\n')
      equal(await readFile(join(logs, `${name}.stderr`), 'utf8'), 'err\n')
    }
    equal(tools.printed(), '')
  })

  it('one node that cannot be reached does not keep the others', async (t) => {
    const { tools } = await setUp(t, answers([node('web-2'), node('stranger')]))
    equal(await ssh(tools, ['env=prod', 'echo fine']), EXIT.failure)
    equal(tools.printed(), '[web-2] fine\n')
    match(
      tools.noted(),
      /\[stranger\] ERROR: The SSH host is not trusted[\s\S]*1 of 2 nodes failed: stranger/,
    )
  })

  it('forwards ports while it waits (-N) and for a command on this machine (--local)', async (t) => {
    const hello = await listen(t, (socket) => void socket.end('hello'))
    const port = await freePort()
    const interrupted = Promise.withResolvers<void>()
    const { tools } = await setUp(t, answers([node(NODE)]), {
      over: { untilInterrupted: () => interrupted.promise },
    })
    const spec = `${port}:127.0.0.1:${hello.port}`
    const waiting = ssh(tools, [NODE], { forward: [spec], noRemoteExec: true })
    equal(await untilListening(t, port), 'hello')
    interrupted.resolve()
    equal(await waiting, 0)
    equal(await ssh(tools, [NODE, 'psql', 'x y'], { forward: [spec], local: true }), 0)
    deepEqual(tools.ran, [{ program: 'psql', args: ['x y'] }])
  })

  it('refuses by name what is not built, and what contradicts itself', async (t) => {
    const { tools } = await setUp(t)
    for (const [options, why] of [
      [{ forkAfterAuthentication: true }, /-f is not built/],
      [{ x11Untrusted: true }, /X11 forwarding is not built/],
      [{ x11Trusted: true }, /X11 forwarding is not built/],
      [{ option: ['ProxyJump=a'] }, /ProxyJump=a is refused/],
      [{ forward: ['80'] }, /is no forwarding/],
      [{ local: true }, /--local needs a command/],
      [{ forwardAgent: true }, /SSH_AUTH_SOCK is not set/],
      [{ cluster: 'other' }, /of the cluster sluice.test, not other/],
    ] as const)
      await rejects(ssh(tools, [NODE], options), why)
    deepEqual(proxy.wanted.includes('other'), false)
  })

  it('needs a login with an SSH certificate', async (t) => {
    const { tools } = await setUp(t)
    const profile = await tools.profiles.read()
    if (profile !== undefined) tools.profiles.forgetSsh(profile)
    await rejects(ssh(tools, [NODE]), { status: EXIT.notLoggedIn, next: /tsh login .* --force/ })
  })
})

/** What the port says once it is there. */
async function untilListening(t: TestContext, port: number): Promise<string> {
  for (;;) {
    const socket = await dial(t, port).catch(() => undefined)
    if (socket !== undefined) return (await readAll(socket)).toString()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('tsh scp', () => {
  const cleanup = suiteCleanup()
  let proxy: TestProxy

  before(async () => {
    proxy = await startProxy(cleanup, await startSshd(cleanup))
  })

  async function setUp(t: TestContext, options: FakeOptions = {}): Promise<FakeTools> {
    const tools = await fakeTools(t, {
      ...options,
      control: new FakeControl(answers([node(NODE)])),
    })
    await loggedInToSsh(tools, [proxy.address])
    await mkdir(join(tools.folder, 'there'))
    return tools
  }

  it('copies there and back, several and by pattern', async (t) => {
    const tools = await setUp(t)
    const there = join(tools.folder, 'there')
    const [a, b] = [join(tools.folder, 'a.log'), join(tools.folder, 'b.log')]
    await writeFile(a, 'a'.repeat(100_000))
    await writeFile(b, 'b')
    await runCommand(TSH, tools, 'scp', [a, b, `${ME}@${NODE}:${there}/`])
    equal(await readFile(join(there, 'b.log'), 'utf8'), 'b')
    const back = join(tools.folder, 'back')
    await mkdir(back)
    await runCommand(TSH, tools, 'scp', [`${NODE}:${there}/*.log`, back], { preserve: true })
    equal((await readFile(join(back, 'a.log'), 'utf8')).length, 100_000)
    deepEqual([tools.printed(), tools.noted()], ['', ''])
  })

  it('shows progress on a terminal, unless it is to be quiet', async (t) => {
    const streams = {
      input: new PassThrough(),
      output: new PassThrough(),
      errors: new PassThrough(),
      terminal: {
        name: 'x',
        size: () => ({ columns: 80, rows: 24 }),
        modes: () => Uint8Array.of(0),
        raw: () => () => undefined,
        onResize: () => () => undefined,
      },
    }
    const tools = await setUp(t, { over: { streams: () => streams } })
    const [from, to] = [join(tools.folder, 'a'), join(tools.folder, 'b')]
    await writeFile(from, 'content')
    await runCommand(TSH, tools, 'scp', [from, `${NODE}:${to}`], { quiet: true })
    equal(tools.noted(), '')
    await runCommand(TSH, tools, 'scp', [from, `${NODE}:${to}`])
    match(tools.noted(), /a +100% +7 B/)
  })

  it('ends with a failure that names what was not copied', async (t) => {
    const tools = await setUp(t)
    const good = join(tools.folder, 'good')
    await writeFile(good, 'good')
    const there = join(tools.folder, 'there')
    await rejects(
      runCommand(TSH, tools, 'scp', [join(tools.folder, 'none'), good, `${NODE}:${there}`]),
      { status: EXIT.failure, message: '1 thing was not copied' },
    )
    match(tools.noted(), /none: ENOENT/)
    equal(await readFile(join(there, 'good'), 'utf8'), 'good')
  })

  it('refuses copies that go nowhere, or to more than one node', async (t) => {
    const tools = await setUp(t)
    for (const [places, why] of [
      [['a', 'b'], /nothing here is on a node/],
      [['web-1:a', 'web-1:b'], /copies go from here to a node/],
      [['web-1:a', 'web-2:b', 'c'], /different nodes/],
      [['web-1:a', 'b', 'c'], /copies go from here to a node/],
    ] as const)
      await rejects(runCommand(TSH, tools, 'scp', places), why)
  })
})
