// One relayed session at the proxy's worker: the client's hello waits here until an agent accepted it over a spare. Writes
// the open frame and the hello, checks the MACed answer, then copies bytes. A spare that dies or stays silent before the
// answer is replaced and the same bytes are sent again; nothing else is ever repeated. Reads no byte of the session.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { OpenRequest, RelayCounters, SocketHandle, SpareGrant } from '../core/messages.ts'
import type { AgentRefusal } from '../core/tunnel/open.ts'
import { adopt, discard, release } from './handover.ts'
import { type Elsewhere, openSpare, servedElsewhere } from './open-spare.ts'
import { relay } from './relay.ts'
import type { Relay } from './relay.ts'
import { alert, ALERTS } from './tls-alert.ts'

export interface RelaySessionOptions {
  readonly client: SocketHandle
  readonly first: Uint8Array
  readonly open: OpenRequest
  readonly clock: Clock
  readonly log: Logger
  /** Ask main for another spare, of another agent when this one `refused`; `use` or `noSpare` follows. */
  needSpare(refused?: Elsewhere): void
  accepted(): void
  /** What came over this spare is no answer of the agent that parked it. */
  badAnswer(grant: SpareGrant, reason: string): void
  ended(reason: string, counters: RelayCounters): void
}

const NO_BYTES = new Uint8Array(0)
const NOTHING: RelayCounters = { fromClientBytes: 0, fromTargetBytes: 0 }

export class RelaySession {
  readonly #options: Omit<RelaySessionOptions, 'client' | 'first'>
  /** Until the relay has it. Then this and the hello are let go: an idle session must not weigh what its beginning did. */
  #client: net.Socket | undefined
  #first: Uint8Array
  readonly #deadline: NodeJS.Timeout
  #phase: 'waiting' | 'opening' | 'relaying' | 'ended' = 'waiting'
  #relay: Relay | undefined
  /** The spare in hand while `opening`. */
  #spare: net.Socket | undefined
  #tried = 0
  /** Why an agent did not take the session, while another one is looked for. */
  #refusal: string | undefined

  constructor(options: RelaySessionOptions) {
    const { client: handle, first, ...kept } = options
    this.#options = kept
    this.#first = first
    // Unread on purpose: what the client sends after its hello belongs to whoever relays.
    const client = adopt(handle)
    client.on('error', () => this.#end('client reset'))
    client.on('close', () => this.#end('client closed'))
    this.#client = client
    this.#deadline = setTimeout(
      () => this.#refuse(ALERTS.internalError, 'no agent in time'),
      max('handshakeDeadlineMs'),
    )
  }

  /** Opens this spare for the session. */
  use(grant: SpareGrant): void {
    if (this.#phase !== 'waiting') return discard(grant.handle)
    this.#phase = 'opening'
    this.#tried++
    const { open, clock, log } = this.#options
    this.#spare = openSpare(grant, open, this.#first, clock.now(), {
      accepted: (spare, rest) => this.#relayFrom(spare, rest),
      refused: (reason) => {
        log.warn('agent refused a session', { reason, agent: grant.agentId })
        this.#refusedBy(reason)
      },
      lost: (spare, how) => {
        if (this.#spare === spare) this.#again(how)
      },
      bad: (how) => this.#options.badAnswer(grant, how),
    })
  }

  noSpare(): void {
    if (this.#refusal !== undefined)
      return this.#refuse(ALERTS.accessDenied, `agent refused: ${this.#refusal}`)
    return this.#refuse(ALERTS.internalError, 'no agent of the target is connected')
  }

  /** Ends the session from outside: lock, drain. */
  cut(reason: string): void {
    this.#relay?.abort(reason)
    this.#end(reason)
  }

  /** An agent that does not have the target, or takes no more sessions, has read nothing of the client: another one may. */
  #refusedBy(reason: AgentRefusal): void {
    if (!servedElsewhere(reason))
      return this.#refuse(ALERTS.accessDenied, `agent refused: ${reason}`)
    this.#refusal = reason
    return this.#again(`refused: ${reason}`, reason)
  }

  /** The spare died before it answered: nothing reached the target, so the hello may be sent again. */
  #again(how: string, refused?: Elsewhere): void {
    this.#spare = undefined
    if (this.#phase !== 'opening') return
    this.#phase = 'waiting'
    this.#options.log.debug('spare lost before accept', { how, tried: this.#tried })
    if (this.#tried < max('spareTriesMax')) return this.#options.needSpare(refused)
    return this.#refuse(ALERTS.internalError, `${this.#tried} spares were lost, the last: ${how}`)
  }

  #relayFrom(spare: net.Socket, leftover: Uint8Array): void {
    if (this.#phase !== 'opening') return
    this.#phase = 'relaying'
    this.#spare = undefined
    clearTimeout(this.#deadline)
    this.#options.accepted()
    const client = this.#client === undefined ? undefined : release(this.#client)
    const target = release(spare)
    this.#client = undefined
    this.#first = NO_BYTES
    if (client === undefined || target === undefined) {
      for (const side of [client, target]) if (side !== undefined) discard(side.handle)
      this.#end('closed before the relay began')
      return
    }
    this.#relay = relay(client.handle, target.handle, {
      toClient: concat(leftover, target.rest),
      toTarget: client.rest,
    })
    void this.#relay.done.then((reason) => this.#end(reason))
  }

  #refuse(description: number, reason: string): void {
    if (this.#phase === 'relaying' || this.#phase === 'ended') return
    this.#client?.end(alert(description))
    this.#end(reason)
  }

  #end(reason: string): void {
    if (this.#phase === 'ended') return
    const relaying = this.#phase === 'relaying'
    this.#phase = 'ended'
    clearTimeout(this.#deadline)
    this.#spare?.destroy()
    this.#spare = undefined
    if (!relaying) this.#client?.destroySoon()
    this.#options.ended(reason, this.#relay?.counters() ?? NOTHING)
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  if (a.length === 0) return b
  return b.length === 0 ? a : Buffer.concat([a, b])
}
