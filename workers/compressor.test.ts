// One context compresses the chunks of all recorders of a thread: each is a whole frame, in its turn, and none is lost with a context.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { it, type TestContext } from 'node:test'
import { createZstdCompress, zstdDecompressSync } from 'node:zlib'

import { Compressor } from './compressor.ts'

const CHUNKS: readonly Uint8Array[] = [
  Buffer.alloc(256 * 1024),
  randomBytes(1024 * 1024),
  Buffer.from('a few words'),
  Buffer.alloc(200_000, 'what a terminal shows again and again\r\n'),
  randomBytes(20_000),
]

function compressor(
  context: TestContext,
  open?: () => ReturnType<typeof createZstdCompress>,
): Compressor {
  const made = new Compressor(open)
  context.after(() => made.close())
  return made
}

/** Of all of them asked for at once, in the order in which they were done. */
async function compressed({
  compress,
}: Compressor): Promise<{ index: number; payload: Uint8Array }[]> {
  const done: { index: number; payload: Uint8Array }[] = []
  await new Promise<void>((resolve) => {
    for (const [index, packed] of CHUNKS.entries())
      compress(packed, (payload) => {
        if (done.push({ index, payload }) === CHUNKS.length) resolve()
      })
    assert.equal(done.length, 0, 'none in the turn that asked')
  })
  return done
}

it('each chunk is a frame of its own, whatever came before it', async (context) => {
  const made = compressor(context)
  for (let round = 0; round < 3; round++) {
    const done = await compressed(made)
    assert.deepEqual(
      done.map(({ index }) => index),
      [...CHUNKS.keys()],
    )
    for (const { index, payload } of done)
      assert.ok(zstdDecompressSync(payload).equals(CHUNKS[index] ?? Buffer.of()), `chunk ${index}`)
    assert.ok((done[0]?.payload.length ?? 0) < 100)
  }
})

it('what a failed context was given is compressed all the same, and what follows', async (context) => {
  let opened = 0
  const made = compressor(context, () => {
    const stream = createZstdCompress()
    if (++opened <= 2) setImmediate(() => stream.destroy(new Error('no memory')))
    return stream
  })
  const done = await compressed(made)
  assert.ok(opened > 2)
  for (const { index, payload } of done)
    assert.ok(zstdDecompressSync(payload).equals(CHUNKS[index] ?? Buffer.of()), `chunk ${index}`)
})

it('nobody is told of anything behind the close', async (context) => {
  const made = compressor(context)
  let told = 0
  for (const packed of CHUNKS) made.compress(packed, () => told++)
  made.close()
  // As much work as was closed.
  await compressed(compressor(context))
  assert.equal(told, 0)
})
