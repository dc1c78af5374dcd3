// The container of a recording: a file that only grows. A header names the session; chunks follow, each a batch of events, compressed,
// addressed by its SHA-256 and chained to the one before. Nothing needs to be written at the end: what is there says how far it goes, so
// a crash loses the unsynced tail and no more. Big-endian throughout.
//
//   file   = magic "SLUICE-REC1\n", u32 length, header (canonical JSON), chunk*
//   chunk  = magic "SLRC", u32 seq (from 1), u8 kind (1 events, 2 the last of them and the end), u64 start (ms since the epoch),
//            u32 length of the payload, 32 bytes hash of the chunk before (of the file's head for the first), 32 bytes own hash,
//            payload (zstd of a msgpack list)
//   hash   = SHA-256 over everything of the chunk but the hash itself
//
// It opens no file and knows no event; who reads decompressed bytes has capped them (`recordingChunkBytesMax`).

import { createHash, hash } from 'node:crypto'
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Packr } from 'msgpackr'

import { canonicalJson } from '../cert/canonical.ts'
import { ProxyError } from '../errors.ts'
import { max } from '../limits.ts'
import { plainMsgpack } from '../tunnel/msgpack-scan.ts'

/** What a recording is of. Plain values: it is canonical JSON in the file. */
export interface RecordingHeader {
  readonly sid: string
  readonly kind: 'ssh' | 'db'
  readonly cluster: string
  /** Who records: a host id. */
  readonly serverId: string
  readonly startedAtMs: number
}

export type ChunkKind = 'events' | 'end'

export interface Chunk {
  readonly seq: number
  readonly kind: ChunkKind
  /** Milliseconds since the epoch of its first event. */
  readonly startMs: number
  /** Lower-case hexadecimal. */
  readonly prev: string
  readonly hash: string
  /** Compressed. */
  readonly payload: Uint8Array
}

/** Where a recording stands: what the next chunk follows. */
export interface RecordingPosition {
  readonly seq: number
  readonly hash: string
}

/** `bytes`: what the chunk takes in the file. */
export type ChunkReading =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'bad'; readonly what: string }
  | {
      readonly verdict: 'chunk'
      readonly chunk: Chunk
      readonly bytes: number
      readonly intact: boolean
    }

export const FILE_MAGIC: Uint8Array = Buffer.from('SLUICE-REC1\n')
export const CHUNK_MAGIC: Uint8Array = Buffer.from('SLRC')
const HASH_BYTES = 32
const LENGTH_AT = 4 + 4 + 1 + 8
const PREV_AT = LENGTH_AT + 4
const HASH_AT = PREV_AT + HASH_BYTES
export const CHUNK_HEAD_BYTES: number = HASH_AT + HASH_BYTES
const KINDS: readonly ChunkKind[] = ['events', 'end']
const packer = new Packr({ useRecords: false, moreTypes: false, mapsAsObjects: true })
// A twelfth more bytes than the default level, and a fifth less CPU: what a terminal shows at full speed is what costs.
export const COMPRESSION: Readonly<Record<number, number>> = {
  [constants.ZSTD_c_compressionLevel]: 1,
}
/** Room for most chunks. */
const OUTPUT_BYTES_MAX = 128 * 1024
/** What is short and does not compress grows by less. */
const OUTPUT_SLACK_BYTES = 1024

