// Recordings on a real disk: what is kept is durable and never written twice, what a crash leaves is completed and says so, and the
// upload goes on where control stands, whatever was interrupted.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  appendFile,
  readdir,
  readFile,
  rename,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { FromRecorder } from '../core/messages.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { packEvents, type RecordingEvent, unpackEvents } from '../core/recording/events.ts'
import { writeChunk, writeHead } from '../core/recording/format.ts'
import { temporaryFolder } from '../test/fixtures/files.ts'
import { QUARANTINE, RecordingSpool } from './recording-spool.ts'
import { type RecordingControl, RecordingUpload } from './recording-upload.ts'
import { FakeTimers } from './timers.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
const OWNER = {}
const LOST = 'what it had in memory, up to the last two seconds, is lost'

function chunks(words: readonly string[], ended = true, sid = SID): FromRecorder[] {
  const head = writeHead({
    sid,
    kind: 'ssh',
    cluster: 'c',
    serverId: 'agent-1',
    startedAtMs: 1000,
  })
  let { position } = head
  const all: RecordingEvent[] = words.map((word) => ({
    kind: 'print',
    atMs: 1000,
    bytes: Buffer.from(word),
  }))
  if (ended) all.push({ kind: 'end', atMs: 2000, reason: 'closed' })
  return all.map((event): FromRecorder => {
    const last = event.kind === 'end'
    const { startMs, packed } = packEvents([event])
    const chunk = writeChunk(position, last ? 'end' : 'events', startMs, packed)
    const parts = position.seq === 0 ? [head.bytes, chunk.bytes] : [chunk.bytes]
    position = chunk.position
    const { seq, hash } = position
    return { kind: 'recording', sid, seq, last, hash, bytes: new Uint8Array(Buffer.concat(parts)) }
  })
}

/** A whole recording as a short session makes it. */
function oneChunk(words: readonly string[], sid = SID): FromRecorder {
  const { bytes: head, position: start } = writeHead({
    sid,
    kind: 'ssh',
    cluster: 'c',
    serverId: 'agent-1',
    startedAtMs: 1000,
  })
  const said: RecordingEvent[] = words.map((word) => ({
    kind: 'print',
    atMs: 1000,
    bytes: Buffer.from(word),
  }))
  const { startMs, packed } = packEvents([...said, { kind: 'end', atMs: 2000, reason: 'closed' }])
  const { bytes, position } = writeChunk(start, 'end', startMs, packed)
  const all = new Uint8Array(Buffer.concat([head, bytes]))
  return { kind: 'recording', sid, ...position, last: true, bytes: all }
}

interface Rig {
  readonly folder: string
  readonly timers: FakeTimers
  readonly told: { readonly code: string; readonly fields: Readonly<Record<string, unknown>> }[]
  readonly open: (bytesMax?: number) => Promise<RecordingSpool>
  readonly file: (sid?: string) => string
  readonly words: (path?: string) => Promise<readonly string[]>
}

async function rig(context: TestContext): Promise<Rig> {
  const folder = await temporaryFolder(context)
  const timers = new FakeTimers()
  const told: Rig['told'] = []
  const file = (sid = SID): string => join(folder, `${sid}.rec`)
  return {
    folder,
    timers,
    told,
    file,
    async open(bytesMax) {
      const spool = await RecordingSpool.open({
        folder,
        clock: timers.clock,
        timers,
        log: silentLogger,
        audit: (_name, code, fields) => told.push({ code, fields }),
        ...(bytesMax === undefined ? {} : { bytesMax }),
      })
      context.after(() => spool.close())
      return spool
    },
    words: async (path = file()) => wordsOf(await readFile(path)),
  }
}

function wordsOf(bytes: Uint8Array): readonly string[] {
  const chain = new RecordingChain()
  const read = chain.push(bytes)
  if (typeof read === 'string') throw new Error(read)
  assert.equal(chain.held.length, 0)
  return read
    .flatMap((chunk) => [...unpackEvents(chunk)])
    .map((event) => {
      if (event.kind === 'print') return Buffer.from(event.bytes).toString()
      return event.kind === 'end' ? `end: ${event.reason}` : event.kind
    })
}

