// What is heard of a session: messages of a client and of a server in order, against the events that come of them. The bytes are
// made by the tests' own writer.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import { auditRow } from '../../core/audit/catalogue.ts'
import { max } from '../../core/limits.ts'
import type { Observation } from '../../core/protocol.ts'
import { message, ready } from '../../test/fake/postgres-bytes.ts'
import { PostgresObserver } from './observer.ts'

type Said = readonly [from: 'client' | 'target', bytes: Buffer]

const c = (type: string, body: string | Uint8Array = ''): Said => ['client', message(type, body)]
const s = (type: string, body: string | Uint8Array = ''): Said => ['target', message(type, body)]

const Q = (sql: string): Said => c('Q', `${sql}\0`)
const P = (sql: string, name = ''): Said => c('P', `${name}\0${sql}\0\0\0`)
const E = (portal = '', rows = 0): Said =>
  c('E', Buffer.concat([Buffer.from(`${portal}\0`), int32(rows)]))
const D = (what: 'S' | 'P' = 'P', name = ''): Said => c('D', `${what}${name}\0`)
const X = (what: 'S' | 'P', name: string): Said => c('C', `${what}${name}\0`)
const S = c('S')
const C = (tag: string): Said => s('C', `${tag}\0`)
const parsed = s('1')
const bound = s('2')
const closed = s('3')
const noData = s('n')
const rows = s('T', '\0\0')
const Z = (status = 'I'): Said => s('Z', status)
const fails = (text: string, code = '42601'): Said =>
  s('E', `SERROR\0VERROR\0C${code}\0M${text}\0\0`)

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

const int16 = (value: number): Buffer => int32(value).subarray(2)

/** Bind with values as text, `null`, or bytes (binary format). */
function B(values: readonly (string | Buffer | null)[] = [], statement = '', portal = ''): Said {
  const formats = values.map((value) => int16(value instanceof Buffer ? 1 : 0))
  const given = values.flatMap((value) =>
    value === null ? [int32(-1)] : [int32(Buffer.byteLength(value)), Buffer.from(value)],
  )
  const names = Buffer.from(`${portal}\0${statement}\0`)
  return c(
    'B',
    Buffer.concat([
      names,
      int16(values.length),
      ...formats,
      int16(values.length),
      ...given,
      int16(0),
    ]),
  )
}

interface Heard {
  readonly events: Observation[]
  readonly observer: PostgresObserver
  readonly taken: readonly boolean[]
}

/** One millisecond passes with each message. Each body comes in pieces of `pieceBytes`. */
function hear(said: readonly Said[], pieceBytes = Number.POSITIVE_INFINITY): Heard {
  const events: Observation[] = []
  const observer = new PostgresObserver((observation) => events.push(observation))
  let atMs = 0
  const taken = [['target', ready] as Said, ...said].map(([from, bytes]) => {
    const code = (bytes[0] ?? 0) + (from === 'client' ? 0 : 0x100)
    atMs++
    const length = bytes.length - 5
    let all = true
    for (let at = 0; at === 0 || at < length; at += pieceBytes) {
      const to = Math.min(length, at + pieceBytes)
      // As a performer's chunk: something stands before and behind the body, and is overwritten afterwards.
      const chunk = Buffer.concat([
        Buffer.from('xx'),
        bytes.subarray(5 + at, 5 + to),
        Buffer.from('yy'),
      ])
      all &&= observer.note(code, chunk, 2, 2 + to - at, length - to, atMs)
      chunk.fill(0xaa)
    }
    return all
  })
  return { events, observer, taken }
}

/** Events without what is not set and without their times. */
function told(said: readonly Said[], end = false): object[] {
  const { events, observer } = hear(said)
  if (end) observer.end()
  assert.equal(observer.fault, undefined)
  return events.map(plain)
}

function plain({ code, fields }: Observation): object {
  const set = Object.entries(fields).filter(
    ([name, value]) => value !== undefined && name !== 'duration_us',
  )
  return { code, ...Object.fromEntries(set) }
}