/** The file's head, and where the first chunk goes on from. */
export function writeHead(header: RecordingHeader): {
  bytes: Uint8Array
  position: RecordingPosition
} {
  const { sid, kind, cluster, serverId, startedAtMs } = header
  const text = Buffer.from(canonicalJson({ sid, kind, cluster, serverId, startedAtMs }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  const bytes = Buffer.concat([FILE_MAGIC, length, text])
  return { bytes, position: { seq: 0, hash: hash('sha256', bytes, 'hex') } }
}

/** `undefined`: more bytes are needed. Throws `recording.damaged` for a head that is none of ours. */
export function readHead(
  bytes: Uint8Array,
): { header: RecordingHeader; end: number; position: RecordingPosition } | undefined {
  const known = Math.min(bytes.length, FILE_MAGIC.length)
  if (Buffer.compare(bytes.subarray(0, known), FILE_MAGIC.subarray(0, known)) !== 0)
    throw damaged('it is no recording')
  const textAt = FILE_MAGIC.length + 4
  if (bytes.length < textAt) return undefined
  const length = word(bytes, FILE_MAGIC.length)
  if (length > max('recordingHeadBytesMax')) throw damaged('its head is too long')
  const end = textAt + length
  if (bytes.length < end) return undefined
  const header = headerOf(bytes.subarray(textAt, end))
  return { header, end, position: { seq: 0, hash: hash('sha256', bytes.subarray(0, end), 'hex') } }
}

/** The next chunk, of events or the end. Throws `limit.exceeded` for more than a reader would take. */
export function writeChunk(
  before: RecordingPosition,
  kind: ChunkKind,
  startMs: number,
  events: readonly unknown[],
): { bytes: Uint8Array; position: RecordingPosition } {
  return sealChunk(before, kind, startMs, compressPacked(packChunk(events)))
}

/** What a chunk of these events compresses. Throws `limit.exceeded` for more than a reader would take. */
export function packChunk(events: readonly unknown[]): Uint8Array {
  const packed = packer.pack(events)
  if (packed.length > max('recordingChunkBytesMax'))
    throw new ProxyError('limit.exceeded', 'A chunk is longer than recordingChunkBytesMax.')
  return packed
}

export function compressPacked(packed: Uint8Array): Uint8Array {
  const { length } = packed
  // Whoever knows the size takes no more memory than that needs.
  const chunkSize = Math.min(OUTPUT_BYTES_MAX, length + OUTPUT_SLACK_BYTES)
  return zstdCompressSync(packed, { params: COMPRESSION, pledgedSrcSize: length, chunkSize })
}

/** The chunk that follows `before`, of a payload that was compressed. */
export function sealChunk(
  before: RecordingPosition,
  kind: ChunkKind,
  startMs: number,
  payload: Uint8Array,
): { bytes: Uint8Array; position: RecordingPosition } {
  const head = Buffer.alloc(CHUNK_HEAD_BYTES)
  head.set(CHUNK_MAGIC)
  const seq = before.seq + 1
  head.writeUInt32BE(seq, 4)
  head.writeUInt8(KINDS.indexOf(kind) + 1, 8)
  head.writeBigUInt64BE(BigInt(startMs), 9)
  head.writeUInt32BE(payload.length, LENGTH_AT)
  head.write(before.hash, PREV_AT, 'hex')
  const own = hashOf(head, payload)
  head.write(own, HASH_AT, 'hex')
  return { bytes: Buffer.concat([head, payload]), position: { seq, hash: own } }
}

/** The chunk at the beginning of `bytes`. A chunk whose hash does not fit is given all the same, as not intact. */
export function readChunk(bytes: Uint8Array): ChunkReading {
  const known = Math.min(bytes.length, CHUNK_MAGIC.length)
  if (Buffer.compare(bytes.subarray(0, known), CHUNK_MAGIC.subarray(0, known)) !== 0)
    return { verdict: 'bad', what: 'no chunk begins here' }
  if (bytes.length < CHUNK_HEAD_BYTES) return { verdict: 'more' }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const kind = KINDS[view.readUInt8(8) - 1]
  const startMs = Number(view.readBigUInt64BE(9))
  const length = view.readUInt32BE(LENGTH_AT)
  if (kind === undefined || !isTime(startMs))
    return { verdict: 'bad', what: 'the head of a chunk is malformed' }
  if (length > max('recordingChunkBytesMax'))
    return { verdict: 'bad', what: 'a chunk announces more than recordingChunkBytesMax' }
  const end = CHUNK_HEAD_BYTES + length
  if (bytes.length < end) return { verdict: 'more' }
  const payload = bytes.subarray(CHUNK_HEAD_BYTES, end)
  const own = view.toString('hex', HASH_AT, HASH_AT + HASH_BYTES)
  const chunk: Chunk = {
    seq: view.readUInt32BE(4),
    kind,
    startMs,
    prev: view.toString('hex', PREV_AT, PREV_AT + HASH_BYTES),
    hash: own,
    payload,
  }
  const intact = hashOf(view.subarray(0, CHUNK_HEAD_BYTES), payload) === own
  return { verdict: 'chunk', chunk, bytes: end, intact }
}

/** The events of an intact chunk, as they were packed. Throws `recording.damaged`. */
export function readEvents(chunk: Chunk): readonly unknown[] {
  let packed: Buffer
  try {
    packed = zstdDecompressSync(chunk.payload, { maxOutputLength: max('recordingChunkBytesMax') })
  } catch {
    throw damaged('a chunk does not decompress within recordingChunkBytesMax')
  }
  const events: unknown = plainMsgpack(packed) ? packer.unpack(packed) : undefined
  if (!Array.isArray(events)) throw damaged('a chunk is not a plain list of events')
  return events
}

/** The last millisecond that a date can say: what lies beyond breaks whoever shows it. */
const TIME_MS_MAX = 8_640_000_000_000_000

/** Whether it is a time that may be shown: milliseconds since the epoch. */
export function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= TIME_MS_MAX
}

function hashOf(head: Uint8Array, payload: Uint8Array): string {
  return createHash('sha256').update(head.subarray(0, HASH_AT)).update(payload).digest('hex')
}

function headerOf(text: Uint8Array): RecordingHeader {
  const value: unknown = parsed(Buffer.from(text).toString())
  if (typeof value !== 'object' || value === null) throw damaged('its head is malformed')
  const { sid, kind, cluster, serverId, startedAtMs }: Partial<Record<string, unknown>> = {
    ...value,
  }
  const texts = [sid, cluster, serverId].every((each) => typeof each === 'string')
  if (!texts || (kind !== 'ssh' && kind !== 'db') || !isTime(startedAtMs))
    throw damaged('its head is malformed')
  return {
    sid: String(sid),
    kind,
    cluster: String(cluster),
    serverId: String(serverId),
    startedAtMs: Number(startedAtMs),
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function word(bytes: Uint8Array, at: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUInt32BE(at)
}

export function damaged(what: string): ProxyError {
  return new ProxyError('recording.damaged', `The recording is damaged: ${what}.`)
}
