// Two ends in one thread: bytes, ends and failures of one are the other's.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { freeBytes } from '../core/bytes/free.ts'
import { joined } from './joined.ts'
import { socketStream } from './socket-stream.ts'

describe('Joined ends', () => {
  it('carry bytes both ways, count them, and each end is heard on its own', async () => {
    const [one, other] = joined()
    const [here, there] = [socketStream(one), socketStream(other)]
    await here.write(Buffer.from('ping'))
    assert.equal(Buffer.from((await there.read()) ?? []).toString(), 'ping')
    const ended = here.end()
    assert.equal(await there.read(), undefined)
    await ended
    await there.write(Buffer.from('late answer'))
    assert.equal(Buffer.from((await here.read()) ?? []).toString(), 'late answer')
    await there.end()
    assert.equal(await here.read(), undefined)
    assert.deepEqual([one.bytesWritten, other.bytesRead], [4, 4])
    assert.deepEqual([other.bytesWritten, one.bytesRead], [11, 11])
    await Promise.all([here.closed, there.closed])
  })

  it('give a reader bytes of its own, which stay when the writer frees what it wrote', async () => {
    const [one, other] = joined()
    const [here, there] = [socketStream(one), socketStream(other)]
    const bytes = new Uint8Array(32 * 1024).fill(7)
    const reading = there.read()
    await here.writeAll?.([bytes])
    freeBytes(bytes)
    const read = await reading
    assert.deepEqual([bytes.length, read?.length, read?.[0], read?.at(-1)], [0, 32 * 1024, 7, 7])
  })

  it('hold a writer back until the other end reads', async () => {
    const [one, other] = joined()
    const here = socketStream(one)
    const block = Buffer.alloc(64 * 1024)
    let written = 0
    const writing = (async () => {
      for (; written < 100; written++) await here.write(block)
      await here.end()
    })()
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
    assert.ok(written < 10, `${written} blocks were taken that nobody read`)
    let read = 0
    const there = socketStream(other)
    for (let data = await there.read(); data !== undefined; data = await there.read())
      read += data.length
    await writing
    assert.equal(read, 100 * block.length)
  })

  it('are gone together, and whoever waits to write or read hears of it', async () => {
    const [one, other] = joined()
    const [here, there] = [socketStream(one), socketStream(other)]
    const reading = assert.rejects(there.read(), /gone|lost/)
    const writing = assert.rejects(
      (async () => {
        for (;;) await there.write(Buffer.alloc(64 * 1024))
      })(),
    )
    here.abort(new Error('enough'))
    await Promise.all([reading, writing, there.closed, here.closed])
  })

  it('let what was said before an end be read', async () => {
    const [one, other] = joined()
    const [here, there] = [socketStream(one), socketStream(other)]
    await here.write(Buffer.from('last word'))
    const ended = here.end()
    assert.equal(Buffer.from((await there.read()) ?? []).toString(), 'last word')
    await ended
    here.abort(new Error('done'))
    assert.equal(await there.read(), undefined)
  })
})
