// The audit of refused certificates: somebody whom a CA of the cluster vouches for came with a certificate that no longer, or never,
// admits them here. Strangers leave no event, and one identity only so many a minute. It decides nothing.

import type { EventFields } from '../../core/audit/event.ts'
import { auditedIdentity } from '../../core/cert/verify.ts'
import type { Clock } from '../../core/clock.ts'
import type { Identity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { CallerRefusal } from './caller.ts'
import { RateGate } from './rate.ts'

export interface RefusalAuditOptions {
  readonly record: (name: string, code: string, fields: EventFields) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
}

export class RefusalAudit {
  readonly #options: RefusalAuditOptions
  readonly #rate: RateGate

  constructor(options: RefusalAuditOptions) {
    this.#options = options
    this.#rate = new RateGate(options.clock)
  }

  /** The refusal itself does not wait for the log: it is the same with or without. */
  note({ identity, code, reason }: CallerRefusal, address: string): void {
    const { record, log } = this.#options
    if (identity === undefined) return
    if (!this.#rate.take(keyOf(identity), max('apiRefusalsAuditedPerMinuteMax'))) return
    const fields = { ...auditedIdentity(identity), error: code, reason, 'addr.remote': address }
    record('auth', 'T3007W', fields).catch((error: unknown) =>
      log.error('a refusal was not audited', { error: String(error) }),
    )
  }
}

function keyOf(identity: Identity): string {
  return identity.type === 'user'
    ? `user ${identity.issuer}/${identity.name}`
    : `host ${identity.id}`
}
