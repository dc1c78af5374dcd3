// The way from a proxy's worker to an agent that takes one session: a spare that the agent accepts. A spare that dies before it was
// accepted is replaced by another; what was sent on it were our own frame and no byte of a client. It holds no right: its caller does.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { OpenRequest, SpareGrant } from '../core/messages.ts'
import type { AgentRefusal } from '../core/tunnel/open.ts'
import { discard } from './handover.ts'
import { type Elsewhere, openSpare, servedElsewhere } from './open-spare.ts'

export interface SpareDialOptions {
  readonly open: OpenRequest
  readonly clock: Clock
  readonly log: Logger
  /** Ask main for a spare, of another agent when this one `refused`; `use` or `noSpare` follows. */
  needSpare(refused?: Elsewhere): void
  badAnswer(grant: SpareGrant, reason: string): void
}

/** A spare whose agent has the session. */
export interface AcceptedSpare {
  readonly socket: net.Socket
  /** Bytes behind the agent's answer. */
  readonly rest: Uint8Array
  readonly agentId: string
}

export class SpareDial {
  readonly #options: SpareDialOptions
  readonly #done = Promise.withResolvers<AcceptedSpare>()
  #spare: net.Socket | undefined
  #over = false
  #tried = 0
  /** Why an agent did not take the session, while another one is looked for. */
  #refusal: string | undefined
  /** Whose spare it has. */
  agentId = ''

  constructor(options: SpareDialOptions) {
    this.#options = options
  }

  /** The receiver takes the paused socket over in the turn in which this resolves. Rejects with `dial.*`. */
  start(signal: AbortSignal): Promise<AcceptedSpare> {
    const abort = (): void => this.#fail('dial.failed', 'the agent did not answer in time')
    if (signal.aborted) abort()
    else {
      signal.addEventListener('abort', abort, { once: true })
      this.#options.needSpare()
    }
    return this.#done.promise.finally(() => signal.removeEventListener('abort', abort))
  }

  /** False: the dial is over, and the spare was dropped. */
  use(grant: SpareGrant): boolean {
    if (this.#over || this.#spare !== undefined) {
      discard(grant.handle)
      return false
    }
    const { open, clock } = this.#options
    this.agentId = grant.agentId
    this.#tried++
    this.#spare = openSpare(grant, open, new Uint8Array(0), clock.now(), {
      accepted: (socket, rest) => this.#accepted(socket, rest),
      refused: (reason) => this.#refusedBy(reason),
      lost: (spare, how) => {
        if (this.#spare === spare) this.#again(how)
      },
      bad: (how) => this.#options.badAnswer(grant, how),
    })
    return true
  }

  noSpare(): void {
    if (this.#refusal === undefined)
      return this.#fail('dial.no-agent', 'no agent that serves it is connected')
    return this.#fail('dial.failed', `its agents refuse the session (${this.#refusal})`)
  }

  #accepted(socket: net.Socket, rest: Uint8Array): void {
    if (this.#over) {
      socket.destroy()
      return
    }
    this.#over = true
    this.#spare = undefined
    socket.pause()
    // Its next owner listens from the next turn on.
    socket.on('error', () => {})
    this.#done.resolve({ socket, rest, agentId: this.agentId })
  }

  /** An agent that takes no more sessions, or not these, has read nothing of the client: another one may serve. */
  #refusedBy(reason: AgentRefusal): void {
    if (!servedElsewhere(reason))
      return this.#fail('dial.failed', `the agent refuses the session (${reason})`)
    this.#refusal = reason
    return this.#again(`refused: ${reason}`, reason)
  }

  #again(how: string, refused?: Elsewhere): void {
    this.#spare = undefined
    if (this.#over) return
    this.#options.log.debug('spare lost before accept', { how, agent: this.agentId })
    if (this.#tried < max('spareTriesMax')) return this.#options.needSpare(refused)
    return this.#fail('dial.failed', `${this.#tried} spares were lost, the last: ${how}`)
  }

  #fail(code: 'dial.failed' | 'dial.no-agent', message: string): void {
    if (this.#over) return
    this.#over = true
    this.#spare?.destroy()
    this.#spare = undefined
    this.#done.reject(new ProxyError(code, message, { side: 'target' }))
  }
}
