// The list of recordings in a real store: pages in order, found again when it is missing, bounded by age and by size; flat files that are
// made behind an upload, whatever came between. Recordings are uploaded to the part itself, on a clock of the test.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { it, type TestContext } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { packEvents, type RecordingEvent } from '../core/recording/events.ts'
import { writeChunk, writeHead } from '../core/recording/format.ts'
import { temporaryFolder } from '../test/fixtures/files.ts'
import type { Base } from './base.ts'
import type { Recording } from './api/recording-messages.ts'
import { writeFlat } from './recording-flat.ts'
import { type RecordingSettings, Recordings } from './recordings.ts'
import {
  RECORDING_INDEX,
  RECORDING_INDEX_WHOLE,
  recordingFlatKey,
  recordingKey,
  RECORDINGS,
} from './records.ts'
import type { Store } from './store/contract.ts'
import { openSqliteStore } from './store/sqlite.ts'

const HOST = 'agent-1'
const DAY = 86_400_000
type Caller = Parameters<Recordings['put']>[3]

interface Rig {
  readonly clock: FakeClock
  readonly store: Store
  readonly folder: string
  readonly told: string[]
  readonly open: (settings?: Partial<RecordingSettings>) => Promise<Recordings>
}

async function rig(context: TestContext): Promise<Rig> {
  const root = await temporaryFolder(context)
  const clock = new FakeClock()
  const logger = silentLogger
  const store = await openSqliteStore({ file: path.join(root, 'state.sqlite'), clock, logger })
  context.after(() => store.close())
  const told: string[] = []
  const folder = path.join(root, 'recordings')
  const audit: Base['audit'] = (name, _code, fields) => {
    told.push(`${name} ${String(fields['sid'])}`)
    return Promise.resolve()
  }
  const base = { cluster: 'c', store, clock, log: logger, audit } as unknown as Base
  return {
    clock,
    store,
    folder,
    told,
    async open(settings = {}) {
      const whole = { bytesMax: max('recordingStoreBytesMax'), ...settings }
      const recordings = await Recordings.open(base, folder, whole)
      context.after(() => recordings.close())
      return recordings
    },
  }
}

function made(
  endedAtMs: number,
  kind: 'ssh' | 'db' = 'db',
  shown = 'x',
): { sid: string; pieces: readonly Buffer[] } {
  const sid = randomUUID()
  const head = writeHead({ sid, kind, cluster: 'c', serverId: HOST, startedAtMs: endedAtMs - 10 })
  let { position } = head
  const events: RecordingEvent[] = [
    { kind: 'print', atMs: endedAtMs - 5, bytes: Buffer.from(shown) },
    { kind: 'end', atMs: endedAtMs, reason: 'closed' },
  ]
  const pieces = events.map((event) => {
    const { startMs, packed } = packEvents([event])
    const chunk = writeChunk(position, event.kind === 'end' ? 'end' : 'events', startMs, packed)
    const parts = position.seq === 0 ? [head.bytes, chunk.bytes] : [chunk.bytes]
    position = chunk.position
    return Buffer.concat(parts)
  })
  return { sid, pieces }
}

async function upload(
  recordings: Recordings,
  { sid, pieces }: ReturnType<typeof made>,
): Promise<string> {
  const host = { id: HOST } as unknown as Caller
  let offset = 0
  for (const piece of pieces) offset = (await recordings.put(sid, offset, piece, host)).bytes
  return sid
}

async function listed(
  recordings: Recordings,
  query: Parameters<Recordings['list']>[0] = {},
): Promise<readonly string[]> {
  return (await recordings.list(query)).items.map(({ sid }) => sid)
}

