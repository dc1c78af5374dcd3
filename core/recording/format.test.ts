// Recordings written and read back at every cut, and each kind of tampering, which must be named where it is.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { zstdCompressSync } from 'node:zlib'

import { errorCode } from '../errors.ts'
import { max } from '../limits.ts'
import {
  readChunk,
  readEvents,
  readHead,
  type RecordingHeader,
  writeChunk,
  writeHead,
} from './format.ts'
import { type Damage, RecordingVerifier } from './verify.ts'

const HEADER: RecordingHeader = {
  sid: '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11',
  kind: 'ssh',
  cluster: 'test.cluster',
  serverId: 'agent-1',
  startedAtMs: 1_800_000_000_000,
}

interface Written {
  readonly bytes: Buffer
  /** Offsets: of each chunk, and of the end of the file. */
  readonly at: readonly number[]
}

function recording(words: readonly string[], header = HEADER, ended = true): Written {
  const head = writeHead(header)
  const parts: Uint8Array[] = [head.bytes]
  const at: number[] = []
  let { position } = head
  let length = head.bytes.length
  const add = (kind: 'events' | 'end', events: readonly unknown[]): void => {
    at.push(length)
    const chunk = writeChunk(position, kind, header.startedAtMs, events)
    parts.push(chunk.bytes)
    position = chunk.position
    length += chunk.bytes.length
  }
  for (const word of words)
    add('events', [
      { t: 0, p: Buffer.from(word) },
      { t: 5, p: Buffer.from('!') },
    ])
  if (ended) add('end', [{ reason: 'closed' }])
  return { bytes: Buffer.concat(parts), at: [...at, length] }
}

const WORDS = ['one', 'two', 'three', 'four']
const GOOD = recording(WORDS)

function damagesOf(bytes: Uint8Array, step = bytes.length): readonly Damage[] {
  const verifier = new RecordingVerifier()
  for (let at = 0; at < bytes.length; at += step) verifier.push(bytes.subarray(at, at + step))
  verifier.end()
  return verifier.damages
}

function told(bytes: Uint8Array): string {
  return damagesOf(bytes)
    .map(({ kind, offset }) => `${kind}@${GOOD.at.indexOf(offset)}`)
    .join(' ')
}

function piece(index: number): Buffer {
  return GOOD.bytes.subarray(GOOD.at[index], GOOD.at[index + 1])
}

const HEAD = GOOD.bytes.subarray(0, GOOD.at[0])

describe('A recording', () => {
  it('gives back its header and its events, wherever reads are cut', () => {
    for (const step of [1, 7, 100, GOOD.bytes.length]) {
      const verifier = new RecordingVerifier()
      const words: string[] = []
      for (let at = 0; at < GOOD.bytes.length; at += step)
        for (const { chunk } of verifier.push(GOOD.bytes.subarray(at, at + step)))
          if (chunk.kind === 'events')
            for (const event of readEvents(chunk)) words.push(String((event as { p: Buffer }).p))
      verifier.end()
      assert.deepEqual(verifier.header, HEADER)
      assert.deepEqual(words, ['one', '!', 'two', '!', 'three', '!', 'four', '!'])
      assert.deepEqual(verifier.damages, [])
      assert.equal(verifier.ended, true)
    }
  })

  it('that was cut by a crash is whole up to there, and says that its end is missing', () => {
    const cut = recording(WORDS, HEADER, false).bytes
    assert.deepEqual(
      damagesOf(cut).map(({ kind }) => kind),
      ['truncated'],
    )
    for (let length = HEAD.length; length < GOOD.bytes.length; length++)
      assert.deepEqual(
        damagesOf(GOOD.bytes.subarray(0, length), 64).map(({ kind }) => kind),
        ['truncated'],
      )
  })

  it('is not read beyond its bounds, whatever it announces', () => {
    const { bytes } = writeChunk({ seq: 0, hash: '00'.repeat(32) }, 'events', 0, ['x'])
    const huge = Buffer.from(bytes)
    huge.writeUInt32BE(0xffff_ffff, 17)
    assert.equal(readChunk(huge).verdict, 'bad')
    const reading = readChunk(bytes)
    if (reading.verdict !== 'chunk') throw new Error('no chunk')
    const bomb = zstdCompressSync(Buffer.alloc(64 * max('recordingChunkBytesMax')))
    assert.throws(() => readEvents({ ...reading.chunk, payload: bomb }), isDamaged)
    const tooMuch = [Buffer.alloc(max('recordingChunkBytesMax') + 1)]
    assert.throws(
      () => writeChunk({ seq: 0, hash: '00'.repeat(32) }, 'events', 0, tooMuch),
      (error) => errorCode(error) === 'limit.exceeded',
    )
    const head = Buffer.from(HEAD)
    head.writeUInt32BE(0x7fff_ffff, 12)
    assert.throws(() => readHead(head), isDamaged)
    assert.throws(() => readHead(Buffer.from('SLUICE-REC2\n')), isDamaged)
  })
})

describe('Verifying names', () => {
  it('each flipped bit, once', () => {
    for (let at = HEAD.length; at < GOOD.bytes.length; at++) {
      const bytes = Buffer.from(GOOD.bytes)
      bytes[at] = (bytes[at] ?? 0) ^ 4
      const damages = damagesOf(bytes)
      assert.ok(damages.length >= 1, `flipped at ${at}`)
      const chunk = GOOD.at.findLast((offset) => offset <= at)
      assert.ok(
        damages.some(({ offset }) => offset === chunk),
        `flipped at ${at}: ${JSON.stringify(damages)}`,
      )
    }
  })

  it('a dropped chunk', () => {
    assert.equal(told(Buffer.concat([HEAD, piece(0), piece(2), piece(3), piece(4)])), `dropped@1`)
  })

  it('two chunks that changed places', () => {
    const bytes = Buffer.concat([HEAD, piece(0), piece(2), piece(1), piece(3), piece(4)])
    assert.deepEqual(
      damagesOf(bytes).map(({ kind }) => kind),
      ['dropped', 'reordered'],
    )
  })

  it('a chunk of another recording', () => {
    const other = recording(['eins', 'zwei', 'drei', 'vier'], { ...HEADER, sid: 'another' })
    const foreign = other.bytes.subarray(other.at[1], other.at[2])
    const bytes = Buffer.concat([HEAD, piece(0), foreign, piece(2), piece(3), piece(4)])
    assert.deepEqual(
      damagesOf(bytes).map(({ kind }) => kind),
      ['spliced', 'spliced'],
    )
  })

  it('another head over the same chunks', () => {
    const { bytes } = writeHead({ ...HEADER, sid: 'another' })
    const damages = damagesOf(Buffer.concat([bytes, GOOD.bytes.subarray(GOOD.at[0])]))
    assert.deepEqual(
      damages.map(({ kind }) => kind),
      ['spliced'],
    )
  })

  it('what was put behind the end', () => {
    const bytes = Buffer.concat([GOOD.bytes, piece(1)])
    assert.deepEqual(
      damagesOf(bytes).map(({ kind }) => kind),
      ['spliced'],
    )
  })
})

function isDamaged(error: unknown): boolean {
  return errorCode(error) === 'recording.damaged'
}