test('a simple query is one event, told when the server is ready again, with rows and time', () => {
  const { events } = hear([Q('SELECT 1'), rows, C('SELECT 3')])
  assert.equal(events.length, 0)
  const { events: later } = hear([Q('SELECT 1'), rows, C('SELECT 3'), Z()])
  const fields = { db_query: 'SELECT 1', command: 'SELECT', rows: 3, duration_us: 3000 }
  assert.deepEqual(
    later.map(({ code, askedAtMs }) => [code, askedAtMs]),
    [['TDB02I', 2]],
  )
  assert.deepEqual(
    { ...plain(later[0] as Observation), duration_us: later[0]?.fields['duration_us'] },
    { code: 'TDB02I', ...fields },
  )
})

test('several statements of one query are one event with all commands and their rows', () => {
  assert.deepEqual(
    told([Q('a; b; c'), rows, C('SELECT 2'), C('INSERT 0 3'), C('CREATE TABLE'), Z()]),
    [
      {
        code: 'TDB02I',
        db_query: 'a; b; c',
        commands: ['SELECT 2', 'INSERT 0 3', 'CREATE TABLE'],
        commands_count: 3,
        rows: 5,
      },
    ],
  )
})

test('of very many statements in one query the first tags are told, and how many there were', () => {
  const many = 3 * max('pgCommandsMax')
  const [event] = told([Q('…'), ...Array.from({ length: many }, () => C('INSERT 0 2')), Z()])
  const { commands, ...rest } = event as { commands: string[] }
  assert.equal(commands.length, max('pgCommandsMax'))
  assert.deepEqual(rest, { code: 'TDB02I', db_query: '…', commands_count: many, rows: 2 * many })
})

test('an empty query is told', () => {
  assert.deepEqual(told([Q(''), s('I'), Z()]), [
    { code: 'TDB02I', db_query: '', command: '', rows: 0 },
  ])
})

test('a failed query is told with the server’s code and words, and what ran before', () => {
  assert.deepEqual(told([Q('a; b'), C('INSERT 0 1'), fails('no such table', '42P01'), Z()]), [
    {
      code: 'TDB02W',
      db_query: 'a; b',
      command: 'INSERT',
      rows: 1,
      error: 'no such table',
      sqlstate: '42P01',
    },
  ])
})

test('an extended query is one event with the text of its Parse and the parameters of its Bind', () => {
  const said = [P('SELECT $1, $2, $3'), B(['x', null, Buffer.from([1, 255])]), D(), E(), S]
  const answers = [parsed, bound, rows, C('SELECT 1'), Z()]
  assert.deepEqual(told([...said, ...answers]), [
    {
      code: 'TPG02I',
      db_query: 'SELECT $1, $2, $3',
      db_query_parameters: ['x', 'NULL', '\\x01ff'],
      null_parameters: ['2'],
      command: 'SELECT',
      rows: 1,
    },
  ])
})

test('a prepared statement is told when it is made and with each execution, a Close by itself', () => {
  const made = [P('SELECT $1', 'one'), S, parsed, Z()]
  const used = (value: string): Said[] => [B([value], 'one'), E(), S, bound, C('SELECT 1'), Z()]
  const events = told([...made, ...used('a'), ...used('b'), X('S', 'one'), S, closed, Z()])
  const common = { db_query: 'SELECT $1', statement_name: 'one' }
  assert.deepEqual(events, [
    { code: 'TPG00I', ...common },
    { code: 'TPG02I', ...common, db_query_parameters: ['a'], command: 'SELECT', rows: 1 },
    { code: 'TPG02I', ...common, db_query_parameters: ['b'], command: 'SELECT', rows: 1 },
    { code: 'TPG03I', statement_name: 'one' },
  ])
})

test('a name that is prepared again means the new text, and a refused Parse changes nothing', () => {
  const again = [X('S', 'n'), P('new', 'n'), S, closed, parsed, Z()]
  const refused = [P('lie', 'n'), S, fails('exists', '42P05'), Z()]
  const run = [B([], 'n'), E(), S, bound, C('SELECT 0'), Z()]
  const events = told([P('old', 'n'), S, parsed, Z(), ...again, ...refused, ...run]) as {
    db_query?: string
    code: string
  }[]
  assert.deepEqual(
    events.filter(({ code }) => code === 'TPG02I').map(({ db_query }) => db_query),
    ['new'],
  )
})

