// An agent's or proxy's own audit chain on disk, kept until control acknowledges it: nothing is lost while control is away, nor
// over a kill −9. Bounded; when full, the rule of the event decides: `strict` refuses, `best_effort` goes on and counts the
// gap. It opens no socket: whoever drains it brings the upload.

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type ChainPosition, type ChainRecord, genesis, positionOf } from '../core/audit/chain.ts'
import { auditEvent, type AuditEvent, type EventFields } from '../core/audit/event.ts'
import { Journal } from '../core/audit/journal.ts'
import { canonicalJson } from '../core/cert/canonical.ts'
import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { type Logger, silentLogger } from '../core/log.ts'
import { type SpooledBatch, SpoolSegments } from './spool-segments.ts'
import { adoptState, loadState, saveState, writerOf } from './spool-state.ts'

export interface SpoolOptions {
  /** Made when absent, 0700. Belongs to this process alone. */
  readonly folder: string
  /** This host's id: names the chain, and every event's `server_id`. */
  readonly id: string
  readonly cluster: string
  readonly clock: Clock
  readonly logger?: Logger
  /** For tests: the bound, instead of auditSpoolBytesMax. */
  readonly bytesMax?: number
}

/** `strict`: what the event tells of must not happen when it cannot be kept. */
export type SpoolRule = 'strict' | 'best_effort'

/** `kept`: durable. `refused`: full or broken, and the rule is strict. `lost`: counted; the log will say so. */
export type Emitted = 'kept' | 'refused' | 'lost'

/** Sends records to control, as the lines that stand in the spool; resolves with the highest number it holds durably. */
export type Upload = (lines: Uint8Array, count: number) => Promise<number>

interface Chain {
  readonly epoch: number
  readonly segments: SpoolSegments
  readonly journal: Journal
}

// Room beyond the bound, so that a full spool can still say that it is full.
const RESERVE_BYTES = 64 * 1024

export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { folder, id } = options
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const state = (await loadState(folder)) ?? (await adoptState(folder, id, options.clock.now()))
  await saveState(folder, state)
  for (const name of await readdir(folder)) {
    // A chain that was being begun anew when the process died: the old one still holds everything.
    if (/^\d+$/.test(name) && name !== String(state.epoch))
      await rm(join(folder, name), { recursive: true })
  }
  const segments = new SpoolSegments(join(folder, String(state.epoch)))
  const acknowledged = { writer: writerOf(id, state.epoch), ...state.acknowledged }
  const { position, damage } = await segments.open(acknowledged)
  const behind = position.seq < acknowledged.seq
  // Everything that is left was acknowledged, and its successors are gone: the chain goes on from what control holds.
  if (behind) await segments.clear()
  const journal = new Journal(behind ? acknowledged : position, segments)
  const chain = { epoch: state.epoch, segments, journal }
  const spool = new Spool(options, chain, acknowledged)
  if (damage !== undefined) await spool.emit('audit.recovered', 'SLA001W', { ...damage })
  return spool
}

export class Spool {
  readonly #options: SpoolOptions
  readonly #logger: Logger
  readonly #bytesMax: number
  #chain: Chain
  #acknowledged: ChainPosition
  /** Whether the state on disk says so, too. */
  #isSaved = true
  #lost: { count: number; readonly sinceMs: number } | undefined
  #draining: Promise<void> | undefined
  /** Set while the chain is begun anew: events wait for the new one. */
  #gate: Promise<void> | undefined
  #wake: (() => void)[] = []

