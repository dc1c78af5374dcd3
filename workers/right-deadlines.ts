// What a right says about the end of its session: idle by the monotonic clock, its last moment by the wall clock. A jump of
// one must not end the other.

import type { Clock } from '../core/clock.ts'
import type { Authorized } from '../core/login.ts'
import type { Refusal } from '../core/protocol.ts'
import type { Deadlines } from './timers.ts'

export type RightDeadline = 'idle' | 'ends'

type RightDeadlines = Pick<Deadlines<RightDeadline>, 'after' | 'at'>

export interface WatchedSession {
  /** When a byte came last, by the monotonic clock. */
  activeMs(): number
  evict(kind: Refusal['kind'], reason: string, next: string): void
}

/** Arms what `right` demands; `deadlines.clear()` ends it. */
export function watchRight(
  right: Pick<Authorized, 'grant' | 'endsAtMs'>,
  clock: Clock,
  deadlines: RightDeadlines,
  session: WatchedSession,
): void {
  const { idleMsMax, idleMessage } = right.grant
  if (idleMsMax > 0) watchIdle(idleMsMax, idleMessage, clock, deadlines, session)
  if (right.endsAtMs === 0) return
  deadlines.at('ends', right.endsAtMs, () =>
    session.evict(
      'expired',
      'the certificate has expired, and sessions end with it (disconnect_expired_cert)',
      'Log in again with "tsh login".',
    ),
  )
}

function watchIdle(
  idleMsMax: number,
  message: string | undefined,
  clock: Clock,
  deadlines: RightDeadlines,
  session: WatchedSession,
): void {
  // Armed again only when it runs: a busy session must not pay for a timer per chunk.
  const leftMs = session.activeMs() + idleMsMax - clock.monotonic()
  deadlines.after('idle', leftMs, () => {
    if (clock.monotonic() - session.activeMs() < idleMsMax)
      return watchIdle(idleMsMax, message, clock, deadlines, session)
    const limit = `idle for longer than ${seconds(idleMsMax)} (client_idle_timeout)`
    return message === undefined || message === ''
      ? session.evict('limit', `the session was ${limit}`, 'Connect again.')
      : session.evict('limit', message, `The session was ${limit}. Connect again.`)
  })
}

function seconds(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : `${Math.round(ms / 100) / 10} s`
}
