// What control's API says, as plain types. calls.ts names the request and reply of each call; schema.ts holds the route table.
// No logic, no zod: pages may import it. Binary values are base64, certificates PEM, times milliseconds since the epoch.

import type { ErrorCode } from '../../core/errors.ts'
import type { HealthCheck } from '../../core/health.ts'
import type { TargetKind, Traits } from '../../core/identity.ts'
import type { SessionMode } from '../../core/login.ts'
import type { AuditCheckpoint, SnapshotClass } from '../../core/snapshot.ts'
import type { SshLogin } from './ssh-messages.ts'
import type {
  AnnouncedTarget,
  DynamicTarget,
  HealthReport,
  Selector,
  TargetSummary,
} from './target-messages.ts'

export type {
  Node,
  OpensshRequest,
  SshCertificate,
  SshHostSignRequest,
  SshLogin,
} from './ssh-messages.ts'
export type {
  AnnouncedTarget,
  DatabasesRequest,
  DbClientCertificate,
  DbClientRequest,
  DbCredential,
  DbCredentialName,
  DbCredentialRequest,
  DynamicTarget,
  HealthReport,
  Selector,
  ServerHealth,
  TargetStatus,
  TargetSummary,
} from './target-messages.ts'

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }
export type Labels = Readonly<Record<string, string>>

/** CA certificates by purpose, PEM, and the pins of the host CAs. */
export interface CaBundle {
  readonly user: readonly string[]
  readonly host: readonly string[]
  readonly target: readonly string[]
  readonly db: readonly string[]
  readonly db_client: readonly string[]
  /** `sha256:<hex>` of each host CA's SPKI. */
  readonly pins: readonly string[]
}

export interface ApiError {
  readonly error: {
    readonly code: ErrorCode
    readonly message: string
    readonly next?: string
    readonly decisionId?: string
  }
}

export interface Nothing {}

export interface Ping {
  readonly cluster: string
  readonly version: string
  readonly timeMs: number
  readonly secondFactors: readonly 'otp'[]
}

export interface LoginRequest {
  readonly user: string
  readonly password: string
  readonly otp: string
  /** SPKI, DER, base64. */
  readonly publicKey: string
  /** An SSH public key, wire bytes, base64: asks for an SSH certificate too. */
  readonly sshPublicKey?: string
  readonly ttlMs?: number
}

export interface LoginReply {
  readonly certificate: string
  readonly ssh?: SshLogin
  readonly cas: CaBundle
  readonly cluster: string
  readonly proxies: readonly string[]
  readonly expiresAtMs: number
}

export interface Invite {
  readonly user: string
  readonly cluster: string
  readonly purpose: 'invite' | 'reset'
  readonly otpUri: string
  readonly otpSecret: string
}

export interface InviteAnswer {
  readonly token: string
  readonly password: string
  readonly otp: string
}

export interface JoinRequest {
  readonly token: string
  /** PKCS#10, PEM: proves possession of the key. */
  readonly csr: string
  readonly hostname: string
  readonly role: 'agent' | 'proxy'
  readonly services: readonly string[]
  /** Public address of a proxy, `host:port`. */
  readonly address?: string
}

export interface RenewRequest {
  /** PKCS#10, PEM: the new key. */
  readonly csr: string
  /** Public address of a proxy, `host:port`, as it is now: its host goes into the certificate. */
  readonly address?: string
}

export interface HostCertificate {
  readonly certificate: string
  readonly cas: CaBundle
  /** SPKI (DER, base64) of the keys that sign snapshots. */
  readonly signers: readonly string[]
  readonly proxies: readonly string[]
}

export interface JoinReply extends HostCertificate {
  readonly id: string
  readonly cluster: string
}

export interface Me {
  readonly user: string
  readonly roles: readonly string[]
  readonly traits: Traits
  readonly expiresAtMs: number
  readonly cluster: string
  readonly proxies: readonly string[]
  /** The mode that sessions have now: what was fetched for the other one is to be fetched again. */
  readonly mode: SessionMode
}

export interface Database {
  readonly name: string
  readonly protocol: string
  readonly labels: Labels
  readonly description: string
  readonly online: boolean
  readonly status: TargetSummary['status']
  readonly reason: string
  /** What the roles allow; patterns as they stand (`*`). */
  readonly dbUsers: readonly string[]
  readonly dbNames: readonly string[]
}

export interface DbCertificateRequest {
  readonly service: string
  readonly dbUser?: string
  readonly dbName?: string
  readonly publicKey: string
  readonly ttlMs?: number
}

export interface DbCertificate {
  readonly certificate: string
  /** Who ends the client's TLS: the agent, or a proxy. */
  readonly mode: SessionMode
  /** Relay: the routed name, through whichever proxy. Terminate: what the first proxy is certified as; each has a name of its own. */
  readonly serverName: string
  readonly target: { readonly name: string; readonly protocol: string }
  /** Public addresses. Terminate: those whose proxy is certified for the host in it. */
  readonly proxies: readonly string[]
  /** The only CAs by which that server proves itself. */
  readonly serverCas: readonly string[]
  readonly expiresAtMs: number
}

/** A decision as its subject may see it; `explanation` is for auditors. */
export interface Decision {
  readonly id: string
  readonly timeMs: number
  readonly allowed: boolean
  readonly user: string
  readonly target: string
  readonly reason: string
  readonly next?: string
  readonly explanation?: Json
  readonly text?: string
}

