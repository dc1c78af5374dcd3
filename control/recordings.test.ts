// Recordings at control, over its real API: only their opener uploads them, once, whole chunks of its own session; what is sealed is
// told to the log, listed and read by auditors alone, each reading told. Over a restart in the middle, and whatever was done to the files.

import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { appendFile, readdir, readFile, watch, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { errorCode } from '../core/errors.ts'
import { packEvents, type RecordingEvent } from '../core/recording/events.ts'
import { writeChunk, writeHead } from '../core/recording/format.ts'
import {
  CLUSTER,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
  type TestMember,
} from '../test/fixtures/control.ts'
import type { ControlClient } from './api/client.ts'
import type { RecordingState } from './api/recording-messages.ts'

const PRINTED = Buffer.from(`${randomBytes(2000).toString('base64')}\u{1b}]0;title\u{7}\u{1b}[1m`)
const STARTED_MS = 1_800_000_000_000
const FIELDS = { user: 'alice', db_service: 'orders', db_user: 'app' }

interface Made {
  readonly sid: string
  /** The head with the first chunk, then each chunk. */
  readonly pieces: readonly Buffer[]
  readonly whole: Buffer
}

function make(
  serverId: string,
  sid: string = randomUUID(),
  cluster = CLUSTER,
  kind: 'ssh' | 'db' = 'db',
): Made {
  const head = writeHead({ sid, kind, cluster, serverId, startedAtMs: STARTED_MS })
  let { position } = head
  const print = { kind: 'print', atMs: STARTED_MS, bytes: PRINTED } as const
  const all: RecordingEvent[] = [
    { kind: 'start', atMs: STARTED_MS, fields: FIELDS },
    print,
    print,
    { kind: 'end', atMs: STARTED_MS + 5000, reason: 'closed by the client' },
  ]
  const pieces = all.map((event) => {
    const { startMs, packed } = packEvents([event])
    const first = position.seq === 0
    const chunk = writeChunk(position, event.kind === 'end' ? 'end' : 'events', startMs, packed)
    position = chunk.position
    return Buffer.concat(first ? [head.bytes, chunk.bytes] : [chunk.bytes])
  })
  return { sid, pieces, whole: Buffer.concat(pieces) }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) => errorCode(error) ?? String(error),
  )
}

async function read(client: ControlClient, sid: string): Promise<Buffer> {
  const parts: Buffer[] = []
  for await (const { data } of client.stream('recording-read', { sid }))
    parts.push(Buffer.from(data, 'base64'))
  return Buffer.concat(parts)
}

function put(
  { client }: TestMember,
  sid: string,
  offset: number,
  bytes: Uint8Array,
): Promise<RecordingState> {
  const data = Buffer.from(bytes).toString('base64')
  return client.call('recording-put', { sid, offset, data })
}

async function putAll(member: TestMember, made: Made, from = 0): Promise<RecordingState> {
  let state = await member.client.call('recording-state', { sid: made.sid })
  for (const piece of made.pieces.slice(from))
    state = await put(member, made.sid, state.bytes, piece)
  return state
}

