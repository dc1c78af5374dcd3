// The events of a recording, as they stand in a chunk: of terminals (print, resize) and of database timelines (statement), both between
// a start and an end, with a gap where something was lost. Each is a short list that begins with its tag and the milliseconds since the
// event before it (the first: since the chunk's own start). Reading judges every value: a recording comes from somebody's disk.

import { type Chunk, damaged, isTime, readEvents } from './format.ts'
import type { TimelineEntry } from './timeline.ts'

export type TerminalEvent =
  | { readonly kind: 'print'; readonly atMs: number; readonly bytes: Uint8Array }
  | {
      readonly kind: 'resize'
      readonly atMs: number
      readonly columns: number
      readonly rows: number
    }

/** Events that were heard and could not be kept. */
export interface GapEvent {
  readonly kind: 'gap'
  readonly atMs: number
  readonly lost: number
}

export type RecordingEvent = TimelineEntry | TerminalEvent | GapEvent

type Packed = readonly unknown[]
type Statement = Extract<RecordingEvent, { kind: 'statement' }>

// What an event takes beside its texts, generously.
const EVENT_BYTES = 64

/** About what the event takes in memory and in a chunk. */
export function eventBytes(event: RecordingEvent): number {
  switch (event.kind) {
    case 'start':
      return EVENT_BYTES + Buffer.byteLength(JSON.stringify(event.fields))
    case 'statement': {
      const { statement, parameters, error = '' } = event
      let bytes = EVENT_BYTES + Buffer.byteLength(statement) + Buffer.byteLength(error) + 16
      for (const text of parameters) bytes += Buffer.byteLength(text) + 8
      return bytes
    }
    case 'print':
      return EVENT_BYTES + event.bytes.length
    case 'end':
      return EVENT_BYTES + Buffer.byteLength(event.reason)
    case 'resize':
    case 'gap':
      return EVENT_BYTES
  }
}

/** What `writeChunk` takes for these events, and the start it takes with them. */
export function packEvents(events: readonly RecordingEvent[]): {
  readonly startMs: number
  readonly packed: readonly Packed[]
} {
  const startMs = Math.max(0, Math.round(events[0]?.atMs ?? 0))
  let beforeMs = startMs
  const packed = events.map((event) => {
    const atMs = Math.round(event.atMs)
    const deltaMs = atMs - beforeMs
    beforeMs = atMs
    return packEvent(event, deltaMs)
  })
  return { startMs, packed }
}

/** The events of an intact chunk. Throws `recording.damaged`. */
export function unpackEvents(chunk: Chunk): readonly RecordingEvent[] {
  let atMs = chunk.startMs
  return readEvents(chunk).map((value) => {
    if (!isList(value)) throw damaged('an event is no list')
    const [tag, deltaMs, ...rest] = value
    if (!isWhole(deltaMs) || !isTime(atMs + deltaMs)) throw damaged('an event has no time')
    atMs += deltaMs
    const event = unpackEvent(tag, atMs, rest)
    if (event === undefined) throw damaged('an event is none that this version knows')
    return event
  })
}

/** One of them. `deltaMs`: behind the one before. */
export function packEvent(event: RecordingEvent, deltaMs: number): Packed {
  switch (event.kind) {
    case 'start':
      return ['start', deltaMs, JSON.stringify(event.fields)]
    case 'statement': {
      const { code, statement, parameters, rows, durationUs, error } = event
      // msgpack has null for what is absent.
      return [
        'sql',
        deltaMs,
        code,
        statement,
        parameters,
        rows ?? null,
        durationUs ?? null,
        error ?? null,
      ]
    }
    case 'print':
      return ['print', deltaMs, event.bytes]
    case 'resize':
      return ['resize', deltaMs, event.columns, event.rows]
    case 'gap':
      return ['gap', deltaMs, event.lost]
    case 'end':
      return ['end', deltaMs, event.reason]
  }
}

function unpackEvent(tag: unknown, atMs: number, rest: Packed): RecordingEvent | undefined {
  const [first, second] = rest
  switch (tag) {
    case 'start': {
      const fields = fieldsOf(first)
      return fields === undefined ? undefined : { kind: 'start', atMs, fields }
    }
    case 'sql':
      return unpackStatement(atMs, rest)
    case 'print':
      return first instanceof Uint8Array ? { kind: 'print', atMs, bytes: first } : undefined
    case 'resize':
      return isCount(first) && isCount(second)
        ? { kind: 'resize', atMs, columns: first, rows: second }
        : undefined
    case 'gap':
      return isCount(first) ? { kind: 'gap', atMs, lost: first } : undefined
    case 'end':
      return typeof first === 'string' ? { kind: 'end', atMs, reason: first } : undefined
    default:
      return undefined
  }
}

function unpackStatement(atMs: number, rest: Packed): Statement | undefined {
  const [code, statement, parameters, rows, durationUs, error] = rest
  if (typeof code !== 'string' || typeof statement !== 'string' || !isTexts(parameters))
    return undefined
  if (rows !== null && !isCount(rows)) return undefined
  if (durationUs !== null && !isCount(durationUs)) return undefined
  if (error !== null && typeof error !== 'string') return undefined
  return {
    kind: 'statement',
    atMs,
    code,
    statement,
    parameters,
    ...(rows === null ? {} : { rows }),
    ...(durationUs === null ? {} : { durationUs }),
    ...(error === null ? {} : { error }),
  }
}

function fieldsOf(text: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { ...value }
      : undefined
  } catch {
    return undefined
  }
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value)
}

function isCount(value: unknown): value is number {
  return isWhole(value) && value >= 0
}
