// What control's API says of databases: resources given to agents, their health, certificates towards them, stored passwords. Part of
// messages.ts, which names all of it; plain types, no logic.

import type { HealthStatus, TargetHealth } from '../../core/health.ts'
import type { TargetKind } from '../../core/identity.ts'
import type { PasswordMethod, StoredPassword } from '../../core/protocol.ts'
import type { Labels } from './messages.ts'

/** Labels of `db` resources an agent would serve: keys together, values of a key or together; `*` and patterns as in roles. */
export type Selector = Readonly<Record<string, readonly string[]>>

/** What of a list of databases, or of nodes, a person asks for. */
export interface DatabasesRequest {
  /** Words, separated by commas or spaces; each must occur in name, description or a label. */
  readonly search?: string
  /** `key=value,key2=value2`; all must be equal. */
  readonly labels?: string
  /** A condition that must be true of a row (core/predicate/query.ts). */
  readonly query?: string
  readonly cursor?: string
  readonly limit?: number
}

/** What an agent found out by connecting to a target. */
export interface HealthReport extends TargetHealth {
  readonly name: string
}

/** A `db` resource that control gives this agent to serve. */
export interface DynamicTarget {
  readonly name: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  readonly description: string
  readonly host: string
  readonly port: number
  readonly tls: {
    readonly mode: 'verify-full' | 'verify-ca' | 'insecure'
    readonly serverName: string
    readonly trustSystemRoots: boolean
    /** PEM; absent: the cluster's `db` CA. */
    readonly ca?: string
  }
}

/** Whether one may expect an answer from a target. `offline`: none of its agents has been heard of lately. */
export interface TargetSummary {
  readonly status: HealthStatus | 'offline'
  /** Why it is not healthy; empty when it is. */
  readonly reason: string
}

/** What one agent says of a target it serves. */
export interface ServerHealth extends TargetHealth {
  readonly agent: string
  readonly online: boolean
}

/** A certificate towards a database, and the password control keeps for its user, if any. */
export interface DbClientCertificate {
  readonly certificate: string
  readonly expiresAtMs: number
  readonly stored?: StoredPassword
}

export interface DbCredentialName {
  readonly database: string
  readonly dbUser: string
}

export interface DbCredentialRequest extends DbCredentialName {
  readonly password: string
  /** Beside `scram`, which is always allowed. */
  readonly methods: readonly PasswordMethod[]
}

/** Who has a stored password; never the password. */
export interface DbCredential extends DbCredentialName {
  readonly methods: readonly PasswordMethod[]
  /** False: the database's name has another owner since; its agents do not get the password. */
  readonly inUse: boolean
  readonly changedAtMs: number
  readonly changedBy: string
}

/** A target with who owns its name and who was turned away. */
export interface TargetStatus extends TargetSummary {
  readonly kind: TargetKind
  readonly name: string
  readonly label: string
  readonly protocol: string
  readonly labels: Readonly<Record<string, string>>
  readonly owner: string
  readonly agents: readonly string[]
  readonly online: boolean
  /** `host:port` of a node without an agent. */
  readonly address?: string
  readonly servers: readonly ServerHealth[]
  readonly refused: readonly {
    readonly agent: string
    readonly atMs: number
    readonly reason: string
  }[]
}

export interface DbClientRequest {
  readonly target: string
  readonly principal: string
  /** The user's certificate for this target, PEM. */
  readonly userCertificate: string
  readonly publicKey: string
  /** The database name the session asks for; when absent the certificate's route, else any the roles offer. */
  readonly resource?: string
}

export interface AnnouncedTarget {
  readonly kind: TargetKind
  readonly name: string
  readonly protocol: string
  readonly labels: Labels
  readonly description: string
}
