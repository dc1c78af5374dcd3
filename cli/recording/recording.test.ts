// What people see of recordings: timelines, terminals at their pace, asciicasts, lists; and every damage by its name and offset.

import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import type { JsonObject } from '../../control/api/messages.ts'
import { packEvents, type RecordingEvent } from '../../core/recording/events.ts'
import { readChunk, writeChunk, writeHead } from '../../core/recording/format.ts'
import { EXIT } from '../exit.ts'
import { TCTL } from '../tctl/table.ts'
import { FakeControl, type FakeTools, fakeTools, loggedIn, runCommand } from '../tools.fixture.ts'
import { TSH } from '../tsh/table.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
const AT = Date.UTC(2026, 10, 20, 12, 0, 0)

/** Each event in a chunk of its own. */
function recording(kind: 'ssh' | 'db', events: readonly RecordingEvent[]): Buffer[] {
  const head = writeHead({ sid: SID, kind, cluster: 'c', serverId: 'agent-1', startedAtMs: AT })
  let { position } = head
  const chunks = events.map((event) => {
    const { startMs, packed } = packEvents([event])
    const chunk = writeChunk(position, event.kind === 'end' ? 'end' : 'events', startMs, packed)
    position = chunk.position
    return Buffer.from(chunk.bytes)
  })
  return [Buffer.from(head.bytes), ...chunks]
}

const DATABASE = recording('db', [
  { kind: 'start', atMs: AT, fields: { user: 'alice', db_service: 'orders', db_user: 'app' } },
  {
    kind: 'statement',
    atMs: AT + 1250,
    code: 'TPG02I',
    statement: 'SELECT *\n  FROM t\u{1b}[2J WHERE a = $1',
    parameters: ['x\u{7}'],
    rows: 2,
    durationUs: 3200,
  },
  {
    kind: 'statement',
    atMs: AT + 2000,
    code: 'TDB02W',
    statement: 'SELECT 1/0',
    parameters: [],
    error: 'division by zero',
  },
  { kind: 'gap', atMs: AT + 2500, lost: 3 },
  { kind: 'end', atMs: AT + 3000, reason: 'closed' },
])

const TERMINAL = recording('ssh', [
  { kind: 'start', atMs: AT, fields: { user: 'alice', login: 'root' } },
  { kind: 'resize', atMs: AT, columns: 132, rows: 43 },
  { kind: 'print', atMs: AT + 100, bytes: Buffer.from('a\u{1b}]52;c;eA==\u{7}\u{1b}[1mb') },
  { kind: 'print', atMs: AT + 10_100, bytes: Buffer.from('ü').subarray(0, 1) },
  { kind: 'print', atMs: AT + 10_200, bytes: Buffer.from('ü').subarray(1) },
  { kind: 'end', atMs: AT + 10_200, reason: 'closed' },
])

/** As a recorder with a clock that steps back, a full disk and half a character at its end leaves it. */
const CAST = recording('ssh', [
  { kind: 'start', atMs: AT, fields: { user: 'alice', term: 'xterm' } },
  { kind: 'resize', atMs: AT, columns: 132, rows: 43 },
  { kind: 'print', atMs: AT + 100, bytes: Buffer.from('a\u{1b}]52;c;eA==\u{7}\u{1b}[1mb') },
  { kind: 'print', atMs: AT + 10_100, bytes: Buffer.from('ü').subarray(0, 1) },
  { kind: 'print', atMs: AT + 10_200, bytes: Buffer.from('ü').subarray(1) },
  { kind: 'resize', atMs: AT + 9000, columns: 0, rows: 30 },
  { kind: 'resize', atMs: AT + 9000, columns: 100, rows: 30 },
  { kind: 'resize', atMs: AT + 9000, columns: 100, rows: 30 },
  { kind: 'gap', atMs: AT + 9100, lost: 2 },
  { kind: 'print', atMs: AT + 9200, bytes: Buffer.from('ü').subarray(0, 1) },
  { kind: 'end', atMs: AT + 9300, reason: 'closed' },
])

async function played(
  tools: FakeTools,
  chunks: readonly Buffer[],
  options: Readonly<Record<string, unknown>>,
): Promise<string> {
  const file = join(tools.folder, 'session.rec')
  await writeFile(file, Buffer.concat(chunks))
  const before = tools.printed().length
  await runCommand(TSH, tools, 'play', [file], options)
  return tools.printed().slice(before)
}

