// A recording on its way from an agent's disk to a real control's, while it is made: either of them ends in the middle, and what control
// seals is what the agent wrote, once, with an end that says what happened.

import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { appendFile, readFile } from 'node:fs/promises'
import path from 'node:path'
import { it } from 'node:test'

import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { unpackEvents } from '../core/recording/events.ts'
import { compressPacked } from '../core/recording/format.ts'
import { RecordingSpool } from '../workers/recording-spool.ts'
import { type RecordingControl, RecordingUpload } from '../workers/recording-upload.ts'
import { Recorders } from '../workers/recorders.ts'
import { FakeTimers } from '../workers/timers.ts'
import { CLUSTER, newMember, startTestControl, type TestMember } from './fixtures/control.ts'
import { atEnd, temporaryFolder } from './fixtures/files.ts'

/** An agent's disk and what brings it to control; its threads are the test. */
class Host {
  readonly timers: FakeTimers
  readonly spool: RecordingSpool
  readonly upload: RecordingUpload
  readonly recorders: Recorders
  readonly #answers: Promise<void>[] = []

  private constructor(timers: FakeTimers, spool: RecordingSpool, control: RecordingControl) {
    this.timers = timers
    this.spool = spool
    this.upload = new RecordingUpload({ spool, control, log: silentLogger })
    this.recorders = new Recorders({
      clock: timers.clock,
      timers,
      compress: (packed, done) => done(compressPacked(packed)),
      send: (message) => {
        const { sid, seq } = message
        const answer = spool
          .keep(this, message)
          .then((outcome) => this.recorders.kept({ kind: 'recording-kept', sid, seq, outcome }))
        this.#answers.push(answer)
      },
    })
  }

  static async open(folder: string, member: () => TestMember): Promise<Host> {
    const timers = new FakeTimers()
    const { clock } = timers
    const log = silentLogger
    const spool = await RecordingSpool.open({ folder, clock, timers, log, audit: () => {} })
    return new Host(timers, spool, {
      state: (sid) => member().client.call('recording-state', { sid }),
      put: (sid, offset, bytes) => {
        const data = Buffer.from(bytes).toString('base64')
        return member().client.call('recording-put', { sid, offset, data })
      },
    })
  }

  async settled(): Promise<void> {
    for (let answer = this.#answers.shift(); answer; answer = this.#answers.shift()) await answer
  }
}

it('comes whole through a control and an agent that end while it is made', async (t) => {
  const folder = await temporaryFolder(t)
  const root = await temporaryFolder(t)
  let control = await startTestControl({ folder: root })
  atEnd(t, () => control.stop())
  let member = await newMember(control, 'agent')
  const sid = randomUUID()
  const host = await Host.open(folder, () => member)
  const serverId = member.id
  const header = { sid, kind: 'ssh', cluster: CLUSTER, serverId, startedAtMs: 1000 } as const
  const recorder = host.recorders.open(header, 'best_effort', () => {})
  const shown: Buffer[] = []
  const show = async (): Promise<void> => {
    const bytes = randomBytes(40_000)
    shown.push(bytes)
    recorder?.add({ kind: 'print', atMs: 1000, bytes })
    host.timers.advance(max('recordingBatchMs'))
    await host.settled()
    host.timers.advance(max('recordingUploadMs'))
  }
  const stored = path.join(root, 'control', 'recordings')
  const incoming = path.join(stored, 'incoming', member.id, `${sid}.rec`)
  const local = path.join(folder, `${sid}.rec`)
  await show()
  assert.equal(await host.upload.round(), undefined)
  assert.deepEqual(await readFile(incoming), await readFile(local))

  await show()
  await control.stop()
  assert.ok((await host.upload.round()) instanceof Error)
  control = await startTestControl({ folder: root })
  member = { ...member, client: control.client(member, { pins: control.handle.pins }) }
  assert.equal(await host.upload.round(), undefined)
  assert.deepEqual(await readFile(incoming), await readFile(local))

  // The agent is killed while a chunk is being written; control has less than its disk.
  await show()
  await appendFile(local, (await readFile(local)).subarray(-20_000))
  const again = await Host.open(folder, () => member)
  const [due] = again.spool.due
  assert.equal(due?.closed, true)
  const completed = await readFile(local)
  assert.equal(await again.upload.round(), undefined)
  assert.deepEqual(await readFile(path.join(stored, `${sid}.rec`)), completed)
  assert.equal(again.spool.atRisk, 0)
  assert.equal(await again.upload.round(), undefined)

  assertShown(completed, Buffer.concat(shown))
  const { items } = await control.admin.call('audit-list', { types: 'session.upload' })
  assert.deepEqual(
    items.map((item) => item['sid']),
    [sid],
  )
})

/** All of it, and an end that says what happened. */
function assertShown(recording: Uint8Array, shown: Uint8Array): void {
  const chunks = new RecordingChain().push(recording)
  assert.ok(typeof chunks !== 'string')
  const events = chunks.flatMap((chunk) => [...unpackEvents(chunk)])
  const printed = events.flatMap((event) => (event.kind === 'print' ? [event.bytes] : []))
  assert.equal(Buffer.compare(Buffer.concat(printed), shown), 0)
  const last = events.at(-1)
  assert.match(
    last?.kind === 'end' ? last.reason : '',
    /ended before its session did; what it had in memory/,
  )
}
