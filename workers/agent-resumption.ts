// TLS sessions with agents, kept in a proxy's main thread so that any worker can resume what another began (recipe 6: half the CPU
// of a handshake at each end). Bounded; all of them end with every change of trust, of locks or of the proxy's own certificate.

import { max } from '../core/limits.ts'
import type { AgentResume, AgentTlsSession, FromProxyWorker } from '../core/messages.ts'

type Brought = Extract<FromProxyWorker, { kind: 'agent-tls-session' }>

export class AgentResumption {
  readonly #sessions = new Map<string, AgentTlsSession>()
  #epoch = 0

  get size(): number {
    return this.#sessions.size
  }

  /** What a worker needs to connect to the agent under this name. */
  for(agentId: string, serverName: string): AgentResume {
    const known = this.#sessions.get(keyOf(agentId, serverName))
    return { epoch: this.#epoch, ...(known === undefined ? {} : { known }) }
  }

  /** A session of an epoch that is over is not kept: what it was verified by has changed. */
  keep({ agentId, serverName, epoch, session, fingerprint }: Brought): void {
    if (epoch !== this.#epoch) return
    const key = keyOf(agentId, serverName)
    // The newest last, so that the one unused longest goes first.
    this.#sessions.delete(key)
    const [oldest] = this.#sessions.keys()
    if (this.#sessions.size >= max('agentTlsSessionsMax') && oldest !== undefined)
      this.#sessions.delete(oldest)
    this.#sessions.set(key, { session, fingerprint })
  }

  /** Nothing that is known now may be resumed any more. */
  forget(): void {
    this.#epoch++
    this.#sessions.clear()
  }
}

function keyOf(agentId: string, serverName: string): string {
  return `${agentId} ${serverName}`
}
