import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import type { DbCertificate } from '../../control/api/messages.ts'
import { EXIT } from '../exit.ts'
import { type FakePostgres, fakePostgres, greeting, makePki } from '../fake-postgres.fixture.ts'
import {
  FakeControl,
  type FakeTools,
  fakeTools,
  loggedIn,
  runCommand,
  userCertificate,
} from '../tools.fixture.ts'
import { dial, readAll, readBytes } from '../../test/fixtures/net.ts'
import { TSH } from './table.ts'

const SERVER_NAME = 'ticket.orders.db.sluice.test'
const PKI = makePki(SERVER_NAME)
const HOUR_MS = 3_600_000
const STARTUP = Buffer.from('000000090003000000', 'hex')
const GREETING = greeting().length

interface Scene {
  readonly tools: FakeTools
  readonly control: FakeControl
  readonly database: FakePostgres
  /** Runs `tsh proxy db` while `work` uses its port. */
  readonly during: (
    options: Readonly<Record<string, unknown>>,
    work: (port: number) => Promise<void>,
  ) => Promise<void>
}

async function scene(t: TestContext): Promise<Scene> {
  const database = await fakePostgres(t, { pki: PKI })
  const proxy = `127.0.0.1:${database.port}`
  const control = new FakeControl({
    databases: () => ({ items: [] }),
    'certificate-db': async ({ publicKey }) => {
      // Long enough for all who wait to ask, if each of them did.
      for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
      return certificateFor(publicKey)
    },
  })
  const certificateFor = (publicKey: string): DbCertificate => ({
    certificate: userCertificate(tools.clock, {}, HOUR_MS, publicKey),
    mode: 'relay',
    serverName: SERVER_NAME,
    target: { name: 'orders', protocol: 'postgres' },
    proxies: [proxy],
    serverCas: [PKI.ca],
    expiresAtMs: tools.clock.now() + HOUR_MS,
  })
  const interrupt = Promise.withResolvers<void>()
  const listening = Promise.withResolvers<number>()
  const tools = await fakeTools(t, {
    control,
    over: {
      untilInterrupted() {
        listening.resolve(Number(/^127\.0\.0\.1:(\d+) leads to/m.exec(tools.printed())?.[1]))
        return interrupt.promise
      },
    },
  })
  await loggedIn(tools, { proxy, proxies: [proxy] })
  return {
    tools,
    control,
    database,
    async during(options, work) {
      const running = runCommand(TSH, tools, 'proxy db', ['orders'], options)
      await work(await Promise.race([listening.promise, running.then(() => 0)]))
      interrupt.resolve()
      await running
    },
  }
}

test('through a tunnel any program gets in, with the certificate brought here', async (t) => {
  const { during, database, tools } = await scene(t)
  await during({ tunnel: true, dbUser: 'reader' }, async (port) => {
    const client = await dial(t, port)
    client.write(STARTUP)
    deepEqual(await readBytes(client, GREETING), greeting())
  })
  deepEqual(database.names, [SERVER_NAME])
  match(database.certificates[0] ?? '', /for people/)
  match(tools.printed(), /psql "host=127\.0\.0\.1 port=\d+ sslmode=disable user=reader"/)
})

test('a tunnel leaves nothing on disk', async (t) => {
  const { during, tools } = await scene(t)
  await during({ tunnel: true }, () => Promise.resolve())
  const profile = await tools.profiles.read()
  deepEqual(profile && tools.profiles.databases(profile), [])
})

test('a certificate that has ended is renewed once for all who come', async (t) => {
  const { during, control, tools } = await scene(t)
  const certificates = (): number =>
    control.asked.filter(({ name }) => name === 'certificate-db').length
  await during({ tunnel: true }, async (port) => {
    equal(certificates(), 1)
    tools.clock.advance(HOUR_MS)
    const clients = await Promise.all([dial(t, port), dial(t, port), dial(t, port)])
    for (const client of clients) client.write(STARTUP)
    for (const client of clients) await readBytes(client, GREETING)
    equal(certificates(), 2)
  })
})

test('without a tunnel the bytes of the client reach the public port as they are', async (t) => {
  const { during, database, tools } = await scene(t)
  await during({}, async (port) => {
    const client = await dial(t, port)
    client.end(Buffer.from('0000001004d2162e0000000100000002', 'hex'))
    equal((await readAll(client)).length, 0)
  })
  equal(database.clear.length, 1)
  match(
    tools.printed(),
    new RegExp(`host=${SERVER_NAME}\n {2}hostaddr=127\\.0\\.0\\.1 port=\\d+ sslmode=verify-full\n`),
  )
})

test('an address others can reach must be asked for by name', async (t) => {
  const { tools, control } = await scene(t)
  for (const listen of ['0.0.0.0:0', '[::]:0', '192.0.2.1:5432', '127.example.com:1', ':0'])
    await rejects(
      runCommand(TSH, tools, 'proxy db', ['orders'], { listen }),
      { status: EXIT.usage, next: /--insecure-listen-anywhere/ },
      listen,
    )
  await rejects(
    runCommand(TSH, tools, 'proxy db', ['orders'], { listen: '127.0.0.1:0', port: '1' }),
    {
      status: EXIT.usage,
    },
  )
  deepEqual(control.asked, [])
})
