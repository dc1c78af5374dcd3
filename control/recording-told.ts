// What a recording says of its session in the events of its chunks: who, where, until when. The word of whoever recorded it.

import { unpackEvents } from '../core/recording/events.ts'
import type { Chunk } from '../core/recording/format.ts'
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
