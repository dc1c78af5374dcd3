// An agent's links to the proxies of its cluster, one per public address: started and given up as snapshots name them, judged
// again whenever trust or locks change. What comes over a link is only carried by the proxy; control signed it.

import { randomInt } from 'node:crypto'
import net from 'node:net'

import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { LinkFrame } from '../core/tunnel/link.ts'
import { isHandleOf } from '../core/tunnel/signal.ts'
import { type Admission, admitHost } from './host-peer.ts'
import { LinkAgent } from './link-agent.ts'
import type { OpenedSpare } from './link-spares.ts'
import { systemTimers } from './timers.ts'
import type { TrustFeed } from './trust-feed.ts'
import type { HostKeys } from './trust.ts'

export interface AgentLinksOptions {
  readonly agentId: string
  readonly cluster: string
  readonly version: string
  readonly hostCas: readonly Uint8Array[]
  readonly clock: Clock
  readonly log: Logger
  readonly feed: TrustFeed
  readonly host: () => HostKeys
  readonly sessions: () => number
  /** `kind/name` of targets that do not answer. */
  readonly unhealthy: () => readonly string[]
  readonly opened: (spare: OpenedSpare) => void
  /** A frame about a signal came from the proxy at this address. */
  readonly signalled: (address: string, frame: LinkFrame) => void
  /** A lock keeps this agent from a proxy that may be its only carrier of locks. */
  readonly lockedOut: () => void
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
}

export class AgentLinks {
  readonly #options: AgentLinksOptions
  readonly #links = new Map<string, LinkAgent>()
  readonly #up = new Set<string>()
  /** What was last said in the audit log of who answers at an address. */
  readonly #told = new Map<string, string>()
  #stopped = false

  constructor(options: AgentLinksOptions) {
    this.#options = options
  }

  /** Links that stand. */
  get up(): number {
    return this.#up.size
  }

  /** Keeps a link to each of these addresses and to no other. */
  linkTo(addresses: readonly string[]): void {
    const wanted = new Set(addresses)
    for (const [address, link] of this.#links) {
      if (wanted.has(address)) continue
      link.stop()
      this.#links.delete(address)
      this.#up.delete(address)
      this.#told.delete(address)
    }
    for (const address of wanted)
      if (!this.#links.has(address) && !this.#stopped) this.#start(address)
  }

  /** Trust or locks changed: a proxy that would not be admitted now loses its link. */
  recheck(): void {
    for (const link of this.#links.values()) link.recheck()
  }

  /** Proxies are told now what the next heartbeat would say. */
  tell(): void {
    for (const link of this.#links.values()) link.tell()
  }

  /** Addresses of the linked proxies that may have given this handle. */
  proxiesOf(handle: number): readonly string[] {
    return [...this.#links].flatMap(([address, link]) =>
      link.up && isHandleOf(handle, link.proxyId) ? [address] : [],
    )
  }

  /** False when no link to that proxy stands. */
  send(address: string, frame: LinkFrame): boolean {
    return this.#links.get(address)?.send(frame) ?? false
  }

  drain(deadlineMs: number): void {
    this.#stopped = true
    for (const link of this.#links.values()) link.drain('the agent stops', deadlineMs)
  }

  stop(): void {
    this.#stopped = true
    for (const link of this.#links.values()) link.stop()
  }

  #start(address: string): void {
    const { agentId, cluster, version, clock, log, feed, host, sessions, unhealthy, opened } =
      this.#options
    const link = new LinkAgent({
      agentId,
      cluster,
      software: version,
      services: ['db'],
      clock,
      timers: systemTimers,
      log: log.child({ proxy: address }),
      random: () => randomInt(2 ** 32) / 2 ** 32,
      connect: () => dial(address),
      host,
      hostCas: () => feed.snapshot?.cas.host ?? this.#options.hostCas,
      admit: (chain) => this.#judge(address, chain),
      opened,
      signed: ({ kind, body, signature }, proxyId) =>
        feed.accept({ type: kind, body, signature }, proxyId),
      state: () => ({
        sessions: sessions(),
        unhealthy: unhealthy(),
        snapshotRevision: feed.held.revision,
        lockRevision: feed.held.lockRevision,
      }),
      signal: (frame) => this.#options.signalled(address, frame),
      changed: (up, reason) => this.#changed(address, up, reason),
    })
    this.#links.set(address, link)
    link.start()
  }

  #changed(address: string, up: boolean, reason: string): void {
    const { log } = this.#options
    if (up) {
      this.#up.add(address)
      log.info('linked', { proxy: address })
    } else {
      this.#up.delete(address)
      log.warn('link lost', { proxy: address, reason })
    }
  }

  /** Whether this is a proxy. Who else of the cluster answers in its place is audited, once until it changes. */
  #judge(address: string, chain: readonly Uint8Array[]): Admission {
    const admission = this.#admit(chain)
    const identity = admission.ok ? undefined : admission.identity
    if (admission.ok || identity === undefined) {
      this.#told.delete(address)
      return admission
    }
    const { code, reason } = admission
    if (code === 'login.locked') this.#options.lockedOut()
    const id = identity.type === 'system' ? identity.id : identity.name
    if (this.#told.get(address) === `${id} ${code}`) return admission
    this.#told.set(address, `${id} ${code}`)
    this.#options.audit('link.refused', 'SLL001W', {
      proxy_id: id,
      reason: `${code}: ${reason}`,
      'addr.remote': address,
    })
    return admission
  }

  #admit(chain: readonly Uint8Array[]): Admission {
    const { clock, cluster, hostCas, feed } = this.#options
    const light = feed.snapshot
    const view: Snapshot =
      light === undefined
        ? firstTrust(cluster, hostCas)
        : { ...light, lockSet: feed.lockSet, beaconAtMs: 0 }
    return admitHost(chain, { role: 'proxy', purpose: 'server' }, view, clock.now())
  }
}

function dial(address: string): net.Socket {
  const at = address.lastIndexOf(':')
  const host = address.slice(0, at).replaceAll(/[[\]]/g, '')
  return net.connect({
    host,
    port: Number(address.slice(at + 1)),
    allowHalfOpen: true,
    noDelay: true,
  })
}

/** Before the first snapshot only the host CAs of the join are known, and no locks. */
function firstTrust(cluster: string, hostCas: readonly Uint8Array[]): Snapshot {
  return {
    revision: 0,
    class: 'agent',
    issuedAtMs: 0,
    cas: { user: [], host: hostCas, target: [], db: [], db_client: [] },
    signers: [],
    roles: [],
    config: {
      cluster,
      recording: 'node',
      lockingMode: 'best_effort',
      disconnectExpiredCert: false,
      maxConnectionsMode: 'best_effort',
    },
    proxies: [],
    lockSet: { revision: 0, locks: [], generations: {} },
    beaconAtMs: 0,
  }
}
