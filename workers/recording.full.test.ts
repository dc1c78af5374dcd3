// A gigabyte of a terminal's output through a recorder, onto a real disk and back, in bounded memory.

import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'

import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { unpackEvents } from '../core/recording/events.ts'
import { temporaryFolder } from '../test/fixtures/files.ts'
import { RecordingSpool } from './recording-spool.ts'
import { Recorders } from './recorders.ts'
import { TerminalRecording } from './terminal-recorder.ts'
import { systemTimers } from './timers.ts'

const SID = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
const TOTAL = 1024 * 1024 * 1024
const PRINT = 32 * 1024
const START = { sid: SID, columns: 80, rows: 24, term: 'xterm', fields: {} }
const TERMINAL = {
  clock: systemClock,
  timers: systemTimers,
  gatherMs: max('recordingPrintMs'),
}
/** What the collector has not come to yet is in it; what is held is bounded exactly below. */
const GROWTH_MAX = 512 * 1024 * 1024

it('a gigabyte is recorded and read back in bounded memory', async (t) => {
  const folder = await temporaryFolder(t)
  const spool = await RecordingSpool.open({
    folder,
    clock: systemClock,
    timers: systemTimers,
    log: silentLogger,
    audit: () => {},
  })
  const recorders = new Recorders({
    clock: systemClock,
    timers: systemTimers,
    send: (message) => {
      const { sid, seq } = message
      void spool
        .keep(recorders, message)
        .then((outcome) => recorders.kept({ kind: 'recording-kept', sid, seq, outcome }))
    },
  })
  const header = {
    sid: SID,
    kind: 'ssh',
    cluster: 'c',
    serverId: 'agent-1',
    startedAtMs: systemClock.now(),
  } as const
  const ends: string[] = []
  const recorder = recorders.open(header, 'strict', (reason) => ends.push(reason))
  assert.ok(recorder)
  const { share } = recorders
  const terminal = new TerminalRecording({ ...TERMINAL, recorder, share }, START)
  const lines = Buffer.alloc(
    PRINT * 2,
    'drwxr-xr-x 2 root root 4096 Nov 20 12:00 some-file-name\r\n',
  )
  const before = process.memoryUsage.rss()
  let most = 0
  for (let at = 0; at < TOTAL; at += PRINT) {
    const from = (at / PRINT) % PRINT
    const bytes = lines.subarray(from, from + PRINT)
    bytes.writeUInt32BE(at, 0)
    terminal.print(bytes)
    const gathered = 2 * max('recordingPrintBytesMax')
    assert.ok(recorders.share.bytes <= max('recordingQueueBytesMax') + gathered + 2 * PRINT)
    if (terminal.full) await terminal.ready()
    most = Math.max(most, process.memoryUsage.rss())
  }
  await terminal.seal('closed')
  await spool.close()
  const { printed, ended, rss } = await readBack(join(folder, `${SID}.rec`))
  most = Math.max(most, rss)
  assert.deepEqual([printed, ended, ends], [TOTAL, true, []])
  assert.ok(most - before < GROWTH_MAX, `grew by ${most - before} bytes`)
  t.diagnostic(`${Math.round((most - before) / 2 ** 20)} MB more at most`)
})

async function readBack(file: string): Promise<{ printed: number; ended: boolean; rss: number }> {
  const chain = new RecordingChain()
  let printed = 0
  let rss = 0
  const handle = await open(file)
  for await (const bytes of handle.createReadStream()) {
    const chunks = chain.push(bytes as Buffer)
    assert.ok(typeof chunks !== 'string')
    for (const chunk of chunks)
      for (const event of unpackEvents(chunk))
        if (event.kind === 'print') printed += event.bytes.length
    rss = Math.max(rss, process.memoryUsage.rss())
  }
  return { printed, ended: chain.ended, rss }
}