  constructor(options: SpoolOptions, chain: Chain, acknowledged: ChainPosition) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#bytesMax = options.bytesMax ?? max('auditSpoolBytesMax')
    this.#chain = chain
    this.#acknowledged = acknowledged
  }

  /** Records that control has not acknowledged. */
  get pending(): number {
    return this.#chain.journal.position.seq - this.#acknowledged.seq
  }

  /** Resolves when there is something to drain. */
  async waiting(): Promise<void> {
    if (this.pending > 0) return
    await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  /** Builds an event of this host and keeps it. Resolves when it is durable, or says why it is not. */
  async emit(
    name: string,
    code: string,
    fields: EventFields,
    rule: SpoolRule = 'best_effort',
  ): Promise<Emitted> {
    return this.keep([canonicalJson(this.#event(name, code, fields))], rule)
  }

  /** Keeps events of this host that are canonical JSON already, all of them or none. */
  async keep(bodies: readonly string[], rule: SpoolRule): Promise<Emitted> {
    while (this.#gate !== undefined) await this.#gate
    const told = this.#lost
    const all = told === undefined ? bodies : [this.#gapBody(told), ...bodies]
    if (!this.#fits(all)) return this.#notKept(rule, bodies.length)
    this.#lost = undefined
    try {
      await this.#chain.journal.appendBodies(all)
    } catch (error) {
      // Once for all that are lost in a row: a full disk must not fill the next one with log lines.
      if (told === undefined && this.#lost === undefined)
        this.#logger.error('audit: the spool could not be written', { error: String(error) })
      if (told !== undefined) this.#countLost(told.count, told.sinceMs)
      return this.#notKept(rule, bodies.length)
    }
    this.#wakeAll()
    return 'kept'
  }

  /** Events that never came here: the log says so with the next one that is kept. */
  lost(count: number, sinceMs: number): void {
    const first = this.#lost === undefined
    this.#countLost(count, sinceMs)
    if (first) this.#sayThatEventsAreLost()
  }

  /**
   * Uploads what is not acknowledged, in order, until nothing is left. Rejects with what `upload` rejects with; calling again goes
   * on. When control holds another history of this host (a disk was rolled back), the rest is sent as a new chain.
   */
  drain(upload: Upload): Promise<void> {
    this.#draining ??= this.#drain(upload).finally(() => (this.#draining = undefined))
    return this.#draining
  }

  /** Writes out what waits and closes the files. */
  async close(): Promise<void> {
    await this.#chain.journal.idle()
    // Not a loss: what control has is sent again, and it knows it.
    await this.#saveState().catch((error: unknown) =>
      this.#logger.warn('audit: what control acknowledged was not noted', { error: String(error) }),
    )
    await this.#chain.segments.close()
  }

  async #drain(upload: Upload): Promise<void> {
    for (let anew = false; ; ) {
      const batch = await this.#chain.segments.readBatch(this.#acknowledged.seq)
      if (batch === undefined) return
      const reached = await this.#send(batch, upload)
      if (reached !== 'another history') {
        await this.#acknowledge(reached)
        continue
      }
      // Once per call: a control that refuses every history must not keep this host copying.
      if (anew) throw unavailable('Control refuses the new chain too.')
      anew = true
      await this.#beginAnew()
    }
  }

  async #send(batch: SpooledBatch, upload: Upload): Promise<ChainPosition | 'another history'> {
    let seq: number
    try {
      seq = await upload(batch.bytes, batch.count)
    } catch (error) {
      if (errorCode(error) === 'audit.chain-broken') return 'another history'
      throw error
    }
    const { writer } = this.#chain.journal.position
    if (seq === batch.seq) return { writer, seq, hash: batch.hash }
    const within = await this.#within(seq)
    if (within !== undefined) return positionOf(within)
    if (seq > this.#chain.journal.position.seq) return 'another history'
    // Control has these already and more of the same chain: the answer to an earlier upload was lost.
    if (seq > batch.seq) return { writer, seq: batch.seq, hash: batch.hash }
    throw unavailable('Control acknowledged nothing of an upload.')
  }

  /** Control acknowledged a part of a batch: the record where it stopped. */
  async #within(seq: number): Promise<ChainRecord | undefined> {
    const records = await this.#chain.segments.read(this.#acknowledged.seq)
    return records.find((record) => record.seq === seq)
  }

  async #acknowledge(position: ChainPosition): Promise<void> {
    this.#acknowledged = position
    this.#isSaved = false
    const { segments } = this.#chain
    // Two syncs for each upload would cost more than the upload. What is sent again after a crash, control knows: a segment at most.
    if (!segments.isPast(position.seq)) return
    // First the state, then the files: with no segment left, the chain goes on from the state.
    await this.#saveState()
    await segments.drop(position.seq)
  }

  async #saveState(): Promise<void> {
    if (this.#isSaved) return
    const { seq, hash } = this.#acknowledged
    await saveState(this.#options.folder, { epoch: this.#chain.epoch, acknowledged: { seq, hash } })
    this.#isSaved = true
  }

  /** Writes everything not acknowledged again as a chain of a higher epoch, which control has no other history of. */
  async #beginAnew(): Promise<void> {
    let open = (): void => {}
    this.#gate = new Promise((resolve) => (open = resolve))
    try {
      const old = this.#chain
      await old.journal.idle()
      const epoch = Math.max(this.#options.clock.now(), old.epoch + 1)
      this.#logger.warn('audit: control holds another history; the spool begins a new chain', {
        epoch,
      })
      const chain = await this.#copyChain(old, epoch)
      const start = genesis(writerOf(this.#options.id, epoch))
      const acknowledged = { seq: 0, hash: start.hash }
      await saveState(this.#options.folder, { epoch, acknowledged })
      this.#chain = chain
      this.#acknowledged = start
      this.#isSaved = true
      await old.segments.close()
      await rm(join(this.#options.folder, String(old.epoch)), { recursive: true })
    } finally {
      this.#gate = undefined
      open()
    }
  }

  async #copyChain(old: Chain, epoch: number): Promise<Chain> {
    const start = genesis(writerOf(this.#options.id, epoch))
    const segments = new SpoolSegments(join(this.#options.folder, String(epoch)))
    await segments.open(start)
    const journal = new Journal(start, segments)
    for (let seq = this.#acknowledged.seq; ; ) {
      const records = await old.segments.read(seq)
      const last = records.at(-1)
      if (last === undefined) return { epoch, segments, journal }
      await journal.append(records.map((record) => record.event))
      seq = last.seq
    }
  }

  #event(name: string, code: string, fields: EventFields): AuditEvent {
    const { id, cluster, clock } = this.#options
    const origin = { uid: randomUUID(), timeMs: clock.now(), cluster }
    return auditEvent(name, code, { ...fields, server_id: id }, origin)
  }

  #fits(bodies: readonly string[]): boolean {
    const bytes = bodies.reduce((sum, body) => sum + bytesOf(body), 0)
    return this.#used() + bytes <= this.#bytesMax
  }

  #used(): number {
    return this.#chain.segments.bytes + this.#chain.journal.pendingBytes
  }

  #notKept(rule: SpoolRule, count: number): Emitted {
    if (rule === 'strict') return 'refused'
    this.lost(count, this.#options.clock.now())
    return 'lost'
  }

  #countLost(count: number, sinceMs: number): void {
    this.#lost = {
      count: (this.#lost?.count ?? 0) + count,
      sinceMs: Math.min(this.#lost?.sinceMs ?? sinceMs, sinceMs),
    }
  }

  /** At once and beyond the bound: the count in memory would not outlive a crash. */
  #sayThatEventsAreLost(): void {
    const reason = 'The spool is full; events are being lost from here on.'
    const body = canonicalJson(this.#event('audit.gap', 'SLA002W', { reason }))
    if (this.#used() + bytesOf(body) > this.#bytesMax + RESERVE_BYTES) return
    this.#chain.journal.appendBodies([body]).then(
      () => this.#wakeAll(),
      (error: unknown) => {
        this.#logger.error('audit: events are lost and the log cannot say so', {
          error: String(error),
        })
      },
    )
  }

  #wakeAll(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }

  #gapBody(lost: { readonly count: number; readonly sinceMs: number }): string {
    const event = this.#event('audit.gap', 'SLA002W', {
      reason: 'Events were lost: the spool was full or could not be written.',
      lost: lost.count,
      since: new Date(lost.sinceMs),
    })
    return canonicalJson(event)
  }
}

/** What the record of an event takes on disk, generously. */
function bytesOf(body: string): number {
  return Buffer.byteLength(body) + 400
}

function unavailable(message: string): ProxyError {
  return new ProxyError('audit.unavailable', message, { retry: true })
}
