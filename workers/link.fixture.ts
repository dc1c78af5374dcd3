// A proxy's port and its half of links, an agent's half, over loopback with real TLS. For link.*.test.ts only.

import { randomBytes } from 'node:crypto'
import net from 'node:net'
import type { TestContext } from 'node:test'

import type { Identity, SystemIdentity } from '../core/identity.ts'
import { silentLogger } from '../core/log.ts'
import type { FromProxyWorker } from '../core/messages.ts'
import type { Lock } from '../core/policy/role.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { Signed } from '../core/tunnel/link-frame.ts'
import { LINK_ALPN } from '../core/tunnel/link.ts'
import { readPreface } from '../core/tunnel/spare.ts'
import type { SparePreface } from '../core/tunnel/spare.ts'
import { CLUSTER, systemIdentity, type TestCa } from '../test/fixtures/certificates.ts'
import { atEnd } from '../test/fixtures/files.ts'
import { listen } from '../test/fixtures/net.ts'
import { testSnapshot } from '../test/fixtures/rights.ts'
import { pemPair, testCluster, type TestCluster } from '../test/fixtures/tls.ts'
import { admitHost } from './host-peer.ts'
import { LinkAgent } from './link-agent.ts'
import type { LinkAgentOptions } from './link-agent.ts'
import { LinkProxy } from './link-proxy.ts'
import type { LinkProxyOptions } from './link-proxy.ts'
import type { OpenedSpare } from './link-spares.ts'
import { FakeTimers } from './timers.ts'
import { TlsServer } from './tls.ts'

export const cluster: TestCluster = testCluster()
export const AGENT: SystemIdentity = systemIdentity('agent')
export const PROXY: SystemIdentity = systemIdentity('proxy', {
  id: '7c9e6679-7425-40de-944b-e07fc1f90ae7',
})

export interface ParkedSpare {
  readonly socket: net.Socket
  readonly preface: SparePreface
  /** What the agent said after its preface: nothing, ever. */
  readonly said: () => number
}

export interface ProxyRig {
  readonly port: number
  readonly hub: LinkProxy
  readonly reports: FromProxyWorker[]
  readonly spares: ParkedSpare[]
  readonly timers: FakeTimers
  /** TCP connections of links, newest last. */
  readonly raws: net.Socket[]
  lock: (lock: Lock | undefined) => void
}

export interface ProxyOptions {
  readonly ca?: TestCa
  readonly identity?: Identity
  /** Who it says it is. */
  readonly proxyId?: string
  readonly admit?: LinkProxyOptions['admit']
  /** How far this proxy's clock is ahead. */
  readonly aheadMs?: number
}

/** Trust of both ends, with at most one lock. */
export function trust(lock?: Lock): Snapshot {
  return testSnapshot({
    nowMs: cluster.nowMs,
    cas: { host: [cluster.host.der], user: [cluster.user.der] },
    lockSet: { locks: lock === undefined ? [] : [lock] },
  })
}

export async function proxyRig(t: TestContext, options: ProxyOptions = {}): Promise<ProxyRig> {
  const { ca = cluster.host, identity = PROXY, proxyId = PROXY.id, aheadMs = 0 } = options
  const timers = new FakeTimers()
  timers.clock.jump(cluster.nowMs + aheadMs - timers.clock.now())
  const [reports, spares, raws]: [FromProxyWorker[], ParkedSpare[], net.Socket[]] = [[], [], []]
  let view = trust()
  const hub = new LinkProxy({
    proxyId,
    clock: timers.clock,
    timers,
    log: silentLogger,
    admit:
      options.admit ??
      ((chain) => admitHost(chain, { role: 'agent', purpose: 'client' }, view, Date.now())),
    report: (message) => reports.push(message),
  })
  const tls = new TlsServer(
    { purpose: 'link', alpn: [LINK_ALPN] },
    {
      ...pemPair(ca, identity, cluster.nowMs),
      clientCas: [cluster.host.der],
      trustRevision: 1,
      ticketKeys: randomBytes(48),
    },
  )
  const { port } = await listen(t, (socket) => {
    socket.once('data', (first: Buffer) => {
      const reading = readPreface(first)
      if (reading.verdict === 'preface') {
        let said = first.length - reading.end
        socket.on('data', (chunk: Buffer) => (said += chunk.length))
        spares.push({ socket, preface: reading.preface, said: () => said })
        return
      }
      socket.pause()
      raws.push(socket)
      const source = { address: '127.0.0.1', port: socket.remotePort ?? 0, trusted: true }
      tls.accept(socket, first).then(
        (secured) => hub.accept(secured, source),
        () => {},
      )
    })
  })
  const lock = (value: Lock | undefined): void => {
    view = trust(value)
    hub.recheck()
  }
  return { port, hub, reports, spares, timers, raws, lock }
}

export interface AgentRig {
  readonly link: LinkAgent
  readonly timers: FakeTimers
  readonly opened: OpenedSpare[]
  readonly signed: Signed[]
  /** `up`, or why not. */
  readonly states: string[]
}

export interface AgentOptions extends Partial<LinkAgentOptions> {
  readonly ca?: TestCa
  readonly identity?: Identity
}

export function agentRig(t: TestContext, port: () => number, options: AgentOptions = {}): AgentRig {
  const { ca = cluster.host, identity = AGENT, ...over } = options
  const timers = new FakeTimers()
  timers.clock.jump(cluster.nowMs - timers.clock.now())
  const [opened, signed, states]: [OpenedSpare[], Signed[], string[]] = [[], [], []]
  const host = pemPair(ca, identity, cluster.nowMs)
  const link = new LinkAgent({
    agentId: AGENT.id,
    cluster: CLUSTER,
    software: '0.1.0',
    services: ['db', 'node'],
    clock: timers.clock,
    timers,
    log: silentLogger,
    random: () => 0.5,
    connect: () => net.connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true }),
    host: () => host,
    hostCas: () => [cluster.host.der],
    admit: (chain) => admitHost(chain, { role: 'proxy', purpose: 'server' }, trust(), Date.now()),
    opened: (spare) => opened.push(spare),
    signed: (value) => signed.push(value),
    state: () => ({ unhealthy: [], sessions: 3, snapshotRevision: 4, lockRevision: 5 }),
    signal: () => {},
    changed: (up, reason) => states.push(up ? 'up' : reason),
    ...over,
  })
  atEnd(t, () => link.stop())
  return { link, timers, opened, signed, states }
}
