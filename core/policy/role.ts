// A role as the policy engine reads it: plain data, checked and compiled once in control from the YAML resource
// (control/resources/role.ts), carried in signed snapshots, never changed afterwards. Field names follow the resource.

import type { TargetKind } from '../identity.ts'

/** `'*': ['*']` matches everything; values may be globs (`x*`) or regular expressions (`^x$`). Keys AND, values OR. */
export type LabelMatch = Readonly<Record<string, readonly string[]>>

/** What one side (`allow` or `deny`) says about databases. Entries of the lists may be templates: `{{internal.db_users}}`. */
export interface DatabaseRule {
  readonly labels: LabelMatch
  /** Source of a condition on labels and traits (core/predicate); together with `labels` as selection.ts says. */
  readonly labelsExpression?: string
  readonly users: readonly string[]
  readonly names: readonly string[]
}

/** What one side says about nodes. */
export interface NodeRule {
  readonly labels: LabelMatch
  readonly labelsExpression?: string
  readonly logins: readonly string[]
}

/** Administrative rights: verbs on resource kinds, used by control's API. */
export interface ResourceRule {
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  /** Predicate source; a rule with one is not enforced yet and therefore matches nothing when it allows. */
  readonly where?: string
}

export interface RoleOptions {
  readonly maxSessionTtlMs?: number
  readonly clientIdleTimeoutMs?: number
  readonly disconnectExpiredCert?: boolean
  readonly maxConnections?: number
  readonly lock?: 'strict' | 'best_effort'
  /** `record_session.default`. */
  readonly recordSession?: 'strict' | 'best_effort'
  /** Databases' streams of changes, for the users and names the role allows. */
  readonly dbReplication?: boolean
  readonly ssh?: SshOptions
}

/** Options for nodes; what is absent has the default that options.ts knows. */
export interface SshOptions {
  readonly forwardAgent?: boolean
  /** The old option for both directions. */
  readonly portForwarding?: boolean
  /** `ssh_port_forwarding.local.enabled` and `.remote.enabled`. */
  readonly localForwarding?: boolean
  readonly remoteForwarding?: boolean
  readonly x11?: boolean
  readonly fileCopy?: boolean
  readonly maxSessions?: number
  /** `record_session.ssh`: in place of `default`. */
  readonly recordSession?: 'strict' | 'best_effort'
}

/**
 * A field that a role sets and nothing enforces yet; a denial names it.
 * `withholds`: the role grants nothing of `kinds` (the field narrows what this role gives).
 * `demands`: sessions that the role would grant are refused, also when another role grants them (the field is a condition on
 * every session the role matches: a second factor, a recording that must not fail).
 * `refuses`: whoever holds the role gets nothing of `kinds` (the field denies, or binds all of the holder's certificates).
 */
export interface Unenforced {
  readonly field: string
  readonly kinds: readonly UnenforcedKind[]
  readonly effect: 'withholds' | 'demands' | 'refuses'
}

/** `rules`: administrative rights. */
export type UnenforcedKind = TargetKind | 'rules'

export interface Role {
  readonly name: string
  readonly version: string
  readonly options: RoleOptions
  readonly allow: RoleSide
  readonly deny: RoleSide
  readonly unenforced: readonly Unenforced[]
}

export interface RoleSide {
  readonly db?: DatabaseRule
  readonly node?: NodeRule
  readonly rules: readonly ResourceRule[]
}

/** A lock's target: all fields named must match. */
export interface LockTarget {
  readonly user?: string
  readonly role?: string
  /** Reference name of a host's id. Matches agents and proxies. */
  readonly server_id?: string
  readonly db?: string
  /** A node by its name, or by the id of its agent. */
  readonly node?: string
  /** Certificate serial, hexadecimal; the key's SHA-256 (SPKI), hexadecimal. */
  readonly certificate_serial?: string
  readonly key_sha256?: string
  readonly login?: string
  readonly mfa_device?: string
}

export interface Lock {
  readonly name: string
  readonly target: LockTarget
  readonly message?: string
  readonly createdAtMs: number
  readonly expiresAtMs?: number
}
