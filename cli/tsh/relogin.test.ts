// What a command does when the login it needs is over, or is not there any more.

import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { EXIT } from '../exit.ts'
import {
  FakeControl,
  type FakeTools,
  fakeTools,
  HOST_CA,
  loggedIn,
  PIN,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { TSH } from './table.ts'

const PROXY = 'proxy.example.com:443'
const DAY_MS = 86_400_000

async function setUp(
  t: TestContext,
  interactive: boolean,
): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl({
    ping: () => ({ cluster: CLUSTER, version: '0', timeMs: 0, secondFactors: ['otp'] }),
    login: ({ user }) => ({
      certificate: userCertificate(tools.clock, { name: user }),
      cas: { user: [], host: [HOST_CA], target: [], db: [], db_client: [], pins: [PIN] },
      cluster: CLUSTER,
      proxies: [PROXY],
      expiresAtMs: 1,
    }),
    nodes: () => ({ items: [] }),
  })
  const tools = await fakeTools(t, {
    control,
    answers: ['password', '123456'],
    over: { interactive },
  })
  await loggedIn(tools)
  tools.clock.advance(DAY_MS)
  return { tools, control }
}

test('at a terminal a command whose login is over logs in again, and says nothing else than it would', async (t) => {
  const { tools, control } = await setUp(t, true)
  await runCommand(TSH, tools, 'ls', [], { format: 'json' })
  equal(tools.printed(), '[]\n')
  match(tools.noted(), /^the login has expired; logging in again\.\n[^]*Logged in as: +alice/)
  deepEqual(
    control.asked.map(({ name }) => name),
    ['ping', 'login', 'nodes'],
  )
  // The pin of the earlier login is believed, and nothing else.
  deepEqual(tools.reached[0]?.trust, { pins: [PIN] })
})

test('so does one after a logout, as the user who was there, when it names the proxy', async (t) => {
  const { tools, control } = await setUp(t, true)
  await runCommand(TSH, tools, 'logout')
  await runCommand(TSH, tools, 'ls', [], { proxy: PROXY })
  equal(control.request('login')?.user, 'alice')
})

test('not when told so, nor where nobody sits, nor where no cluster is known', async (t) => {
  const { tools } = await setUp(t, true)
  await rejects(runCommand(TSH, tools, 'ls', [], { relogin: false }), {
    status: EXIT.notLoggedIn,
    message: 'the login has expired',
  })
  const script = await setUp(t, false)
  await rejects(runCommand(TSH, script.tools, 'ls'), { status: EXIT.notLoggedIn })
  const stranger = await fakeTools(t, { over: { interactive: true } })
  await rejects(runCommand(TSH, stranger, 'ls'), { message: 'not logged in' })
  deepEqual(script.control.asked, [])
})