it('pages are newest first, and hold what ended in the span that was asked for', async (t) => {
  const { clock, open, store } = await rig(t)
  const recordings = await open()
  const first = clock.now()
  const sids: string[] = []
  // Uploaded in another order than they ended.
  for (const hour of [3, 1, 4, 0, 2]) {
    clock.jump(hour * 3_600_000)
    sids[hour] = await upload(recordings, made(first + hour * 3_600_000))
    clock.jump(-hour * 3_600_000)
  }
  const newest = sids.toReversed()
  assert.deepEqual(await listed(recordings), newest)
  const pages: (readonly string[])[] = []
  for (let after: string | undefined; ; ) {
    const page = await recordings.list({ limit: 2, ...(after === undefined ? {} : { after }) })
    pages.push(page.items.map(({ sid }) => sid))
    after = page.next
    if (after === undefined) break
  }
  assert.deepEqual(pages, [newest.slice(0, 2), newest.slice(2, 4), newest.slice(4)])
  const span = { fromMs: first + 3_600_000, toMs: first + 3 * 3_600_000 }
  assert.deepEqual(await listed(recordings, span), newest.slice(1, 4))
  assert.equal((await store.range({ prefix: RECORDING_INDEX })).items.length, 5)
})

it('a recorder that dates its session ahead does not hide those that follow', async (t) => {
  const { clock, open } = await rig(t)
  const recordings = await open()
  const liar = await upload(recordings, made(clock.now() + 1000 * DAY))
  clock.advance(DAY)
  const next = await upload(recordings, made(clock.now()))
  assert.deepEqual(await listed(recordings), [next, liar])
})

it('an index that is missing is made anew from the records, and records from the files', async (t) => {
  const { clock, open, store, folder } = await rig(t)
  const before = await open()
  const sids = [await upload(before, made(clock.now())), await upload(before, made(clock.now()))]
  const bytes = before.bytes
  const expected = (await before.list({})).items
  const forget = async (prefix: string): Promise<void> => {
    for (const { key } of (await store.range({ prefix })).items) await store.delete(key)
    await store.delete(RECORDING_INDEX_WHOLE)
  }
  await forget(RECORDING_INDEX)
  const fromRecords = await open()
  assert.deepEqual((await fromRecords.list({})).items, expected)
  assert.equal(fromRecords.bytes, bytes)
  await forget(RECORDING_INDEX)
  await forget(RECORDINGS)
  await writeFile(path.join(folder, `${randomUUID()}.rec`), 'none of ours')
  // Of a form that no version knows.
  await store.put(recordingKey(sids[0] ?? ''), '{"sid":"?"}')
  const fromFiles = await open()
  assert.deepEqual((await fromFiles.list({})).items, expected)
  assert.equal(fromFiles.bytes, bytes)
  assert.equal((await readdir(folder)).filter((name) => name.endsWith('.rec')).length, 3)
})

it('what is older than it may be is told to the log, then gone with its flat file', async (t) => {
  const { clock, open, store, folder, told } = await rig(t)
  const recordings = await open({ retentionMs: 30 * DAY })
  const old = await upload(recordings, made(clock.now(), 'ssh'))
  // It says that it ended long ago, and came just now.
  const backdated = await upload(recordings, made(clock.now() - 60 * DAY))
  await recordings.flattened()
  clock.advance(29 * DAY)
  const young = await upload(recordings, made(clock.now()))
  await recordings.sweep(() => true)
  assert.equal((await listed(recordings)).length, 3)
  clock.advance(2 * DAY)
  await recordings.sweep(() => true)
  assert.deepEqual(await listed(recordings), [young])
  assert.deepEqual(
    told.filter((line) => line.includes('removed')).toSorted(),
    [old, backdated].map((sid) => `session.recording.removed ${sid}`).toSorted(),
  )
  const files = (await readdir(folder)).filter((name) => name !== 'incoming')
  assert.deepEqual(files, [`${young}.rec`])
  assert.equal(recordings.bytes, (await stat(path.join(folder, `${young}.rec`))).size)
  assert.equal(await store.get(recordingFlatKey(old)), undefined)
  // Nothing is removed where nobody said so.
  recordings.settings = { bytesMax: max('recordingStoreBytesMax') }
  clock.advance(3000 * DAY)
  await recordings.sweep(() => true)
  assert.deepEqual(await listed(recordings), [young])
})

