// Which sessions are recorded, by whom and by which rule; and that no two write one recording.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import type { FromRecorder } from '../core/messages.ts'
import type { FramedProtocol, Observer, Refusal } from '../core/protocol.ts'
import type { RecordingMode, Snapshot } from '../core/snapshot.ts'
import { line } from '../test/fake/line.ts'
import { testRight, testSnapshot } from '../test/fixtures/rights.ts'
import { AuditQueue } from './audit-queue.ts'
import { Recorders } from './recorders.ts'
import { sessionTap } from './session-tap.ts'
import { FakeTimers } from './timers.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'

const SILENT: Observer = { fault: undefined, note: () => true, end: () => {} }
const protocol: FramedProtocol = { ...line, observer: () => SILENT }

function rig(): {
  readonly recorders: Recorders
  readonly sent: FromRecorder[]
  readonly evicted: Refusal[]
  readonly open: (mode: RecordingMode | undefined) => ReturnType<typeof sessionTap>
} {
  const timers = new FakeTimers()
  const { clock } = timers
  const sent: FromRecorder[] = []
  const evicted: Refusal[] = []
  const recorders = new Recorders({ clock, timers, send: (message) => sent.push(message) })
  const queue = new AuditQueue({ clock, timers, send: () => {}, bytesMax: 1000 })
  const open = (mode: RecordingMode | undefined): ReturnType<typeof sessionTap> => {
    const known = testSnapshot({ nowMs: clock.now() })
    const snapshot: Snapshot | undefined =
      mode === undefined ? undefined : { ...known, config: { ...known.config, recording: mode } }
    return sessionTap({
      protocol,
      queue,
      recorders,
      clock,
      snapshot,
      sid: SID,
      host: 'agent-1',
      cluster: 'c',
      right: testRight({ nowMs: clock.now() }),
      fields: { user: 'alice' },
      evict: (refusal) => evicted.push(refusal),
    })
  }
  return { recorders, sent, evicted, open }
}

it('every mode but off records; an unknown one waits for the disk', async () => {
  for (const mode of ['node', 'node-sync', 'proxy', 'proxy-sync', 'off', undefined] as const) {
    const { open, recorders, sent } = rig()
    const tap = open(mode)
    assert.equal(recorders.size, mode === 'off' ? 0 : 1, String(mode))
    const waits = mode !== 'node' && mode !== 'proxy' && mode !== 'off'
    assert.equal(tap.put(1, new Uint8Array(0), 0, 0, 0), !waits, String(mode))
    void tap.seal('closed')
    await Promise.resolve()
    assert.equal(sent.length, mode === 'off' ? 0 : 1)
  }
})

it('a second session of an id that is being recorded is ended', async () => {
  const { open, evicted, recorders } = rig()
  open('node')
  open('node')
  await Promise.resolve()
  assert.match(evicted[0]?.reason ?? '', /recorded already/)
  assert.deepEqual([evicted.length, recorders.size], [1, 1])
})
