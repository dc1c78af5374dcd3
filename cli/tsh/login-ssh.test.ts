import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import type { LoginReply, LoginRequest } from '../../control/api/messages.ts'
import type { SshLogin } from '../../control/api/ssh-messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { publicBlob, readPublicBlob } from '../../core/ssh/key.ts'
import { readPrivateKey } from '../../core/ssh/private-key.ts'
import { certificate, HOST_CA, keyOf } from '../../protocols/ssh/transport/pair.fixture.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run, start } from '../../test/fixtures/processes.ts'
import type { Profile } from '../profile.ts'
import { SshAgent } from '../ssh-agent.ts'
import {
  type Answers,
  FakeControl,
  type FakeTools,
  fakeTools,
  HOST_CA as X509_HOST_CA,
  PIN,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import type { Tools } from '../tools.ts'
import { TSH } from './table.ts'

const PROXY = 'proxy.example.com:443'
const HOUR_SECONDS = 3600n
const ONLY_LOGIN = { caPin: [PIN], proxy: PROXY, user: 'alice' }

interface SetUp {
  readonly tools: FakeTools
  readonly control: FakeControl
  readonly keys: string
}

async function setUp(
  t: TestContext,
  env: Readonly<Record<string, string>> = {},
  over: Answers = {},
  logins: readonly string[] = ['root', 'deploy'],
): Promise<SetUp> {
  const reply = (request: LoginRequest): LoginReply => ({
    certificate: userCertificate(tools.clock, { name: request.user }),
    cas: { user: [], host: [X509_HOST_CA], target: [], db: [], db_client: [], pins: [PIN] },
    cluster: CLUSTER,
    proxies: [PROXY],
    expiresAtMs: 1,
    ...(request.sshPublicKey === undefined
      ? {}
      : { ssh: sshReply(request.sshPublicKey, tools.clock.now(), logins) }),
  })
  const control = new FakeControl({
    ping: () => ({ cluster: CLUSTER, version: '0', timeMs: 0, secondFactors: ['otp'] }),
    login: reply,
    ...over,
  })
  const answers = Array.from({ length: 4 }, () => ['password', '1']).flat()
  const tools = await fakeTools(t, { control, answers, env })
  return { tools, control, keys: join(tools.folder, 'tsh/keys/proxy.example.com') }
}

function sshReply(key: string, nowMs: number, logins: readonly string[]): SshLogin {
  const blob = Buffer.from(key, 'base64')
  const seconds = BigInt(Math.floor(nowMs / 1000))
  const principals = logins.length === 0 ? ['-sluice-no-login'] : logins
  const times = { validAfter: seconds, validBefore: seconds + HOUR_SECONDS }
  const made = certificate(keyOf('ed25519'), { key: blob, keyId: 'alice', principals, ...times })
  return {
    certificate: Buffer.from(made).toString('base64'),
    hostCas: [Buffer.from(publicBlob(HOST_CA)).toString('base64')],
    logins,
  }
}

async function agentOf(t: TestContext): Promise<string> {
  const socket = join(await temporaryFolder(t), 'agent')
  await start(t, 'ssh-agent', ['-D', '-a', socket]).line(/SSH_AUTH_SOCK/)
  return socket
}

test('a login leaves an SSH key, its certificate and the host CA where OpenSSH’s programs read them', async (t) => {
  const { tools, control, keys } = await setUp(t)
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  const sent = Buffer.from(control.request('login')?.sshPublicKey ?? '', 'base64')
  const key = readPrivateKey(readFileSync(join(keys, 'alice'), 'utf8'))
  deepEqual(Buffer.from(publicBlob(key)), sent)
  ok(createPublicKey(key).equals(readPublicBlob(sent)))
  const file = join(keys, `alice-ssh/${CLUSTER}-cert.pub`)
  const listed = await run('ssh-keygen', ['-L', '-f', file])
  match(listed.stdout, /user certificate[\s\S]*Principals: \n\s+root\n\s+deploy\n/)
  for (const name of [
    'alice',
    'alice.pub',
    `alice-ssh/${CLUSTER}-cert.pub`,
    `cas/${CLUSTER}-ssh.pub`,
  ])
    equal(statSync(join(keys, name)).mode & 0o777, 0o600, name)
  const hosts = join(tools.folder, 'tsh/known_hosts')
  for (const name of ['proxy.example.com', CLUSTER, `web-1.${CLUSTER}`]) {
    const found = await run('ssh-keygen', ['-F', name, '-f', hosts])
    match(found.stdout, /CA\n@cert-authority .* ssh-ed25519 /, name)
  }
  equal((await run('ssh-keygen', ['-F', `x${CLUSTER}`, '-f', hosts])).stdout, '')
  match(tools.printed(), /\n {2}Logins: +root, deploy\n/)
  await runCommand(TSH, tools, 'status')
  match(tools.printed(), /Logins: +root, deploy\n[\s\S]*Logins: +root, deploy\n/)
})

test('what others wrote to known_hosts stays, and a new CA takes the old one’s place', async (t) => {
  const { tools } = await setUp(t)
  const hosts = join(tools.folder, 'tsh/known_hosts')
  tools.profiles.put('known_hosts', '# mine\nother.example.com ssh-ed25519 AAAA\n')
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  const once = readFileSync(hosts, 'utf8')
  match(once, /^# mine\nother\.example\.com ssh-ed25519 AAAA\n@cert-authority [^\n]+\n$/)
  writeFileSync(hosts, once.replace(/AAAAC3\S+/, 'AAAAOLD'))
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force: true })
  equal(readFileSync(hosts, 'utf8'), once)
})