async function keep(spool: RecordingSpool, all: readonly FromRecorder[]): Promise<string[]> {
  const outcomes: string[] = []
  for (const chunk of all) outcomes.push(await spool.keep(OWNER, chunk))
  return outcomes
}

it('keeps chunks of one session in one file, and tells the log the hash of the newest', async (t) => {
  const { open, words, told, timers } = await rig(t)
  const spool = await open()
  const all = chunks(['one', 'two'])
  assert.deepEqual(await keep(spool, all), ['kept', 'kept', 'kept'])
  assert.deepEqual(await words(), ['one', 'two', 'end: closed'])
  assert.deepEqual([spool.recording, spool.due.length, spool.atRisk], [0, 1, 1])
  timers.advance(max('recordingTellMs'))
  const { bytes: _, kind: __, last: ___, seq, hash, sid } = all[2] ?? assert.fail()
  const recorded = all.reduce((sum, { bytes }) => sum + bytes.length, 0)
  assert.deepEqual(told, [
    {
      code: 'SLV001I',
      fields: { sid, chunk_seq: seq, chunk_hash: hash, recorded_bytes: recorded },
    },
  ])
})

it('never writes a second recording of a session, nor follows a link, nor takes a name that is none', async (t) => {
  const { open, folder, file } = await rig(t)
  const spool = await open()
  const all = chunks(['one'])
  await keep(spool, all)
  assert.deepEqual(await keep(spool, all.slice(0, 1)), ['unwanted'])
  const other = SID.replace('0b7a', '0b7b')
  assert.equal(await spool.keep(OWNER, chunks(['one'], false, other)[0] ?? assert.fail()), 'kept')
  const [, second] = chunks(['one', 'two'], false, other)
  assert.equal(await spool.keep({}, second ?? assert.fail()), 'unwanted', 'of another thread')
  const third = SID.replace('0b7a', '0b7c')
  await symlink(join(folder, 'elsewhere'), file(third))
  assert.deepEqual(await keep(spool, chunks(['one'], true, third)), ['unwanted', 'unwanted'])
  assert.deepEqual(await keep(spool, chunks(['one'], false, '../../escaped')), ['unwanted'])
  assert.ok(!(await readdir(folder)).includes('elsewhere'))
})

it('a disk that is full or away refuses, and takes the same chunk when there is room again', async (t) => {
  const { open, words, folder } = await rig(t)
  const small = await open(100)
  assert.deepEqual(await keep(small, chunks(['one']).slice(0, 1)), ['refused'])
  const spool = await open()
  const all = chunks(['one'])
  await rename(folder, `${folder}-away`)
  assert.deepEqual(await keep(spool, all.slice(0, 1)), ['refused'])
  await rename(`${folder}-away`, folder)
  assert.deepEqual(await keep(spool, all), ['kept', 'kept'])
  assert.deepEqual(await words(), ['one', 'end: closed'])
})

it('after a crash each recording is completed from what is there, wherever the last write was torn', async (t) => {
  const { file, open, words } = await rig(t)
  const all = chunks(['one', 'two', 'three'], false)
  const whole = Buffer.concat(all.map(({ bytes }) => bytes))
  const beforeLast = whole.length - (all[2]?.bytes.length ?? 0)
  for (let length = beforeLast; length <= whole.length; length += 13) {
    await writeFile(file(), whole.subarray(0, length))
    // Space that the file system gave and nobody wrote.
    if (length > beforeLast) await truncate(file(), length + 100)
    const spool = await open()
    const kept = length === whole.length ? ['one', 'two', 'three'] : ['one', 'two']
    const ending = `end: the process that recorded it ended before its session did; ${LOST}`
    assert.deepEqual(await words(), [...kept, ending], `cut at ${length} of ${whole.length}`)
    assert.equal(spool.due.length, 1)
    await spool.drop(SID)
  }
})

