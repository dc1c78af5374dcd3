// The way of a terminated session from the proxy's worker to the target's agent: a spare that the agent accepts, mutual TLS with
// whoever holds the target's names, then the preface that says for whom. A spare that dies before it was accepted is replaced by
// another; nothing else is repeated. It holds no right: its caller does.

import type net from 'node:net'
import type tls from 'node:tls'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { AgentResume, OpenRequest, SpareGrant } from '../core/messages.ts'
import { type Forward, SESSION_ALPN, writeForward } from '../core/tunnel/forward.ts'
import type { AgentRefusal } from '../core/tunnel/open.ts'
import { discard } from './handover.ts'
import { type Elsewhere, openSpare, servedElsewhere } from './open-spare.ts'
import { connectTls } from './tls-client.ts'
import type { HostKeys } from './trust.ts'

export interface AgentDialOptions {
  readonly open: OpenRequest
  readonly forward: Forward
  readonly host: HostKeys
  /** CAs of targets' names, DER. */
  readonly targetCas: readonly Uint8Array[]
  readonly clock: Clock
  readonly log: Logger
  /** Ask main for a spare, of another agent when this one `refused`; `use` or `noSpare` follows. */
  needSpare(refused?: Elsewhere): void
  accepted(): void
  badAnswer(grant: SpareGrant, reason: string): void
  keepSession(agentId: string, epoch: number, session: Uint8Array, fingerprint: string): void
}

export class AgentDial {
  readonly #options: AgentDialOptions
  readonly #done = Promise.withResolvers<tls.TLSSocket>()
  #spare: net.Socket | undefined
  #over = false
  #tried = 0
  /** Why an agent did not take the session, while another one is looked for. */
  #refusal: string | undefined
  /** Whose spare it has. */
  agentId = ''

  constructor(options: AgentDialOptions) {
    this.#options = options
  }

  /** Resolves with the connection on which the agent reads the client's own bytes next. Rejects with `dial.*`. */
  start(signal: AbortSignal): Promise<tls.TLSSocket> {
    const abort = (): void => this.#fail('dial.failed', 'the agent did not answer in time')
    if (signal.aborted) abort()
    else {
      signal.addEventListener('abort', abort, { once: true })
      this.#options.needSpare()
    }
    return this.#done.promise.finally(() => signal.removeEventListener('abort', abort))
  }

  use(grant: SpareGrant, resume: AgentResume): void {
    if (this.#over || this.#spare !== undefined) return discard(grant.handle)
    const { open, clock } = this.#options
    this.agentId = grant.agentId
    this.#tried++
    this.#spare = openSpare(grant, open, new Uint8Array(0), clock.now(), {
      accepted: (spare, rest) => this.#secure(spare, rest, grant, resume),
      refused: (reason) => this.#refusedBy(reason),
      lost: (spare, how) => {
        if (this.#spare === spare) this.#again(how)
      },
      bad: (how) => this.#options.badAnswer(grant, how),
    })
  }

  noSpare(): void {
    if (this.#refusal === undefined)
      return this.#fail('dial.no-agent', 'no agent that serves it is connected')
    return this.#fail('dial.failed', `its agents refuse the session (${this.#refusal})`)
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

  #secure(spare: net.Socket, rest: Uint8Array, grant: SpareGrant, resume: AgentResume): void {
    spare.pause()
    this.#options.accepted()
    const { open, host, targetCas, forward } = this.#options
    const { known, epoch } = resume
    const options = {
      serverName: open.serverName,
      verify: 'full',
      cas: targetCas,
      ...host,
      alpn: [SESSION_ALPN],
      onSession: (session: Uint8Array, fingerprint: string) =>
        this.#options.keepSession(grant.agentId, epoch, session, fingerprint),
      ...(known === undefined ? {} : { session: known.session }),
    } as const
    connectTls(spare, rest, options).then(
      (socket) => this.#connected(socket, writeForward(forward)),
      (error: unknown) =>
        this.#fail('dial.failed', error instanceof Error ? error.message : String(error)),
    )
  }

  #connected(socket: tls.TLSSocket, preface: Uint8Array): void {
    if (this.#over) {
      socket.destroy()
      return
    }
    if (socket.alpnProtocol !== SESSION_ALPN) {
      socket.destroy()
      return this.#fail('dial.failed', 'the agent speaks another protocol')
    }
    this.#over = true
    this.#spare = undefined
    // One record with the client's first message, which is written in this turn of the loop.
    socket.cork()
    process.nextTick(() => socket.uncork())
    socket.write(preface)
    // The login listens from the next turn on.
    socket.on('error', () => {})
    this.#done.resolve(socket)
  }

  #fail(code: 'dial.failed' | 'dial.no-agent', message: string): void {
    if (this.#over) return
    this.#over = true
    this.#spare?.destroy()
    this.#spare = undefined
    this.#done.reject(new ProxyError(code, message, { side: 'target' }))
  }
}
