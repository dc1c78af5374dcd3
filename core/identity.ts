// Who somebody is, as read from a certificate that was verified. Nothing is parsed out of a subject:
// an identity is one X.509 extension of ours with canonical bytes (core/cert/identity.ts reads and writes it).
// The type never says "trusted": only core/login.ts turns a verified certificate into a right.

/** The parts of Sluice that hold host certificates. `signer` never speaks on a network. */
export const SYSTEM_ROLES = ['control', 'proxy', 'agent'] as const
export type SystemRole = (typeof SYSTEM_ROLES)[number]

/** Target kinds as resources name them. Each has a kind label in server names (`KIND_LABELS`). */
export const TARGET_KINDS = ['db', 'node', 'app', 'kube_cluster', 'windows_desktop'] as const
export type TargetKind = (typeof TARGET_KINDS)[number]

/** The label that stands for a kind in `<ticket>.<target>.<kind>.<cluster>`. */
export const KIND_LABELS: Readonly<Record<TargetKind, string>> = {
  db: 'db',
  node: 'node',
  app: 'app',
  kube_cluster: 'kube',
  windows_desktop: 'desktop',
}

export interface TargetRef {
  readonly kind: TargetKind
  readonly name: string
}

/** The one target a certificate is for. A login certificate has none. */
export interface Route {
  readonly kind: TargetKind
  readonly name: string
  /** Engine id of a database (`postgres`), or the protocol of an app. */
  readonly protocol?: string
  /** Database user, login, … that the certificate was asked for; the session may name no other when set. */
  readonly principal?: string
  /** Database name, … that the certificate was asked for. */
  readonly resource?: string
}

export type Traits = Readonly<Record<string, readonly string[]>>

/** A person or a bot. Unique by (issuer, name): `issuer` is `local` or the name of an auth connector. */
export interface UserIdentity {
  readonly type: 'user'
  readonly kind: 'human' | 'bot'
  readonly issuer: string
  readonly name: string
  readonly cluster: string
  readonly roles: readonly string[]
  readonly traits: Traits
  readonly route?: Route
  /** Raised whenever the user's credentials are reset; a lower one than the lock set demands is refused. */
  readonly generation: number
  /** Milliseconds since the epoch at which a second factor was proved; absent when it was not. */
  readonly mfaAtMs?: number
  /** The session's deadline when this certificate is shorter than the login's (per-session MFA). */
  readonly loginExpiresAtMs?: number
}

/** A proxy, an agent or a control process. */
export interface SystemIdentity {
  readonly type: 'system'
  readonly role: SystemRole
  /** UUID drawn at first join and kept over restarts. */
  readonly id: string
  readonly cluster: string
  /** Services the process runs (`db`, `node`, …), as its token allowed. */
  readonly services: readonly string[]
  /** Rises with each renewal; a copied identity betrays itself by an old one. */
  readonly generation: number
}

export type Identity = UserIdentity | SystemIdentity

/** What is known of the certificate an identity was read from. Dates are milliseconds since the epoch. */
export interface CertificateFacts {
  /** Serial number, lower-case hexadecimal without leading zeros. */
  readonly serial: string
  /** SHA-256 of the DER, lower-case hexadecimal. */
  readonly fingerprint: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}
