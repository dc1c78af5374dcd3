// The commands of `tsh` while proxies end the client's TLS: each proxy is dialled and proven by its own public host, and a change
// of the mode since the login is noticed.

import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { DbCertificate } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import type { SessionMode } from '../../core/login.ts'
import { dial, freePort, readAll, readBytes } from '../../test/fixtures/net.ts'
import { fakePostgres, greeting, makePki } from '../fake-postgres.fixture.ts'
import { readService } from '../pg-service.ts'
import type { Profile } from '../profile.ts'
import {
  FakeControl,
  type FakeTools,
  fakeTools,
  loggedIn,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { TSH } from './table.ts'

const HOUR_MS = 3_600_000
const ONE = makePki('one.example')
const LOCAL = makePki('127.0.0.1')
const STARTUP = Buffer.from('000000090003000000', 'hex')

interface Scene {
  readonly tools: FakeTools
  readonly profile: Profile
  readonly control: FakeControl
  readonly settings: () => Readonly<Record<string, string>>
  /** What control says from now on. */
  now: { mode: SessionMode; away: boolean }
}

async function scene(
  t: TestContext,
  proxies: readonly string[],
  over: {
    lookup?: (host: string) => Promise<string[]>
    untilInterrupted?: () => Promise<void>
  } = {},
): Promise<Scene> {
  const now: Scene['now'] = { mode: 'terminate', away: false }
  const control = new FakeControl({
    databases: () => ({ items: [] }),
    me: () => {
      if (now.away) throw new ProxyError('control.unavailable', 'away')
      const { user, cluster } = profile
      return { user, roles: [], traits: {}, expiresAtMs: 0, cluster, proxies, mode: now.mode }
    },
    'certificate-db': ({ service, publicKey }): DbCertificate => ({
      certificate: userCertificate(tools.clock, {}, HOUR_MS, publicKey),
      mode: now.mode,
      serverName: now.mode === 'relay' ? 'ticket.orders.db.sluice.test' : 'one.example',
      target: { name: service, protocol: 'postgres' },
      proxies,
      serverCas: now.mode === 'relay' ? ['target CA\n'] : [ONE.ca, LOCAL.ca],
      expiresAtMs: tools.clock.now() + HOUR_MS,
    }),
  })
  const lookup = (host: string): Promise<string[]> =>
    host.endsWith('.example')
      ? Promise.resolve(['127.0.0.1'])
      : Promise.reject(new Error('ENOTFOUND'))
  const tools = await fakeTools(t, { control, over: { lookup, ...over } })
  const profile = await loggedIn(tools, { proxy: 'jump.example:443', proxies })
  const file = path.join(tools.folder, 'pg_service.conf')
  const settings = (): Readonly<Record<string, string>> =>
    readService(readFileSync(file, 'utf8'), 'orders') ?? {}
  return { tools, profile, control, settings, now }
}

test('a login names each proxy as host, with its address where it is known, and the host CA as the only root', async (t) => {
  const proxies = ['one.example:443', '[2001:db8::1]:3080', 'unknown.test:443']
  const { tools, profile, settings } = await scene(t, proxies)
  await runCommand(TSH, tools, 'db login', ['orders'], { dbUser: 'reader' })
  const files = tools.profiles.databaseFiles(profile, 'orders', 'terminate')
  deepEqual(settings(), {
    host: 'one.example,2001:db8::1,unknown.test',
    hostaddr: '127.0.0.1,2001:db8::1,',
    port: '443,3080,443',
    user: 'reader',
    sslmode: 'verify-full',
    sslsni: '1',
    sslrootcert: files.cas,
    sslcert: files.certificate,
    sslkey: files.key,
    gssencmode: 'disable',
  })
  equal(readFileSync(files.cas, 'utf8'), ONE.ca + LOCAL.ca)
  ok(files.cas !== tools.profiles.databaseFiles(profile, 'orders', 'relay').cas)
  await runCommand(TSH, tools, 'db config', ['orders'])
  match(tools.printed(), /host: +one\.example,2001:db8::1,unknown\.test\nmode: +terminate\n/)
  await runCommand(TSH, tools, 'db env', ['orders'])
  match(tools.printed(), /export PGHOSTADDR=127\.0\.0\.1,2001:db8::1,\n/)
})

test('the proxy named at login is dialled first when control lists its host, at the port that was named', async (t) => {
  const { tools, settings } = await scene(t, ['one.example:443'])
  await loggedIn(tools, { proxy: 'one.example:8443', proxies: ['one.example:443'] })
  await runCommand(TSH, tools, 'db login', ['orders'])
  deepEqual([settings()['host'], settings()['port']], ['one.example,one.example', '8443,443'])
})

test('connect looks the names up anew', async (t) => {
  let at = '192.0.2.1'
  const { tools, settings } = await scene(t, ['one.example:443'], {
    lookup: () => Promise.resolve([at]),
  })
  await runCommand(TSH, tools, 'db login', ['orders'])
  at = '192.0.2.2'
  await runCommand(TSH, tools, 'db connect', ['orders'])
  deepEqual([settings()['host'], settings()['hostaddr']], ['one.example', '192.0.2.2'])
})

test('exec takes the proxy that proves its own name, and no other', async (t) => {
  const impostor = await fakePostgres(t, { pki: makePki('two.example') })
  const one = await fakePostgres(t, { pki: ONE })
  const proxies = [`two.example:${impostor.port}`, `one.example:${one.port}`]
  const { tools } = await scene(t, proxies)
  await runCommand(TSH, tools, 'db exec', ['orders', 'select 1'], { dbUser: 'reader' })
  match(tools.printed(), /\(1 row\)/)
  deepEqual([impostor.startups.length, one.startups.length, one.names], [0, 1, ['one.example']])
})

test('a proxy under another proxy’s name is refused', async (t) => {
  const one = await fakePostgres(t, { pki: ONE })
  const { tools } = await scene(t, [`other.example:${one.port}`])
  const asked = runCommand(TSH, tools, 'db exec', ['orders', 'select 1'], { dbUser: 'reader' })
  await rejects(asked, /other\.example|altnames/)
  equal(one.startups.length, 0)
})

test('a proxy whose public host is an address proves that address, without a server name', async (t) => {
  const local = await fakePostgres(t, { pki: LOCAL })
  const { tools } = await scene(t, [`127.0.0.1:${local.port}`])
  await runCommand(TSH, tools, 'db exec', ['orders', 'select 1'], { dbUser: 'reader' })
  deepEqual([local.startups.length, local.names], [1, ['']])
  const named = await fakePostgres(t, { pki: ONE })
  const other = await scene(t, [`127.0.0.1:${named.port}`])
  await rejects(runCommand(TSH, other.tools, 'db exec', ['orders', 'x'], { dbUser: 'reader' }))
  equal(named.startups.length, 0)
})

test('a change of the mode is noticed by the next command, and not asked of a control that is away', async (t) => {
  const { tools, control, settings, now, profile } = await scene(t, ['one.example:443'])
  const certificates = (): number =>
    control.asked.filter(({ name }) => name === 'certificate-db').length
  const rootOf = (mode: SessionMode): string =>
    tools.profiles.databaseFiles(profile, 'orders', mode).cas
  now.mode = 'relay'
  await runCommand(TSH, tools, 'db login', ['orders'])
  equal(settings()['sslrootcert'], rootOf('relay'))
  now.mode = 'terminate'
  now.away = true
  await runCommand(TSH, tools, 'db connect', ['orders'])
  deepEqual([certificates(), settings()['sslrootcert']], [1, rootOf('relay')])
  now.away = false
  await runCommand(TSH, tools, 'db connect', ['orders'])
  deepEqual([certificates(), settings()['sslrootcert']], [2, rootOf('terminate')])
  equal(settings()['host'], 'one.example')
  await runCommand(TSH, tools, 'db connect', ['orders'])
  equal(certificates(), 2)
  now.mode = 'relay'
  await runCommand(TSH, tools, 'db connect', ['orders'])
  deepEqual([certificates(), settings()['sslrootcert']], [3, rootOf('relay')])
})

test('proxy db leads to the proxy that it names; a tunnel proves it itself', {
  timeout: 20_000,
}, async (t) => {
  const one = await fakePostgres(t, { pki: ONE })
  const local = await fakePostgres(t, { pki: LOCAL })
  const proxies = [`one.example:${one.port}`, `127.0.0.1:${local.port}`]
  for (const tunnel of [true, false]) {
    const stop = Promise.withResolvers<void>()
    const listening = Promise.withResolvers<number>()
    const { tools } = await scene(t, proxies, {
      untilInterrupted() {
        listening.resolve(Number(/^127\.0\.0\.1:(\d+) leads to/m.exec(tools.printed())?.[1]))
        return stop.promise
      },
    })
    const running = runCommand(TSH, tools, 'proxy db', ['orders'], { tunnel, dbUser: 'reader' })
    const client = await dial(t, await Promise.race([listening.promise, running.then(() => 0)]))
    if (tunnel) {
      client.write(STARTUP)
      deepEqual(await readBytes(client, greeting().length), greeting())
    } else {
      client.end(Buffer.from('0000001004d2162e0000000100000002', 'hex'))
      await readAll(client)
      match(
        tools.printed(),
        /host=one\.example\n {2}hostaddr=127\.0\.0\.1 port=\d+ sslmode=verify-full\n/,
      )
    }
    stop.resolve()
    await running
  }
  deepEqual([one.startups.length, one.clear.length], [1, 1])
  deepEqual([local.startups.length, local.clear.length], [0, 0])
})

test('proxy db without a tunnel leads to no proxy of another name', {
  timeout: 20_000,
}, async (t) => {
  const local = await fakePostgres(t, { pki: LOCAL })
  const stop = Promise.withResolvers<void>()
  const listening = Promise.withResolvers<number>()
  const proxies = [`one.example:${await freePort()}`, `127.0.0.1:${local.port}`]
  const { tools } = await scene(t, proxies, {
    untilInterrupted() {
      listening.resolve(Number(/^127\.0\.0\.1:(\d+) leads to/m.exec(tools.printed())?.[1]))
      return stop.promise
    },
  })
  const running = runCommand(TSH, tools, 'proxy db', ['orders'], { dbUser: 'reader' })
  const client = await dial(t, await Promise.race([listening.promise, running.then(() => 0)]))
  client.end(Buffer.from('0000001004d2162e0000000100000002', 'hex'))
  await readAll(client)
  stop.resolve()
  await running
  equal(local.clear.length, 0)
  match(tools.noted(), /cannot be reached/)
})
