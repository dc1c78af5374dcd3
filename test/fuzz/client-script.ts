// What a PostgreSQL client may say in a session, made by chance: simple and extended queries, pipelines, errors, COPY both ways,
// transactions, portals, function calls, large messages, cut anywhere. A script is rounds, and each round ends in exactly one
// ReadyForQuery, so whoever runs it knows when to go on. Messages are written by the tests' own writer.

import fc from 'fast-check'

import { message } from '../fake/postgres-bytes.ts'

export interface Round {
  readonly bytes: Buffer
  readonly cuts: readonly number[]
}

/** Runs as superuser ahead of each script, so that both runs find the same. Tables stay: their numbers are in row descriptions. */
export const RESET = 'TRUNCATE fuzzed RESTART IDENTITY'
export const SCHEMA: readonly string[] = [
  'CREATE TABLE fuzzed (id serial PRIMARY KEY, n int CHECK (n <> 13), t text, b bytea)',
  'GRANT ALL ON fuzzed, fuzzed_id_seq TO app',
]

/** Single statements: each can stand alone and in a pipeline. */
const STATEMENTS = [
  'SELECT 1',
  "SELECT NULL, '', 1.5::float8, ARRAY[1, 2]",
  'SELECT * FROM fuzzed ORDER BY id',
  "INSERT INTO fuzzed (n, t) VALUES (7, 'ü ☂')",
  'INSERT INTO fuzzed (n) VALUES (13)',
  "INSERT INTO fuzzed (t, b) SELECT 'x', '\\x00ff' FROM generate_series(1, 20) RETURNING id",
  "UPDATE fuzzed SET t = t || 'y' WHERE id % 2 = 0",
  'DELETE FROM fuzzed WHERE id % 3 = 0 RETURNING *',
  'SELECT g FROM generate_series(1, 2000) g',
  "SELECT repeat('long ', 30000)",
  'SELECT 1/0',
  'SELEC 1',
  'SELECT * FROM nowhere',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'SAVEPOINT s',
  'ROLLBACK TO s',
  'BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY',
  'DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 50) g',
  'FETCH 7 FROM c',
  'MOVE BACKWARD 3 FROM c',
  'CLOSE c',
  "SET application_name = 'another'",
  "SET LOCAL client_min_messages = 'debug1'",
  'SHOW application_name',
  'RESET ALL',
  'DEALLOCATE ALL',
  "DO $$ BEGIN RAISE NOTICE 'said'; RAISE WARNING 'louder'; END $$",
  'LISTEN nobody',
  'COPY fuzzed TO STDOUT',
  'COPY (SELECT g, repeat(chr(65 + g % 26), g) FROM generate_series(1, 300) g) TO STDOUT (FORMAT csv)',
  'COPY fuzzed TO STDOUT (FORMAT binary)',
  '',
  '-- nothing but a remark',
] as const

const PARAMETRISED = [
  'SELECT $1::int + 1, $2::text',
  'INSERT INTO fuzzed (n, t) VALUES ($1, $2) RETURNING id',
  'SELECT g FROM generate_series(1, $1::int) g WHERE $2::text IS NOT NULL',
] as const

const statement = fc.constantFrom(...STATEMENTS)
const name = fc.constantFrom('', 'a', 'b')

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length)
  values.forEach((value, at) => bytes.writeUInt16BE(value, 2 * at))
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function counted(values: readonly (string | null)[]): Buffer {
  const parts = values.map((value) =>
    value === null ? u32(-1) : Buffer.concat([u32(Buffer.byteLength(value)), Buffer.from(value)]),
  )
  return Buffer.concat([u16(values.length), ...parts])
}

export function query(sql: string): Buffer {
  return message('Q', text(sql))
}

const SYNC = message('S')

const simple = fc
  .array(statement, { minLength: 1, maxLength: 3 })
  .map((sqls) => query(sqls.join('; ')))

const parse = fc
  .tuple(name, fc.oneof(statement, fc.constantFrom(...PARAMETRISED)))
  .map(([as, sql]) => message('P', Buffer.concat([text(as), text(sql), u16(0)])))

