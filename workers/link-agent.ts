// The agent's link to one proxy: dials, proves itself by mutual TLS, demands the proxy role, then does what the proxy's frames
// ask. Signed values of control are put together and passed to `signed`, which verifies them; a proxy is only their carrier.
// A lost link is dialled again for as long as the link is wanted. Runs in the agent's main thread; it ends no session.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { LINK_ALPN, LINK_VERSION, SignedCollector } from '../core/tunnel/link.ts'
import type { LinkFrame, Signed } from '../core/tunnel/link-frame.ts'
import type { Admission } from './host-peer.ts'
import { clockRefusal, LinkChannel, linkKeyOf } from './link-channel.ts'
import { LinkSpares } from './link-spares.ts'
import type { OpenedSpare } from './link-spares.ts'
import { Redial } from './redial.ts'
import { connectTls } from './tls-client.ts'
import { Deadlines } from './timers.ts'
import type { Timers } from './timers.ts'
import { peerChain } from './tls.ts'
import type { HostKeys } from './trust.ts'

export interface AgentState {
  readonly sessions: number
  readonly unhealthy: readonly string[]
  readonly snapshotRevision: number
  readonly lockRevision: number
}

export interface LinkAgentOptions {
  readonly agentId: string
  readonly cluster: string
  readonly software: string
  readonly services: readonly string[]
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  /** 0 ≤ value < 1, for jitter. */
  readonly random: () => number
  /** TCP to the proxy's public port; links and spares alike. */
  readonly connect: () => net.Socket
  /** This agent's certificate and key as they are now. */
  readonly host: () => HostKeys
  readonly hostCas: () => readonly Uint8Array[]
  /** Whether this chain is a proxy of the cluster, not locked. */
  readonly admit: (chain: readonly Uint8Array[]) => Admission
  /** Takes the socket over before it returns. */
  readonly opened: (spare: OpenedSpare) => void
  /** Verifies, uses and keeps a value that may be control's. */
  readonly signed: (value: Signed, proxyId: string) => void
  readonly state: () => AgentState
  /** A signal for a session, or the answer to one of ours. */
  readonly signal: (frame: LinkFrame) => void
  /** The link came up or went down. */
  readonly changed: (up: boolean, reason: string) => void
}

type Phase = 'off' | 'dialling' | 'greeting' | 'up' | 'waiting'

const NOTHING = new Uint8Array(0)

export class LinkAgent {
  readonly #options: LinkAgentOptions
  readonly #redial: Redial
  readonly #deadlines: Deadlines<'dial' | 'greeting' | 'redial' | 'heartbeat'>
  #phase: Phase = 'off'
  #draining = false
  #raw: net.Socket | undefined
  #channel: LinkChannel | undefined
  #spares: LinkSpares | undefined
  #collector = new SignedCollector()
  #proxyId = ''
  /** The proxy's certificate, judged again whenever trust or locks change. */
  #chain: readonly Uint8Array[] = []
  #upAtMs = 0

  constructor(options: LinkAgentOptions) {
    this.#options = options
    this.#redial = new Redial(options.clock, options.random)
    this.#deadlines = new Deadlines(options.clock, options.timers)
  }

  get up(): boolean {
    return this.#phase === 'up'
  }

  /** The proxy at the other end; empty before the first link. */
  get proxyId(): string {
    return this.#proxyId
  }

  get idleSpares(): number {
    return this.#spares?.idle ?? 0
  }

