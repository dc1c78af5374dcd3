// Labels that commands print: when they are asked for, what becomes of commands that fail, hang or print too much.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { max } from '../../core/limits.ts'
import { silentLogger } from '../../core/log.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { FakeTimers } from '../../workers/timers.ts'
import { LabelCommands } from './label-commands.ts'

function commands(...lines: readonly (readonly [string, ...string[]])[]): {
  labels: LabelCommands
  timers: FakeTimers
  changes: () => number
} {
  const timers = new FakeTimers()
  let changes = 0
  const labels = new LabelCommands({
    commands: lines.map(([name, ...command]) => ({ name, command, period: '1m' })),
    timers,
    log: silentLogger,
    changed: () => changes++,
  })
  return { labels, timers, changes: () => changes }
}

it('a label is what its command prints, on one line and without control characters', async () => {
  const { labels, changes } = commands(
    ['arch', '/bin/echo', 'x86'],
    ['odd', '/usr/bin/printf', 'a\\n\\033[31mb\\n'],
  )
  await labels.start()
  assert.deepEqual(labels.labels, { arch: 'x86', odd: 'a [31mb' })
  assert.equal(changes(), 2)
  labels.stop()
})

it('words are words: no shell reads them, and nothing of this process’s environment is there', async () => {
  process.env['SLUICE_TEST_SECRET'] = 'secret'
  const { labels } = commands(['words', '/bin/echo', '$HOME; echo'], ['all', '/usr/bin/env'])
  await labels.start()
  assert.equal(labels.labels['words'], '$HOME; echo')
  assert.match(labels.labels['all'] ?? '', /^PATH=\S+ LC_ALL=C$/)
  labels.stop()
})

it('a command is asked again each period, and only another value is a change', async () => {
  const { labels, timers, changes } = commands(
    ['same', '/bin/echo', 'x'],
    ['clock', '/bin/date', '+%N'],
  )
  await labels.start()
  const first = labels.labels['clock']
  timers.advance(60_000)
  await until(() => labels.labels['clock'] !== first, 'another value')
  await until(() => timers.size === 2, 'both wait again')
  assert.equal(changes(), 3)
  labels.stop()
  assert.equal(timers.size, 0)
})

it('a command that fails or prints too much has no value, and the others have theirs', async () => {
  const { labels } = commands(
    ['none', '/nonexistent/program'],
    ['fails', '/bin/false'],
    ['much', '/usr/bin/head', '-c', String(max('labelCommandBytesMax') + 1), '/dev/zero'],
    ['good', '/bin/echo', 'x'],
  )
  await labels.start()
  assert.deepEqual(labels.labels, { good: 'x' })
  labels.stop()
})

it('a command that hangs ends with its owner', async () => {
  const { labels } = commands(
    ['hangs', '/bin/cat', '/dev/full'],
    ['slow', '/usr/bin/tail', '-f', '/dev/null'],
  )
  const started = labels.start()
  labels.stop()
  await started
  assert.deepEqual(labels.labels, {})
})
