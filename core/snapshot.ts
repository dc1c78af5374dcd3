// What a thread knows of the cluster: an immutable value, signed by control, verified by whoever uses it.
// Light parts (CAs, roles, locks, configuration) are cloned on change; the inventory of targets is one shared-memory
// base read in place plus deltas (core/inventory.ts). Users, tokens, secrets, ticket keys and heartbeats are never in it.

import type { TargetRef } from './identity.ts'
import { max } from './limits.ts'
import type { Lock, Role } from './policy/role.ts'

/** `agent`: rules, locks, CAs, configuration. `proxy`: plus the inventory. */
export type SnapshotClass = 'agent' | 'proxy'

/** CA certificates by purpose, DER. Ordered: the first signs, all are trusted (rotation overlaps). */
export interface CaSets {
  readonly user: readonly Uint8Array[]
  readonly host: readonly Uint8Array[]
  readonly target: readonly Uint8Array[]
  readonly db: readonly Uint8Array[]
  readonly db_client: readonly Uint8Array[]
}

/** SSH CAs by purpose: public keys as wire blobs. Ordered as `CaSets`. */
export interface SshCaSets {
  /** Certify logins of people. */
  readonly user: readonly Uint8Array[]
  /** Certify host keys of agents, proxies and enrolled servers. */
  readonly host: readonly Uint8Array[]
  /** Certify the sessions of proxies with servers that have no agent. */
  readonly openssh: readonly Uint8Array[]
}

export type RecordingMode = 'node' | 'node-sync' | 'proxy' | 'proxy-sync' | 'off'

/** Cluster-wide configuration that proxies and agents enforce. */
export interface ClusterConfig {
  readonly cluster: string
  readonly recording: RecordingMode
  readonly lockingMode: 'strict' | 'best_effort'
  readonly disconnectExpiredCert: boolean
  readonly clientIdleTimeoutMs?: number
  readonly clientIdleTimeoutMessage?: string
  readonly maxConnectionsMode: 'strict' | 'best_effort'
}

/** The light part as control signs it. */
export interface LightSnapshot {
  /** Monotonic; receivers persist it and never go back. */
  readonly revision: number
  readonly class: SnapshotClass
  readonly issuedAtMs: number
  readonly cas: CaSets
  /** Absent in snapshots of a control that has none yet. */
  readonly ssh?: SshCaSets
  /** SPKI (DER) of the keys that may sign the next snapshots, locks and beacons. */
  readonly signers: readonly Uint8Array[]
  readonly roles: readonly Role[]
  readonly config: ClusterConfig
  /** When `db` resources, stored passwords or health checks changed last: agents then ask control what they serve. */
  readonly targetsRevision?: number
  /** Public addresses (`host:port`) of all proxies; agents dial each, tsh lists each. */
  readonly proxies: readonly { readonly id: string; readonly address: string }[]
}

/** Locks travel ahead of everything, as their own small message with its own revision. */
export interface LockSet {
  readonly revision: number
  readonly locks: readonly Lock[]
  /** Lowest generation still valid, by `user:<issuer>/<name>` or `host:<id>`; absent means 0. */
  readonly generations: Readonly<Record<string, number>>
}

/** Signed each second. Its absence is staleness. */
export interface Beacon {
  readonly snapshotRevision: number
  readonly lockRevision: number
  readonly timeMs: number
  /** Head of control's audit chain: any receiver can later prove a fork or a shortening. */
  readonly checkpoint?: AuditCheckpoint
}

export interface AuditCheckpoint {
  readonly writer: string
  readonly count: number
  /** SHA-256 of the last record, hexadecimal. */
  readonly head: string
  readonly timeMs: number
  /** Ed25519 by the audit key over the canonical JSON of the other fields, base64. */
  readonly signature: string
}

/** A target as the inventory knows it. */
export interface Target {
  readonly ref: TargetRef
  /** Engine id: `postgres`, `mysql`, … for databases. */
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  /** Ids of the agents that may serve it, as control assigned them. */
  readonly agents: readonly string[]
  /** The DNS label it has in server names: its name, or `x-…` when the name is no LDH label. */
  readonly label: string
  /** `host:port` of a server that has no agent: proxies connect to it themselves. */
  readonly address?: string
}

/** The view a thread works with: verified, decoded, with the newest locks. */
export interface Snapshot extends LightSnapshot {
  readonly lockSet: LockSet
  /** Milliseconds since the epoch of the newest beacon, by control's clock; 0 before the first. */
  readonly beaconAtMs: number
}

/** How old what this machine knows is. When its clock was put back beyond the newest beacon nobody can tell: as old as can be. */
export function beaconAgeMs(beaconAtMs: number, nowMs: number): number {
  const ageMs = nowMs - beaconAtMs
  return ageMs < -max('clockSkewRefuseMs') ? Number.POSITIVE_INFINITY : Math.max(0, ageMs)
}
