// Checks of the calls about recordings: what hosts upload, what people list and read. Strict: a key nobody declared is refused.

import * as z from 'zod'

import { max } from '../../../core/limits.ts'
import { isRecordingSid } from '../../../core/recording/name.ts'
import type { Recording } from '../recording-messages.ts'
import { KB, count, hex, list, name, queryCount, text, time } from './fields.ts'
import type { Checks } from './fields.ts'

export type RecordingCalls =
  | 'recording-state'
  | 'recording-put'
  | 'recording-list'
  | 'recording-read'

const sid = text(64).refine(isRecordingSid, 'it is no session id')
const state = z.strictObject({ bytes: count, hash: text(64), sealed: z.boolean() })
const piece = z.base64().max(Math.ceil(max('recordingPieceBytesMax') / 3) * 4)

/** In answers, and in the store. */
export const recordingSchema: z.ZodType<Recording> = z.strictObject({
  sid,
  kind: z.enum(['ssh', 'db']),
  serverId: name,
  user: text(KB),
  target: text(KB),
  principal: text(KB),
  startedAtMs: time,
  endedAtMs: time,
  reason: text(KB),
  bytes: count,
  chunks: count,
  hash: hex(64),
  sealedAtMs: time,
})

export const recordings: Pick<Checks, RecordingCalls> = {
  'recording-state': { request: z.strictObject({ sid }), reply: state },
  'recording-put': {
    request: z.strictObject({ sid, offset: count, data: piece }),
    reply: state,
  },
  'recording-list': {
    request: z.strictObject({
      fromMs: queryCount.exactOptional(),
      toMs: queryCount.exactOptional(),
      limit: queryCount.max(max('apiPageMax')).exactOptional(),
      after: text(200)
        .regex(/^recording-index\/\d{16}\/[0-9a-f-]{36}$/)
        .exactOptional(),
    }),
    reply: z.strictObject({
      items: list(recordingSchema),
      next: text(200).exactOptional(),
    }),
  },
  'recording-read': { request: z.strictObject({ sid }), reply: z.strictObject({ data: piece }) },
}
