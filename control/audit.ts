// The audit log of control: an append-only hash chain in daily files, durable before anything is acknowledged, with signed
// checkpoints, and the one place where agents' and proxies' own chains are taken over. It never changes or deletes a record.

import { randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { type ChainPosition } from '../core/audit/chain.ts'
import type { Half } from '../core/audit/pairing.ts'
import { checkpointBody } from '../core/cert/signed.ts'
import type { AuditEvent, EventFields } from '../core/audit/event.ts'
import { Journal } from '../core/audit/journal.ts'
import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import type { SystemIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { type Logger, silentLogger } from '../core/log.ts'
import type { AuditCheckpoint } from '../core/snapshot.ts'
import { checkLog, type VerifyReport } from './audit/check.ts'
import { DailyFiles, listLogFiles, readChunks } from './audit/files.ts'
import { type EventMaker, eventMaker, judgeBatch } from './audit/intake.ts'
import { readHalves } from './audit/halves.ts'
import { type AuditPage, type AuditQuery, queryLog } from './audit/query.ts'
import { type Recovered, recoverLog } from './audit/recover.ts'
import {
  appendCheckpoint,
  type EmitterPositions,
  loadCheckpoints,
  type LogState,
  saveState,
} from './audit/state.ts'

/** The audit key, held by the signer process. */
export interface CheckpointSigner {
  /** Ed25519 over the body, 64 bytes. */
  sign(body: Uint8Array): Promise<Uint8Array>
  /** Public keys, SPKI DER: all that ever signed checkpoints of this log. */
  keys(): Promise<readonly Uint8Array[]> | readonly Uint8Array[]
}

export interface AuditOptions {
  /** Made when absent, 0700. */
  readonly folder: string
  /** Names this log in every record and checkpoint: control's own id. */
  readonly writer: string
  readonly cluster: string
  readonly clock: Clock
  readonly signer: CheckpointSigner
  readonly logger?: Logger
}

type TakenListener = (emitter: SystemIdentity, events: readonly AuditEvent[]) => void

/** Opens the log, recovering it when the last process was cut off in the middle of a write. */
export async function openAuditLog(options: AuditOptions): Promise<AuditLog> {
  await mkdir(options.folder, { recursive: true, mode: 0o700 })
  const recovered = await recoverLog(options.folder, options.writer, options.clock.now())
  const checkpoints = await loadCheckpoints(options.folder)
  const latest = checkpoints.filter((one) => one.writer === options.writer).at(-1)
  const log = new AuditLog(options, recovered, latest)
  await log.noteRecovery(recovered, latest)
  return log
}

export class AuditLog {
  readonly #options: AuditOptions
  readonly #logger: Logger
  readonly #make: EventMaker
  readonly #files: DailyFiles
  readonly #journal: Journal
  readonly #emitters: EmitterPositions
  /** Batches of one emitter are judged one after the other. */
  readonly #intakes = new Map<string, Promise<unknown>>()
  /** The last fork told of each emitter, so that a repeated upload does not fill the log. */
  readonly #forks = new Map<string, string>()
  readonly #timer: NodeJS.Timeout
  /** Of the next checkpoint, while records are many. */
  #gap: NodeJS.Timeout | undefined
  #checkpointedAtMs = Number.NEGATIVE_INFINITY
  #onTaken: TakenListener = () => {}
  #latest: AuditCheckpoint | undefined
  #checkpointing: Promise<void> | undefined

  constructor(options: AuditOptions, recovered: Recovered, latest: AuditCheckpoint | undefined) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#make = eventMaker(options.cluster, randomUUID, () => options.clock.now())
    this.#files = new DailyFiles(options.folder, options.clock, recovered.last, recovered.lastBytes)
    this.#journal = new Journal(recovered.position, this.#files, () => this.#committed())
    this.#emitters = recovered.emitters
    this.#latest = latest
    this.#timer = setInterval(() => this.#checkpointSoon(), max('auditCheckpointMs'))
    this.#timer.unref()
  }

  /** Builds an event of control's own and appends it. Resolves when it is durable. */
  async emit(name: string, code: string, fields: EventFields): Promise<void> {
    await this.#journal.append([this.#make(name, code, fields)])
  }

  /** Resolves with the last record's place when all are durable. */
  append(events: readonly AuditEvent[]): Promise<ChainPosition> {
    return this.#journal.append(events)
  }

  /**
   * Takes over a batch of an emitter's own chain, as the lines that stand in it. `emitter` comes from the certificate of the connection. Resolves with the
   * highest number of the emitter's that is durable here; a batch sent again changes nothing.
   * Throws `audit.chain-broken` when the emitter's history is not the one already acknowledged (it must begin a new chain).
   */
  ingest(emitter: SystemIdentity, lines: readonly string[]): Promise<number> {
    const before = this.#intakes.get(emitter.id) ?? Promise.resolve()
    const intake = before.then(() => this.#ingest(emitter, lines))
    const settled = intake
      .catch(() => undefined)
      .finally(() => {
        if (this.#intakes.get(emitter.id) === settled) this.#intakes.delete(emitter.id)
      })
    this.#intakes.set(emitter.id, settled)
    return intake
  }

  /** Calls `listener` with what was taken over from an emitter, once it is durable. One listener; it must not throw. */
  onTaken(listener: TakenListener): void {
    this.#onTaken = listener
  }

  /** What emitters sent of sessions with two sides, newest first: at most `bytesMax` of the log, no day before `fromMs`. */
  async *halves(fromMs: number, bytesMax: number): AsyncGenerator<Half, void> {
    const files = await listLogFiles(this.#options.folder)
    yield* readHalves(files, (file) => this.#files.durableBytes(file), fromMs, bytesMax)
  }

  /** Newest first. */
  async query(query: AuditQuery = {}): Promise<AuditPage> {
    const files = await listLogFiles(this.#options.folder)
    return queryLog(files, (file) => this.#files.durableBytes(file), query)
  }

  /** The records as they stand in the files, oldest first: whole lines, durable ones only. */
  async *export(): AsyncGenerator<Uint8Array, void> {
    for (const file of await listLogFiles(this.#options.folder)) {
      yield* readChunks(file.path, 0, this.#files.durableBytes(file))
    }
  }

  /** Reads the whole log. `anchors`: checkpoints that proxies and agents kept. */
  async verify(options: { anchors?: readonly AuditCheckpoint[] } = {}): Promise<VerifyReport> {
    await this.#journal.idle()
    const known = this.#journal.position
    const { folder, clock, signer } = this.#options
    return checkLog({
      files: await listLogFiles(folder),
      durableBytes: (file) => this.#files.durableBytes(file),
      known,
      nowMs: clock.now(),
      checkpoints: await loadCheckpoints(folder),
      anchors: options.anchors ?? [],
      keys: await signer.keys(),
    })
  }

  /** How many records there are, and the last one's hash. */
  status(): { readonly count: number; readonly head: string } {
    const { seq, hash } = this.#journal.position
    return { count: seq, head: hash }
  }

  /** The newest signed checkpoint, for beacons. */
  latestCheckpoint(): AuditCheckpoint | undefined {
    return this.#latest
  }

  /** Signs and keeps a checkpoint of everything durable, unless the last one says it already. */
  async checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpoint().finally(() => (this.#checkpointing = undefined))
    await this.#checkpointing
  }

  /** Writes out what waits and takes a last checkpoint (best effort: the signer may be gone). */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.allSettled(this.#intakes.values())
    await this.#journal.idle()
    clearTimeout(this.#gap)
    await this.checkpoint().catch((error: unknown) => this.#warn(error))
    await this.#files.close()
  }

  /** Called once, by `openAuditLog`: says in the log what opening it found. */
  async noteRecovery(recovered: Recovered, latest: AuditCheckpoint | undefined): Promise<void> {
    if (recovered.damage !== undefined) {
      this.#logger.warn('audit: the end of the log was cut off', { ...recovered.damage })
      await this.emit('audit.recovered', 'SLA001W', { ...recovered.damage })
    }
    if (latest === undefined || latest.count <= recovered.position.seq) return
    // Something durable and signed is gone: not a torn write, and never silent.
    const reason = `A checkpoint knows ${latest.count} records; ${recovered.position.seq} are left.`
    this.#logger.error('audit: the log is shorter than its last checkpoint', { reason })
    await this.emit('audit.fork', 'SLA003E', {
      writer: this.#options.writer,
      seq: recovered.position.seq + 1,
      expected_hash: latest.head,
      reason,
    })
  }

  async #ingest(emitter: SystemIdentity, lines: readonly string[]): Promise<number> {
    const intake = judgeBatch(emitter, this.#emitters.get(emitter.id), lines, this.#make)
    switch (intake.verdict) {
      case 'known':
        return intake.seq
      case 'take':
        await this.#journal.appendBodies(intake.bodies, () => {
          this.#emitters.set(emitter.id, intake.position)
        })
        this.#onTaken(emitter, intake.taken)
        return intake.position.seq
      case 'forked': {
        const told = this.#forks.get(emitter.id) === intake.claimed
        if (!told) await this.#journal.append([intake.event])
        this.#forks.set(emitter.id, intake.claimed)
        throw new ProxyError('audit.chain-broken', intake.reason, { side: 'client' })
      }
    }
  }

  #committed(): void {
    const since = this.#journal.position.seq - (this.#latest?.count ?? 0)
    if (since < max('auditCheckpointEvery') || this.#gap !== undefined) return
    const sinceMs = this.#options.clock.monotonic() - this.#checkpointedAtMs
    if (sinceMs >= max('auditCheckpointGapMs')) return this.#checkpointSoon()
    this.#gap = setTimeout(() => this.#checkpointSoon(), max('auditCheckpointGapMs') - sinceMs)
    this.#gap.unref()
  }

  #checkpointSoon(): void {
    clearTimeout(this.#gap)
    this.#gap = undefined
    this.#checkpointedAtMs = this.#options.clock.monotonic()
    this.checkpoint().catch((error: unknown) => this.#warn(error))
  }

  async #checkpoint(): Promise<void> {
    // All of it is taken in one turn: position, file and emitters belong together.
    const position = this.#journal.position
    if (position.seq === 0 || position.hash === this.#latest?.head) return
    const state: LogState = {
      position,
      ...this.#files.end(),
      emitters: new Map(this.#emitters),
    }
    const { folder, clock, signer } = this.#options
    const unsigned = {
      writer: position.writer,
      count: position.seq,
      head: position.hash,
      timeMs: clock.now(),
    }
    const signature = Buffer.from(await signer.sign(checkpointBody(unsigned))).toString('base64')
    const checkpoint: AuditCheckpoint = { ...unsigned, signature }
    await appendCheckpoint(folder, checkpoint)
    this.#latest = checkpoint
    await saveState(folder, state)
  }

  #warn(error: unknown): void {
    this.#logger.warn('audit: no checkpoint was taken', { error: String(error) })
  }
}