test('a database’s recording is a timeline, on which nothing reaches the terminal as it was sent', async (t) => {
  const tools = await fakeTools(t)
  equal(
    await played(tools, DATABASE, {}),
    [
      '2026-11-20 12:00:00 UTC  session begins: user=alice db_service=orders db_user=app',
      '12:00:01.250  SELECT * FROM t\u{fffd}[2J WHERE a = $1  (2 rows, 3.2 ms)',
      '              $1 = x\u{fffd}',
      '12:00:02.000  SELECT 1/0',
      '              ERROR: division by zero',
      '12:00:02.500  3 events were lost here: the recorder could not keep them',
      '2026-11-20 12:00:03 UTC  session ends: closed',
      '',
    ].join('\n'),
  )
  const lines = (await played(tools, DATABASE, { format: 'json' })).trimEnd().split('\n')
  deepEqual(JSON.parse(lines[1] ?? ''), {
    time: '2026-11-20T12:00:01.250Z',
    event: 'statement',
    code: 'TPG02I',
    statement: 'SELECT *\n  FROM t\u{1b}[2J WHERE a = $1',
    parameters: ['x\u{7}'],
    rows: 2,
    durationUs: 3200,
  })
  match(
    await played(tools, DATABASE, { format: 'yaml' }),
    /- time: .*\n {2}event: gap\n {2}lost: 3\n/,
  )
})