const value = fc.oneof(
  fc.integer({ min: -5, max: 500 }).map(String),
  fc.constantFrom('13', '', 'x', 'ö'.repeat(900), null),
)
const bind = fc
  .tuple(name, name, fc.array(value, { maxLength: 2 }), fc.constantFrom([], [0], [1]))
  .map(([portal, of, values, results]) =>
    message(
      'B',
      Buffer.concat([
        text(portal),
        text(of),
        u16(0),
        counted(values),
        u16(results.length, ...results),
      ]),
    ),
  )
const describe = fc
  .tuple(fc.constantFrom('S', 'P'), name)
  .map(([kind, of]) => message('D', Buffer.concat([Buffer.from(kind), text(of)])))
const execute = fc
  .tuple(name, fc.constantFrom(0, 0, 1, 10))
  .map(([of, rows]) => message('E', Buffer.concat([text(of), u32(rows)])))
const close = fc
  .tuple(fc.constantFrom('S', 'P'), name)
  .map(([kind, of]) => message('C', Buffer.concat([Buffer.from(kind), text(of)])))
const flush = fc.constant(message('H'))

/** A whole execution, as drivers write it, so that chance does not only make errors. */
const execution = fc
  .tuple(fc.oneof(statement, fc.constantFrom(...PARAMETRISED)), value, value)
  .map(([sql, first, second]) =>
    Buffer.concat([
      message('P', Buffer.concat([text(''), text(sql), u16(0)])),
      message(
        'B',
        Buffer.concat([
          text(''),
          text(''),
          u16(0),
          counted(sql.includes('$') ? [first, second] : []),
          u16(0),
        ]),
      ),
      message('D', Buffer.concat([Buffer.from('P'), text('')])),
      message('E', Buffer.concat([text(''), u32(0)])),
    ]),
  )

const extended = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: execution },
      { weight: 2, arbitrary: parse },
      { weight: 2, arbitrary: bind },
      { weight: 2, arbitrary: execute },
      describe,
      close,
      flush,
    ),
    { minLength: 1, maxLength: 12 },
  )
  .map((messages) => Buffer.concat([...messages, SYNC]))

const row = fc.constantFrom(
  '1000\t5\tfive\t\\N\n',
  '2000\t\\N\t\\N\t\\N\n',
  'no number\n',
  'x'.repeat(9000),
)
const copyIn = fc
  .tuple(fc.boolean(), fc.array(row, { maxLength: 6 }), fc.boolean())
  .map(([byExtended, rows, fails]) => {
    const sql = 'COPY fuzzed (id, n, t, b) FROM STDIN'
    const data = rows.map((each) => message('d', each))
    const end = fails ? message('f', text('the client gives up')) : message('c')
    if (!byExtended) return Buffer.concat([query(sql), ...data, end])
    const begin = [
      message('P', Buffer.concat([text(''), text(sql), u16(0)])),
      message('B', Buffer.concat([text(''), text(''), u16(0), u16(0), u16(0)])),
      message('E', Buffer.concat([text(''), u32(0)])),
    ]
    return Buffer.concat([...begin, ...data, end, SYNC])
  })

/** FunctionCall: Int32 object id (177 is int4pl, 0 nothing), argument formats, arguments, result format. */
const call = fc
  .tuple(fc.constantFrom(177, 177, 0), fc.array(value, { maxLength: 3 }))
  .map(([id, values]) => message('F', Buffer.concat([u32(id), u16(0), counted(values), u16(0)])))

const large = fc
  .integer({ min: 1, max: 6 })
  .map((size) => query(`SELECT length('${'z'.repeat(size * 70_001)}')`))

const round: fc.Arbitrary<Round> = fc.record({
  bytes: fc.oneof(
    { weight: 4, arbitrary: simple },
    { weight: 6, arbitrary: extended },
    { weight: 2, arbitrary: copyIn },
    { weight: 1, arbitrary: call },
    { weight: 1, arbitrary: large },
  ),
  cuts: fc.array(fc.nat(100_000), { maxLength: 4 }),
})

export const script: fc.Arbitrary<readonly Round[]> = fc.array(round, {
  minLength: 1,
  maxLength: 8,
})
