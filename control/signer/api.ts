// What control may ask of the signer: one method per template, and nothing that signs bytes as they come. The same interface
// in process (`openSigner`, for tests) and over the signer's socket (`connectSigner`). A request outside its template fails
// with `signer.refused`. Private keys never cross this interface.

import type { SnapshotType } from '../../core/cert/signed.ts'
import type { CertificateFacts, SystemIdentity, UserIdentity } from '../../core/identity.ts'
import type { CaSets, SshCaSets } from '../../core/snapshot.ts'

export type CaName = keyof CaSets

/** Keys that certify SSH keys, as their files are called. */
export const SSH_CA_NAMES = ['user_ssh', 'host_ssh', 'openssh'] as const
export type SshCaName = (typeof SSH_CA_NAMES)[number]

/** Public halves of everything the signer holds. Lists are ordered: the first signs, all are trusted. */
export interface Authorities {
  readonly cluster: string
  /** CA certificates, DER. */
  readonly cas: CaSets
  readonly ssh: SshCaSets
  /** SPKI, DER, Ed25519. */
  readonly snapshot: readonly Uint8Array[]
  readonly audit: readonly Uint8Array[]
  /** The key files are in clear: `tctl status` says so. */
  readonly insecureKeys: boolean
}

/** A certificate just signed, with what an audit event tells of it. */
export interface Issued {
  /** DER. */
  readonly certificate: Uint8Array
  readonly ca: CaName
  readonly facts: CertificateFacts
}

/** An SSH certificate just signed. */
export interface SshIssued {
  /** Wire bytes. */
  readonly certificate: Uint8Array
  readonly ca: SshCaName
  readonly facts: CertificateFacts
}

/** clientAuth only, from the user CA. At most userCertTtlMaxMs. */
export interface UserRequest {
  readonly identity: UserIdentity
  /** SPKI, DER. */
  readonly spki: Uint8Array
  readonly ttlMs: number
}

/** From the host CA; named `<id>.<role>.<cluster>`. Agents clientAuth only, proxies and control serverAuth too. */
export interface HostRequest {
  readonly identity: SystemIdentity
  /** PKCS#10, DER: proves the key. */
  readonly csr: Uint8Array
  readonly ttlMs: number
  /** More names, each one label below the cluster. */
  readonly dnsNames?: readonly string[]
  /** Proxies only: the host of its public address, a DNS name or an address (core/cert/public-name.ts). */
  readonly publicHost?: string
  /**
   * Control asks for itself. Only then may the role be `control`, and must be: what a joining process wrote into its
   * request cannot become a control certificate by an oversight in a route.
   */
  readonly self?: boolean
}

/** A name under which an agent serves a target: `*.<label>.<kindLabel>.<cluster>`. */
export interface TargetName {
  readonly label: string
  readonly kindLabel: string
}

/** serverAuth only, from the target CA, for all names an agent owns. Lives as long as a host certificate. */
export interface TargetRequest {
  readonly names: readonly TargetName[]
  /** PKCS#10, DER. */
  readonly csr: Uint8Array
  readonly agentId: string
}

/** clientAuth only, from the db_client CA: CN the principal, OU the target, O the cluster. */
export interface DbClientRequest {
  readonly target: string
  readonly principal: string
  /** SPKI, DER. */
  readonly spki: Uint8Array
  /** At most, and by default, dbClientCertTtlMs. */
  readonly ttlMs?: number
}

/** serverAuth only, from the db CA: what a self-hosted database shows to agents. */
export interface DbServerRequest {
  /** DNS names and addresses; the first is the CN. */
  readonly hosts: readonly string[]
  /** SPKI, DER. */
  readonly spki: Uint8Array
  readonly ttlMs: number
}

/** What a user's SSH certificate permits beside a terminal. */
export interface SshPermits {
  readonly agentForwarding: boolean
  readonly portForwarding: boolean
  readonly x11: boolean
}

/** Of a person, for all nodes of the cluster. As long as an X.509 one. */
export interface SshUserRequest {
  readonly identity: UserIdentity
  /** Blob. */
  readonly publicKey: Uint8Array
  /** None: the certificate gets a principal nobody can have. */
  readonly logins: readonly string[]
  readonly permits: SshPermits
  readonly ttlMs: number
}

/** Of a host's key: an agent, a proxy, or a stock sshd. */
export interface SshHostRequest {
  /** The key id: whose it is. */
  readonly id: string
  readonly publicKey: Uint8Array
  /** DNS names and addresses by which clients call it. */
  readonly hosts: readonly string[]
  readonly ttlMs: number
  /** For an sshd that an administrator looks after: it cannot renew, so it gets longer, and no name of a part of the cluster. */
  readonly enrolled?: boolean
}

/** Of a proxy's session with a server that has no agent. At most, and by default, opensshCertTtlMs. */
export interface SshOpensshRequest {
  /** The key id: on whose behalf. */
  readonly user: string
  readonly publicKey: Uint8Array
  readonly login: string
  readonly permits: SshPermits
  readonly ttlMs?: number
}

export interface SnapshotRequest {
  readonly type: SnapshotType
  readonly body: Uint8Array
}

export interface SignerApi {
  authorities(): Promise<Authorities>
  user(request: UserRequest): Promise<Issued>
  host(request: HostRequest): Promise<Issued>
  target(request: TargetRequest): Promise<Issued>
  dbClient(request: DbClientRequest): Promise<Issued>
  dbServer(request: DbServerRequest): Promise<Issued>
  sshUser(request: SshUserRequest): Promise<SshIssued>
  sshHost(request: SshHostRequest): Promise<SshIssued>
  sshOpenssh(request: SshOpensshRequest): Promise<SshIssued>
  /** Ed25519 by the snapshot key over `sluice:<type>:v1`, a line feed and the body. */
  signSnapshot(request: SnapshotRequest): Promise<Uint8Array>
  /** Ed25519 by the snapshot key; the body is `permitBody(…)` of core/permit.ts, of at most permitTtlMaxMs, and nothing else. */
  signPermit(body: Uint8Array): Promise<Uint8Array>
  /** Ed25519 by the audit key; the body is `checkpointBody(…)` of core/cert/signed.ts, and nothing else. */
  signCheckpoint(body: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}