it('a crash before the first chunk leaves nothing; one that was altered is kept aside, and told', async (t) => {
  const { file, folder, open, told } = await rig(t)
  const [first, ...rest] = chunks(['one', 'two', 'three'])
  await writeFile(file(), first?.bytes.subarray(0, 50) ?? '')
  assert.equal((await open()).atRisk, 0)
  const bytes = Buffer.concat([first, ...rest].flatMap((each) => each?.bytes ?? []))
  const middle = (first?.bytes.length ?? 0) + 90
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  await writeFile(file(), bytes)
  const spool = await open()
  assert.deepEqual([spool.atRisk, spool.quarantined, spool.due.length], [1, 1, 0])
  assert.deepEqual(
    told.map(({ code, fields }) => [code, fields['reason']]),
    [['SLV002W', 'it is damaged']],
  )
  const [aside = ''] = await readdir(join(folder, QUARANTINE))
  assert.deepEqual(await readFile(join(folder, QUARANTINE, aside)), bytes)
})

it('a crashed thread’s recordings get an end; those of the others go on', async (t) => {
  const { open, words, file } = await rig(t)
  const spool = await open()
  const other = SID.replace('0b7a', '0b7b')
  await keep(spool, chunks(['one'], false))
  const [first, second] = chunks(['one', 'two'], false, other)
  const another = {}
  await spool.keep(another, first ?? assert.fail())
  await spool.lost(OWNER)
  assert.deepEqual(await words(), ['one', `end: the thread that recorded it crashed; ${LOST}`])
  assert.equal(await spool.keep(another, second ?? assert.fail()), 'kept')
  assert.deepEqual(await words(file(other)), ['one', 'two'])
})

/** Control, which keeps what it is given; it fails when told to. */
class FakeControl implements RecordingControl {
  bytes = Buffer.alloc(0)
  readonly chain = new RecordingChain()
  failures: ProxyError[] = []
  offsets: 'in order' | 'any' = 'in order'
  puts = 0
  asked = 0

  state(): ReturnType<RecordingControl['state']> {
    this.asked++
    return this.#state()
  }

  #state(): ReturnType<RecordingControl['state']> {
    const { chain } = this
    const hash = chain.bytes === 0 ? '' : chain.position.hash
    return Promise.resolve({ bytes: chain.bytes, hash, sealed: chain.ended })
  }

  put(_sid: string, offset: number, bytes: Uint8Array): ReturnType<RecordingControl['put']> {
    this.puts++
    if (this.offsets === 'in order') assert.equal(offset, this.bytes.length)
    const failure = this.failures.shift()
    if (failure !== undefined && failure.code !== 'control.unavailable')
      return Promise.reject(failure)
    this.bytes = Buffer.concat([this.bytes, bytes])
    assert.notEqual(typeof this.chain.push(bytes), 'string')
    assert.equal(this.chain.held.length, 0)
    return failure === undefined ? this.#state() : Promise.reject(failure)
  }
}

function uploadOf(spool: RecordingSpool, control: RecordingControl): RecordingUpload {
  return new RecordingUpload({ spool, control, log: silentLogger })
}

it('an upload goes on where control stands, also when an answer was lost', async (t) => {
  const { open, file } = await rig(t)
  const spool = await open()
  const noise = Array.from({ length: 12 }, () => randomBytes(100_000).toString('latin1'))
  await keep(spool, chunks(noise))
  const written = await readFile(file())
  const control = new FakeControl()
  control.failures = [new ProxyError('control.unavailable', 'gone')]
  const upload = uploadOf(spool, control)
  assert.ok((await upload.round()) instanceof ProxyError)
  assert.equal(spool.atRisk, 1)
  assert.equal(await upload.round(), undefined)
  assert.deepEqual(control.bytes, written)
  assert.ok(control.puts >= 3)
  assert.equal(spool.atRisk, 0)
  assert.deepEqual(await readdir(join(file(), '..')), [QUARANTINE])
})

