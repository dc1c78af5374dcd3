import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { Database, DbCertificate } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { CLUSTER } from '../../test/fixtures/certificates.ts'
import { CommandError, EXIT, ProgramEnded } from '../exit.ts'
import { readService } from '../pg-service.ts'
import type { Profile } from '../profile.ts'
import {
  type Answers,
  FakeControl,
  type FakeOptions,
  type FakeTools,
  fakeTools,
  loggedIn,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { TSH } from './table.ts'

const SERVER_NAME = `ticket.orders.db.${CLUSTER}`
const HOUR_MS = 3_600_000

const ORDERS: Database = {
  name: 'orders',
  protocol: 'postgres',
  labels: { env: 'prod' },
  description: 'the shop',
  online: true,
  status: 'healthy',
  reason: '',
  dbUsers: ['reader'],
  dbNames: ['*'],
}

interface Scene {
  readonly tools: FakeTools
  readonly control: FakeControl
  readonly profile: Profile
  readonly serviceText: () => string
}

async function scene(
  t: TestContext,
  over: Answers = {},
  options: Omit<FakeOptions, 'control'> = {},
): Promise<Scene> {
  const control = new FakeControl({
    databases: () => ({ items: [ORDERS] }),
    'certificate-db': ({ service }): DbCertificate => {
      return {
        certificate: userCertificate(tools.clock, {}, HOUR_MS),
        mode: 'relay',
        serverName: `ticket.${service}.db.${CLUSTER}`,
        target: { name: service, protocol: 'postgres' },
        proxies: ['proxy.example.com:443', '192.0.2.9:3080'],
        serverCas: ['target CA\n'],
        expiresAtMs: tools.clock.now() + HOUR_MS,
      }
    },
    ...over,
  })
  const tools = await fakeTools(t, { ...options, control })
  const profile = await loggedIn(tools)
  const file = path.join(tools.folder, 'pg_service.conf')
  return {
    tools,
    control,
    profile,
    serviceText: () => (existsSync(file) ? readFileSync(file, 'utf8') : ''),
  }
}

test('a database login leaves certificate, key, CA and a service that libpq understands', async (t) => {
  const { tools, control, profile, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'], { dbUser: 'writer', dbName: 'shop' })
  const request = control.request('certificate-db')
  deepEqual([request?.service, request?.dbUser, request?.dbName], ['orders', 'writer', 'shop'])
  const files = tools.profiles.databaseFiles(profile, 'orders')
  match(readFileSync(files.key, 'utf8'), /BEGIN PRIVATE KEY/)
  match(readFileSync(files.certificate, 'utf8'), /BEGIN CERTIFICATE/)
  equal(readFileSync(files.cas, 'utf8'), 'target CA\n')
  equal(statSync(files.key).mode & 0o777, 0o600)
  deepEqual(readService(serviceText(), 'orders'), {
    host: `${SERVER_NAME},${SERVER_NAME}`,
    hostaddr: '192.0.2.7,192.0.2.9',
    port: '443,3080',
    user: 'writer',
    dbname: 'shop',
    sslmode: 'verify-full',
    sslsni: '1',
    sslrootcert: files.cas,
    sslcert: files.certificate,
    sslkey: files.key,
    gssencmode: 'disable',
  })
  match(tools.printed(), /psql "service=orders"/)
  ok(control.closed)
})

test('a user that roles leave no choice of is filled in, a pattern is not', async (t) => {
  const { tools, control, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  const request = control.request('certificate-db')
  equal(request?.dbUser, 'reader')
  equal(request.dbName, undefined)
  const settings = readService(serviceText(), 'orders')
  equal(settings?.['user'], 'reader')
  equal(settings['dbname'], undefined)
})

test('the person’s own section of that name stays; ours gets the cluster’s name', async (t) => {
  const { tools, serviceText } = await scene(t)
  const own = '# mine\n[orders]\nhost=db.intranet\n'
  writeFileSync(path.join(tools.folder, 'pg_service.conf'), own)
  await runCommand(TSH, tools, 'db login', ['orders'])
  ok(serviceText().startsWith(own))
  ok(readService(serviceText(), `${CLUSTER}-orders`))
  match(tools.printed(), new RegExp(`service=${CLUSTER}-orders`))
  await runCommand(TSH, tools, 'db logout', ['orders'])
  equal(serviceText().trim(), own.trim())
})

test('two clusters with a database of one name do not take each other’s service', async (t) => {
  const { tools, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  await loggedIn(tools, { proxy: 'other.example.com:443', cluster: 'other.test' })
  await runCommand(TSH, tools, 'db login', ['orders'])
  match(readService(serviceText(), 'orders')?.['sslcert'] ?? '', /proxy\.example\.com/)
  match(readService(serviceText(), 'other.test-orders')?.['sslcert'] ?? '', /other\.example\.com/)
})

test('a second login renews the section in place', async (t) => {
  const { tools, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  await runCommand(TSH, tools, 'db login', ['orders'], { dbUser: 'writer' })
  equal(serviceText().match(/^\[/gm)?.length, 1)
  equal(readService(serviceText(), 'orders')?.['user'], 'writer')
})

test('logging out of a database removes certificate, key and section', async (t) => {
  const { tools, profile, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  await runCommand(TSH, tools, 'db logout', [])
  deepEqual(tools.profiles.databases(profile), [])
  equal(serviceText(), '')
  await rejects(runCommand(TSH, tools, 'db logout', ['orders']), { status: EXIT.usage })
})

test('logging out of the cluster takes the services along', async (t) => {
  const { tools, profile, serviceText } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  await runCommand(TSH, tools, 'logout')
  equal(serviceText(), '')
  equal(tools.profiles.loginPair(profile), undefined)
  match(tools.printed(), /Logged out alice from proxy\.example\.com:443/)
})

test('without a login a database command says what to do, with the status for it', async (t) => {
  const tools = await fakeTools(t)
  for (const words of ['db ls', 'db env', 'db logout'])
    await rejects(runCommand(TSH, tools, words), {
      status: EXIT.notLoggedIn,
      message: 'not logged in',
      next: /tsh login --proxy=/,
    })
})

test('an expired login is told as such, without asking control', async (t) => {
  const { tools, control } = await scene(t)
  tools.clock.advance(13 * HOUR_MS)
  await rejects(runCommand(TSH, tools, 'db ls'), {
    status: EXIT.notLoggedIn,
    message: /expired/,
    next: 'Log in: tsh login --proxy=proxy.example.com:443',
  })
  deepEqual(control.asked, [])
})

test('a login as somebody else is not used', async (t) => {
  const { tools } = await scene(t)
  await rejects(runCommand(TSH, tools, 'db ls', [], { user: 'bob' }), {
    status: EXIT.notLoggedIn,
    message: /as alice, not as bob/,
  })
})

test('databases are listed page by page, marked when logged in to', async (t) => {
  const { tools } = await scene(t, {
    databases: ({ cursor, labels, search }) => {
      equal(labels, 'env=prod,team=a')
      equal(search, 'shop')
      return cursor === undefined
        ? { items: [ORDERS], next: 'orders' }
        : {
            items: [
              {
                ...ORDERS,
                name: 'late',
                online: false,
                status: 'offline' as const,
                reason: 'no agent serves it',
                dbUsers: [],
              },
            ],
          }
    },
  })
  tools.profiles.put(
    tools.profiles.databaseFiles((await tools.profiles.read()) as Profile, 'orders').certificate,
    'x',
  )
  await runCommand(TSH, tools, 'db ls', ['env=prod', 'team=a'], { search: 'shop' })
  deepEqual(tools.printed().split('\n'), [
    'Name     Description Allowed Users Labels   Status',
    '-------- ----------- ------------- -------- -------',
    '> orders the shop    [reader]      env=prod healthy',
    'late     the shop    (none)        env=prod offline',
    '',
  ])
})

test('databases are found by a query that control judges', async (t) => {
  const { tools, control } = await scene(t)
  const query = 'search("shop") && resource.spec.protocol == "postgres"'
  await runCommand(TSH, tools, 'db ls', [], { query })
  deepEqual(control.request('databases'), { query })
  await rejects(runCommand(TSH, tools, 'db ls', [], { query: 'name' }), {
    status: EXIT.usage,
    message: /^--query is wrong at column 1: it comes to a text/,
  })
})

test('why a database is not healthy is told to who asks for more', async (t) => {
  const { tools } = await scene(t, {
    databases: () => ({
      items: [{ ...ORDERS, status: 'unhealthy' as const, reason: 'connect ECONNREFUSED' }],
    }),
  })
  await runCommand(TSH, tools, 'db ls', [], { verbose: true })
  match(tools.printed(), /postgres env=prod unhealthy connect ECONNREFUSED\n/)
})

test('lists come as JSON for programs', async (t) => {
  const { tools } = await scene(t)
  await runCommand(TSH, tools, 'db ls', [], { format: 'json' })
  deepEqual(JSON.parse(tools.printed()), [ORDERS])
})

test('env prints what libpq reads, config the parts, from disk alone', async (t) => {
  const { tools, control, profile } = await scene(t)
  await runCommand(TSH, tools, 'db login', ['orders'])
  const before = control.asked.length
  await runCommand(TSH, tools, 'db env', [])
  match(tools.printed(), new RegExp(`export PGHOST=${SERVER_NAME},${SERVER_NAME}\n`))
  match(tools.printed(), /export PGSSLMODE=verify-full\n/)
  await runCommand(TSH, tools, 'db config', ['orders'], { format: 'json' })
  const config: unknown = JSON.parse(tools.printed().slice(tools.printed().lastIndexOf('{')))
  equal(
    (config as { cert: string }).cert,
    tools.profiles.databaseFiles(profile, 'orders').certificate,
  )
  await runCommand(TSH, tools, 'db config', ['orders'], { format: 'cmd' })
  ok(tools.printed().endsWith('psql service=orders\n'))
  equal(control.asked.length, before)
})

test('connect starts psql with the service, logging in only when needed', async (t) => {
  const { tools, control } = await scene(t)
  await runCommand(TSH, tools, 'db connect', ['orders'])
  await runCommand(TSH, tools, 'db connect', ['orders'])
  deepEqual(tools.ran, [
    { program: 'psql', args: ['service=orders'] },
    { program: 'psql', args: ['service=orders'] },
  ])
  equal(control.asked.filter(({ name }) => name === 'certificate-db').length, 1)
  tools.clock.advance(HOUR_MS - 30_000)
  await runCommand(TSH, tools, 'db connect', ['orders'])
  equal(control.asked.filter(({ name }) => name === 'certificate-db').length, 2)
})

test('connect follows proxies that moved', async (t) => {
  let address = '192.0.2.7'
  const { tools, serviceText } = await scene(
    t,
    {},
    { over: { lookup: () => Promise.resolve([address, '2001:db8::1']) } },
  )
  await runCommand(TSH, tools, 'db login', ['orders'])
  address = '192.0.2.77'
  await runCommand(TSH, tools, 'db connect', ['orders'])
  match(readService(serviceText(), 'orders')?.['hostaddr'] ?? '', /^192\.0\.2\.77,2001:db8::1/)
})

test('connect ends with the status of psql, and says how to do without it', async (t) => {
  const { tools } = await scene(t, {}, { over: { run: () => Promise.resolve(3) } })
  await rejects(
    runCommand(TSH, tools, 'db connect', ['orders']),
    (error) => error instanceof ProgramEnded && error.status === 3,
  )
  const lacking = await scene(
    t,
    {},
    { over: { run: () => Promise.reject(new CommandError('psql is not installed')) } },
  )
  await rejects(runCommand(TSH, lacking.tools, 'db connect', ['orders']), { next: /tsh db exec/ })
})

test('what control refuses is passed on, and nothing is written', async (t) => {
  const denied = new ProxyError('policy.denied', 'no such right')
  const { tools, profile, serviceText } = await scene(t, {
    'certificate-db': () => Promise.reject(denied),
  })
  await rejects(runCommand(TSH, tools, 'db login', ['orders']), denied)
  deepEqual(tools.profiles.databases(profile), [])
  equal(serviceText(), '')
})

test('proxies whose names cannot be found are left out; without any it is said', async (t) => {
  const { tools, serviceText } = await scene(
    t,
    {},
    { over: { lookup: () => Promise.reject(new Error('ENOTFOUND')) } },
  )
  await runCommand(TSH, tools, 'db login', ['orders'])
  equal(readService(serviceText(), 'orders')?.['hostaddr'], '192.0.2.9')
})
