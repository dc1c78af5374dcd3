// Appends events to a chain with group commit: what comes while the disk is busy shares the next write and its fdatasync.
// An append resolves only when its records are durable. Where the bytes go is the sink's matter (control's daily files, the
// spool of an agent); a sink that fails fails the group it was given, and the chain stands where it stood.

import { canonicalJson } from '../cert/canonical.ts'
import { ProxyError } from '../errors.ts'
import { max } from '../limits.ts'
import { CHAIN_BYTES_MAX, type ChainPosition, nextLine } from './chain.ts'
import type { AuditEvent } from './event.ts'

export interface JournalSink {
  /** Makes whole lines durable behind what it holds, or rejects and holds what it held. `first` is the first record's number. */
  commit(bytes: Uint8Array, first: number): Promise<void>
}

interface Waiting {
  readonly bodies: readonly string[]
  readonly bytes: number
  readonly onDurable: (position: ChainPosition) => void
  readonly resolve: (position: ChainPosition) => void
  readonly reject: (error: unknown) => void
}

export class Journal {
  readonly #sink: JournalSink
  readonly #onCommit: (position: ChainPosition) => void
  readonly #waiting: Waiting[] = []
  #position: ChainPosition
  #pendingBytes = 0
  #running: Promise<void> | undefined

  /** `onCommit` is told of each durable group before its appends resolve. */
  constructor(
    position: ChainPosition,
    sink: JournalSink,
    onCommit: (position: ChainPosition) => void = () => {},
  ) {
    this.#position = position
    this.#sink = sink
    this.#onCommit = onCommit
  }

  /** The last durable record. */
  get position(): ChainPosition {
    return this.#position
  }

  /** Bytes of events that are not durable yet. */
  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /**
   * Resolves with the last of these records, all durable and next to each other. `onDurable` runs before the group's `onCommit`,
   * so that state kept beside the log never lags behind a position; neither may throw.
   */
  append(
    events: readonly AuditEvent[],
    onDurable: (position: ChainPosition) => void = () => {},
  ): Promise<ChainPosition> {
    return this.appendBodies(
      events.map((event) => canonicalJson(event)),
      onDurable,
    )
  }

  /** The same for events that are canonical JSON already, each within the bound of an event. */
  appendBodies(
    bodies: readonly string[],
    onDurable: (position: ChainPosition) => void = () => {},
  ): Promise<ChainPosition> {
    return new Promise((resolve, reject) => {
      if (bodies.length === 0) {
        resolve(this.#position)
        return
      }
      const bytes = bodies.reduce((sum, body) => sum + bytesOf(body), 0)
      if (this.#pendingBytes + bytes > max('auditPendingBytesMax')) {
        const message = 'More audit events wait for the disk than auditPendingBytesMax.'
        throw new ProxyError('limit.exceeded', message, { retry: true })
      }
      this.#pendingBytes += bytes
      this.#waiting.push({ bodies, bytes, onDurable, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #run(): Promise<void> {
    // Whoever appends in the same turn shares the first group.
    await Promise.resolve()
    for (;;) {
      const group = this.#takeGroup()
      if (group.length === 0) {
        // In the same turn as the look at the queue, so that no append falls between.
        this.#running = undefined
        return
      }
      await this.#commit(group)
    }
  }

  #takeGroup(): readonly Waiting[] {
    let bytes = 0
    let count = 0
    for (const waiting of this.#waiting) {
      if (count > 0 && bytes + waiting.bytes > max('auditGroupBytesMax')) break
      bytes += waiting.bytes
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const lines: string[] = []
    const ends: ChainPosition[] = []
    let position = this.#position
    for (const { bodies } of group) {
      for (const body of bodies) {
        const next = nextLine(position, body)
        lines.push(next.line, '\n')
        position = next.position
      }
      ends.push(position)
    }
    try {
      await this.#sink.commit(Buffer.from(lines.join('')), this.#position.seq + 1)
    } catch (cause) {
      const message = 'The audit log could not be written.'
      const details = { retry: true, cause, detail: String(cause) }
      const error = new ProxyError('audit.unavailable', message, details)
      for (const waiting of group) waiting.reject(error)
      return
    } finally {
      for (const waiting of group) this.#pendingBytes -= waiting.bytes
    }
    this.#position = position
    for (const [index, waiting] of group.entries()) waiting.onDurable(ends[index] ?? position)
    this.#onCommit(position)
    for (const [index, waiting] of group.entries()) waiting.resolve(ends[index] ?? position)
  }
}

/** Throws for a body whose line could not be read back. `auditEvent` keeps to the bound; control adds an emitter's proof to it. */
function bytesOf(body: string): number {
  const bytes = Buffer.byteLength(body)
  if (bytes <= max('auditEventBytesMax') + CHAIN_BYTES_MAX / 2) return bytes
  throw new ProxyError('limit.exceeded', 'An audit event is longer than auditEventBytesMax.')
}