test('a cluster without SSH is logged in to as ever, and nothing of an earlier SSH login stays', async (t) => {
  let ssh = true
  const { tools, control, keys } = await setUp(t)
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  const old = await setUp(
    t,
    {},
    {
      login: async (request) => {
        if (request.sshPublicKey !== undefined && ssh)
          throw new ProxyError('resource.invalid', 'Unrecognized key: "sshPublicKey"')
        const { ssh: _left, ...rest } = await control.call('login', request)
        return rest
      },
    },
  )
  const withoutSsh: Tools = { ...tools, control: (reach) => old.tools.control(reach) }
  await runCommand(TSH, withoutSsh, 'login', [], {
    ...ONLY_LOGIN,
    force: true,
  })
  equal(existsSync(join(keys, 'alice.key')), true)
  for (const name of ['alice', 'alice.pub', `alice-ssh/${CLUSTER}-cert.pub`])
    equal(existsSync(join(keys, name)), false, name)
  equal(readFileSync(join(tools.folder, 'tsh/known_hosts'), 'utf8'), '')
  equal(tools.printed().split('Logins:').length, 2)
  // One that takes the field and has nothing to answer.
  ssh = false
  await runCommand(TSH, withoutSsh, 'login', [], {
    ...ONLY_LOGIN,
    force: true,
  })
  equal(existsSync(join(keys, 'alice')), false)
})

test('other refusals are not tried again without SSH', async (t) => {
  let asked = 0
  const { tools } = await setUp(
    t,
    {},
    {
      login: () => {
        asked += 1
        throw new ProxyError('login.failed', 'wrong')
      },
    },
  )
  await rejects(runCommand(TSH, tools, 'login', [], ONLY_LOGIN), { code: 'login.failed' })
  equal(asked, 1)
})

test('whoever may log in nowhere is shown no login', async (t) => {
  const { tools } = await setUp(t, {}, {}, [])
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  match(tools.printed(), /Logins: +\(none\)/)
  await runCommand(TSH, tools, 'status', [], { format: 'json' })
  match(tools.printed(), /"logins": \[\]/)
})

test('the ssh-agent has key and certificate while the login lasts, and its owner’s keys for ever', async (t) => {
  const socket = await agentOf(t)
  const { tools } = await setUp(t, { SSH_AUTH_SOCK: socket })
  const agent = new SshAgent(socket)
  await agent.add({ key: keyOf('ed25519'), comment: 'mine' })
  for (const force of [false, true])
    await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force })
  const { stdout } = await run('ssh-add', ['-l'], {
    env: { ...process.env, SSH_AUTH_SOCK: socket },
  })
  equal(stdout.trim().split('\n').length, 3)
  match(stdout, /sluice:proxy\.example\.com:sluice\.test:alice \(ED25519-CERT\)/)
  await runCommand(TSH, tools, 'logout')
  deepEqual(
    (await agent.list()).map(({ comment }) => comment),
    ['mine'],
  )
})