test('names that SQL changed behind the protocol are marked or forgotten, never told as they were', () => {
  const made = [P('SELECT 1', 'n'), P('SELECT 2', 'm'), S, parsed, parsed, Z()]
  const run = (name: string): Said[] => [B([], name), E(), S, bound, C('SELECT 0'), Z()]
  const query = (sql: string, tag: string): Said[] => [Q(sql), C(tag), Z()]
  const last = (said: readonly Said[]): object => told([...made, ...said]).at(-1) ?? {}
  const seen = { code: 'TPG02I', command: 'SELECT', rows: 0 }
  assert.deepEqual(last([...query('DEALLOCATE n', 'DEALLOCATE'), ...run('n')]), {
    ...seen,
    db_query: '',
    uncertain: true,
  })
  assert.deepEqual(last([...query('DEALLOCATE n', 'DEALLOCATE'), ...run('m')]), {
    ...seen,
    db_query: 'SELECT 2',
    statement_name: 'm',
  })
  const marked = { ...seen, db_query: 'SELECT 1', statement_name: 'n', uncertain: true }
  assert.deepEqual(last([...query('DEALLOCATE n; PREPARE n AS x', 'PREPARE'), ...run('n')]), marked)
  assert.deepEqual(last([...query('DISCARD ALL', 'DISCARD ALL'), ...run('n')]), {
    ...seen,
    db_query: '',
    uncertain: true,
  })
})

test('a portal is told once for each Execute, with the rows of that one', () => {
  const opened = [P('SELECT'), B([], '', 'p'), E('p', 5), S, parsed, bound, s('s'), Z('T')]
  const more = [E('p', 5), S, C('SELECT 2'), Z('T')]
  const common = { code: 'TPG02I', db_query: 'SELECT', portal_name: 'p' }
  assert.deepEqual(told([...opened, ...more]), [
    { ...common, rows: 5, suspended: true },
    { ...common, command: 'SELECT', rows: 2 },
  ])
})

test('a portal ends with its transaction: what SQL declares under its name is not told as the old one', () => {
  const opened = [P('SELECT 1'), B([], '', 'p'), E('p'), S, parsed, bound, C('SELECT 1'), Z()]
  const declared = [
    Q('BEGIN; DECLARE p CURSOR FOR SELECT secret'),
    C('BEGIN'),
    C('DECLARE CURSOR'),
    Z('T'),
  ]
  const events = told([...opened, ...declared, E('p'), S, C('SELECT 9'), Z('T')])
  assert.deepEqual(events.at(-1), {
    code: 'TPG02I',
    db_query: '',
    portal_name: 'p',
    uncertain: true,
    command: 'SELECT',
    rows: 9,
  })
})

test('a Bind that nobody executes is told when its portal ends', () => {
  const said = [P('SELECT $1'), B(['x']), S, parsed, bound, Z()]
  assert.deepEqual(told(said), [
    { code: 'TPG01I', db_query: 'SELECT $1', db_query_parameters: ['x'] },
  ])
})

test('behind an error everything to the next Sync is not run: one event for each execution, and one for what failed', () => {
  const batch = [P('INSERT $1', 'i'), B(['a'], 'i'), E(), B(['b'], 'i'), E(), B(['c'], 'i'), E(), S]
  const answers = [parsed, bound, C('INSERT 0 1'), bound, fails('duplicate', '23505'), Z()]
  const common = { db_query: 'INSERT $1', statement_name: 'i' }
  assert.deepEqual(told([...batch, ...answers]), [
    { code: 'TPG00I', ...common },
    { code: 'TPG02I', ...common, db_query_parameters: ['a'], command: 'INSERT', rows: 1 },
    {
      code: 'TDB02W',
      ...common,
      db_query_parameters: ['b'],
      error: 'duplicate',
      sqlstate: '23505',
    },
    {
      code: 'TDB02W',
      ...common,
      db_query_parameters: ['c'],
      skipped: true,
      error: 'not run: a message before it failed',
    },
  ])
})

