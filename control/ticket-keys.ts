// The keys of routing tickets (design section 5): drawn by control, sealed in the store, given to proxies alone. Changed no faster
// than the longest certificate lives, so that a ticket ends with its certificate and never before; a new key is used only when
// proxies have had time to fetch it.

import { randomBytes } from 'node:crypto'

import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { mintTicket, type TicketClaims, type TicketKey } from '../core/tunnel/ticket.ts'
import { type Base, readStored } from './base.ts'
import { TICKET_KEYS, type TicketKeyRecord, ticketKeysSchema } from './records.ts'

const MINUTE_MS = 60_000
const IDS = 16
const CONTEXT = 'ticket-key'

export class TicketKeys {
  readonly #base: Base
  #keys: readonly (TicketKey & { readonly madeAtMs: number })[] = []

  constructor(base: Base) {
    this.#base = base
  }

  /** Drops keys that are over, draws one when the newest is old enough. Called at start and each minute. */
  async refresh(): Promise<void> {
    const { store } = this.#base
    const stored = await readStored(store, TICKET_KEYS, ticketKeysSchema)
    const records = this.#renewed(stored?.value ?? [])
    if (records !== stored?.value) {
      try {
        await store.put(TICKET_KEYS, JSON.stringify(records), { revision: stored?.revision ?? 0 })
      } catch (error) {
        // Another control was faster; its keys are as good.
        if (errorCode(error) === 'resource.conflict') return await this.refresh()
        throw error
      }
    }
    this.#keys = records.map((record) => this.#opened(record))
  }

  /** For proxies: every key that may still check a ticket. */
  get keys(): readonly TicketKey[] {
    return this.#keys
  }

  mint(claims: Omit<TicketClaims, 'keyId'>): string {
    const nowMs = this.#base.clock.now()
    const known = this.#keys.filter((key) => key.madeAtMs + max('ticketKeySettleMs') <= nowMs)
    const key = known.at(-1) ?? this.#keys.at(-1)
    if (key === undefined)
      throw new ProxyError('control.unavailable', 'Control has no ticket key yet.', { retry: true })
    return mintTicket(key.key, { ...claims, keyId: key.id })
  }

  #renewed(records: readonly TicketKeyRecord[]): readonly TicketKeyRecord[] {
    const nowMs = this.#base.clock.now()
    // Ten minutes more than the longest certificate: the time until a new key is used is inside.
    const turnMs = max('userCertTtlMaxMs') + 10 * MINUTE_MS
    const valid = records.filter((record) => nowMs < record.notAfterMs)
    const newest = valid.at(-1)
    if (newest !== undefined && nowMs < newest.madeAtMs + turnMs)
      return valid.length === records.length ? records : valid
    const id = ((records.at(-1)?.id ?? -1) + 1) % IDS
    const sealed = this.#base.secrets.seal(randomBytes(32), CONTEXT)
    return [...valid, { id, sealed, madeAtMs: nowMs, notAfterMs: nowMs + 2 * turnMs }]
  }

  #opened(record: TicketKeyRecord): TicketKey & { readonly madeAtMs: number } {
    const { id, madeAtMs, notAfterMs, sealed } = record
    return { id, madeAtMs, notAfterMs, key: this.#base.secrets.open(sealed, CONTEXT) }
  }
}
