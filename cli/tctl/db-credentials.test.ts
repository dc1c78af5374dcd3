import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { DbCredential } from '../../control/api/messages.ts'
import { EXIT } from '../exit.ts'
import { FakeControl, type FakeTools, fakeTools, loggedIn, runCommand } from '../tools.fixture.ts'
import { TCTL } from './table.ts'

const STORED: DbCredential = {
  database: 'orders',
  dbUser: 'app',
  methods: ['scram', 'md5'],
  inUse: true,
  changedAtMs: 0,
  changedBy: 'root',
}

async function scene(
  t: TestContext,
  answers: readonly string[] = [],
): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl({
    'db-credential-put': () => STORED,
    'db-credential-list': () => ({
      items: [STORED, { ...STORED, dbUser: 'old', inUse: false }],
    }),
    'db-credential-delete': () => ({}),
  })
  const tools = await fakeTools(t, { control, answers })
  await loggedIn(tools)
  return { tools, control }
}

const APP = { dbUser: 'app' }

test('a password is asked for twice, sent to control, and never printed', async (t) => {
  const { tools, control } = await scene(t, ['s3cret', 's3cret'])
  await runCommand(TCTL, tools, 'db credentials add', ['orders'], APP)
  deepEqual(control.request('db-credential-put'), {
    database: 'orders',
    dbUser: 'app',
    password: 's3cret',
    methods: ['scram'],
  })
  match(tools.printed(), /"app" for the database "orders" is stored/)
  ok(!`${tools.printed()}${tools.noted()}`.includes('s3cret'))
})

test('two different answers store nothing', async (t) => {
  const { tools, control } = await scene(t, ['s3cret', 'secret'])
  await rejects(runCommand(TCTL, tools, 'db credentials add', ['orders'], APP), /differ/)
  equal(control.asked.length, 0)
})

test('standard input gives the password in one line; weaker methods are what was allowed', async (t) => {
  const { tools, control } = await scene(t, ['s3cret'])
  const options = { ...APP, passwordStdin: true, allowMd5: true, allowCleartext: true }
  await runCommand(TCTL, tools, 'db credentials add', ['orders'], options)
  deepEqual(control.request('db-credential-put')?.methods, ['scram', 'md5', 'cleartext'])
})

test('an empty password and a missing user are wrong command lines', async (t) => {
  const { tools } = await scene(t, [''])
  const options = { ...APP, passwordStdin: true }
  const add = (given: object): Promise<void> =>
    runCommand(TCTL, tools, 'db credentials add', ['orders'], { ...given })
  await rejects(add(options), { status: EXIT.usage })
  await rejects(add({}), { status: EXIT.usage, next: 'Name it: --db-user=app' })
})

test('no option takes a password: others could read it', async () => {
  const { credentialsAdd } = await import('./db-credentials.ts')
  const flags = (credentialsAdd.options ?? []).map((option) => option.flags)
  deepEqual(
    flags.filter((each) => /password/.test(each)),
    ['--password-stdin'],
  )
})

test('whose passwords are stored is listed, and which are not in use', async (t) => {
  const { tools } = await scene(t)
  await runCommand(TCTL, tools, 'db credentials ls')
  match(tools.printed(), /orders +app +scram,md5 +in use +1970-01-01 00:00:00 UTC root\n/)
  match(tools.printed(), /orders +old +scram,md5 +other owner/)
})

test('one is removed by database and user', async (t) => {
  const { tools, control } = await scene(t)
  await runCommand(TCTL, tools, 'db credentials rm', ['orders'], APP)
  deepEqual(control.request('db-credential-delete'), { database: 'orders', dbUser: 'app' })
})