test('a terminal is replayed at its pace, and filtered', async (t) => {
  const shown =
    /session begins.*\na\u{1b}\[1mbü\u{1b}\[0m\r\n2026-11-20 12:00:10 UTC {2}session ends/u
  const paces: readonly [Readonly<Record<string, unknown>>, number][] = [
    [{}, 10_200],
    [{ speed: '2x' }, 5100],
    [{ skipIdleTime: true }, 700],
    [{ format: 'text' }, 0],
  ]
  for (const [options, tookMs] of paces) {
    const tools = await fakeTools(t)
    const before = tools.clock.now()
    match(await played(tools, TERMINAL, options), shown)
    equal(tools.clock.now() - before, tookMs, JSON.stringify(options))
  }
})

test('an asciicast has the terminal’s size, its output and its changes', async (t) => {
  const tools = await fakeTools(t)
  const options = { format: 'cast', skipIdleTime: true }
  const lines = (await played(tools, CAST, options)).trimEnd().split('\n')
  deepEqual(
    lines.map((line): unknown => JSON.parse(line)),
    [
      {
        version: 2,
        width: 132,
        height: 43,
        timestamp: AT / 1000,
        idle_time_limit: 0.5,
        env: { TERM: 'xterm' },
      },
      [0.1, 'o', 'a\u{1b}[1mb'],
      [10.2, 'o', 'ü'],
      [10.2, 'r', '100x30'],
      [10.2, 'm', '2 events were lost here: the recorder could not keep them'],
      [10.2, 'o', '\u{fffd}'],
    ],
  )
  await rejects(played(tools, DATABASE, { format: 'cast' }), { status: EXIT.usage })
})

test('each damage is named with its offset, and what is whole is shown all the same', async (t) => {
  const tools = await fakeTools(t)
  const sizes = DATABASE.map((chunk) => chunk.length)
  const offset = (count: number): number =>
    sizes.slice(0, count).reduce((sum, size) => sum + size, 0)
  const [head = Buffer.alloc(0), one = head, two = head, three = head, four = head, five = head] =
    DATABASE
  const flipped = Buffer.from(two)
  flipped[two.length - 1] = (two.at(-1) ?? 0) ^ 1
  const tampered: readonly [readonly Buffer[], RegExp][] = [
    [[head, one, flipped, three, four, five], new RegExp(`byte ${offset(2)}: flipped`)],
    [[head, one, three, four, five], new RegExp(`byte ${offset(2)}: dropped`)],
    [[head, one, three, two, four, five], /dropped.*\n.*reordered/],
    [[head, one, two, three], /truncated/],
    [[head, one, two, three, four, five, three], new RegExp(`byte ${offset(6)}: spliced`)],
  ]
  for (const [chunks, named] of tampered) {
    await rejects(played(tools, chunks, {}), (error: Error & { status?: number }) => {
      match(error.message, named)
      return error.status === EXIT.failure
    })
    const file = join(tools.folder, 'session.rec')
    await rejects(runCommand(TCTL, tools, 'recordings verify', [file]), named)
  }
  match(tools.printed(), /SELECT 1\/0/)
  await played(tools, DATABASE, {})
  await runCommand(TCTL, tools, 'recordings verify', [join(tools.folder, 'session.rec')])
  match(tools.printed(), /is whole: 5 chunks, \d+ bytes; not compared with the audit log\.\n$/)
  await rejects(runCommand(TSH, tools, 'play', ['nowhere.rec']), { status: EXIT.usage })
  await rejects(played(tools, [Buffer.from('something else')], {}), /it is no recording/)
})

test('control’s recordings are listed, played and exported as they are', async (t) => {
  const data = Buffer.concat(DATABASE).toString('base64')
  const control = new FakeControl({
    'recording-read': () => ({ data }),
    'recording-list': ({ after }) => ({
      items: [
        {
          sid: SID,
          kind: 'db',
          serverId: 'agent-1',
          user: 'alice',
          target: 'orders',
          principal: 'app',
          startedAtMs: AT,
          endedAtMs: AT + 3000,
          reason: 'closed',
          bytes: 1000,
          chunks: 5,
          hash: 'ab'.repeat(32),
          sealedAtMs: AT + 4000,
        },
      ],
      ...(after === undefined ? { next: `recording-index/${'0'.repeat(16)}/${SID}` } : {}),
    }),
  })
  const tools = await fakeTools(t, { control })
  await loggedIn(tools)
  await runCommand(TSH, tools, 'recordings ls', [], { last: '8h', limit: '7' })
  match(
    tools.printed(),
    new RegExp(`${SID} +db +alice +orders +app +2026-11-20 12:00:00 UTC +3 +closed`),
  )
  const fromMs = tools.clock.now() - 8 * 3_600_000
  deepEqual(
    control.asked.filter(({ name }) => name === 'recording-list').map(({ request }) => request),
    [
      { limit: 7, fromMs },
      { limit: 6, fromMs, after: `recording-index/${'0'.repeat(16)}/${SID}` },
    ],
  )
  await runCommand(TSH, tools, 'play', [SID.toUpperCase()])
  match(tools.printed(), /session ends: closed\n$/)
  deepEqual(control.request('recording-read'), { sid: SID })
  const out = join(tools.folder, 'out.rec')
  const server = { authServer: 'proxy.example.com:443' }
  await runCommand(TCTL, tools, 'recordings export', [SID], { ...server, out })
  deepEqual(await readFile(out), Buffer.concat(DATABASE))
  await rejects(runCommand(TCTL, tools, 'recordings export', [SID], { ...server, out }), /EEXIST/)
  ok(control.closed)
})

test('a recording that is whole and not the one the audit log was told of is named where it differs', async (t) => {
  const hashes = hashesOf(DATABASE)
  const [first = '', second = '', , , last = ''] = hashes
  const event = (name: string, fields: Readonly<Record<string, string | number>>): JsonObject => {
    return { event: name, sid: SID, ...fields }
  }
  const upload = { chunks: 5, chunk_hash: last }
  const cases: readonly [readonly JsonObject[], RegExp | undefined][] = [
    [[event('session.upload', upload)], undefined],
    [
      [
        event('session.upload', upload),
        event('session.recording.chunks', { chunk_seq: 2, chunk_hash: second }),
      ],
      undefined,
    ],
    [
      [event('session.recording.chunks', { chunk_seq: 2, chunk_hash: first })],
      new RegExp(`byte ${(DATABASE[0]?.length ?? 0) + (DATABASE[1]?.length ?? 0)}: replaced: `),
    ],
    [[event('session.upload', { ...upload, chunks: 7 })], /replaced: chunk 7, .* is not in it/],
    [[event('session.upload', { chunks: 4, chunk_hash: hashes[3] ?? '' })], /replaced.*goes on/],
    [[], /replaced.*was never told/],
  ]
  for (const [items, named] of cases) {
    const control = new FakeControl({
      'recording-read': () => ({ data: Buffer.concat(DATABASE).toString('base64') }),
      'audit-list': ({ cursor }) =>
        cursor === undefined ? { items: items.slice(0, 1), next: '1' } : { items: items.slice(1) },
    })
    const tools = await fakeTools(t, { control })
    await loggedIn(tools)
    const verified = runCommand(TCTL, tools, 'recordings verify', [SID], {
      authServer: 'proxy.example.com:443',
    })
    if (named === undefined) await verified
    else await rejects(verified, named)
    equal(
      tools.printed(),
      named === undefined
        ? `The recording is whole: 5 chunks, ${Buffer.concat(DATABASE).length} bytes; as ${items.length} events of the audit log say.\n`
        : '',
    )
  }
})

function hashesOf(chunks: readonly Buffer[]): readonly string[] {
  return chunks.slice(1).map((bytes) => {
    const reading = readChunk(bytes)
    return reading.verdict === 'chunk' ? reading.chunk.hash : ''
  })
}