test('a Parse, Bind or Describe that fails stands for its execution', () => {
  const failed = { code: 'TDB02W', db_query: 'SELEC', error: 'syntax', sqlstate: '42601' }
  const chain = [P('SELEC'), B(['x']), D(), E(), S]
  assert.deepEqual(told([...chain, fails('syntax'), Z()]), [failed])
  assert.deepEqual(told([...chain, parsed, fails('syntax'), Z()]), [
    { ...failed, db_query_parameters: ['x'] },
  ])
  assert.deepEqual(told([...chain, parsed, bound, fails('syntax'), Z()]), [failed])
  // The same when the client goes on before it hears of the error, and when a second statement is in the same batch.
  assert.deepEqual(told([P('SELEC'), fails('syntax'), B(['x']), D(), E(), S, Z()]), [failed])
  const other = {
    code: 'TDB02W',
    db_query: 'SELECT 2',
    skipped: true,
    error: 'not run: a message before it failed',
  }
  assert.deepEqual(told([P('SELEC'), B(), E(), P('SELECT 2'), B(), E(), S, fails('syntax'), Z()]), [
    failed,
    other,
  ])
})

test('a simple query between error and Sync is not run either', () => {
  const events = told([
    P('SELEC'),
    fails('syntax'),
    Q('DROP TABLE t'),
    S,
    Z(),
    Q('SELECT 1'),
    C('SELECT 1'),
    Z(),
  ])
  assert.deepEqual(
    events.map((event) => (event as { code: string }).code),
    ['TDB02W', 'TDB02W', 'TDB02I'],
  )
})

test('a pipeline of several Syncs goes on behind the one that ends the failure', () => {
  const one = (sql: string): Said[] => [P(sql), B(), E(), S]
  const answers = [
    parsed,
    bound,
    C('SELECT 1'),
    Z(),
    fails('x'),
    Z(),
    parsed,
    bound,
    C('SELECT 3'),
    Z(),
  ]
  const events = told([...one('a'), ...one('b'), ...one('c'), ...answers]) as {
    code: string
    db_query: string
  }[]
  assert.deepEqual(
    events.map(({ code, db_query }) => [code, db_query]),
    [
      ['TPG02I', 'a'],
      ['TDB02W', 'b'],
      ['TPG02I', 'c'],
    ],
  )
})

test('a commit at Sync that fails is told', () => {
  const said = [
    P('INSERT'),
    B(),
    E(),
    S,
    parsed,
    bound,
    C('INSERT 0 1'),
    fails('deferred', '23503'),
    Z(),
  ]
  assert.deepEqual(told(said).at(-1), {
    code: 'TDB02W',
    db_query: '',
    command: 'SYNC',
    error: 'deferred',
    sqlstate: '23503',
  })
})

const copyIn = s('G', '\0\0\0')
const data = c('d', 'row')

test('COPY in, out and both are told with their rows', () => {
  const query = { code: 'TDB02I', db_query: 'COPY t FROM STDIN', command: 'COPY', rows: 2 }
  assert.deepEqual(told([Q('COPY t FROM STDIN'), copyIn, data, data, c('c'), C('COPY 2'), Z()]), [
    query,
  ])
  assert.deepEqual(
    told([Q('COPY t TO STDOUT'), s('H', '\0\0\0'), s('c'), C('COPY 2'), Z()]).length,
    1,
  )
  assert.deepEqual(
    told([Q('START_REPLICATION'), s('W', '\0\0\0'), c('c'), C('COPY 0'), Z()]).length,
    1,
  )
  const failed = [Q('COPY t FROM STDIN'), copyIn, data, c('f', 'why\0'), fails('aborted'), Z()]
  assert.equal((told(failed)[0] as { code: string }).code, 'TDB02W')
})

