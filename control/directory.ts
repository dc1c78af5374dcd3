// What other parts of control read of the state, as plain values: who has which roles, what the roles say, which hosts joined,
// whose a target name is, what is locked. Kept current by control/cache.ts; a handler that wrote waits until its change is seen.

import type { ClusterConfig, LockSet, Snapshot } from '../core/snapshot.ts'
import type { TargetKind, Traits } from '../core/identity.ts'
import type { CompiledRoles } from '../core/policy/compile.ts'
import type { Role } from '../core/policy/role.ts'
import type { CaBundle } from './api/messages.ts'
import type { HostRecord, TargetRecord } from './records.ts'
import type { Authorities } from './signer/api.ts'

export interface UserFacts {
  readonly name: string
  readonly roles: readonly string[]
  readonly traits: Traits
  /** When the user ends; certificates end with it. */
  readonly expiresAtMs?: number
}

/** An administrator's `db` resource: it owns its name. */
export interface DatabaseFacts {
  readonly name: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  readonly description: string
}

export interface Directory {
  readonly roles: readonly Role[]
  readonly compiled: CompiledRoles
  readonly lockSet: LockSet
  readonly config: ClusterConfig
  readonly authorities: Authorities
  /** Life of a login certificate that nobody asked otherwise for. */
  readonly sessionTtlMs: number
  /** CA certificates as PEM, with pins. */
  readonly bundle: CaBundle
  /** What an agent would know, for deciding here. */
  readonly snapshot: Snapshot
  /** By any spelling of the name. */
  user(name: string): UserFacts | undefined
  database(name: string): DatabaseFacts | undefined
  host(id: string): HostRecord | undefined
  hosts(): Iterable<HostRecord>
  target(kind: TargetKind, name: string): TargetRecord | undefined
  targets(): Iterable<TargetRecord>
  /** Resolves when changes up to this revision are seen here. */
  seen(revision: number): Promise<void>
}
