// What a program does with node-postgres, told step by step on standard output; test/e2e/postgres-drivers.full.test.ts compares.

import { createHash } from 'node:crypto'

import { pg } from './pg.ts'
import { errorFields, type Settings, settingsFromEnvironment, tell } from './settings.ts'

const POOL = 20
const ROWS = 200_000

const settings = settingsFromEnvironment()
const client = new pg.Client({ ...settings, application_name: 'a driver' })
await client.connect()
await statements()
await transactions()
await errors()
await results()
await notifications()
await cancel()
await client.end()
await pool(settings)

async function statements(): Promise<void> {
  const who = "SELECT current_user, current_setting('application_name') AS application"
  tell('who', (await client.query(who)).rows)
  for (const n of [1, 2, 3]) {
    const named = {
      name: 'twice',
      text: 'SELECT $1::int * 2 AS n, $2::text AS t',
      values: [n, 'é'],
    }
    tell('prepared', (await client.query(named)).rows)
  }
  const types = `SELECT $1::jsonb AS j, $2::int[] AS a, $3::bytea AS b, 1.50::numeric AS n,
    timestamptz '2026-01-01 00:00:00+00' AS at, NULL AS nothing`
  tell('types', (await client.query(types, ['{"a": [1]}', [1, 2], Buffer.from([0, 255])])).rows)
}

async function transactions(): Promise<void> {
  await client.query('CREATE TEMP TABLE t (id int PRIMARY KEY)')
  for (const end of ['ROLLBACK', 'COMMIT']) {
    await client.query('BEGIN')
    await client.query('INSERT INTO t SELECT generate_series(1, $1::int)', [10])
    tell(end, (await client.query(end)).command)
    tell('rows', (await client.query('SELECT count(*) FROM t')).rows)
  }
}

async function errors(): Promise<void> {
  for (const text of ['INSERT INTO t VALUES (1)', 'SELECT 1/0', 'SELECT * FROM nowhere', 'SELEC'])
    tell('error', errorFields(await client.query(text).catch((error: unknown) => error)))
  const wrong = client.query('SELECT $1::int', ['x']).catch((error: unknown) => error)
  tell('error', errorFields(await wrong))
  tell('goes on', (await client.query('SELECT 1 AS one')).rows)
}

async function results(): Promise<void> {
  const hash = createHash('sha256')
  const many = `SELECT n, md5(n::text) AS sum FROM generate_series(1, ${ROWS}) n`
  const { rows, rowCount } = await client.query(many)
  for (const { n, sum } of rows) hash.update(`${String(n)} ${String(sum)}\n`)
  tell('many rows', [rowCount, hash.digest('hex')])
  const large = await client.query("SELECT repeat('é', 10000000) AS text")
  tell('a large value', String(large.rows[0]?.['text']).length)
}

async function notifications(): Promise<void> {
  await client.query('LISTEN news')
  const heard = new Promise((resolve) => client.once('notification', resolve))
  await client.query("NOTIFY news, 'ünïcode'")
  const message: unknown = await heard
  tell('heard', Object(message) === message && Reflect.get(Object(message), 'payload'))
}

/** The driver's own cancel: a second client brings the request to the first one's session. */
async function cancel(): Promise<void> {
  const ended = Promise.withResolvers<unknown>()
  const sleep = new pg.Query('SELECT pg_sleep(60)', (error) => ended.resolve(error))
  client.query(sleep)
  const sleeping = new pg.Client(settings)
  await sleeping.connect()
  const busy = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = current_user`
  while ((await sleeping.query(busy)).rows[0]?.['n'] !== 1) continue
  await sleeping.end()
  new pg.Client(settings).cancel(client, sleep)
  tell('canceled', errorFields(await ended.promise))
  tell('goes on', (await client.query('SELECT 2 AS two')).rows)
}

async function pool(to: Settings): Promise<void> {
  const many = new pg.Pool({ ...to, max: POOL })
  const asked = Array.from({ length: POOL * 20 }, (_, n) =>
    many.query('SELECT $1::int AS n, pg_backend_pid() AS pid, pg_sleep(0.01)', [n]),
  )
  const answers = (await Promise.all(asked)).map(({ rows }) => rows[0])
  tell('pool', answers.map((row) => row?.['n']).join())
  tell('sessions', new Set(answers.map((row) => row?.['pid'])).size)
  await many.end()
}
