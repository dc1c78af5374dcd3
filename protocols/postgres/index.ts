// PostgreSQL's row for the registry: how its first bytes are recognised, and its two halves. Recognition runs in the main
// thread on bytes of strangers: it is total, keeps nothing, and lets no start-up in clear through (it is simply not ours).

import { Reader } from '../../core/bytes/reader.ts'
import { max } from '../../core/limits.ts'
import type { FramedProtocol, Recognition } from '../../core/protocol.ts'
import { PostgresAgent } from './agent.ts'
import { PostgresCancel } from './cancel.ts'
import { PostgresObserver } from './observer.ts'
import { PostgresSession } from './session.ts'
import {
  ALPN,
  ANSWER,
  CANCEL_HEAD_BYTES,
  CANCEL_KEY_BYTES,
  LENGTH_BYTES,
  REQUEST,
  REQUEST_BYTES,
  STAGE,
} from './wire.ts'

export const postgres: FramedProtocol = {
  name: 'postgres',
  shape: 'framed',
  kind: 'db',
  alpn: [ALPN],
  defaultPort: 5432,
  recognise,
  session: () => new PostgresSession(),
  agent: (login) => new PostgresAgent(login),
  observer: (report) => new PostgresObserver(report),
  signal: (login, real) => new PostgresCancel(login, real),
}

const NO: Recognition = { verdict: 'no' }
const MORE: Recognition = { verdict: 'more' }

/** SSLRequest, GSSENCRequest: Int32 8, Int32 code. CancelRequest: Int32 length, Int32 code, Int32 process, key. */
function recognise(first: Uint8Array): Recognition {
  if (first.length < REQUEST_BYTES) return couldBe(first) ? MORE : NO
  const reader = new Reader(first)
  const length = reader.u32()
  switch (reader.u32()) {
    case REQUEST.ssl:
      return answer(first, length, ANSWER.yes, STAGE.ssl)
    case REQUEST.gss:
      return answer(first, length, ANSWER.no, STAGE.gss)
    case REQUEST.cancel:
      return cancel(first, length)
    default:
      return NO
  }
}

/** Bytes behind a request, sent before our answer, would be read as if they had come inside TLS (CVE-2021-23214). */
function answer(first: Uint8Array, length: number, byte: number, stage: string): Recognition {
  if (length !== REQUEST_BYTES || first.length !== REQUEST_BYTES) return NO
  return { verdict: 'answer', bytes: Uint8Array.of(byte), consumed: REQUEST_BYTES, stage }
}

/** `key` is process id and secret as they stand in the message. */
function cancel(first: Uint8Array, length: number): Recognition {
  const [least, most] = [CANCEL_KEY_BYTES, max('pgCancelKeyBytesMax')]
  if (length < CANCEL_HEAD_BYTES + least || length > CANCEL_HEAD_BYTES + most) return NO
  if (first.length < length) return MORE
  if (first.length > length) return NO
  // Not slice(): a Buffer's would be a view of bytes that the listener goes on to use.
  return { verdict: 'signal', key: Uint8Array.from(first.subarray(REQUEST_BYTES)) }
}

/** True while the bytes may still become one of the three requests: their length word is small, their code begins alike. */
function couldBe(first: Uint8Array): boolean {
  const lengthMax = CANCEL_HEAD_BYTES + max('pgCancelKeyBytesMax')
  const zeros = first[0] ?? 0
  if (zeros !== 0 || (first[1] ?? 0) !== 0 || (first[2] ?? 0) > lengthMax >>> 8) return false
  const code = REQUEST.ssl
  for (let at = LENGTH_BYTES; at < first.length && at < REQUEST_BYTES - 1; at++) {
    const shift = 8 * (REQUEST_BYTES - 1 - at)
    if (first[at] !== ((code >>> shift) & 0xff)) return false
  }
  return true
}
