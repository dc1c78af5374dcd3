// The way of a terminated session from the proxy's worker to the target's agent: a spare that the agent accepts, mutual TLS with
// whoever holds the target's names, then the preface that says for whom. It holds no right: its caller does.

import type tls from 'node:tls'

import { ProxyError } from '../core/errors.ts'
import type { AgentResume, SpareGrant } from '../core/messages.ts'
import { type Forward, SESSION_ALPN, writeForward } from '../core/tunnel/forward.ts'
import { type AcceptedSpare, SpareDial, type SpareDialOptions } from './spare-dial.ts'
import { connectTls } from './tls-client.ts'
import type { HostKeys } from './trust.ts'

export interface AgentDialOptions extends SpareDialOptions {
  readonly forward: Forward
  readonly host: HostKeys
  /** CAs of targets' names, DER. */
  readonly targetCas: readonly Uint8Array[]
  accepted(): void
  keepSession(agentId: string, epoch: number, session: Uint8Array, fingerprint: string): void
}

export class AgentDial {
  readonly #options: AgentDialOptions
  readonly #dial: SpareDial
  /** For the spare it has. */
  #resume: AgentResume | undefined

  constructor(options: AgentDialOptions) {
    this.#options = options
    this.#dial = new SpareDial(options)
  }

  /** Whose spare it has. */
  get agentId(): string {
    return this.#dial.agentId
  }

  /** Resolves with the connection on which the agent reads the client's own bytes next. Rejects with `dial.*`. */
  async start(signal: AbortSignal): Promise<tls.TLSSocket> {
    const spare = await this.#dial.start(signal)
    this.#options.accepted()
    const giveUp = (): void => void spare.socket.destroy()
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      return this.#connected(await this.#secure(spare))
    } catch (error) {
      throw new ProxyError('dial.failed', error instanceof Error ? error.message : String(error), {
        side: 'target',
      })
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  use(grant: SpareGrant, resume: AgentResume): void {
    if (this.#dial.use(grant)) this.#resume = resume
  }

  noSpare(): void {
    this.#dial.noSpare()
  }

  #secure({ socket, rest, agentId }: AcceptedSpare): Promise<tls.TLSSocket> {
    const { open, host, targetCas } = this.#options
    const { known, epoch = 0 } = this.#resume ?? {}
    return connectTls(socket, rest, {
      serverName: open.serverName,
      verify: 'full',
      cas: targetCas,
      ...host,
      alpn: [SESSION_ALPN],
      onSession: (session: Uint8Array, fingerprint: string) =>
        this.#options.keepSession(agentId, epoch, session, fingerprint),
      ...(known === undefined ? {} : { session: known.session }),
    })
  }

  #connected(socket: tls.TLSSocket): tls.TLSSocket {
    if (socket.alpnProtocol !== SESSION_ALPN) {
      socket.destroy()
      throw new Error('the agent speaks another protocol')
    }
    // One record with the client's first message, which is written in this turn of the loop.
    socket.cork()
    process.nextTick(() => socket.uncork())
    socket.write(writeForward(this.#options.forward))
    // The login listens from the next turn on.
    socket.on('error', () => {})
    return socket
  }
}
