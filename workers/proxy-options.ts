// What a proxy's main thread is made of: the composition root (cli/roles/proxy.ts, tests) fills it. Types only.

import type { DialGuard } from '../core/agent-target.ts'
import type { Clock } from '../core/clock.ts'
import type { TargetRef } from '../core/identity.ts'
import type { Logger } from '../core/log.ts'
import type { SocketHandle } from '../core/messages.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { SavedTrust } from '../core/snapshot-keeper.ts'
import type { AuditCheckpoint, LightSnapshot } from '../core/snapshot.ts'
import type { TicketKey } from '../core/tunnel/ticket.ts'
import type { Anchor } from './anchor.ts'
import type { Keeping } from './session-keeping.ts'
import type { ApiReply, Page } from './front.ts'
import type { LeaseControl } from './held-leases.ts'
import type { ProxyProtocol } from './listener.ts'
import type { HostKeys, SshHostKeys } from './trust.ts'

/** What the proxy asks of control; made by the composition root. */
export interface ProxyControl extends LeaseControl {
  /** Signed messages of both classes, from after what is held. Ends or throws when control is away. */
  watch(
    held: { revision: number; lockRevision: number; inventory: number },
    signal: AbortSignal,
  ): AsyncIterable<SignedMessage>
  ticketKeys(): Promise<readonly TicketKey[]>
  report(report: ProxyReport): Promise<void>
  /** A permit (core/permit.ts) for the SSH certificate of a person who came here. */
  sshPermit(wish: SshWish): Promise<Uint8Array>
  /** A certificate of minutes for one login on a server without an agent. */
  openssh(wish: SshWish & { readonly publicKey: Uint8Array }): Promise<Uint8Array>
  /** A browser's call, without any identity of its own. */
  call(method: string, path: string, body: string): Promise<ApiReply>
}

/** Who wants to be which login where. Rejects with `control.unavailable` when control is away. */
export interface SshWish {
  readonly target: TargetRef
  readonly principal: string
  /** The person's SSH certificate, wire bytes. */
  readonly certificate: Uint8Array
}

export type SshControl = Pick<ProxyControl, 'sshPermit' | 'openssh'>

export interface ProxyReport {
  readonly linkedAgents: readonly string[]
  readonly lockRevision: number
  readonly agentLockRevisions: Readonly<Record<string, number>>
  readonly checkpoint?: AuditCheckpoint
}

export interface ProxyOptions extends Keeping {
  readonly proxyId: string
  readonly cluster: string
  /** `host:port` as browsers and clients see it. */
  readonly publicAddress: string
  readonly listen: { readonly host: string; readonly port: number } | SocketHandle
  readonly threads: number
  readonly proxyProtocol: ProxyProtocol
  readonly perSourceMax?: number
  readonly controlAddresses: readonly { readonly host: string; readonly port: number }[]
  readonly host: HostKeys
  /** Absent until control has certified one: then `replaceSshHost`. */
  readonly sshHost?: SshHostKeys
  /** Each snapshot that is believed. */
  readonly onSnapshot?: (snapshot: LightSnapshot) => void
  /** Certificate and key of the HTTP front, PEM. */
  readonly front: HostKeys
  readonly pages: ReadonlyMap<string, Page>
  readonly gateway: readonly { readonly method: string; readonly path: RegExp }[]
  readonly control: ProxyControl
  /** What addresses of servers without an agent must keep clear of. */
  readonly guard: DialGuard
  readonly saved: SavedTrust
  readonly save: (saved: SavedTrust) => void
  readonly anchor: Anchor
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
  readonly clock: Clock
  readonly log: Logger
}
