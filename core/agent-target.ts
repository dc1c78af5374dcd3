// What an agent serves, as its threads know it, and what it shows to databases.

import type { TargetRef } from './identity.ts'
import type { StoredPassword } from './protocol.ts'

/** What an address that comes from a resource, not from the dialling machine's own file, must keep clear of. */
export interface DialGuard {
  /** Whose `resources_may_dial` says what is allowed: an agent's, or a proxy's. */
  readonly section: 'db_service' | 'proxy_service'
  /** Loopback and link-local networks that this section allows all the same. */
  readonly allowed: readonly string[]
  /** Ports of ours on this machine. */
  readonly ownPorts: readonly number[]
  /** `host:port` of ours elsewhere. */
  readonly ownAddresses: readonly string[]
}

/** What an agent serves: something it connects to, or its own machine. */
export type ServedTarget = AgentTarget | AgentNode

interface Served {
  readonly ref: TargetRef
  readonly label: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
}

/** The agent's own machine. */
export interface AgentNode extends Served {
  readonly host?: undefined
}

type WithoutLabel<T> = T extends ServedTarget ? Omit<T, 'label'> : never

/** What an agent says it could serve: control gives it its label. */
export type AnnouncedTarget = WithoutLabel<ServedTarget>

export function isDialled<T extends Pick<ServedTarget, 'host'>>(
  target: T,
): target is Extract<T, { readonly host: string }> {
  return target.host !== undefined
}

/** One target as an agent's own configuration describes it, or as control gave it from a resource. */
export interface AgentTarget extends Served {
  readonly host: string
  readonly port: number
  /** Absent: the agent's own file names the address. */
  readonly guard?: DialGuard
  readonly tls: {
    readonly mode: 'verify-full' | 'verify-ca' | 'insecure' | 'off'
    readonly serverName: string
    /** PEM; absent: the cluster's `db` CA. */
    readonly ca?: string
    readonly trustSystemRoots: boolean
  }
}

export interface DbClientCertificate {
  /** PEM. */
  readonly certificate: string
  readonly key: string
  /** For a database user whose password control keeps. */
  readonly stored?: StoredPassword
}
