// What a ByteStream promises, over the pair in memory: the same clauses as for real streams.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { streamPair } from './stream.ts'

test('a write never delivers inside itself', async () => {
  const [here, there] = streamPair()
  let inside = true
  const read = there.read().then((chunk) => {
    assert.equal(inside, false)
    return chunk
  })
  const written = here.write(Buffer.from('a'))
  // Not in the microtasks behind it either: those run before the writer's caller goes on.
  for (let count = 0; count < 100; count++) await Promise.resolve()
  inside = false
  await written
  assert.equal(Buffer.from((await read) ?? []).toString(), 'a')
})

test('a half-close leaves the other way open, and both together close', async () => {
  const [here, there] = streamPair()
  await here.end()
  assert.equal(await there.read(), undefined)
  await there.write(Buffer.from('late'))
  assert.equal(Buffer.from((await here.read()) ?? []).toString(), 'late')
  await there.end()
  assert.equal(await here.read(), undefined)
  await Promise.all([here.closed, there.closed])
})

test('bytes put back come first', async () => {
  const [here, there] = streamPair()
  await here.write(Buffer.from('rest'))
  there.unread(Buffer.from('first'))
  assert.equal(Buffer.from((await there.read()) ?? []).toString(), 'first')
  assert.equal(Buffer.from((await there.read()) ?? []).toString(), 'rest')
})

test('an abort rejects reads and writes on both ends and closes them', async () => {
  const [here, there] = streamPair()
  const read = assert.rejects(there.read(), /gone/)
  here.abort(new Error('gone'))
  await read
  await assert.rejects(there.write(Buffer.from('x')), /gone/)
  await Promise.all([here.closed, there.closed])
})

test('a writer waits for its reader beyond the bound', async () => {
  const [here, there] = streamPair()
  let taken = false
  const written = here.write(Buffer.alloc(100_000)).then(() => (taken = true))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(taken, false)
  await there.read()
  await written
})
