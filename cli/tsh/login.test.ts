import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { LoginReply } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { CommandError, EXIT } from '../exit.ts'
import {
  type Answers,
  FakeControl,
  type FakeOptions,
  type FakeTools,
  fakeTools,
  HOST_CA,
  loggedIn,
  PIN,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { TSH } from './table.ts'

const OTHER_PIN = `sha256:${'cd'.repeat(32)}`
const PROXY = 'proxy.example.com:443'

const CAS = { user: [], host: [HOST_CA], target: [], db: [], db_client: [], pins: [PIN] }

async function setUp(
  t: TestContext,
  options: Omit<FakeOptions, 'control'> = {},
  over: Answers = {},
): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl({
    ping: () => ({ cluster: CLUSTER, version: '0', timeMs: 0, secondFactors: ['otp'] }),
    login: (request): LoginReply => ({
      certificate: userCertificate(tools.clock, { name: request.user }),
      cas: CAS,
      cluster: CLUSTER,
      proxies: [PROXY, 'proxy2.example.com:443'],
      expiresAtMs: 1,
    }),
    ...over,
  })
  const tools = await fakeTools(t, { ...options, control })
  return { tools, control }
}

function login(
  tools: FakeTools,
  options: Readonly<Record<string, unknown>>,
  args: readonly string[] = [],
): Promise<void> {
  return runCommand(TSH, tools, 'login', args, options)
}

test('a login with a pin leaves key, certificate, CAs and profile, private to their owner', async (t) => {
  const { tools, control } = await setUp(t, { answers: ['correct horse battery', ' 123456 '] })
  await login(tools, { proxy: PROXY, user: 'alice', caPin: [PIN], ttl: '60' })
  deepEqual(tools.reached, [{ proxies: [PROXY], trust: { pins: [PIN] } }])
  const request = control.request('login')
  equal(request?.user, 'alice')
  equal(request.password, 'correct horse battery')
  equal(request.otp, '123456')
  equal(request.ttlMs, 3_600_000)
  const profile = await tools.profiles.read()
  deepEqual(profile, {
    proxy: PROXY,
    user: 'alice',
    cluster: CLUSTER,
    pins: [PIN],
    proxies: [PROXY, 'proxy2.example.com:443'],
  })
  const keys = path.join(tools.folder, 'tsh/keys/proxy.example.com')
  const key = readFileSync(path.join(keys, 'alice.key'), 'utf8')
  match(key, /^-----BEGIN PRIVATE KEY-----/)
  for (const name of ['alice.key', 'alice.crt', 'certs.pem', `cas/${CLUSTER}.pem`])
    equal(statSync(path.join(keys, name)).mode & 0o777, 0o600, name)
  equal(statSync(keys).mode & 0o777, 0o700)
  match(
    tools.printed(),
    /^> Profile URL: +https:\/\/proxy\.example\.com:443\n {2}Logged in as: +alice/,
  )
  ok(control.closed)
})

test('without a pin the web must vouch for the proxy before anything is asked', async (t) => {
  const { tools, control } = await setUp(t)
  await rejects(login(tools, { proxy: PROXY }), { code: 'trust.unproven' })
  deepEqual(control.asked, [])
  deepEqual(tools.reached, [])
})

test('what the web vouches for becomes the pin', async (t) => {
  const { tools } = await setUp(t, {
    answers: ['password', '1'],
    over: {
      webGet: (address, where) => {
        equal(`${address}${where}`, `${PROXY}/v1/cas`)
        return Promise.resolve({ ...CAS, pins: [OTHER_PIN, 'sha256:short', 7] })
      },
    },
  })
  await login(tools, { proxy: PROXY, user: 'alice' })
  deepEqual(tools.reached[0]?.trust, { pins: [OTHER_PIN] })
})

test('an address that names no CA is no Sluice proxy', async (t) => {
  const { tools } = await setUp(t, { over: { webGet: () => Promise.resolve({ hello: 1 }) } })
  await rejects(login(tools, { proxy: PROXY }), /is no Sluice proxy/)
})