it('a short recording goes to control in one call, from memory, while there is room for it', async (t) => {
  for (const fits of [true, false]) {
    const { open, file } = await rig(t)
    const spool = await open()
    const others = fits ? [] : await fillRoom(spool)
    await keep(spool, [oneChunk(['one'])])
    const [held] = spool.due.filter(({ sid }) => sid === SID)
    assert.deepEqual(held?.whole, fits ? new Uint8Array(await readFile(file())) : undefined)
    for (const sid of others) await spool.drop(sid)
    const control = new FakeControl()
    assert.equal(await uploadOf(spool, control).round(), undefined)
    assert.deepEqual(wordsOf(control.bytes), ['one', 'end: closed'])
    assert.deepEqual([control.puts, control.asked], [1, fits ? 0 : 1])
    assert.deepEqual([spool.atRisk, await readdir(join(file(), '..'))], [0, [QUARANTINE]])
    // What control has takes no room: another is held.
    await keep(spool, [oneChunk(['two'])])
    assert.ok(spool.due[0]?.whole)
  }
})

/** Recordings of all sizes, down to the smallest, until none is held any more. */
async function fillRoom(spool: RecordingSpool): Promise<readonly string[]> {
  const sids: string[] = []
  for (const bytes of [250_000, 16_000, 1000, 3]) {
    do {
      assert.ok(sids.length < 200, 'there is room without end')
      sids.push(`${SID.slice(0, -3)}${sids.length + 100}`)
      await keep(spool, [oneChunk([randomBytes(bytes).toString('hex').slice(bytes)], sids.at(-1))])
    } while (spool.due.at(-1)?.whole !== undefined)
  }
  return sids
}

it('a short recording that control has already, or began before, is asked about', async (t) => {
  const { open } = await rig(t)
  const spool = await open()
  const whole = oneChunk(['one'])
  await keep(spool, [whole])
  const control = new FakeControl()
  control.failures = [new ProxyError('control.unavailable', 'the answer was lost')]
  const upload = uploadOf(spool, control)
  assert.ok((await upload.round()) instanceof ProxyError)
  control.failures = [new ProxyError('resource.conflict', 'it is sealed')]
  control.offsets = 'any'
  assert.equal(await upload.round(), undefined)
  assert.deepEqual([control.puts, control.asked, spool.atRisk], [2, 1, 0])
  assert.deepEqual(control.bytes, Buffer.from(whole.bytes))
})

it('what control will never take is kept aside; another history is never added to', async (t) => {
  const { open, told } = await rig(t)
  const spool = await open()
  await keep(spool, chunks(['one']))
  const control = new FakeControl()
  control.failures = [new ProxyError('policy.denied', 'not yours')]
  assert.equal(await uploadOf(spool, control).round(), undefined)
  assert.deepEqual([spool.quarantined, control.puts], [1, 1])
  await keep(spool, chunks(['one']))
  const other = new FakeControl()
  other.chain.push(chunks(['other'], false)[0]?.bytes ?? assert.fail())
  await uploadOf(spool, other).round()
  assert.deepEqual([spool.quarantined, other.puts], [2, 0])
  assert.deepEqual(
    told.filter(({ code }) => code === 'SLV002W').map(({ fields }) => fields['reason']),
    ['not yours', 'control holds another recording of this session'],
  )
})

