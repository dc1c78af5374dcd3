// The proxy's end of links, in a worker thread: admits agents by their certificate, derives the key of each link, and carries
// frames between them and the main thread, which knows what they mean. One link per agent here: the newest wins, because
// the older one is most likely dead without a word.

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromProxyWorker, Source } from '../core/messages.ts'
import { LINK_VERSION } from '../core/tunnel/link.ts'
import type { LinkFrame } from '../core/tunnel/link-frame.ts'
import type { Admission } from './host-peer.ts'
import { clockRefusal, LinkChannel, linkKeyOf } from './link-channel.ts'
import { Deadlines } from './timers.ts'
import type { Timers } from './timers.ts'
import type { Secured } from './tls.ts'

export interface LinkProxyOptions {
  readonly proxyId: string
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  /** Whether this chain is an agent of the cluster, not locked. */
  readonly admit: (chain: readonly Uint8Array[]) => Admission
  /** To the main thread: `link-up`, `link-down`, `from-agent`, `refused-link`. */
  readonly report: (message: FromProxyWorker) => void
}

interface Link {
  readonly agentId: string
  readonly services: readonly string[]
  readonly chain: readonly Uint8Array[]
  readonly channel: LinkChannel
  readonly source: Source
  readonly key: Uint8Array
}

export class LinkProxy {
  readonly #options: LinkProxyOptions
  /** Links that said hello, by agent. */
  readonly #links = new Map<string, Link>()
  readonly #greeting = new Set<Link>()
  readonly #deadlines: Deadlines<string>
  #count = 0

  constructor(options: LinkProxyOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.clock, options.timers)
  }

  /** Links that stand or are about to. */
  get size(): number {
    return this.#links.size + this.#greeting.size
  }

  /** Takes over a connection of ALPN `sluice-link`. */
  accept(secured: Secured, source: Source): void {
    const admission = this.#judge(secured)
    if (!admission.ok) {
      const { code, reason, identity } = admission
      const known = identity?.type === 'system' ? { agentId: identity.id } : {}
      this.#options.report({ kind: 'refused-link', ...known, reason: `${code}: ${reason}`, source })
      this.#channel(secured, noFrame, noEnd).close(reason, code)
      return
    }
    const name = `greeting ${this.#count++}`
    const channel = this.#channel(
      secured,
      (frame) => this.#heard(link, frame, name),
      (reason) => this.#closed(link, reason, name),
    )
    const { id, services } = admission.identity
    const key = linkKeyOf(secured.socket)
    const link = { agentId: id, services, chain: secured.chain, channel, source, key }
    this.#greeting.add(link)
    this.#deadlines.after(name, max('handshakeDeadlineMs'), () =>
      channel.close('no hello in time', 'protocol.violation'),
    )
  }

  send(agentId: string, frame: LinkFrame): void {
    this.#links.get(agentId)?.channel.send(frame)
  }

  /** Ends an agent's link on main's word: it was locked, it linked elsewhere, the proxy stops. */
  cut(agentId: string, reason: string): void {
    this.#links.get(agentId)?.channel.close(reason, 'login.locked')
  }

  /** Trust or locks changed, or time passed: each link is judged again, and ends when it would not be admitted now. */
  recheck(): void {
    for (const link of [...this.#links.values(), ...this.#greeting]) {
      const admission = this.#options.admit(link.chain)
      if (!admission.ok) this.#refuse(link, admission.code, admission.reason)
    }
  }

  /** No new sessions through this proxy; agents drop their parked spares and keep the link until it ends. */
  drain(reason: string, deadlineMs: number): void {
    for (const { channel } of this.#links.values())
      channel.send({ type: 'drain', reason, deadlineMs })
  }

  close(): void {
    for (const link of [...this.#links.values(), ...this.#greeting])
      link.channel.close('the proxy stops', 'control.unavailable')
  }

  #judge({ chain, authorized }: Secured): Admission {
    const admission = this.#options.admit(chain)
    if (!admission.ok || authorized) return admission
    // OpenSSL's verdict is not sufficient, but it is necessary.
    return { ok: false, code: 'cert.chain', reason: 'TLS did not accept the certificate.' }
  }

  #channel(
    { socket }: Secured,
    frame: (frame: LinkFrame) => void,
    closed: (reason: string) => void,
  ): LinkChannel {
    const { clock, timers } = this.#options
    return new LinkChannel({ socket, clock, timers, frame, closed })
  }

  #heard(link: Link, frame: LinkFrame, name: string): void {
    if (this.#greeting.has(link)) {
      this.#deadlines.drop(name)
      return this.#greeted(link, frame)
    }
    switch (frame.type) {
      case 'heartbeat':
      case 'drain':
      case 'signal':
      case 'signal-answer':
        return this.#options.report({ kind: 'from-agent', agentId: link.agentId, frame })
      case 'refused':
        return link.channel.close(`the agent ends the link: ${frame.code}: ${frame.text}`)
      case 'hello':
      case 'welcome':
      case 'ping':
      case 'pong':
      case 'want':
      case 'tickets':
      case 'dial-now':
      case 'signed':
        return link.channel.close(`an agent sends no ${frame.type}`, 'protocol.violation')
    }
  }

  #greeted(link: Link, frame: LinkFrame): void {
    const { clock, proxyId, report } = this.#options
    if (frame.type !== 'hello' || frame.agentId !== link.agentId)
      return this.#refuse(link, 'protocol.violation', 'The agent does not introduce itself.')
    if (frame.version !== LINK_VERSION)
      return this.#refuse(link, 'frame.malformed', `This proxy speaks version ${LINK_VERSION}.`)
    const nowMs = clock.now()
    const skew = clockRefusal(nowMs, frame.nowMs)
    if (skew !== undefined) return this.#refuse(link, 'trust.unproven', skew)
    this.#greeting.delete(link)
    const { agentId, channel, key, source } = link
    // Reported down before the new one is up: main must never mistake one for the other.
    const before = this.#links.get(agentId)
    before?.channel.close('a newer link of the same agent', 'protocol.violation')
    this.#links.set(agentId, link)
    channel.send({ type: 'welcome', proxyId, nowMs })
    // A token allowed the services; the agent may offer fewer, not more.
    const services = frame.services.filter((service) => link.services.includes(service))
    const { software } = frame
    report({ kind: 'link-up', agentId, key, services, version: software, source })
  }

  #refuse(link: Link, code: string, reason: string): void {
    const { agentId, source } = link
    this.#options.report({ kind: 'refused-link', agentId, reason: `${code}: ${reason}`, source })
    link.channel.close(reason, code)
  }

  #closed(link: Link, reason: string, name: string): void {
    this.#deadlines.drop(name)
    this.#greeting.delete(link)
    // It was refused before it was up.
    if (this.#links.get(link.agentId) !== link) return
    this.#links.delete(link.agentId)
    this.#options.report({ kind: 'link-down', agentId: link.agentId, reason })
  }
}

function noFrame(): void {}

function noEnd(): void {}