  /** False when the link does not stand. */
  send(frame: LinkFrame): boolean {
    if (this.#phase === 'up') this.#channel?.send(frame)
    return this.#phase === 'up'
  }

  start(): void {
    if (this.#phase === 'off') this.#dial()
  }

  /** No new sessions from now on: parked spares go, the proxy is told, a lost link stays lost. */
  drain(reason: string, deadlineMs: number): void {
    this.#draining = true
    this.#channel?.send({ type: 'drain', reason, deadlineMs })
    this.#spares?.close()
    if (this.#phase === 'waiting') this.stop()
  }

  stop(): void {
    this.#phase = 'off'
    this.#deadlines.clear()
    this.#spares?.close()
    const raw = this.#raw
    this.#raw = undefined
    if (this.#channel === undefined) raw?.destroy()
    else this.#channel.close('the agent stops')
  }

  /** Sends a heartbeat now. */
  tell(): void {
    this.#beat()
  }

  /** Trust or locks changed: whether the proxy is still one. */
  recheck(): void {
    if (this.#phase === 'up' && !this.#options.admit(this.#chain).ok)
      this.#channel?.close('the proxy is no longer trusted', 'login.locked')
  }

  #dial(): void {
    this.#phase = 'dialling'
    const raw = this.#options.connect()
    this.#raw = raw
    const failed = (reason: string): void => {
      raw.destroy()
      if (this.#raw !== raw) return
      this.#raw = undefined
      this.#down(reason)
    }
    const refused = (error: Error): void => failed(error.message)
    raw.once('error', refused)
    this.#deadlines.after('dial', max('handshakeDeadlineMs'), () => failed('no answer in time'))
    raw.once('connect', () => {
      raw.off('error', refused)
      this.#secure(raw).catch((error: unknown) =>
        failed(error instanceof Error ? error.message : String(error)),
      )
    })
  }

  async #secure(raw: net.Socket): Promise<void> {
    const { host, hostCas, cluster, admit, clock, timers } = this.#options
    const { certificate, key } = host()
    const socket = await connectTls(raw, NOTHING, {
      serverName: cluster,
      // The certificate names the proxy by an id nobody knows before; the role is what is demanded, below.
      verify: 'ca',
      cas: hostCas(),
      certificate,
      key,
      alpn: [LINK_ALPN],
    })
    this.#deadlines.drop('dial')
    if (this.#raw !== raw) {
      socket.destroy()
      return
    }
    this.#chain = peerChain(socket)
    const admission = admit(this.#chain)
    if (!admission.ok) {
      socket.destroy()
      throw new Error(`${admission.code}: ${admission.reason}`)
    }
    this.#proxyId = admission.identity.id
    this.#phase = 'greeting'
    const channel = new LinkChannel({
      socket,
      clock,
      timers,
      frame: (frame) => this.#heard(frame),
      closed: (reason) => this.#closed(channel, reason),
    })
    this.#channel = channel
    this.#spares = this.#newSpares(linkKeyOf(socket))
    this.#collector = new SignedCollector()
    this.#greet(channel)
  }

  #newSpares(key: Uint8Array): LinkSpares {
    const { clock, timers, log, connect, opened } = this.#options
    return new LinkSpares({
      proxyId: this.#proxyId,
      key,
      clock,
      timers,
      log,
      connect,
      opened,
    })
  }

  #greet(channel: LinkChannel): void {
    const { agentId, software, services, clock } = this.#options
    this.#deadlines.after('greeting', max('handshakeDeadlineMs'), () =>
      channel.close('no welcome in time'),
    )
    const nowMs = clock.now()
    channel.send({ type: 'hello', version: LINK_VERSION, agentId, software, services, nowMs })
  }

  #heard(frame: LinkFrame): void {
    const channel = this.#channel
    if (channel === undefined) return
    if (frame.type === 'refused')
      return channel.close(`the proxy refuses the link: ${frame.code}: ${frame.text}`)
    if (this.#phase === 'greeting') return this.#welcomed(channel, frame)
    switch (frame.type) {
      case 'tickets':
        return this.#draining ? undefined : this.#spares?.dial(frame.tickets)
      case 'dial-now':
        return this.#draining ? undefined : this.#spares?.dial([frame.ticket])
      case 'want':
        return this.#beat()
      case 'signed': {
        const value = this.#collector.add(frame)
        if (value !== undefined) this.#options.signed(value, this.#proxyId)
        return
      }
      case 'signal':
      case 'signal-answer':
        return this.#options.signal(frame)
      case 'drain':
        this.#options.log.info('a proxy drains', { proxy: this.#proxyId, reason: frame.reason })
        return this.#spares?.close()
      case 'hello':
      case 'welcome':
      case 'heartbeat':
      case 'ping':
      case 'pong':
        return channel.close(`a proxy sends no ${frame.type}`, 'protocol.violation')
    }
  }

  #welcomed(channel: LinkChannel, frame: LinkFrame): void {
    const { clock, changed } = this.#options
    if (frame.type !== 'welcome' || frame.proxyId !== this.#proxyId)
      return channel.close('the proxy does not introduce itself', 'protocol.violation')
    const skew = clockRefusal(clock.now(), frame.nowMs)
    if (skew !== undefined) return channel.close(skew, 'trust.unproven')
    this.#deadlines.drop('greeting')
    this.#phase = 'up'
    this.#upAtMs = clock.monotonic()
    changed(true, '')
    this.#beat()
    if (this.#draining) channel.send({ type: 'drain', reason: 'the agent stops', deadlineMs: 0 })
  }

  #beat(): void {
    const channel = this.#channel
    if (this.#phase !== 'up' || channel === undefined) return
    const { sessions, unhealthy, snapshotRevision, lockRevision } = this.#options.state()
    channel.send({
      type: 'heartbeat',
      sessions,
      idleSpares: this.idleSpares,
      snapshotRevision,
      lockRevision,
      unhealthy,
    })
    this.#deadlines.after('heartbeat', max('linkHeartbeatMs'), () => this.#beat())
  }

  #closed(channel: LinkChannel, reason: string): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    this.#raw = undefined
    this.#spares?.close()
    this.#spares = undefined
    const wasUp = this.#phase === 'up'
    if (wasUp) this.#redial.stood(this.#options.clock.monotonic() - this.#upAtMs)
    if (this.#phase === 'off') return this.#options.changed(false, reason)
    return this.#down(reason)
  }

  /** The link could not be made, or fell. */
  #down(reason: string): void {
    this.#deadlines.clear()
    if (this.#draining) this.#phase = 'off'
    else {
      this.#phase = 'waiting'
      this.#deadlines.after('redial', this.#redial.next(), () => this.#dial())
    }
    this.#options.changed(false, reason)
  }
}
