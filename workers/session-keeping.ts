// The main thread's part in what sessions must not lose: statements go to the spool of the audit log, chunks of recordings to their
// files, and the thread that sent them hears what became of each. The same in agents and proxies.

import type { Logger } from '../core/log.ts'
import type { FromAuditQueue, FromRecorder, ToAuditQueue, ToRecorder } from '../core/messages.ts'
import { keepStatements, type StatementKeeper } from './audit-queue.ts'
import type { RecordingKeeper } from './recording-spool.ts'

export interface Keeping {
  /** Where statements of sessions are kept: the spool. */
  readonly statements: StatementKeeper
  /** Where their recordings are. */
  readonly recordings: RecordingKeeper
  readonly log: Logger
}

interface Thread {
  post(message: ToAuditQueue | ToRecorder): unknown
}

export function keepHeard(
  { statements, recordings }: Keeping,
  thread: Thread,
  message: FromAuditQueue | FromRecorder,
): void {
  switch (message.kind) {
    case 'statements':
      void keepStatements(statements, thread, message)
      return
    case 'statements-lost':
      return statements.lost(message.count, message.sinceMs)
    case 'recording':
      void keepChunk(recordings, thread, message)
  }
}

/** A thread crashed: what it recorded gets an end. */
export function keepLost({ recordings, log }: Keeping, thread: Thread): void {
  recordings
    .lost(thread)
    .catch((error: unknown) =>
      log.error('recordings of a crashed thread have no end', { error: String(error) }),
    )
}

async function keepChunk(
  keeper: RecordingKeeper,
  thread: Thread,
  chunk: FromRecorder,
): Promise<void> {
  const { sid, seq } = chunk
  const outcome = await keeper.keep(thread, chunk)
  thread.post({ kind: 'recording-kept', sid, seq, outcome })
}
