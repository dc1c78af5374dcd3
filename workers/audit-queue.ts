// The statements of one thread on their way to the spool: gathered, rendered and sent to the main thread in batches of text, counted
// until the disk holds them. Bounded by bytes: beyond the bound its sessions wait, and when the disk does nothing for too long, what
// the session's rule says applies. Never more memory, never a loss that is not counted. It knows nothing of what an event says.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { FromAuditQueue, ToAuditQueue } from '../core/messages.ts'
import type { Timers } from './timers.ts'

/** Whose events they are. Told of each event once. */
export interface AuditSender {
  /** Events are durable. */
  kept(count: number): void
  /** Events will never be in the log; the log will say how many. */
  lost(count: number): void
}

/**
 * An event that is written when its batch leaves: one after the other in one go costs a third of each at its statement, between
 * which processes take turns and caches grow cold.
 */
export interface QueuedEvent {
  /** About what it takes until then. */
  readonly bytes: number
  /** Canonical JSON. Called once; does not throw. */
  render(): string
}

export interface AuditQueueOptions {
  readonly clock: Clock
  readonly timers: Timers
  readonly send: (message: FromAuditQueue) => void
  /** The bound of this thread, at most auditQueueBytesMax. */
  readonly bytesMax: number
}

/** The main thread's end: a spool. */
export interface StatementKeeper {
  keep(
    bodies: readonly string[],
    rule: 'strict' | 'best_effort',
  ): Promise<'kept' | 'refused' | 'lost'>
  lost(count: number, sinceMs: number): void
}

/** The main thread's part: a thread's batch goes to the spool, and the thread hears what became of it. */
export async function keepStatements(
  keeper: StatementKeeper,
  thread: { post(message: ToAuditQueue): unknown },
  { id, bodies, rule }: Extract<FromAuditQueue, { kind: 'statements' }>,
): Promise<void> {
  const outcome = await keeper.keep(bodies.split('\n'), rule)
  thread.post({ kind: 'statements-kept', id, outcome })
}

/** One thread's share, so that all of them fit what may wait for the disk. */
export function queueBytesMax(threads: number): number {
  return Math.min(max('auditQueueBytesMax'), Math.floor(max('auditPendingBytesMax') / 2 / threads))
}

interface Gathering {
  readonly events: QueuedEvent[]
  readonly senders: AuditSender[]
  readonly sync: boolean
  bytes: number
}

interface Batch {
  readonly bodies: string
  readonly senders: readonly AuditSender[]
  readonly sync: boolean
  readonly bytes: number
}

export class AuditQueue {
  readonly #options: AuditQueueOptions
  readonly #batchBytesMax: number
  readonly #sent = new Map<number, Batch>()
  readonly #retries = new Set<() => void>()
  #gathering: Gathering | undefined
  #cancelFlush: (() => void) | undefined
  /** Watches a full queue for a disk that does nothing. */
  #cancelWatch: (() => void) | undefined
  #stalled = false
  #bytes = 0
  #ids = 0
  #lost = 0
  #lostSinceMs = 0
  #waiting: (() => void)[] = []

  constructor(options: AuditQueueOptions) {
    this.#options = options
    // Several batches fit the bound: one is on its way to the disk while the next gathers.
    this.#batchBytesMax = Math.min(max('auditQueueBatchBytesMax'), options.bytesMax / 4)
  }

  /** Bytes that are not durable yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** True while a session must wait. One in a sync mode waits for a stalled disk, too; the others go on by their rule. */
  blocks(sync: boolean): boolean {
    return this.#bytes >= this.#options.bytesMax && (sync || !this.#stalled)
  }

  /** `wake` is called once, when `blocks` may have changed. */
  whenRoom(wake: () => void): void {
    this.#waiting.push(wake)
  }

  /** Takes an event; beyond the bound only from a sync mode, whose sessions wait for each of theirs. */
  add(event: QueuedEvent, sender: AuditSender, sync: boolean): void {
    if (this.#stalled && !sync) return this.#giveUp(sender)
    if (this.#gathering?.sync !== sync) this.flush()
    const gathering = (this.#gathering ??= { events: [], senders: [], sync, bytes: 0 })
    gathering.events.push(event)
    gathering.senders.push(sender)
    gathering.bytes += event.bytes
    this.#bytes += event.bytes
    if (gathering.bytes >= this.#batchBytesMax) return this.flush()
    // Somebody waits for a sync event; a turn of the loop lets its neighbours come along.
    this.#cancelFlush ??= this.#options.timers.after(sync ? 0 : max('auditQueueMs'), () =>
      this.flush(),
    )
    this.#watch()
    return undefined
  }

  /** Sends what gathered. Before anything that must stand behind it in the log. */
  flush(): void {
    this.#cancelFlush?.()
    this.#cancelFlush = undefined
    const gathering = this.#gathering
    if (gathering === undefined) return
    this.#gathering = undefined
    this.#post(this.#rendered(gathering))
    this.#watch()
  }

  answered({ id, outcome }: ToAuditQueue): void {
    const batch = this.#sent.get(id)
    if (batch === undefined) return
    this.#sent.delete(id)
    if (outcome === 'refused') return this.#retryLater(batch)
    this.#bytes -= batch.bytes
    this.#moved()
    for (const [sender, count] of counts(batch.senders)) {
      if (outcome === 'kept') sender.kept(count)
      else sender.lost(count)
    }
    return undefined
  }

  /** Sends what waits for another try, too. Nothing is watched afterwards. */
  close(): void {
    for (const retry of this.#retries) retry()
    this.flush()
    this.#cancelWatch?.()
    this.#cancelWatch = undefined
    this.#tellLost()
  }

  #rendered({ events, senders, sync, bytes: before }: Gathering): Batch {
    const bodies = events.map((event) => event.render()).join('\n')
    const bytes = Buffer.byteLength(bodies)
    this.#bytes += bytes - before
    return { bodies, senders, sync, bytes }
  }

  #post(batch: Batch): void {
    const id = ++this.#ids
    this.#sent.set(id, batch)
    const rule = batch.sync ? 'strict' : 'best_effort'
    this.#options.send({ kind: 'statements', id, bodies: batch.bodies, rule })
  }

  #retryLater(batch: Batch): void {
    const retry = (): void => {
      cancel()
      this.#retries.delete(retry)
      this.#post(batch)
    }
    const cancel = this.#options.timers.after(max('auditRetryMs'), retry)
    this.#retries.add(retry)
  }

  /** The disk did something. */
  #moved(): void {
    this.#cancelWatch?.()
    this.#cancelWatch = undefined
    if (this.#bytes < this.#options.bytesMax) {
      this.#stalled = false
      this.#tellLost()
    }
    this.#watch()
    this.#wake()
  }

  #watch(): void {
    if (this.#bytes < this.#options.bytesMax || this.#stalled) return
    this.#cancelWatch ??= this.#options.timers.after(max('auditStallMs'), () => {
      this.#cancelWatch = undefined
      this.#stalled = true
      this.#wake()
    })
  }

  #giveUp(sender: AuditSender): void {
    if (this.#lost === 0) this.#lostSinceMs = this.#options.clock.now()
    this.#lost++
    sender.lost(1)
  }

  #tellLost(): void {
    if (this.#lost === 0) return
    const count = this.#lost
    this.#lost = 0
    this.#options.send({ kind: 'statements-lost', count, sinceMs: this.#lostSinceMs })
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

function counts(senders: readonly AuditSender[]): ReadonlyMap<AuditSender, number> {
  const found = new Map<AuditSender, number>()
  for (const sender of senders) found.set(sender, (found.get(sender) ?? 0) + 1)
  return found
}
