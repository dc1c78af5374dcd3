import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { listen } from '../test/fixtures/net.ts'
import {
  columns,
  complete,
  errorResponse,
  type FakePostgres,
  fakePostgres,
  type FakePostgresOptions,
  makePki,
  message,
  type Pki,
  ready,
  row,
  SERVER_NAME,
} from './fake-postgres.fixture.ts'
import { type ConnectOptions, PostgresClient, PostgresError } from './postgres-client.ts'

const PKI = makePki()

function options(port: number, over: Partial<ConnectOptions> = {}, pki: Pki = PKI): ConnectOptions {
  return {
    addresses: [{ host: '127.0.0.1', port }],
    serverName: SERVER_NAME,
    ca: [pki.ca],
    certificate: pki.client.certificate,
    key: pki.client.key,
    user: 'reader',
    database: 'shop',
    ...over,
  }
}

async function start(
  t: TestContext,
  server: Omit<FakePostgresOptions, 'pki'> = {},
): Promise<{ server: FakePostgres; client: PostgresClient }> {
  const fake = await fakePostgres(t, { pki: PKI, ...server })
  const client = await PostgresClient.connect(options(fake.port))
  t.after(() => client.close())
  return { server: fake, client }
}

test('a connection carries the routed name, the certificate, user and database', async (t) => {
  const { server, client } = await start(t)
  deepEqual(await client.query('select 1'), [{ columns: ['one'], rows: [['1']], tag: 'SELECT 1' }])
  deepEqual(server.names, [SERVER_NAME])
  match(server.certificates[0] ?? '', /for people/)
  equal(server.startups[0]?.get('user'), 'reader')
  equal(server.startups[0]?.get('database'), 'shop')
})

test('several results, nulls, empty texts and letters of any length come as sent, however slowly', async (t) => {
  const { client } = await start(t, {
    slowly: true,
    answer: () =>
      Buffer.concat([
        message('N', 'SNOTICE\0Mhello\0\0'),
        columns('a', 'ü', 'a'),
        row('1', null, ''),
        row('zwölf', '𝛑', 'x\ny'),
        complete('SELECT 2'),
        complete('INSERT 0 3'),
        message('I'),
        ready(),
      ]),
  })
  deepEqual(await client.query('x'), [
    {
      columns: ['a', 'ü', 'a'],
      rows: [
        ['1', null, ''],
        ['zwölf', '𝛑', 'x\ny'],
      ],
      tag: 'SELECT 2',
    },
    { columns: [], rows: [], tag: 'INSERT 0 3' },
  ])
})

test('an error of a query carries its fields, and the connection goes on', async (t) => {
  const { client } = await start(t, {
    answer: (sql) =>
      sql === 'bad'
        ? Buffer.concat([
            errorResponse({ S: 'FEHLER', V: 'ERROR', C: '22012', M: 'division', D: 'd', H: 'h' }),
            ready(),
          ])
        : Buffer.concat([complete('SET'), ready()]),
  })
  const error = await client.query('bad').catch((failure: unknown) => failure)
  if (!(error instanceof PostgresError)) throw new Error('no PostgresError')
  equal(error.message, 'division')
  deepEqual(
    [error.severity, error.sqlState, error.detail, error.hint],
    ['ERROR', '22012', 'd', 'h'],
  )
  deepEqual(await client.query('good'), [{ columns: [], rows: [], tag: 'SET' }])
})

test('a refusal at the start is the server’s error', async (t) => {
  const denied = errorResponse({ V: 'FATAL', C: '28000', M: 'denied by Sluice' })
  await rejects(start(t, { greet: () => denied }), { name: 'PostgresError', sqlState: '28000' })
})

test('a database that wants a password is said to', async (t) => {
  const greet = (): Buffer => message('R', Buffer.from([0, 0, 0, 10]), 'SCRAM-SHA-256\0\0')
  await rejects(start(t, { greet }), { code: 'protocol.violation', message: /password/ })
})

test('an agent of another CA is refused before anything is sent to it', async (t) => {
  const fake = await fakePostgres(t, { pki: makePki() })
  await rejects(PostgresClient.connect(options(fake.port)), { code: 'dial.failed' })
  deepEqual(fake.startups, [])
})

test('an agent with the certificate of another target is refused', async (t) => {
  const pki = makePki('ticket.billing.db.sluice.test')
  const fake = await fakePostgres(t, { pki })
  await rejects(PostgresClient.connect(options(fake.port, {}, pki)), {
    code: 'dial.failed',
    message: /altname/i,
  })
  deepEqual(fake.startups, [])
})

test('proxies are tried in turn until one works', async (t) => {
  const mute = await listen(t, (socket) => void socket.end())
  const fake = await fakePostgres(t, { pki: PKI })
  const addresses = [mute.port, fake.port].map((port) => ({ host: '127.0.0.1', port }))
  const client = await PostgresClient.connect(options(0, { addresses }))
  equal((await client.query('select 1'))[0]?.tag, 'SELECT 1')
  client.close()
})

test('the last failure is told when none works, with its address', async (t) => {
  const { port } = await listen(t, (socket) => void socket.end('N'))
  await rejects(PostgresClient.connect(options(port)), {
    code: 'dial.failed',
    message: new RegExp(`127\\.0\\.0\\.1:${port}`),
  })
  await rejects(PostgresClient.connect(options(0, { addresses: [] })), /no proxy address/)
})

test('bytes behind the answer to SSLRequest end it: they could have been slipped in', async (t) => {
  const { port } = await listen(t, (socket) => void socket.write('Sextra'))
  await rejects(PostgresClient.connect(options(port)), /no proxy that speaks PostgreSQL/)
})

test('a message that announces more than the limit is refused at its head', async (t) => {
  const huge = Buffer.from([0x44, 0x7f, 0xff, 0xff, 0xff])
  const { client } = await start(t, { answer: () => huge })
  await rejects(client.query('x'), { code: 'limit.exceeded' })
})

test('a message shorter than its own length field is refused', async (t) => {
  const { client } = await start(t, { answer: () => Buffer.from([0x5a, 0, 0, 0, 3]) })
  await rejects(client.query('x'), { code: 'limit.exceeded' })
})

test('COPY is refused with the way to do it', async (t) => {
  const { client } = await start(t, { answer: () => message('G', Buffer.alloc(3)) })
  await rejects(client.query('copy x from stdin'), { next: /psql/ })
})

test('a connection that ends in the middle of an answer is no answer', async (t) => {
  const { client } = await start(t, {
    once: true,
    answer: () => Buffer.concat([columns('a'), row('1')]),
  })
  await rejects(client.query('x'), /closed before the answer was complete/)
})

test('fields that reach behind their message are refused', async (t) => {
  const cell = Buffer.from([0, 1, 0, 0, 0])
  const { client } = await start(t, {
    answer: () => Buffer.concat([columns('a'), message('D', cell), ready()]),
  })
  await rejects(client.query('x'), { code: 'protocol.violation' })
})

test('a zero byte in SQL is refused here, not cut off there', async (t) => {
  const { client } = await start(t)
  await rejects(client.query('select 1\0; drop'), { code: 'protocol.violation' })
})
