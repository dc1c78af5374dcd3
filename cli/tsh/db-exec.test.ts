import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { DbCertificate } from '../../control/api/messages.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { EXIT } from '../exit.ts'
import {
  errorResponse,
  fakePostgres,
  type FakePostgres,
  type FakePostgresOptions,
  makePki,
} from '../fake-postgres.fixture.ts'
import { PostgresError } from '../postgres-client.ts'
import {
  type Answers,
  FakeControl,
  type FakeTools,
  fakeTools,
  loggedIn,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { saidByServer } from './db-exec.ts'
import { TSH } from './table.ts'

const SERVER_NAME = 'ticket.orders.db.sluice.test'
const PKI = makePki(SERVER_NAME)

interface Scene {
  readonly tools: FakeTools
  readonly control: FakeControl
  readonly database: FakePostgres
}

/** A database that is reached as control says; the proxy of the profile is the database's port itself. */
async function scene(
  t: TestContext,
  server: Omit<FakePostgresOptions, 'pki'> = {},
  over: Answers = {},
): Promise<Scene> {
  const database = await fakePostgres(t, { pki: PKI, ...server })
  const proxy = `127.0.0.1:${database.port}`
  const control = new FakeControl({
    databases: ({ search, labels }) => ({
      items: ['orders', 'billing']
        .filter((name) => labels !== undefined || name === search)
        .map((name) => ({
          name,
          protocol: 'postgres',
          labels: {},
          description: '',
          online: true,
          status: 'healthy' as const,
          reason: '',
          dbUsers: ['reader'],
          dbNames: ['shop'],
        })),
    }),
    'certificate-db': ({ service, publicKey }): DbCertificate => ({
      // TLS checks that key and certificate belong together.
      certificate: userCertificate(tools.clock, {}, undefined, publicKey),
      mode: 'relay',
      serverName: service === 'orders' ? SERVER_NAME : `ticket.${service}.db.${CLUSTER}`,
      target: { name: service, protocol: 'postgres' },
      proxies: [proxy],
      serverCas: [PKI.ca],
      expiresAtMs: tools.clock.now() + 3_600_000,
    }),
    ...over,
  })
  const tools = await fakeTools(t, { control })
  await loggedIn(tools, { proxy, proxies: [proxy] })
  return { tools, control, database }
}

test('SQL is asked with a certificate made for it, and nothing is left on disk', async (t) => {
  const { tools, database, control } = await scene(t)
  await runCommand(TSH, tools, 'db exec', ['orders', 'select 1'])
  equal(tools.printed(), ' one\n-----\n   1\n(1 row)\n')
  deepEqual(database.names, [SERVER_NAME])
  deepEqual(
    [database.startups[0]?.get('user'), database.startups[0]?.get('database')],
    ['reader', 'shop'],
  )
  deepEqual(tools.profiles.databases((await tools.profiles.read()) ?? fail()), [])
  equal(control.closed, true)
})

test('the certificate of an earlier login is used when it fits, also while control is away', async (t) => {
  const { tools, control } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  const certificates = (): number =>
    control.asked.filter(({ name }) => name === 'certificate-db').length
  equal(certificates(), 1)
  await runCommand(TSH, tools, 'db exec', ['select 1'])
  equal(certificates(), 1)
  await runCommand(TSH, tools, 'db exec', ['orders', 'select 1'], { dbUser: 'writer' })
  equal(certificates(), 2)
})

test('formats for programs', async (t) => {
  const { tools } = await scene(t)
  await runCommand(TSH, tools, 'db exec', ['orders', 'select 1'], { format: 'csv' })
  equal(tools.printed(), 'one\r\n1\r\n')
})

test('Sluice’s refusal reads as it was said, and ends with the status for "denied"', async (t) => {
  const { tools } = await scene(t, {
    greet: () =>
      errorResponse({
        V: 'FATAL',
        C: '28000',
        M: 'access denied by Sluice policy, decision 01J',
        H: 'tctl explain 01J',
      }),
  })
  await rejects(runCommand(TSH, tools, 'db exec', ['orders', 'select 1']), {
    status: EXIT.denied,
    message: 'FATAL:  access denied by Sluice policy, decision 01J\nHINT:  tctl explain 01J',
  })
})

test('an error of the database itself is a plain failure', () => {
  const error = new PostgresError(
    new Map([
      ['V', 'ERROR'],
      ['C', '42501'],
      ['M', 'permission denied for table x'],
    ]),
  )
  equal(saidByServer(error).status, EXIT.failure)
  const own = new PostgresError(
    new Map([
      ['V', 'ERROR'],
      ['C', '42P01'],
      ['M', 'no table Sluice'],
    ]),
  )
  equal(saidByServer(own).status, EXIT.failure)
})

test('what a database says cannot steer the terminal', () => {
  const error = new PostgresError(
    new Map([
      ['V', 'ERROR'],
      ['C', '1'],
      ['M', 'a\u{1b}[2J\nb'],
    ]),
  )
  equal(saidByServer(error).message, 'ERROR:  a\u{fffd}[2J\nb')
})

test('of several databases each answers for itself, and the first failure gives the status', async (t) => {
  const { tools } = await scene(t)
  await rejects(
    runCommand(TSH, tools, 'db exec', ['select 1'], { labels: 'env=prod', parallel: '2' }),
    { message: '1 of 2 databases failed' },
  )
  match(tools.printed(), /^== orders\n one\n/)
  match(tools.noted(), /^== billing\nERROR: cannot connect through/)
})

test('which database is asked when it cannot be guessed', async (t) => {
  const { tools } = await scene(t)
  for (const args of [['select 1'], ['a', 'b', 'c']])
    await rejects(runCommand(TSH, tools, 'db exec', args), { status: EXIT.usage })
})

test('a user that cannot be guessed is asked for', async (t) => {
  const { tools } = await scene(t, {}, { databases: () => ({ items: [] }) })
  await rejects(runCommand(TSH, tools, 'db exec', ['orders', 'select 1']), {
    status: EXIT.usage,
    next: /--db-user/,
  })
})

function fail(): never {
  throw new Error('no profile')
}
