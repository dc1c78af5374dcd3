// The events that begin a session, as its performer tells them: what is known goes in, what is not stays out, so that a session
// never meets a field that is there and undefined.

import type { SessionEvent } from '../core/protocol.ts'
import type { SecuredClient, SessionStart } from './session.ts'

/** Of a session's signal key: no protocol shows a longer one (PostgreSQL 3.2: 256 bits). */
const SECRET_BYTES = 32

type Begins = Pick<SessionStart, 'stage' | 'target' | 'signalHandle'>

export function startEvent(
  { stage, target, signalHandle: handle = 0 }: Begins,
  nowMs: number,
  random: (bytes: number) => Uint8Array,
): SessionEvent {
  return {
    kind: 'start',
    stage,
    nowMs,
    ...(target === undefined ? {} : { target }),
    ...(handle === 0 ? {} : { signal: { handle, secret: random(SECRET_BYTES) } }),
  }
}

/** The client's TLS is up. */
export function securedEvent(client: Omit<SecuredClient, 'socket'>): SessionEvent {
  const { peer, alpn, refusal, target } = client
  return {
    kind: 'tls',
    side: 'client',
    ...(peer === undefined ? {} : { peer }),
    ...(alpn === undefined ? {} : { alpn }),
    ...(refusal === undefined ? {} : { refusal }),
    ...(target === undefined ? {} : { target }),
  }
}
