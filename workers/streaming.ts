// Carries one client of a streaming protocol: gives it the Host it may ask, and watches what its session never sees: deadlines,
// what ends it from outside, how much passed. It reads no byte of the stream. A session that was told to end has its time to say
// why; then the stream is cut.

import type { Duplex } from 'node:stream'

import type { Clock } from '../core/clock.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type {
  Access,
  AuditFields,
  Host,
  Peer,
  Refusal,
  Side,
  StreamingProtocol,
  Tap,
} from '../core/protocol.ts'
import type { TargetRef } from '../core/identity.ts'
import type { SshServices } from '../core/ssh/services.ts'
import type { ByteStream } from '../core/stream.ts'
import type { AuthorizeOutcome, Session, SessionCounters } from './session.ts'
import { lentStream } from './lent-stream.ts'
import { type RightDeadline, watchRight } from './right-deadlines.ts'
import { CountingTap } from './tap.ts'
import { Deadlines, type Timers } from './timers.ts'

/** What a session's thread gives it. */
export interface StreamServices {
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  readonly newDecisionId: () => string
  readonly identify: (certificate: Uint8Array) => Peer | Refusal
  readonly authorize: (peer: Peer, access: Access) => Promise<AuthorizeOutcome>
  readonly audit: (code: string, fields: AuditFields) => void
  readonly ssh: SshServices
}

/** A socket, or what counts as one does. */
export type ClientEnd = Duplex & { readonly bytesRead: number; readonly bytesWritten: number }

/** Runs one client until it ends. */
export function runStreaming(
  protocol: StreamingProtocol,
  client: ClientEnd,
  start: { readonly stage: string; readonly target: TargetRef },
  services: StreamServices,
): Session {
  const streamer = new Streamer(client, services)
  streamer.start(protocol, start)
  return streamer
}

const ONCE = 'a session asks for one right'

class Streamer implements Session, Host {
  readonly done: Promise<string>
  readonly ssh: SshServices
  readonly #settle: (reason: string) => void
  readonly #services: StreamServices
  readonly #socket: ClientEnd
  readonly #stream: ByteStream
  readonly #deadlines: Deadlines<RightDeadline | 'linger'>
  readonly #ending = new AbortController()
  /** Whoever was identified on this connection: nobody else can ask for a right on it. */
  readonly #identified = new WeakSet<Peer>()
  /** What came and went before the session's own bytes. */
  readonly #before: { readonly read: number; readonly written: number }
  #peer: Peer | undefined
  #right: Authorized | undefined
  #activeMs: number
  #reason = 'client closed'
  /** Why it was told to end. */
  #ended: Refusal | undefined
  #over = false

  constructor(client: ClientEnd, services: StreamServices) {
    this.#services = services
    this.#before = { read: client.bytesRead - client.readableLength, written: client.bytesWritten }
    const { stream, connection } = lentStream(client)
    this.#socket = connection
    this.#stream = stream
    this.#deadlines = new Deadlines(services.clock, services.timers)
    this.#activeMs = services.clock.monotonic()
    this.ssh = services.ssh
    const { promise, resolve } = Promise.withResolvers<string>()
    this.done = promise
    this.#settle = resolve
  }