test('a COPY of an extended query passes over the Sync sent along with it', () => {
  const after = [Q('SELECT 1'), C('SELECT 1'), Z()]
  const codes = (said: readonly Said[]): string[] =>
    told([...said, ...after]).map((event) => (event as { code: string }).code)
  const begun = [P('COPY'), B(), D(), E(), S, parsed, bound, noData, copyIn]
  assert.deepEqual(codes([...begun, data, c('c'), S, C('COPY 1'), Z()]), ['TPG02I', 'TDB02I'])
  // All at once, before the server has said anything.
  assert.deepEqual(
    codes([P('COPY'), B(), E(), S, data, c('c'), S, parsed, bound, copyIn, C('COPY 1'), Z()]),
    ['TPG02I', 'TDB02I'],
  )
  // The COPY fails: before it read that Sync, or behind it.
  assert.deepEqual(codes([...begun, fails('bad'), Z()]), ['TDB02W', 'TDB02I'])
  assert.deepEqual(codes([...begun, data, c('c'), S, fails('bad'), Z()]), ['TDB02W', 'TDB02I'])
  assert.deepEqual(codes([...begun, data, c('c'), S, fails('bad'), Z(), Z()]), ['TDB02W', 'TDB02I'])
})

test('a function call is told with its arguments', () => {
  const call = Buffer.concat([
    int32(715),
    int16(0),
    int16(2),
    int32(1),
    Buffer.from('7'),
    int32(-1),
    int16(0),
  ])
  const fields = { function_oid: 715, db_query_parameters: ['7', 'NULL'], null_parameters: ['2'] }
  assert.deepEqual(told([c('F', call), s('V', int32(-1)), Z()]), [{ code: 'TPG04I', ...fields }])
  assert.deepEqual(told([c('F', call), fails('no'), Z()]), [
    { code: 'TDB02W', ...fields, error: 'no', sqlstate: '42601' },
  ])
})

test('what was never answered is told at the end', () => {
  const said = [Q('SELECT 1'), P('SELECT $1'), B(['x']), E(), S]
  assert.deepEqual(told([...said, rows, C('SELECT 1')], true), [
    { code: 'TDB02I', db_query: 'SELECT 1', command: 'SELECT', rows: 1, unanswered: true },
    { code: 'TPG02I', db_query: 'SELECT $1', db_query_parameters: ['x'], unanswered: true },
  ])
})

test('notices, notifications and settings belong to nobody; neither does an error while nothing runs', () => {
  assert.deepEqual(told([fails('terminating connection', '57P01')]), [])
})

test('an answer that nobody asked for is told, and nothing more is taken', () => {
  const answers: Said[] = [
    parsed,
    bound,
    closed,
    C('SELECT 1'),
    s('I'),
    s('s'),
    s('n'),
    rows,
    s('V'),
    Z(),
    copyIn,
    s('H'),
    s('W'),
  ]
  for (const answer of answers) {
    const { events, observer, taken } = hear([answer, Q('SELECT 1')])
    assert.deepEqual(
      events.map(({ code }) => code),
      ['TDB06I'],
      String(answer[1]),
    )
    assert.match(observer.fault ?? '', /nothing asked for/)
    assert.deepEqual(taken, [true, true, false])
  }
  // A second ready, an early one, and a completion for a message of another kind.
  for (const said of [
    [Q('a'), Z()],
    [Q('a'), C('SELECT 1'), Z(), Z()],
    [P('a'), C('SELECT 1')],
    [S, C('SELECT 1')],
  ])
    assert.ok(hear(said).observer.fault)
})

test('passwords go out of text, parameters and the server’s words', () => {
  const query = [Q("ALTER USER bob PASSWORD 's3cret'"), fails('at or near "s3cret"'), Z()]
  const asked = [P('SELECT dblink_connect($1)'), B(['password=s3cret']), E(), S]
  const events = told([...query, ...asked, parsed, bound, C('SELECT 1'), Z()])
  assert.doesNotMatch(JSON.stringify(events), /s3cret/)
  assert.deepEqual(
    events.map((event) => (event as { redacted: boolean }).redacted),
    [true, true],
  )
})

test('bodies in pieces of any size are heard as whole ones', () => {
  const said = [
    Q('SELECT 1'),
    C('SELECT 1'),
    Z(),
    P('SELECT $1', 'n'),
    B(['abc', null], 'n'),
    E(),
    S,
    parsed,
    bound,
    fails('x'),
    Z(),
  ]
  const whole = hear(said).events
  for (let pieceBytes = 1; pieceBytes < 12; pieceBytes++)
    assert.deepEqual(hear(said, pieceBytes).events, whole)
})