test('the key is in the agent alone, or never, or surely, as told', async (t) => {
  const socket = await agentOf(t)
  const { tools, keys } = await setUp(t, { SSH_AUTH_SOCK: socket })
  const agent = new SshAgent(socket)
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, addKeysToAgent: 'only' })
  equal(existsSync(join(keys, 'alice')), false)
  equal(existsSync(join(keys, 'alice.pub')), true)
  equal((await agent.list()).length, 2)
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force: true, addKeysToAgent: 'no' })
  equal(existsSync(join(keys, 'alice')), true)
  deepEqual(await agent.list(), [])
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force: true, addKeysToAgent: 'yes' })
  equal((await agent.list()).length, 2)
})

test('an agent that must be there and is not is told before a password is asked for', async (t) => {
  for (const way of ['yes', 'only']) {
    const { tools, control } = await setUp(t, { SSH_AUTH_SOCK: '/nonexistent' })
    await rejects(
      runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, addKeysToAgent: way }),
      /no ssh-agent answers/,
    )
    deepEqual(control.asked, [])
  }
  const { tools } = await setUp(t, { TELEPORT_ADD_KEYS_TO_AGENT: 'sometimes' })
  await rejects(runCommand(TSH, tools, 'login', [], ONLY_LOGIN), /is one of auto, no, yes, only/)
})

test('a login renews which hosts go by the cluster’s name, where tsh config wrote that before', async (t) => {
  const me = { user: 'alice', cluster: CLUSTER, roles: [], traits: {}, expiresAtMs: 0, proxies: [] }
  const answers: Answers = {
    me: () => ({ ...me, mode: 'terminate' }),
    nodes: () => ({ items: [] }),
  }
  const { tools, control } = await setUp(t, {}, answers)
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  equal(control.request('nodes'), undefined)
  const { aliases } = tools.profiles.sshFiles(await profileOf(tools))
  tools.profiles.put(aliases, '# old')
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force: true })
  equal(readFileSync(aliases, 'utf8'), `Host *.${CLUSTER}\n    HostKeyAlias ${CLUSTER}\n`)
})

test('a login holds when hosts cannot be asked for, and says so', async (t) => {
  const { tools } = await setUp(t)
  await runCommand(TSH, tools, 'login', [], ONLY_LOGIN)
  const { aliases } = tools.profiles.sshFiles(await profileOf(tools))
  tools.profiles.put(aliases, '# old')
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, force: true })
  match(tools.noted(), /hosts is as it was: ERROR/)
})

test('--out leaves three files for OpenSSH, of their owner alone, and nothing else', async (t) => {
  const { tools, control } = await setUp(t)
  const out = join(tools.folder, 'key')
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, out })
  const key = readPrivateKey(readFileSync(out, 'utf8'))
  const sent = Buffer.from(control.request('login')?.sshPublicKey ?? '', 'base64')
  deepEqual(Buffer.from(publicBlob(key)), sent)
  equal(statSync(out).mode & 0o777, 0o600)
  const listed = await run('ssh-keygen', ['-L', '-f', `${out}-cert.pub`])
  match(listed.stdout, /Principals:\s+root\s+deploy/)
  match(
    readFileSync(`${out}-known_hosts`, 'utf8'),
    new RegExp(`^@cert-authority proxy\\.example\\.com,${CLUSTER},\\*\\.${CLUSTER} ssh-ed25519 `),
  )
  match(tools.printed(), /-W %h:%p -p 443 root@proxy\.example\.com" root@NODE/)
  equal(await tools.profiles.read(), undefined)
  // Asked before anybody types a password.
  await rejects(runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, out }), /is there already/)
  equal(control.asked.filter(({ name }) => name === 'login').length, 1)
  await runCommand(TSH, tools, 'login', [], { ...ONLY_LOGIN, out, overwrite: true })
})

async function profileOf(tools: FakeTools): Promise<Profile> {
  const profile = await tools.profiles.read()
  ok(profile !== undefined)
  return profile
}
