// What a program does with porsager/postgres, told step by step on standard output; test/e2e/postgres-drivers.full.test.ts compares.

import { createHash } from 'node:crypto'
import { once } from 'node:events'

import postgres from 'postgres'

import { errorFields, settingsFromEnvironment, tell } from './settings.ts'

const POOL = 20
const ROWS = 200_000

const { host, port, user, database, ssl } = settingsFromEnvironment()
const options = { host, port, user, database, ssl: ssl ?? false, onnotice: () => {} } as const
const sql = postgres({ ...options, max: 1, connection: { application_name: 'a driver' } })
await statements()
await transactions()
await errors()
await results()
await copy()
await notifications()
await cancel()
await sql.end()
await pool()

async function statements(): Promise<void> {
  tell('who', await sql`SELECT current_user, current_setting('application_name') AS application`)
  for (const n of [1, 2, 3])
    tell('prepared', await sql`SELECT ${n}::int * 2 AS n, ${'é'}::text AS t`)
  tell(
    'types',
    await sql`SELECT ${sql.json({ a: [1] })}::jsonb AS j, ${[1, 2]}::int[] AS a, ${Buffer.from([0, 255])}::bytea AS b,
      1.50::numeric AS n, timestamptz '2026-01-01 00:00:00+00' AS at, NULL AS nothing`,
  )
  tell('several', await sql`SELECT 1 AS a; SELECT 2 AS b`.simple())
}

async function transactions(): Promise<void> {
  await sql`CREATE TEMP TABLE t (id int PRIMARY KEY)`
  for (const fails of [true, false]) {
    const outcome = await sql
      .begin(async (inner) => {
        await inner`INSERT INTO t SELECT generate_series(1, 10)`
        await inner.savepoint((deeper) => deeper`SELECT 1 / 0`).catch(() => 'undone')
        if (fails) throw new Error('no')
        return 'committed'
      })
      .catch((error: unknown) => errorFields(error)['message'])
    tell('transaction', outcome)
    tell('rows', await sql`SELECT count(*) FROM t`)
  }
}

async function errors(): Promise<void> {
  for (const text of ['INSERT INTO t VALUES (1)', 'SELECT 1/0', 'SELECT * FROM nowhere', 'SELEC'])
    tell('error', errorFields(await sql.unsafe(text).catch((error: unknown) => error)))
  tell('goes on', await sql`SELECT 1 AS one`)
}

async function results(): Promise<void> {
  const hash = createHash('sha256')
  let count = 0
  const many = sql`SELECT n, md5(n::text) AS sum FROM generate_series(1, ${ROWS}) n`
  for await (const rows of many.cursor(1000))
    for (const { n, sum } of rows) {
      count++
      hash.update(`${String(n)} ${String(sum)}\n`)
    }
  tell('many rows by a cursor', [count, hash.digest('hex')])
  const [large] = await sql`SELECT repeat('é', 10000000) AS text`
  tell('a large value', String(large?.['text']).length)
}

async function copy(): Promise<void> {
  await sql`CREATE TEMP TABLE copied (id int, body text)`
  const into = await sql`COPY copied FROM STDIN`.writable()
  for (let row = 0; row < ROWS; row++)
    if (!into.write(`${row}\t${'é'.repeat(row % 30)}\n`)) await once(into, 'drain')
  into.end()
  await once(into, 'finish')
  const hash = createHash('sha256')
  const from = await sql`COPY (SELECT * FROM copied ORDER BY id) TO STDOUT`.readable()
  for await (const chunk of from) hash.update(Buffer.from(chunk))
  tell('copied', [await sql`SELECT count(*) FROM copied`, hash.digest('hex')])
}

async function notifications(): Promise<void> {
  const heard = Promise.withResolvers<string>()
  await sql.listen('news', (payload) => heard.resolve(payload))
  await sql.notify('news', 'ünïcode')
  tell('heard', await heard.promise)
}

async function cancel(): Promise<void> {
  const sleep = sql`SELECT pg_sleep(60)`
  const ended = sleep.then(
    () => undefined,
    (error: unknown) => error,
  )
  const other = postgres({ ...options, max: 1 })
  const sleeps = (): Promise<{ length: number }> =>
    other`SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = current_user`
  while ((await sleeps()).length !== 1) continue
  await other.end()
  sleep.cancel()
  tell('canceled', errorFields(await ended))
  tell('goes on', await sql`SELECT 2 AS two`)
}

async function pool(): Promise<void> {
  const many = postgres({ ...options, max: POOL })
  const asked = Array.from(
    { length: POOL * 20 },
    (_, n) => many`SELECT ${n}::int AS n, pg_backend_pid() AS pid, pg_sleep(0.01)`,
  )
  const answers = (await Promise.all(asked)).map(([row]) => row)
  tell('pool', answers.map((row) => String(row?.['n'])).join())
  tell('sessions', new Set(answers.map((row) => String(row?.['pid']))).size)
  await many.end()
}
