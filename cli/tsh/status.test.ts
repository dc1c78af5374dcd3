import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { test } from 'node:test'

import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { EXIT } from '../exit.ts'
import { fakeTools, loggedIn, runCommand, userCertificate } from '../tools.fixture.ts'
import { TSH } from './table.ts'

test('the status of a login is read from its certificate', async (t) => {
  const tools = await fakeTools(t)
  const profile = await loggedIn(tools)
  tools.profiles.put(
    tools.profiles.loginFiles(profile).certificate,
    userCertificate(tools.clock, { roles: ['access', 'editor'], traits: { db_users: ['r', 'w'] } }),
  )
  tools.profiles.put(tools.profiles.databaseFiles(profile, 'orders').certificate, 'x')
  await runCommand(TSH, tools, 'status')
  deepEqual(tools.printed().split('\n'), [
    '> Profile URL:        https://proxy.example.com:443',
    '  Logged in as:       alice',
    `  Cluster:            ${CLUSTER}`,
    '  Roles:              access, editor',
    '  Database users:     r, w',
    '  Databases:          orders',
    '  Valid until:        2026-01-01 12:00:00 UTC [valid for 12h0m]',
    '',
  ])
})

test('other logins follow without the mark', async (t) => {
  const tools = await fakeTools(t)
  await loggedIn(tools)
  await loggedIn(tools, { proxy: 'b.example.com:443', user: 'bob' })
  await runCommand(TSH, tools, 'status')
  match(
    tools.printed(),
    /^> Profile URL: +https:\/\/b\.[\s\S]*\n {2}Profile URL: +https:\/\/proxy\./,
  )
})

test('an expired login is shown as such and ends with the status for it', async (t) => {
  const tools = await fakeTools(t)
  await loggedIn(tools)
  tools.clock.advance(13 * 3_600_000)
  await rejects(runCommand(TSH, tools, 'status'), { status: EXIT.notLoggedIn, message: /expired/ })
  match(tools.printed(), /\[EXPIRED\]/)
})

test('nobody logged in is said, with the next step and the status for it', async (t) => {
  const tools = await fakeTools(t)
  await rejects(runCommand(TSH, tools, 'status'), {
    status: EXIT.notLoggedIn,
    message: 'not logged in',
  })
  equal(tools.printed(), '')
})

test('after logout a login at another proxy is not taken for the current one', async (t) => {
  const tools = await fakeTools(t)
  await loggedIn(tools)
  await loggedIn(tools, { proxy: 'b.example.com:443' })
  await runCommand(TSH, tools, 'logout', [], { proxy: 'b.example.com:443' })
  await rejects(runCommand(TSH, tools, 'status'), { status: EXIT.notLoggedIn })
})

test('programs get JSON', async (t) => {
  const tools = await fakeTools(t)
  await loggedIn(tools)
  await runCommand(TSH, tools, 'status', [], { format: 'json' })
  const { active, profiles } = JSON.parse(tools.printed()) as Record<string, unknown>
  deepEqual(profiles, [])
  deepEqual(active, {
    profile_url: 'https://proxy.example.com:443',
    username: 'alice',
    cluster: CLUSTER,
    roles: ['access'],
    traits: { db_users: ['reader', 'writer'] },
    logins: [],
    databases: [],
    valid_until: '2026-01-01T12:00:00.000Z',
    expired: false,
  })
})
