// One minute of fuzzing for all codecs together. A failure names its seed and the shortest input that fails; hours of it are
// `npm run fuzz -- --minutes=60`.

import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'
import { test } from 'node:test'

import { CODECS } from './codecs.ts'
import { attempt, type Codec, corpusOf, fuzz } from './engine.ts'

const MINUTE_MS = 60_000
const EACH_MS = MINUTE_MS / CODECS.length
const SEED = Date.now() % 2 ** 31
/** What a codec may have left behind after its share of the minute, once everything dead is collected. */
const LEFT_MAX = 8 * 1024 * 1024

const heap = new Session()
heap.connect()

/** Bytes that live, once the turn in which they were made is over. */
async function living(): Promise<number> {
  await new Promise((resolve) => setImmediate(resolve))
  heap.post('HeapProfiler.collectGarbage')
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

for (const codec of CODECS)
  test(`${codec.name}: any bytes in any pieces come to the same, and to nothing undeclared`, async () => {
    // Once over everything it knows, so that what is loaded and compiled once does not count.
    for (const found of corpusOf(codec.name)) attempt(codec, found)
    const before = await living()
    const { runs, words } = fuzz(codec, { budgetMs: EACH_MS, seed: SEED })
    const left = (await living()) - before
    assert.ok(runs > 100, `only ${runs} tries`)
    assert.ok(words.size > 1, `every input came to ${[...words].join()}`)
    assert.ok(left < LEFT_MAX, `${left} bytes stay behind ${runs} tries`)
  })

test('the corpus belongs to codecs that exist', () => {
  const folder = join(import.meta.dirname, 'corpus')
  const names = new Set(CODECS.map(({ name }) => name))
  const folders = existsSync(folder) ? readdirSync(folder) : []
  assert.ok(folders.length > 0)
  assert.deepEqual(
    folders.filter((name) => !names.has(name)),
    [],
  )
})

test('a codec that falls over one byte, keeps bytes, or minds where they are cut is found out', () => {
  const options = { budgetMs: 5_000, seed: SEED }
  const sample = (check: Codec['check']): Codec => ({
    name: 'sample',
    seeds: () => [Buffer.from('abc')],
    check,
  })
  const falls = sample((bytes) => {
    if (bytes.includes(0x80)) throw new RangeError('falls over')
    return ''
  })
  assert.throws(() => fuzz(falls, options), /falls over/)
  const minds = sample((bytes, cuts) => {
    assert.ok(
      cuts.every((cut) => cut % (bytes.length + 1) !== 2),
      'minds the cut',
    )
    return ''
  })
  assert.throws(() => fuzz(minds, options), /minds the cut/)
  const believes = sample((bytes) => String(Buffer.alloc(512 * 1024 * (bytes[0] ?? 0)).length))
  assert.throws(
    () => attempt(believes, { bytes: Uint8Array.of(255, 255), cuts: [] }),
    /bytes of buffers/,
  )
})