describe('Recordings at control', () => {
  let control: TestControl
  let agent: TestMember
  let other: TestMember

  before(async () => {
    control = await startTestControl()
    agent = await newMember(control, 'agent')
    other = await newMember(control, 'proxy')
  })
  after(() => control.remove())

  const stored = (): string => path.join(control.folder, 'control', 'recordings')

  it('are sealed by their end, told to the log, listed, and read as they were written', async () => {
    const made = make(agent.id)
    const state = await putAll(agent, made)
    assert.deepEqual([state.bytes, state.sealed], [made.whole.length, true])
    const [row] = (await control.admin.call('recording-list', { limit: 1 })).items
    const { bytes, chunks, reason, serverId, sid, startedAtMs, endedAtMs, target, user } =
      row ?? assert.fail()
    assert.deepEqual(
      { bytes, chunks, reason, serverId, sid, startedAtMs, endedAtMs, target, user },
      {
        bytes: made.whole.length,
        chunks: 4,
        reason: 'closed by the client',
        serverId: agent.id,
        sid: made.sid,
        startedAtMs: STARTED_MS,
        endedAtMs: STARTED_MS + 5000,
        target: 'orders',
        user: 'alice',
      },
    )
    const { items } = await control.admin.call('audit-list', { types: 'session.upload' })
    assert.deepEqual(
      [items[0]?.['sid'], items[0]?.['chunk_hash'], items[0]?.['server_id']],
      [made.sid, state.hash, agent.id],
    )
    assert.deepEqual(await read(control.admin, made.sid), made.whole)
    const late = await control.admin.call('recording-list', { fromMs: STARTED_MS + 5001 })
    assert.deepEqual(late.items, [])
  })

  it('are written once, by their opener, and only with what follows', async () => {
    const made = make(agent.id)
    const [first = Buffer.alloc(0), second = Buffer.alloc(0), third = Buffer.alloc(0)] = made.pieces
    const state = await put(agent, made.sid, 0, first)
    const at = state.bytes
    assert.equal(await codeOf(put(agent, made.sid, 0, first)), 'resource.conflict')
    assert.equal(await codeOf(put(agent, made.sid, at, third)), 'recording.damaged')
    assert.equal(
      await codeOf(put(agent, made.sid, at, second.subarray(0, 50))),
      'recording.damaged',
    )
    const half = Buffer.concat([second, third.subarray(0, 50)])
    assert.equal(await codeOf(put(agent, made.sid, at, half)), 'recording.damaged')
    const flipped = Buffer.from(second)
    flipped[100] = (flipped[100] ?? 0) ^ 1
    assert.equal(await codeOf(put(agent, made.sid, at, flipped)), 'recording.damaged')
    assert.equal(await codeOf(put(other, made.sid, 0, first)), 'recording.damaged')
    assert.equal((await other.client.call('recording-state', { sid: made.sid })).bytes, 0)
    assert.deepEqual(await agent.client.call('recording-state', { sid: made.sid }), state)
    assert.equal((await putAll(agent, made, 1)).sealed, true)
    assert.equal(await codeOf(put(agent, made.sid, made.whole.length, second)), 'resource.conflict')
    const again = make(other.id, made.sid)
    assert.equal(await codeOf(putAll(other, again)), 'resource.conflict')
    assert.deepEqual(await read(control.admin, made.sid), made.whole)
  })

  it('of another session, cluster or name are refused', async () => {
    const made = make(agent.id)
    const [first = Buffer.alloc(0)] = made.pieces
    assert.equal(await codeOf(put(agent, randomUUID(), 0, first)), 'recording.damaged')
    const foreign = make(agent.id, randomUUID(), 'elsewhere')
    assert.equal(
      await codeOf(put(agent, foreign.sid, 0, foreign.pieces[0] ?? first)),
      'recording.damaged',
    )
    for (const sid of ['../../etc/passwd', 'x', made.sid.toUpperCase()])
      assert.equal(await codeOf(put(agent, sid, 0, first)), 'resource.invalid')
  })

  it('of a terminal lie beside a flat file, filtered', async () => {
    const made = make(agent.id, randomUUID(), CLUSTER, 'ssh')
    const stop = new AbortController()
    const flat = `${made.sid}.txt`
    const changes = watch(stored(), { signal: stop.signal })
    await putAll(agent, made)
    // It is made behind the upload.
    while (!(await readdir(stored())).includes(flat)) await changes.next()
    stop.abort()
    const text = await readFile(path.join(stored(), flat), 'latin1')
    const shown = PRINTED.toString('latin1').replace('\u{1b}]0;title\u{7}', '')
    assert.equal(text, shown + shown)
  })

  it('are listed and read by auditors alone, and each reading is told', async () => {
    const made = make(agent.id)
    await putAll(agent, made)
    const auditor = await newPerson(control, 'auditor', ['auditor'])
    const nobody = await newPerson(control, 'nobody', ['access'])
    assert.equal(await codeOf(nobody.client.call('recording-list', {})), 'policy.denied')
    assert.equal(await codeOf(read(nobody.client, made.sid)), 'policy.denied')
    assert.equal(await codeOf(read(auditor.client, randomUUID())), 'resource.not-found')
    assert.equal(await codeOf(agent.client.call('recording-list', {})), 'policy.denied')
    const page = await auditor.client.call('recording-list', { limit: 1 })
    const rest = await auditor.client.call('recording-list', { after: page.next ?? '' })
    const all = await auditor.client.call('recording-list', {})
    assert.ok(rest.items.length > 0)
    assert.deepEqual([...page.items, ...rest.items], all.items)
    const forged = auditor.client.call('recording-list', { after: 'credentials/' })
    assert.equal(await codeOf(forged), 'resource.invalid')
    assert.deepEqual(await read(auditor.client, made.sid), made.whole)
    const types = 'session.recording.access'
    const [event] = (await control.admin.call('audit-list', { types })).items
    assert.deepEqual([event?.['user'], event?.['sid']], ['auditor', made.sid])
  })

  it('go on after a restart, with half a chunk cut off, and are sealed when the crash came before that', async () => {
    const made = make(agent.id)
    const ended = make(agent.id)
    await put(agent, made.sid, 0, made.pieces[0] ?? Buffer.alloc(0))
    await put(agent, ended.sid, 0, ended.pieces[0] ?? Buffer.alloc(0))
    await control.stop()
    const incoming = path.join(stored(), 'incoming', agent.id)
    await appendFile(path.join(incoming, `${made.sid}.rec`), made.pieces[1]?.subarray(0, 90) ?? '')
    await writeFile(path.join(incoming, `${ended.sid}.rec`), ended.whole)
    const { folder } = control
    control = await startTestControl({ folder })
    agent = { ...agent, client: control.client(agent, { pins: control.handle.pins }) }
    const state = await agent.client.call('recording-state', { sid: made.sid })
    assert.equal(state.bytes, made.pieces[0]?.length)
    assert.equal((await putAll(agent, made, 1)).sealed, true)
    assert.deepEqual(await read(control.admin, made.sid), made.whole)
    assert.equal((await agent.client.call('recording-state', { sid: ended.sid })).sealed, true)
    assert.deepEqual(await readFile(path.join(stored(), `${ended.sid}.rec`)), ended.whole)
    assert.deepEqual(await readdir(incoming), [])
  })
})
