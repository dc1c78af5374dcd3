// What a recording says of its session in the events of its chunks: who, where, until when, and what control says of it from there. The word
// of whoever recorded it.

import { unpackEvents } from '../core/recording/events.ts'
import type { EventFields } from '../core/audit/event.ts'
import type { RecordingChain } from '../core/recording/chain.ts'
import { type Chunk, damaged } from '../core/recording/format.ts'
import type { Recording } from './api/recording-messages.ts'

export type Told = Pick<Recording, 'user' | 'target' | 'principal' | 'endedAtMs' | 'reason'>

export const NOTHING_TOLD: Told = { user: '', target: '', principal: '', endedAtMs: 0, reason: '' }

const TEXT_MAX = 1024

/** Only the first chunk and the last are looked into. Throws `recording.damaged`. */
export function toldBy(told: Told, chunk: Chunk): Told {
  if (chunk.seq !== 1 && chunk.kind !== 'end') return told
  return unpackEvents(chunk).reduce((sum, event) => {
    switch (event.kind) {
      case 'start': {
        const { fields } = event
        return {
          ...sum,
          user: textOf(fields['user']),
          target: textOf(fields['db_service'] ?? fields['server_hostname']),
          principal: textOf(fields['db_user'] ?? fields['login']),
        }
      }
      case 'end':
        return { ...sum, endedAtMs: Math.max(0, event.atMs), reason: textOf(event.reason) }
      case 'statement':
      case 'print':
      case 'resize':
      case 'gap':
        return sum
    }
  }, told)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, TEXT_MAX).toWellFormed() : ''
}

export function recordingOf(
  sid: string,
  { header, position, bytes }: RecordingChain,
  told: Told,
  sealedAtMs: number,
): Recording {
  if (header === undefined) throw damaged('it has no head')
  const { kind, serverId } = header
  const startedAtMs = Math.max(0, header.startedAtMs)
  const { seq: chunks, hash } = position
  return { ...told, sid, kind, serverId, startedAtMs, bytes, chunks, hash, sealedAtMs }
}

/** Of session.upload. */
export function uploadFields(recording: Recording): EventFields {
  return {
    sid: recording.sid,
    server_id: recording.serverId,
    user: recording.user,
    recorded_kind: recording.kind,
    target_name: recording.target,
    session_start: isoTime(recording.startedAtMs),
    session_stop: isoTime(recording.endedAtMs),
    reason: recording.reason,
    chunks: recording.chunks,
    chunk_hash: recording.hash,
    recorded_bytes: recording.bytes,
  }
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}