  get counters(): SessionCounters {
    const { bytesRead, bytesWritten } = this.#socket
    return {
      fromClientBytes: Math.max(0, bytesRead - this.#before.read),
      fromTargetBytes: Math.max(0, bytesWritten - this.#before.written),
      notes: 0,
    }
  }

  get peer(): Peer | undefined {
    return this.#peer
  }

  get right(): Authorized | undefined {
    return this.#right
  }

  start(protocol: StreamingProtocol, start: { stage: string; target: TargetRef }): void {
    const { signal } = this.#ending
    protocol
      .session(this.#stream, start, this, signal)
      .catch((error: unknown) => this.#failed(error))
      .then(() => this.#close())
      .catch((error: unknown) =>
        this.#services.log.error('a session has no end', { error: String(error) }),
      )
  }

  evict(refusal: Refusal): void {
    if (this.#over || this.#ending.signal.aborted) return
    this.#reason = refusal.reason
    this.#ended = refusal
    this.#ending.abort(refusal)
    this.#deadlines.clear()
    this.#linger()
  }

  // What the session asks

  readonly nowMs = (): number => this.#services.clock.now()

  identify(certificate: Uint8Array): Promise<Peer | Refusal> {
    const identified = this.#services.identify(certificate)
    if ('identity' in identified) this.#identified.add(identified)
    return Promise.resolve(identified)
  }

  async authorize(peer: Peer, access: Access): Promise<Authorized | Refusal> {
    if (!this.#identified.has(peer))
      throw new ProxyError('protocol.violation', 'a right is asked for somebody who is not here')
    if (this.#right !== undefined) throw new ProxyError('protocol.violation', ONCE)
    this.#peer = peer
    const outcome = await this.#services.authorize(peer, access)
    if ('refusal' in outcome) return outcome.refusal
    // It was ended while the right was asked for.
    if (this.#ended !== undefined) return this.#ended
    if (this.#right !== undefined) throw new ProxyError('protocol.violation', ONCE)
    this.#right = outcome.right
    this.active()
    watchRight(outcome.right, this.#services.clock, this.#deadlines, {
      activeMs: () => this.#activeMs,
      evict: (kind, why, next) => this.#evictFor(kind, why, next),
    })
    return outcome.right
  }

  active(): void {
    this.#activeMs = this.#services.clock.monotonic()
  }

  dial(): Promise<ByteStream> {
    return Promise.reject(new ProxyError('dial.failed', 'this session dials no target by itself'))
  }

  upgradeTls(stream: ByteStream, _side: Side): Promise<{ stream: ByteStream }> {
    stream.abort(new Error('no TLS'))
    return Promise.reject(new ProxyError('protocol.violation', 'this session has no TLS within'))
  }

  tap(): Tap {
    return new CountingTap()
  }

  audit(code: string, fields: AuditFields): void {
    this.#services.audit(code, fields)
  }

  // Ends

  #evictFor(kind: Refusal['kind'], reason: string, next: string): void {
    if (this.#over) return
    this.#services.audit('T3006I', { reason })
    this.evict({ decisionId: this.#services.newDecisionId(), kind, reason, next })
  }

  #failed(error: unknown): void {
    const expected = errorCode(error) !== undefined
    this.#services.log[expected ? 'info' : 'error']('a session failed', { error: String(error) })
    if (!this.#ending.signal.aborted)
      this.#reason = expected && error instanceof Error ? error.message : 'failed inside Sluice'
    this.#stream.abort(new ProxyError('dial.failed', this.#reason))
  }

  /** The session is done; what it wrote last leaves, for as long as a client may take. */
  async #close(): Promise<void> {
    if (!this.#deadlines.has('linger')) this.#linger()
    if (!this.#ending.signal.aborted) this.#ending.abort(gone(this.#services, this.#reason))
    await Promise.all([this.#stream.end(), drain(this.#stream), this.#stream.closed]).catch(
      // It was cut on the way, which closes it as well.
      () => this.#stream.closed,
    )
    this.#over = true
    this.#deadlines.clear()
    this.#settle(this.#reason)
  }

  #linger(): void {
    this.#deadlines.after('linger', max('sessionLingerMs'), () =>
      this.#stream.abort(new ProxyError('dial.failed', this.#reason)),
    )
  }
}

/** Whoever still waits for something on behalf of the session hears that it is over. */
function gone(services: StreamServices, reason: string): Refusal {
  return {
    decisionId: services.newDecisionId(),
    kind: 'unavailable',
    reason,
    next: 'Connect again.',
  }
}

/** What a client still sends is nobody's: unread, it would keep the end of its bytes from being seen. */
async function drain(stream: ByteStream): Promise<void> {
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read())
    stream.release?.(chunk)
}
