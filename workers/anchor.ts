// The newest audit checkpoint this process heard of, kept on disk: what control cannot take back. A later one that is shorter, or
// has another head for the same count, proves that control's log was cut or rewritten, and is reported.

import { type CheckpointVerdict, judgeCheckpoint } from '../core/audit/checkpoint.ts'
import type { AuditCheckpoint } from '../core/snapshot.ts'

export interface AnchorOptions {
  readonly saved: AuditCheckpoint | undefined
  /** Durable when it returns. */
  readonly save: (checkpoint: AuditCheckpoint) => void
  /** Two histories of one log exist. */
  readonly onFork: (
    verdict: Exclude<CheckpointVerdict, 'newer' | 'known'>,
    kept: AuditCheckpoint,
    next: AuditCheckpoint,
  ) => void
}

export class Anchor {
  readonly #options: AnchorOptions
  #kept: AuditCheckpoint | undefined
  /** The last fork reported: a beacon repeats it each second. */
  #reported = ''

  constructor(options: AnchorOptions) {
    this.#options = options
    this.#kept = options.saved
  }

  get checkpoint(): AuditCheckpoint | undefined {
    return this.#kept
  }

  /** Takes the checkpoint of a beacon that was verified. */
  take(next: AuditCheckpoint): void {
    const kept = this.#kept
    // A new control begins a chain of its own; what is kept of the old one can no longer be compared.
    const verdict = kept?.writer === next.writer ? judgeCheckpoint(kept, next) : 'newer'
    if (verdict === 'known') return
    if (verdict === 'newer' || kept === undefined) {
      this.#options.save(next)
      this.#kept = next
      return
    }
    const name = `${verdict} ${next.count} ${next.head}`
    if (name === this.#reported) return
    this.#reported = name
    this.#options.onFork(verdict, kept, next)
  }
}