it('a full store refuses so that hosts try again, counts what is half there, and has room when something went', async (t) => {
  const { clock, open } = await rig(t)
  const one = made(clock.now())
  const size = one.pieces.reduce((sum, { length }) => sum + length, 0)
  const settings = { bytesMax: 2 * size + 10, retentionMs: DAY }
  const recordings = await open(settings)
  await upload(recordings, one)
  const two = made(clock.now())
  const host = { id: HOST } as unknown as Caller
  const begun = await recordings.put(two.sid, 0, two.pieces[0] ?? Buffer.alloc(0), host)
  const refusal = await upload(recordings, made(clock.now())).catch(errorCode)
  assert.equal(refusal, 'recording.store-full')
  await recordings.put(two.sid, begun.bytes, two.pieces[1] ?? Buffer.alloc(0), host)
  assert.equal(recordings.bytes, 2 * size)
  // The same after a restart, and by a count of the files.
  const again = await open(settings)
  await again.sweep(() => true)
  assert.equal(again.bytes, 2 * size)
  clock.advance(2 * DAY)
  await again.sweep(() => true)
  assert.equal(again.bytes, 0)
  await upload(again, made(clock.now()))
})

it('flat files that a crash left owing are made at the next start, each once', async (t) => {
  const { clock, open, store, folder } = await rig(t)
  const recordings = await open()
  const sid = await upload(recordings, made(clock.now(), 'ssh', 'shown\u{1b}]0;x\u{7}'))
  await recordings.flattened()
  const flat = path.join(folder, `${sid}.txt`)
  assert.equal(await readFile(flat, 'utf8'), 'shown')
  const bytes = recordings.bytes
  assert.equal(await store.get(recordingFlatKey(sid)), undefined)
  await rm(flat)
  await store.put(recordingFlatKey(sid), '1')
  const again = await open()
  await again.flattened()
  assert.equal(await readFile(flat, 'utf8'), 'shown')
  assert.equal(again.bytes, bytes)
})

it('a flat file has a bound, and says that it was cut', async (t) => {
  const folder = await temporaryFolder(t)
  const file = path.join(folder, 'flat.txt')
  const { pieces } = made(1000, 'ssh', 'x'.repeat(500))
  const source = async function* (): AsyncGenerator<Uint8Array, undefined> {
    yield* pieces
  }
  assert.equal(await writeFlat(source(), file, 500), 500)
  await writeFlat(source(), file, 499)
  assert.match(await readFile(file, 'utf8'), /^\u{1b}\[0m\r\n\[this file ends here/u)
})

it('answers with the record as it was sealed', async (t) => {
  const { clock, open } = await rig(t)
  const recordings = await open()
  const sid = await upload(recordings, made(clock.now()))
  const [recording] = (await recordings.list({ limit: 1 })).items
  const { sealedAtMs, endedAtMs, serverId }: Partial<Recording> = recording ?? {}
  assert.deepEqual(
    [recording?.sid, sealedAtMs, endedAtMs, serverId],
    [sid, clock.now(), clock.now(), HOST],
  )
})

it('what nobody goes on with is ended after days, when its host is silent too, and says so', async (t) => {
  const { clock, open, folder } = await rig(t)
  const recordings = await open()
  const { sid, pieces } = made(clock.now())
  const host = { id: HOST } as unknown as Caller
  await recordings.put(sid, 0, pieces[0] ?? Buffer.alloc(0), host)
  const file = path.join(folder, 'incoming', HOST, `${sid}.rec`)
  const touched = new Date(clock.now())
  await utimes(file, touched, touched)
  // A control that was just started, a host that is there.
  const young = await open()
  clock.jump(4 * DAY)
  await young.sweep(() => false)
  clock.advance(3 * DAY)
  await recordings.sweep(() => true)
  assert.deepEqual(await listed(recordings), [])
  await recordings.sweep(() => false)
  const [recording] = (await recordings.list({})).items
  assert.deepEqual([recording?.sid, recording?.chunks], [sid, 2])
  assert.match(recording?.reason ?? '', /its recorder was not heard of again/)
  assert.equal(recordings.bytes, (await stat(path.join(folder, `${sid}.rec`))).size)
  const late = recordings.put(sid, pieces[0]?.length ?? 0, pieces[1] ?? Buffer.alloc(0), host)
  assert.equal(await late.catch(errorCode), 'resource.conflict')
})