test('the pin of an earlier login is remembered, also after logout', async (t) => {
  const { tools } = await setUp(t, { answers: ['password', '1'] })
  await loggedIn(tools)
  await runCommand(TSH, tools, 'logout')
  await login(tools, { proxy: PROXY })
  deepEqual(tools.reached[0]?.trust, { pins: [PIN] })
})

test('a pin that is given wins over the one remembered', async (t) => {
  const { tools } = await setUp(t, { answers: ['password', '1'] })
  await loggedIn(tools)
  await login(tools, { proxy: PROXY, caPin: [OTHER_PIN], force: true })
  deepEqual(tools.reached[0]?.trust, { pins: [OTHER_PIN] })
})

test('a pin that is none is a wrong command line', async (t) => {
  const { tools } = await setUp(t)
  await rejects(login(tools, { proxy: PROXY, caPin: ['sha256:12'] }), { status: EXIT.usage })
})

test('who is away is said before a password is typed', async (t) => {
  const away = new ProxyError('control.unavailable', 'The proxy answers, but control does not.')
  const { tools } = await setUp(t, {}, { ping: () => Promise.reject(away) })
  await rejects(login(tools, { proxy: PROXY, caPin: [PIN] }), away)
})

test('a login that is still valid is shown, not repeated; --force repeats it', async (t) => {
  const { tools, control } = await setUp(t, { answers: ['password', '1'] })
  await loggedIn(tools)
  await login(tools, {})
  deepEqual(control.asked, [])
  match(tools.printed(), /Logged in as: +alice/)
  await login(tools, { force: true })
  equal(control.request('login')?.password, 'password')
})

test('an expired login is repeated for the same user at the same proxy', async (t) => {
  const { tools, control } = await setUp(t, { answers: ['password', '1'] })
  await loggedIn(tools)
  tools.clock.advance(13 * 3_600_000)
  await login(tools, {})
  equal(control.request('login')?.user, 'alice')
  deepEqual(tools.reached[0]?.proxies, [PROXY])
})

test('an invite is completed before the first login, each code used once', async (t) => {
  const told: unknown[] = []
  const { tools, control } = await setUp(
    t,
    { answers: ['a new password', '111111', '222222'] },
    {
      'invite-read': () => ({
        user: 'bob',
        cluster: CLUSTER,
        purpose: 'invite',
        otpUri: 'otpauth://totp/x',
        otpSecret: 'SECRET',
      }),
      'invite-complete': (request) => {
        told.push(request)
        return { user: 'bob' }
      },
    },
  )
  await login(tools, {
    invite: `https://${PROXY}/web/invite/0123456789abcdef0123456789abcdef`,
    caPin: [PIN],
  })
  deepEqual(told, [
    { token: '0123456789abcdef0123456789abcdef', password: 'a new password', otp: '111111' },
  ])
  equal(control.request('login')?.user, 'bob')
  equal(control.request('login')?.otp, '222222')
  match(tools.noted(), /SECRET[\s\S]*otpauth:\/\/totp\/x/)
  deepEqual(tools.reached[0]?.proxies, [PROXY])
})

test('a login at the proxy of another cluster than the one named is refused', async (t) => {
  const { tools } = await setUp(t)
  await rejects(login(tools, { proxy: PROXY, caPin: [PIN] }, ['other.example.com']), {
    status: EXIT.usage,
  })
})

test('proxy and user come from the environment, ours before the reference product’s', async (t) => {
  const env = {
    SLUICE_PROXY: 'a.example.com',
    TELEPORT_PROXY: 'b.example.com:1',
    TELEPORT_USER: 'carol',
  }
  const { tools, control } = await setUp(t, { env, answers: ['password', '1'] })
  await login(tools, { caPin: [PIN] })
  deepEqual(tools.reached[0]?.proxies, ['a.example.com:443'])
  equal(control.request('login')?.user, 'carol')
})

test('without any proxy the next step is said', async (t) => {
  const { tools } = await setUp(t)
  const failure = await login(tools, {}).catch((error: unknown) => error)
  ok(failure instanceof CommandError)
  equal(failure.status, EXIT.usage)
  match(failure.next ?? '', /tsh login --proxy=/)
})
