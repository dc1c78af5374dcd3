import { deepEqual, equal, rejects } from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { EXIT } from '../exit.ts'
import { FakeControl, type FakeTools, fakeTools, loggedIn, runCommand } from '../tools.fixture.ts'
import { TCTL } from './table.ts'

const control = (): FakeControl => new FakeControl({ targets: () => ({ items: [] }) })

/** A sluice.yaml whose control keeps its socket in the test's folder. */
function configIn(tools: FakeTools, socket: boolean): string {
  const data = path.join(tools.folder, 'data')
  mkdirSync(path.join(data, 'control'), { recursive: true })
  if (socket) writeFileSync(path.join(data, 'control/admin.sock'), '')
  const file = path.join(tools.folder, 'sluice.yaml')
  writeFileSync(file, `version: v3\nsluice:\n  data_dir: ${data}\n`)
  return file
}

test('on the control machine its socket is used, and closed', async (t) => {
  const client = control()
  const tools = await fakeTools(t, { control: client })
  await loggedIn(tools)
  const config = configIn(tools, true)
  await runCommand(TCTL, tools, 'db ls', [], { config })
  deepEqual(tools.localSockets, [path.join(tools.folder, 'data/control/admin.sock')])
  deepEqual(tools.reached, [])
  equal(client.closed, true)
})

test('the configuration is found through the environment too', async (t) => {
  const first = await fakeTools(t, { control: control() })
  const config = configIn(first, true)
  for (const name of ['SLUICE_CONFIG_FILE', 'TELEPORT_CONFIG_FILE']) {
    const tools = await fakeTools(t, { control: control(), env: { [name]: config } })
    await runCommand(TCTL, tools, 'db ls')
    equal(tools.localSockets.length, 1, name)
  }
})

test('without a socket the login of tsh is used', async (t) => {
  const tools = await fakeTools(t, { control: control() })
  await loggedIn(tools)
  await runCommand(TCTL, tools, 'db ls', [], { config: configIn(tools, false) })
  deepEqual(tools.localSockets, [])
  deepEqual(tools.reached[0]?.proxies, ['proxy.example.com:443'])
  equal(tools.reached[0]?.identity?.key, 'a key\n')
})

test('--auth-server goes through that proxy although there is a socket', async (t) => {
  const tools = await fakeTools(t, { control: control() })
  await loggedIn(tools)
  await loggedIn(tools, { proxy: 'b.example.com:443', proxies: [] })
  await runCommand(TCTL, tools, 'db ls', [], {
    config: configIn(tools, true),
    authServer: 'proxy.example.com:443',
  })
  deepEqual(tools.localSockets, [])
  deepEqual(tools.reached[0]?.proxies, ['proxy.example.com:443'])
})

test('with neither, both ways are told', async (t) => {
  const tools = await fakeTools(t, { control: control() })
  await rejects(runCommand(TCTL, tools, 'db ls', [], { config: configIn(tools, false) }), {
    status: EXIT.notLoggedIn,
    message: /^not logged in, and control’s socket .*admin\.sock is not there/,
    next: /-c sluice\.yaml/,
  })
})

test('a configuration that was named must be there, and be one', async (t) => {
  const tools = await fakeTools(t, { control: control() })
  await loggedIn(tools)
  const missing = path.join(tools.folder, 'none.yaml')
  await rejects(runCommand(TCTL, tools, 'db ls', [], { config: missing }), { status: EXIT.usage })
  writeFileSync(missing, 'nonsense: 1\n')
  await rejects(runCommand(TCTL, tools, 'db ls', [], { config: missing }), {
    code: 'config.invalid',
  })
})