export interface InventoryRequest {
  readonly targets: readonly AnnouncedTarget[]
  readonly selectors?: readonly Selector[]
  readonly health?: readonly HealthReport[]
  /** For a new server certificate of all accepted names. */
  readonly csr?: string
  readonly checkpoint?: AuditCheckpoint
  /** Control's own time in the newest beacon this agent holds everything of; 0: none. No proxy can say it for the agent. */
  readonly trustedAtMs?: number
  /** Newest lock set the agent holds: it is given a newer one, which no proxy can withhold. */
  readonly lockRevision?: number
  readonly recordingsAtRisk?: number
}

export interface InventoryReply {
  /** `check` is absent where an administrator wants none. */
  readonly accepted: readonly {
    /** Absent: `db`. */
    readonly kind?: TargetKind
    readonly name: string
    readonly label: string
    readonly check?: HealthCheck
  }[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
  /** Of the accepted ones, those that the agent's own file does not have. */
  readonly dynamic: readonly DynamicTarget[]
  /** When resources, stored passwords or health checks changed last: what is cached from before is asked for again. */
  readonly revision: number
  readonly locks?: WatchItem
  /** Server certificate chain for all accepted names; absent when none was accepted or no CSR was sent. */
  readonly certificate?: string
}

export interface ShortCertificate {
  readonly certificate: string
  readonly expiresAtMs: number
}

export interface PermitRequest {
  /** Of the person who came to the proxy, PEM; for nodes the SSH one (wire bytes, base64). */
  readonly userCertificate?: string
  readonly userSshCertificate?: string
  readonly target: { readonly kind: TargetKind; readonly name: string }
  /** Database user, login; absent: any that the roles offer. */
  readonly principal?: string
}

export interface PermitReply {
  /** core/permit.ts, base64. */
  readonly permit: string
  readonly expiresAtMs: number
}

export interface ProxySelf {
  readonly address: string
  readonly linkedAgents: readonly string[]
  /** The newest lock set this proxy, and each linked agent, is known to hold. */
  readonly lockRevision?: number
  readonly agentLockRevisions?: Readonly<Record<string, number>>
  /** The newest audit checkpoint it keeps: an anchor that control cannot take back. */
  readonly checkpoint?: AuditCheckpoint
  readonly recordingsAtRisk?: number
}

export interface TicketKeyItem {
  readonly id: number
  readonly key: string
  readonly notAfterMs: number
}

/** One line of a watch. `body` and `signature` as signed; `payload` holds the bytes a signed manifest names (zstd). */
export interface WatchItem {
  readonly type: 'snapshot' | 'locks' | 'beacon' | 'inventory'
  readonly body: string
  readonly signature: string
  readonly payload?: string
}

export interface WatchRequest {
  readonly class: SnapshotClass
  /** Newest snapshot, lock and inventory revisions the caller holds; only what is newer is sent. */
  readonly revision?: number
  readonly locks?: number
  readonly inventory?: number
}

export interface LeaseRequest {
  readonly user: string
  readonly issuer: string
  readonly decisionId: string
  readonly max: number
}

export interface ResourceName {
  readonly kind: string
  readonly name: string
}

export interface ResourceReply {
  readonly document: JsonObject
  readonly warnings: readonly string[]
}

export interface UserRequest {
  readonly name: string
  readonly roles: readonly string[]
  readonly traits: Traits
  readonly ttlMs?: number
}

export interface InviteReply {
  readonly invite: { readonly url: string; readonly token: string; readonly expiresAtMs: number }
  readonly pins: readonly string[]
}

export interface TokenRequest {
  /** `db`, `node`, `proxy`, … */
  readonly roles: readonly string[]
  readonly ttlMs?: number
  readonly name?: string
  /** Names of the targets that agents joined with this token may serve; absent: any free name. */
  readonly targets?: readonly string[]
}

export interface TokenReply {
  readonly token: string
  readonly proxies?: readonly string[]
  readonly pins: readonly string[]
  readonly expiresAtMs: number
}

export interface Status {
  readonly cluster: string
  readonly version: string
  readonly pins: readonly string[]
  readonly authorities: readonly {
    readonly type: string
    readonly protocol: string
    readonly algorithm: string
    readonly storage: string
    readonly rotation: string
    readonly expiresAtMs: number
  }[]
  readonly agents: readonly Member[]
  readonly proxies: readonly Member[]
  /** Ids of members that hold an older snapshot or lock set than control, or have not been heard of. */
  readonly stale: readonly string[]
  readonly insecureKeys: boolean
  readonly audit: { readonly count: number; readonly head: string }
}

export interface Member {
  /** Recordings that it has and control does not have whole. */
  readonly recordingsAtRisk: number
  readonly id: string
  readonly hostname: string
  readonly services: readonly string[]
  readonly address: string
  readonly lastSeenMs: number
  readonly online: boolean
}

export interface SignRequest {
  readonly format: 'db'
  readonly hosts: readonly string[]
  /** Names the database has in Sluice: its pg_ident lines admit certificates for these alone. */
  readonly targets?: readonly string[]
  readonly ttlMs: number
  readonly publicKey: string
}

export interface SignReply {
  readonly certificate: string
  readonly cas: { readonly db: readonly string[]; readonly db_client: readonly string[] }
  /** Lines for pg_ident.conf and pg_hba.conf. */
  readonly pgIdent: readonly string[]
  readonly pgHba: readonly string[]
  readonly expiresAtMs: number
}

export interface AuditQuery {
  readonly fromMs?: number
  readonly toMs?: number
  /** Event names, separated by commas. */
  readonly types?: string
  readonly sid?: string
  readonly limit?: number
  readonly cursor?: string
}
