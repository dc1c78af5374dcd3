// What a session is doing when a fault strikes: nothing, a query, COPY in or COPY out, each held in the middle by the test and let go
// afterwards. `finish` says how it ended and has already checked that no byte was wrong: rows in the table are all or none, what
// came out is the truth or a beginning of it followed by an error.

import assert from 'node:assert/strict'

import type { Cleanup } from '../fixtures/files.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import { eventually } from '../faults/eventually.ts'
import { type Ended, PsqlProcess } from './psql-process.ts'

export const SCENARIOS = ['idle', 'query', 'COPY in', 'COPY out'] as const
export type Scenario = (typeof SCENARIOS)[number]

/** `exact`: everything as without a fault. Otherwise psql said an error. */
export interface Outcome {
  readonly exact: boolean
  readonly said: string
}

/** A session in the middle of its scenario. */
export interface Held {
  /** Lets it go on to its end, and checks what it left. */
  finish(): Promise<Outcome>
}

export interface Stage {
  readonly cleanup: Cleanup
  readonly conninfo: string
  readonly server: TestPostgres
}

/** Statements the superuser runs once. */
export const PREPARATION = [
  'CREATE TABLE copied (id int, body text)',
  'GRANT ALL ON copied TO app',
] as const

const BEGUN_MS = 20_000
/** An advisory lock: whoever waits for it runs a query that takes as long as the test likes. */
const GATE = 7
const ROWS = 20_000
const OUT_ROWS = 32_000
const OUT_WIDTH = 1000
/** psql 15 and libpq 15 say one of these when a session ends before its time. */
const CLEAR =
  /ERROR: |FATAL: |PANIC: |server closed the connection|connection to server was lost|SSL (?:SYSCALL )?error|SSL connection has been closed|could not (?:send|receive)|no connection to the server|Connection reset/

export function begin(scenario: Scenario, stage: Stage): Promise<Held> {
  switch (scenario) {
    case 'idle':
      return idle(stage)
    case 'query':
      return query(stage)
    case 'COPY in':
      return copyIn(stage)
    case 'COPY out':
      return copyOut(stage)
  }
}

async function idle({ cleanup, conninfo }: Stage): Promise<Held> {
  const psql = new PsqlProcess(cleanup, conninfo, [])
  psql.write("SELECT 'ready';\n")
  await psql.hears('ready\n'.length)
  return {
    async finish() {
      psql.end('SELECT 6 * 7;\n')
      return outcome(await psql.ended, psql.said, Buffer.from('ready\n42\n'))
    },
  }
}

async function query({ cleanup, conninfo, server }: Stage): Promise<Held> {
  const gate = new PsqlProcess(cleanup, superuserOf(server), [])
  gate.write(`SELECT pg_advisory_lock(${GATE}), 'closed';\n`)
  await gate.hears(1)
  const psql = new PsqlProcess(cleanup, conninfo, ['-c', `SELECT 42, pg_advisory_lock(${GATE})`])
  const waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
  await eventually(async () => (await server.sql(waits)) === '1', BEGUN_MS, 'the query runs')
  return {
    async finish() {
      // Its session ends, and the lock with it.
      gate.end()
      return outcome(await psql.ended, psql.said, Buffer.from('42|\n'))
    },
  }
}

async function copyIn({ cleanup, conninfo, server }: Stage): Promise<Held> {
  await server.sql('TRUNCATE copied')
  const rows = Array.from({ length: ROWS }, (_, at) => `${at}\t${'x'.repeat(at % 200)}\n`)
  const psql = new PsqlProcess(cleanup, conninfo, ['-c', '\\copy copied FROM STDIN'])
  psql.write(rows.slice(0, ROWS / 2).join(''))
  await eventually(
    async () =>
      (await server.sql('SELECT tuples_processed > 1000 FROM pg_stat_progress_copy')) === 't',
    BEGUN_MS,
    'rows are being copied',
  )
  return {
    async finish() {
      psql.end(rows.slice(ROWS / 2).join(''))
      const ended = await psql.ended
      const count = await rowsIn(server)
      // Never a part of a transaction; and what was said to be done is done.
      assert.ok(count === 0 || count === ROWS, `${count} of ${ROWS} rows are in the table`)
      assert.ok(ended.code !== 0 || count === ROWS, `psql is content with ${count} rows`)
      return outcome(ended, psql.said, Buffer.alloc(0))
    },
  }
}

async function copyOut({ cleanup, conninfo }: Stage): Promise<Held> {
  const select = `SELECT i, repeat(chr(97 + i % 26), ${OUT_WIDTH}) FROM generate_series(1, ${OUT_ROWS}) i`
  const psql = new PsqlProcess(cleanup, conninfo, ['-c', `\\copy (${select}) TO STDOUT`])
  await psql.hears(1)
  psql.holdOutput()
  return {
    async finish() {
      psql.readOn()
      return outcome(await psql.ended, psql.said, expectedOut())
    },
  }
}

/** What psql said against what it should have said: all of it and success, or a beginning of it and a clear error. */
function outcome({ code, stderr }: Ended, said: Buffer, expected: Buffer): Outcome {
  if (code === 0) {
    assert.ok(
      said.equals(expected),
      `psql is content with ${said.length} of ${expected.length} bytes`,
    )
    return { exact: true, said: stderr }
  }
  const begun = said.equals(expected.subarray(0, said.length))
  assert.ok(begun, `what came is not what was sent: ${said.subarray(0, 200).toString()}`)
  assert.match(stderr, CLEAR)
  return { exact: false, said: stderr.trim() }
}

let out: Buffer | undefined

function expectedOut(): Buffer {
  out ??= Buffer.from(
    Array.from({ length: OUT_ROWS }, (_, at) => {
      const letter = String.fromCharCode(97 + ((at + 1) % 26))
      return `${at + 1}\t${letter.repeat(OUT_WIDTH)}\n`
    }).join(''),
  )
  return out
}

/** How many rows are there once the server answers and nobody writes any more. */
async function rowsIn(server: TestPostgres): Promise<number> {
  let count = -1
  await eventually(
    async () => {
      const copying = `SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND query ~ '^COPY' AND state = 'active'`
      const said = await server.sql(`${copying}; SELECT count(*) FROM copied`).catch(() => '')
      const [writers, rows] = said.split('\n').map(Number)
      count = rows ?? -1
      return writers === 0
    },
    BEGUN_MS,
    'the server has finished with the copy',
  )
  return count
}

function superuserOf({ socket, port }: TestPostgres): string {
  return `host=${socket} port=${port} user=postgres dbname=postgres`
}
