import { equal, match } from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'

import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { suiteCleanup } from '../../test/fixtures/files.ts'
import { NODE_FLAGS, run, start } from '../../test/fixtures/processes.ts'
import { HOST_CA } from '../../protocols/ssh/transport/pair.fixture.ts'
import { publicLine } from '../../protocols/ssh/transport/openssh.fixture.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import type { SessionMode } from '../../core/login.ts'
import { Input } from '../command.ts'
import { aliasText, keepAliases } from '../ssh/aliases.ts'
import {
  loggedInToSsh,
  ME,
  NODE,
  startProxy,
  startSshd,
  type TestProxy,
} from '../ssh/node.fixture.ts'
import { FakeControl, type FakeTools, fakeTools, runCommand } from '../tools.fixture.ts'
import { configText } from './config.ts'
import { requireLogin } from './session.ts'
import { TSH } from './table.ts'

const DOOR = join(import.meta.dirname, '../../scripts/bin.mjs')
const PROGRAM = [process.execPath, ...NODE_FLAGS, DOOR, 'tsh']
const HOSTNAME = `${NODE}.${CLUSTER}`

describe('OpenSSH with the configuration that tsh prints', () => {
  const cleanup = suiteCleanup()
  let proxy: TestProxy
  let port = 0

  before(async () => {
    port = await startSshd(cleanup)
    proxy = await startProxy(cleanup, port)
  })

  /** A login and its configuration in a file, where sessions end as `mode` says. */
  async function configured(
    t: TestContext,
    at: TestProxy = proxy,
    mode: SessionMode = 'relay',
  ): Promise<{ tools: FakeTools; file: string; env: NodeJS.ProcessEnv }> {
    const tools = await fakeTools(t)
    const profile = await loggedInToSsh(tools, [at.address])
    const ca = publicLine(publicBlob(HOST_CA))
    const line = `@cert-authority 127.0.0.1,${CLUSTER},*.${CLUSTER} ${ca}`
    tools.profiles.put(tools.profiles.sshFiles(profile).knownHosts, line)
    const login = await requireLogin(tools, new Input([]))
    const file = join(tools.folder, 'config')
    tools.profiles.put(tools.profiles.sshFiles(profile).aliases, aliasText(CLUSTER, mode, []))
    // Whatever stands in the person's own file before it.
    await writeFile(file, `Host other\n${configText(tools, login, PROGRAM)}`)
    const env = { ...process.env, SLUICE_HOME: join(tools.folder, 'tsh'), SSH_AUTH_SOCK: '' }
    return { tools, file, env }
  }

  it('reaches a node without a question, and has its status and output', async (t) => {
    const { file, env } = await configured(t)
    const command = ['-F', file, `${ME}@${HOSTNAME}`, 'cat; echo err >&2; exit 7']
    const { code, stdout, stderr } = await run('ssh', command, { env, input: 'typed' })
    equal(code, 7, stderr)
    equal(stdout, 'typed')
    equal(stderr, 'err\n')
    equal(proxy.wanted.at(-1), HOSTNAME)
  })

  it('speaks AES-GCM both ways, which OpenSSH before 10 would not choose of itself', async (t) => {
    const { file, env } = await configured(t)
    const { stderr } = await run('ssh', ['-v', '-F', file, `${ME}@${HOSTNAME}`, 'true'], { env })
    const agreed = [...stderr.matchAll(/kex: (?:client->server|server->client) cipher: (\S+)/g)]
    equal(agreed.length, 2, stderr)
    for (const [, cipher] of agreed) equal(cipher, 'aes128-gcm@openssh.com')
  })

  it('copies with scp and sftp', async (t) => {
    const { tools, file, env } = await configured(t)
    const [from, to] = [join(tools.folder, 'a'), join(tools.folder, 'b')]
    await writeFile(from, 'x'.repeat(300_000))
    const copied = await run('scp', ['-q', '-F', file, from, `${ME}@${HOSTNAME}:${to}`], { env })
    equal(copied.code, 0, copied.stderr)
    equal((await readFile(to, 'utf8')).length, 300_000)
    const batch = { env, input: `get ${to} ${from}2\n` }
    const got = await run('sftp', ['-q', '-b', '-', '-F', file, `${ME}@${HOSTNAME}`], batch)
    equal(got.code, 0, got.stderr)
    equal(readFileSync(`${from}2`, 'utf8').length, 300_000)
  })

  it('is refused by a host of another name, and nobody is asked', async (t) => {
    const { file, env } = await configured(t)
    const { code, stderr } = await run('ssh', ['-F', file, `${ME}@other.${CLUSTER}`, 'id'], { env })
    equal(code, 255)
    match(
      stderr,
      /Certificate invalid: name is not a listed principal|Host key verification failed/,
    )
  })

  it('shows what the proxy says when it does not open the way', async (t) => {
    const refusing = await startProxy(t, port, {
      answer: () => ({ open: false, away: false, sentence: 'no node of that name' }),
    })
    const { file, env } = await configured(t, refusing)
    const { code, stderr } = await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'id'], { env })
    equal(code, 255)
    match(stderr, /ERROR: the proxy at \S+ does not open the way: no node of that name\n.*tsh ls/)
  })

  it('knows hosts by the cluster’s name where sessions end at proxies', async (t) => {
    const ends = await startProxy(t, await startSshd(t, { principals: [CLUSTER] }))
    const { tools, file, env } = await configured(t, ends, 'terminate')
    const through = await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'echo fine'], { env })
    equal(through.stdout, 'fine\n', through.stderr)
    // The configuration stays; what it includes is renewed.
    const profile = await tools.profiles.read()
    if (profile === undefined) throw new Error('there is no profile')
    keepAliases(tools, profile, 'relay', [])
    equal((await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'id'], { env })).code, 255)
    keepAliases(tools, profile, 'terminate', [])
    equal((await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'id'], { env })).code, 0)
  })

  it('works with paths that have spaces, quotes and percent signs', async (t) => {
    const { tools } = await configured(t)
    const home = join(tools.folder, `it's "100%h" o k`)
    await mkdir(home)
    await run('cp', ['-r', join(tools.folder, 'tsh'), home])
    const { ProfileStore } = await import('../profile.ts')
    const moved = { ...tools, profiles: new ProfileStore(join(home, 'tsh')) }
    const login = await requireLogin(moved, new Input([]))
    const file = join(tools.folder, 'config')
    await writeFile(file, configText(moved, login, PROGRAM))
    const env = { ...process.env, SLUICE_HOME: join(home, 'tsh'), SSH_AUTH_SOCK: '' }
    const { stdout, stderr } = await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'echo fine'], {
      env,
    })
    equal(stdout, 'fine\n', stderr)
  })

  it('signs with the ssh-agent when it has the key alone', async (t) => {
    const { tools, file, env } = await configured(t)
    const socket = join(tools.folder, 'agent')
    await start(t, 'ssh-agent', ['-D', '-a', socket]).line(/SSH_AUTH_SOCK/)
    const profile = await tools.profiles.read()
    const key = profile === undefined ? '' : tools.profiles.sshFiles(profile).key
    const lent = { ...env, SSH_AUTH_SOCK: socket }
    equal((await run('ssh-add', ['-q', key], { env: lent })).code, 0)
    await run('rm', [key])
    const { stdout, stderr } = await run('ssh', ['-F', file, `${ME}@${HOSTNAME}`, 'echo fine'], {
      env: lent,
    })
    equal(stdout, 'fine\n', stderr)
  })

  it('is printed for the mode in force and the servers without an agent', async (t) => {
    const server = {
      id: 'legacy',
      name: 'legacy',
      address: '192.0.2.1:22',
      labels: {},
      logins: [],
      online: true,
      subKind: 'openssh',
    } as const
    for (const [mode, alias] of [
      ['relay', `legacy.${CLUSTER}`],
      ['terminate', `*.${CLUSTER}`],
    ] as const) {
      const me = { user: 'alice', roles: [], traits: {}, expiresAtMs: 0, proxies: [], mode }
      const control = new FakeControl({
        me: () => ({ ...me, cluster: CLUSTER }),
        nodes: () => ({ items: [server] }),
      })
      const tools = await fakeTools(t, { control, env: { SLUICE_HOME: '/somewhere/else' } })
      const { aliases } = tools.profiles.sshFiles(await loggedInToSsh(tools, [proxy.address]))
      await runCommand(TSH, tools, 'ls')
      equal(existsSync(aliases), false)
      await runCommand(TSH, tools, 'config')
      match(
        tools.printed(),
        /ProxyCommand env SLUICE_HOME=\/somewhere\/else \S.*scripts\/bin\.mjs tsh proxy ssh --cluster=sluice\.test --proxy=\S+ %r@%h:%p\n/,
      )
      match(tools.printed(), new RegExp(`^Match all\\n {4}Include ${aliases}$`, 'm'))
      equal(readFileSync(aliases, 'utf8'), `Host ${alias}\n    HostKeyAlias ${CLUSTER}\n`)
      await writeFile(aliases, 'old')
      await runCommand(TSH, tools, 'ls')
      equal(readFileSync(aliases, 'utf8'), `Host ${alias}\n    HostKeyAlias ${CLUSTER}\n`)
    }
  })
})