it('what grows is due after a while, or at once when it is much, and then not before it grows again', async (t) => {
  const { open, timers } = await rig(t)
  const spool = await open()
  const noise = Array.from({ length: 12 }, () => randomBytes(100_000).toString('latin1'))
  const [one, two, ...much] = chunks(['one', 'two', ...noise], false)
  const due = (): readonly number[] => spool.due.map(({ bytes }) => bytes)
  await spool.keep(OWNER, one ?? assert.fail())
  timers.advance(max('recordingUploadMs') - 1)
  assert.deepEqual(due(), [])
  const waiting = spool.waiting()
  timers.advance(1)
  await waiting
  const first = one?.bytes.length ?? 0
  assert.deepEqual(due(), [first])
  // It grows while it is offered, which takes longer than the wait.
  await spool.keep(OWNER, two ?? assert.fail())
  timers.advance(max('recordingUploadMs'))
  spool.offered(SID, first)
  assert.deepEqual(due(), [])
  timers.advance(max('recordingUploadMs'))
  assert.equal(due().length, 1)
  spool.offered(SID, due()[0] ?? 0)
  timers.advance(10 * max('recordingUploadMs'))
  assert.deepEqual(due(), [])
  let grewBy = 0
  for (const chunk of much) {
    await spool.keep(OWNER, chunk)
    grewBy += chunk.bytes.length
    assert.equal(due().length, grewBy >= max('recordingUploadBytes') ? 1 : 0)
  }
  assert.ok(grewBy > max('recordingUploadBytes'))
  await spool.close()
  assert.equal(timers.size, 0)
})

it('a recording is uploaded while it is made: what is durable, once, without asking where control stands', async (t) => {
  const { open, timers, file } = await rig(t)
  const spool = await open()
  const control = new FakeControl()
  const upload = uploadOf(spool, control)
  const [one, two, three, end] = chunks(['one', 'two', 'three'])
  await keep(spool, [one ?? assert.fail()])
  // The next chunk lies in the file, and its write has not ended.
  await appendFile(file(), two?.bytes ?? '')
  timers.advance(max('recordingUploadMs'))
  await upload.round()
  assert.deepEqual(control.bytes, Buffer.from(one?.bytes ?? ''))
  await upload.round()
  assert.deepEqual([control.puts, control.asked, spool.atRisk], [1, 1, 1])
  await keep(spool, [two ?? assert.fail(), three ?? assert.fail()])
  timers.advance(max('recordingUploadMs'))
  await upload.round()
  assert.deepEqual([control.puts, control.asked], [2, 1])
  await keep(spool, [end ?? assert.fail()])
  await upload.round()
  assert.equal(spool.atRisk, 0)
  assert.deepEqual(wordsOf(control.bytes), ['one', 'two', 'three', 'end: closed'])
})

it('what control does not take while it is made is kept aside when it has its end, not before', async (t) => {
  const { open, timers, folder } = await rig(t)
  const spool = await open()
  const control = new FakeControl()
  const denied = new ProxyError('policy.denied', 'not yours')
  control.failures = [denied, denied]
  const upload = uploadOf(spool, control)
  const [one, two, end] = chunks(['one', 'two'])
  await keep(spool, [one ?? assert.fail()])
  timers.advance(max('recordingUploadMs'))
  assert.equal(await upload.round(), undefined)
  assert.deepEqual([spool.quarantined, spool.due.length], [0, 0])
  assert.deepEqual(await keep(spool, [two ?? assert.fail(), end ?? assert.fail()]), [
    'kept',
    'kept',
  ])
  await upload.round()
  assert.equal(spool.quarantined, 1)
  const [aside = ''] = await readdir(join(folder, QUARANTINE))
  const words = wordsOf(await readFile(join(folder, QUARANTINE, aside)))
  assert.deepEqual(words, ['one', 'two', 'end: closed'])
})

it('a control whose store is full is asked again, and what is kept aside counts as room that is taken', async (t) => {
  const { open } = await rig(t)
  const spool = await open()
  await keep(spool, chunks(['one']))
  const control = new FakeControl()
  const full = new ProxyError('recording.store-full', 'full')
  control.failures = [full]
  assert.equal(await uploadOf(spool, control).round(), full)
  assert.deepEqual([spool.quarantined, spool.due.length], [0, 1])
  await spool.quarantine(SID, 'for the test')
  const room = chunks(['one']).reduce((sum, { bytes }) => sum + bytes.length, 0) + 50
  const other = SID.replace('0b7a', '0b7b')
  const [first] = chunks(['one'], true, other)
  const small = await open(room)
  assert.equal(await small.keep(OWNER, first ?? assert.fail()), 'refused')
})