test('long text and many parameters are cut and marked, whole or in pieces', () => {
  const long = 'é'.repeat(max('pgStatementBytesMax'))
  const values = Array.from({ length: 300 }, (_, index) => `${index} ${'v'.repeat(100)}`)
  for (const pieceBytes of [Number.POSITIVE_INFINITY, 1000]) {
    const { events } = hear(
      [P(long), B(values), E(), S, parsed, bound, C('SELECT 1'), Z()],
      pieceBytes,
    )
    const fields = events[0]?.fields ?? {}
    assert.equal(fields['db_query'], 'é'.repeat(max('pgStatementBytesMax') / 2))
    assert.equal(fields['db_query_cut'], true)
    assert.equal(fields['parameters_count'], 300)
    const bytes = Buffer.byteLength(JSON.stringify(fields['db_query_parameters']))
    assert.ok(bytes < 2 * max('pgParametersBytesMax'), String(bytes))
  }
})

test('at the bound of open messages the client is not heard until answers came', () => {
  const most = max('pgPendingMax')
  const asked = Array.from({ length: most }, () => S)
  const { taken, observer } = hear(asked)
  assert.deepEqual([taken.at(-2), taken.at(-1)], [true, true])
  assert.equal(observer.note(0x53, Buffer.alloc(0), 0, 0, 0, 0), false)
  assert.ok(observer.note(0x15a, Buffer.from('I'), 0, 1, 0, 0))
  assert.ok(observer.note(0x53, Buffer.alloc(0), 0, 0, 0, 0))
})

test('a client that asks and asks without an answer is heard in short from a bound on', () => {
  const text = 'x'.repeat(max('pgStatementBytesMax'))
  const many = max('pgPendingBytesMax') / max('pgStatementBytesMax')
  const chain = (): Said[] => [P(text), B([text]), E()]
  const said = Array.from({ length: many + 1 }, chain).flat()
  const { observer, taken, events } = hear(said)
  assert.ok(taken.every(Boolean))
  observer.end()
  assert.equal(events.length, many + 1)
  const [first, last] = [events[0]?.fields ?? {}, events.at(-1)?.fields ?? {}]
  assert.equal(first['db_query'], text)
  assert.equal(last['db_query'], text.slice(0, max('pgShortBytesMax')))
  assert.equal(last['db_query_cut'], true)
  assert.ok(JSON.stringify(last['db_query_parameters']).length < 2 * max('pgShortBytesMax'))
})

test('property: any messages in any order and any pieces are heard without a throw', () => {
  const code = fc.oneof(
    fc.constantFrom(...'QPBEDCSFcfX'.split('')),
    fc.constantFrom(...'123CnITsVGHWEZ'.split('')),
  )
  const said = fc.tuple(fc.boolean(), code, fc.uint8Array({ maxLength: 40 }))
  fc.assert(
    fc.property(
      fc.array(said, { maxLength: 60 }),
      fc.integer({ min: 1, max: 9 }),
      (all, pieceBytes) => {
        const messages = all.map(
          ([client, type, body]): Said => (client ? c(type, body) : s(type, body)),
        )
        const { observer, events } = hear(messages, pieceBytes)
        observer.end()
        for (const { code: row, fields } of events) {
          const known = new Set(auditRow(row)?.fields)
          assert.deepEqual(
            Object.keys(fields).filter((field) => !known.has(field)),
            [],
          )
        }
      },
    ),
    { numRuns: 500 },
  )
})

test('names kept for a session are bounded, and what was forgotten is marked', () => {
  const many = max('pgPreparedMax') + 1
  const made = Array.from({ length: many }, (_, index) => [
    P(`SELECT ${index}`, `n${index}`),
    parsed,
  ]).flat()
  const run = (name: string): Said[] => [B([], name), E(), S, bound, C('SELECT 0'), Z()]
  const events = told([...made, S, Z(), ...run('n0'), ...run('n1')])
  assert.deepEqual(
    events.slice(-2).map((event) => (event as { db_query: string }).db_query),
    ['', 'SELECT 1'],
  )
})
