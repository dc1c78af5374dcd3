// Events packed and read back, whatever they hold; and what is none, which is refused and never guessed.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'

import { errorCode } from '../errors.ts'
import { packEvents, type RecordingEvent, unpackEvents } from './events.ts'
import { type Chunk, readChunk, writeChunk } from './format.ts'

const ZERO = { seq: 0, hash: '00'.repeat(32) }

function chunkOf(startMs: number, packed: readonly unknown[]): Chunk {
  const reading = readChunk(writeChunk(ZERO, 'events', startMs, packed).bytes)
  assert.equal(reading.verdict, 'chunk')
  if (reading.verdict !== 'chunk') throw new Error('no chunk')
  return reading.chunk
}

const atMs = fc.integer({ min: 0, max: 4_000_000_000_000 })
const count = fc.integer({ min: 0, max: 1_000_000 })
const text = fc.string({ unit: 'grapheme' })

const event: fc.Arbitrary<RecordingEvent> = fc.oneof(
  fc.record({
    kind: fc.constant('start' as const),
    atMs,
    fields: fc.constant({ user: 'alice', user_roles: ['access'], db_labels: { env: 'prod' } }),
  }),
  fc.record(
    {
      kind: fc.constant('statement' as const),
      atMs,
      code: fc.constant('TDB02I'),
      statement: text,
      parameters: fc.array(text),
      rows: count,
      durationUs: count,
      error: text,
    },
    { requiredKeys: ['kind', 'atMs', 'code', 'statement', 'parameters'] },
  ),
  fc.record({ kind: fc.constant('print' as const), atMs, bytes: fc.uint8Array() }),
  fc.record({ kind: fc.constant('resize' as const), atMs, columns: count, rows: count }),
  fc.record({ kind: fc.constant('gap' as const), atMs, lost: count }),
  fc.record({ kind: fc.constant('end' as const), atMs, reason: text }),
)

it('events come back as they were, in their order and at their times', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1 }), (events) => {
      const { startMs, packed } = packEvents(events)
      const read = unpackEvents(chunkOf(startMs, packed)).map((each) =>
        each.kind === 'print' ? { ...each, bytes: Uint8Array.from(each.bytes) } : each,
      )
      // Records of fast-check have no prototype.
      assert.deepEqual(
        read,
        events.map((each) => ({ ...each })),
      )
    }),
    { numRuns: 100 },
  )
})

it('what is no event is refused', () => {
  const bad: readonly unknown[] = [
    'text',
    [],
    ['print', 0, 'text'],
    ['print', 1.5, Buffer.from('x')],
    ['print', Number.MAX_SAFE_INTEGER, Buffer.from('x')],
    // No date can say these: whoever shows the recording would fail at them.
    ['print', 8_640_000_000_000_000, Buffer.from('x')],
    ['print', -6, Buffer.from('x')],
    ['resize', 0, -1, 24],
    ['sql', 0, 'TDB02I', 'SELECT 1', [1], null, null, null],
    ['sql', 0, 'TDB02I', 'SELECT 1', [], 'many', null, null],
    ['start', 0, '[]'],
    ['start', 0, '{'],
    ['gap', 0],
    ['end', 0, 7],
    ['reboot', 0],
  ]
  for (const value of bad)
    assert.throws(
      () => unpackEvents(chunkOf(5, [value])),
      (error) => errorCode(error) === 'recording.damaged',
      JSON.stringify(value),
    )
})
