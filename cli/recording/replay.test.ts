// A replay in a real terminal: what the recorded program wrote comes out as it was, and the person's terminal is as before.

import { equal, match, ok } from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { packEvents, type RecordingEvent } from '../../core/recording/events.ts'
import { writeChunk, writeHead } from '../../core/recording/format.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { NODE_FLAGS } from '../../test/fixtures/processes.ts'
import { Terminal } from '../../test/fixtures/terminal.ts'

const MAIN = join(import.meta.dirname, '../main.ts')
const AT = Date.UTC(2026, 10, 20, 12, 0, 0)
/** A line feed alone goes straight down: full-screen programs rely on it. */
const DRAWN = 'one\n\u{1b}[2Dtwo\r\n'

const EVENTS: readonly RecordingEvent[] = [
  { kind: 'start', atMs: AT, fields: { user: 'alice', login: 'root', server_hostname: 'web-1' } },
  { kind: 'resize', atMs: AT, columns: 80, rows: 24 },
  { kind: 'print', atMs: AT, bytes: Buffer.from(DRAWN) },
]
const END: RecordingEvent = { kind: 'end', atMs: AT + 3_600_000, reason: 'closed' }

function recording(): Buffer {
  const sid = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
  const head = writeHead({ sid, kind: 'ssh', cluster: 'c', serverId: 'a', startedAtMs: AT })
  const events = packEvents(EVENTS)
  const chunk = writeChunk(head.position, 'events', events.startMs, events.packed)
  const last = packEvents([END])
  const end = writeChunk(chunk.position, 'end', last.startMs, last.packed)
  return Buffer.concat([head.bytes, chunk.bytes, end.bytes])
}

test('a replay adds nothing to what was recorded, obeys keys, and gives the terminal back', async (context) => {
  const file = join(await temporaryFolder(context), 'session.rec')
  await writeFile(file, recording())
  const play = [process.execPath, ...NODE_FLAGS, MAIN, 'tsh', 'play', file]
  const line = '"$@"; echo "status $?"; stty -a; echo "$(stty -g | wc -l) done"'
  const terminal = await Terminal.open(context, ['/bin/sh', '-c', line, 'sh', ...play], {
    size: { columns: 80, rows: 24 },
    env: { ...process.env, TERM: 'xterm' },
  })
  await terminal.shows(/two\r\n/)
  const shown = terminal.bytes().toString('latin1')
  ok(shown.endsWith(DRAWN), JSON.stringify(shown))
  match(shown, /session begins: user=alice login=root server_hostname=web-1\r\n/)
  equal(shown.includes('\r\r\n'), false)
  // Its end is an hour away.
  terminal.type('q')
  match(await terminal.shows(/status \d+/), /status 0/)
  const modes = await terminal.shows(/speed[^]*1 done/)
  for (const mode of ['opost', 'onlcr', 'icanon', 'echo', 'isig', 'icrnl'])
    match(modes, new RegExp(`[ \\n]${mode}[ ;\\r]`))
})
