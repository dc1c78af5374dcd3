// When what a terminal says goes on its way: at once, or with what follows within a moment, and never more than the reader takes.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { max } from '../../core/limits.ts'
import type { ByteStream } from '../../core/stream.ts'
import { FakeTimers } from '../../workers/timers.ts'
import { Gathered } from './gathered.ts'

const PAGE = Buffer.alloc(4095, 'p')

function setUp(taken: () => Promise<void> = () => Promise.resolve()): {
  written: string[]
  timers: FakeTimers
  gathered: Gathered
} {
  const written: string[] = []
  const timers = new FakeTimers()
  const to = {
    writeAll(pieces: readonly Uint8Array[]) {
      written.push(Buffer.concat(pieces).toString())
      return taken()
    },
  } as unknown as ByteStream
  return { written, timers, gathered: new Gathered(to, timers) }
}

it('what is short goes at once, and takes with it what was held', async () => {
  const { written, timers, gathered } = setUp()
  await gathered.add(Buffer.from('a'))
  assert.deepEqual(written, ['a'])
  await gathered.add(PAGE)
  await gathered.add(Buffer.from('b'))
  assert.deepEqual(written, ['a', `${PAGE.toString()}b`])
  assert.equal(timers.size, 0)
})

it('full pages are held for terminalGatherMs, counted from the first, and no more than terminalGatherBytes', async () => {
  const { written, timers, gathered } = setUp()
  await gathered.add(PAGE)
  timers.advance(max('terminalGatherMs') / 2)
  await gathered.add(PAGE)
  assert.equal(written.length, 0)
  timers.advance(max('terminalGatherMs') / 2)
  await gathered.flush()
  assert.deepEqual(
    written.map(({ length }) => length),
    [2 * PAGE.length],
  )
  const pages = Math.ceil(max('terminalGatherBytes') / PAGE.length)
  for (let count = 0; count < pages; count++) await gathered.add(PAGE)
  assert.equal(written[1]?.length, pages * PAGE.length)
  assert.equal(timers.size, 0)
})

it('a reader that takes nothing holds the terminal back', async () => {
  const room = Promise.withResolvers<void>()
  const { written, timers, gathered } = setUp(() => room.promise)
  await gathered.add(PAGE)
  timers.advance(max('terminalGatherMs'))
  let more = false
  const added = gathered.add(PAGE).then(() => {
    more = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(more, false)
  room.resolve()
  await added
  await gathered.flush()
  assert.equal(written.length, 2)
})

it('a write that failed behind its back is told to whoever adds next', async () => {
  const { timers, gathered } = setUp(() => Promise.reject(new Error('gone')))
  await gathered.add(PAGE)
  timers.advance(max('terminalGatherMs'))
  await assert.rejects(gathered.add(PAGE), /gone/)
})
