// Every call of control's API by name, with its request and reply. schema.ts holds the route table for exactly these names.
// Types only: pages may import it.

import type { CaType } from './ca-types.ts'
import type {
  AuditQuery,
  CaBundle,
  Database,
  DatabasesRequest,
  DbCertificate,
  DbCertificateRequest,
  DbClientCertificate,
  DbClientRequest,
  DbCredential,
  DbCredentialName,
  DbCredentialRequest,
  Decision,
  HostCertificate,
  InventoryReply,
  InventoryRequest,
  Invite,
  InviteAnswer,
  InviteReply,
  JoinReply,
  JoinRequest,
  JsonObject,
  LeaseRequest,
  LoginReply,
  LoginRequest,
  Me,
  Node,
  Nothing,
  OpensshRequest,
  PermitReply,
  PermitRequest,
  Ping,
  ProxySelf,
  RenewRequest,
  ResourceName,
  ResourceReply,
  SignReply,
  SignRequest,
  SshCertificate,
  SshHostSignRequest,
  Status,
  TargetStatus,
  TicketKeyItem,
  TokenReply,
  TokenRequest,
  UserRequest,
  WatchItem,
  WatchRequest,
} from './messages.ts'

import type {
  Recording,
  RecordingPiece,
  RecordingPutRequest,
  RecordingQuery,
  RecordingState,
} from './recording-messages.ts'

/** Request and reply of every call, by name. Watches and exports reply with one item per NDJSON line. */
export interface Calls {
  ping: { request: Nothing; reply: Ping }
  cas: { request: Nothing; reply: CaBundle }
  login: { request: LoginRequest; reply: LoginReply }
  'invite-read': { request: { readonly token: string }; reply: Invite }
  'invite-complete': { request: InviteAnswer; reply: { readonly user: string } }
  join: { request: JoinRequest; reply: JoinReply }
  me: { request: Nothing; reply: Me }
  openapi: { request: Nothing; reply: JsonObject }
  databases: {
    request: DatabasesRequest
    reply: { readonly items: readonly Database[]; readonly next?: string }
  }
  nodes: {
    request: DatabasesRequest
    reply: { readonly items: readonly Node[]; readonly next?: string }
  }
  'certificate-db': { request: DbCertificateRequest; reply: DbCertificate }
  decision: { request: { readonly id: string }; reply: Decision }
  renew: { request: RenewRequest; reply: HostCertificate }
  inventory: { request: InventoryRequest; reply: InventoryReply }
  'certificate-db-client': { request: DbClientRequest; reply: DbClientCertificate }
  'certificate-ssh-host': { request: { readonly publicKey: string }; reply: SshCertificate }
  'certificate-openssh': { request: OpensshRequest; reply: SshCertificate }
  'proxy-self': { request: ProxySelf; reply: Nothing }
  permit: { request: PermitRequest; reply: PermitReply }
  'ticket-keys': { request: Nothing; reply: { readonly keys: readonly TicketKeyItem[] } }
  watch: { request: WatchRequest; reply: WatchItem }
  'audit-upload': {
    /** Records of the caller's chain, as they stand in it. */
    request: { readonly lines: readonly string[] }
    reply: { readonly acknowledged: number }
  }
  'recording-state': { request: { readonly sid: string }; reply: RecordingState }
  'recording-put': { request: RecordingPutRequest; reply: RecordingState }
  'lease-take': { request: LeaseRequest; reply: { readonly lease: string } }
  'lease-keep': {
    request: { readonly id: string; readonly issuer?: string; readonly user?: string }
    reply: Nothing
  }
  'lease-release': { request: { readonly id: string }; reply: Nothing }
  'resource-list': {
    request: { readonly kind: string }
    reply: { readonly items: readonly JsonObject[] }
  }
  'resource-get': { request: ResourceName; reply: ResourceReply }
  'resource-create': {
    request: { readonly kind: string; readonly document: JsonObject }
    reply: ResourceReply
  }
  'resource-put': {
    request: ResourceName & { readonly document: JsonObject; readonly force?: boolean }
    reply: ResourceReply
  }
  'resource-delete': { request: ResourceName; reply: Nothing }
  'user-create': { request: UserRequest; reply: InviteReply }
  'user-reset': { request: { readonly name: string; readonly ttlMs?: number }; reply: InviteReply }
  'token-create': { request: TokenRequest; reply: TokenReply }
  status: { request: Nothing; reply: Status }
  targets: { request: Nothing; reply: { readonly items: readonly TargetStatus[] } }
  'db-credential-list': {
    request: Nothing
    reply: { readonly items: readonly DbCredential[] }
  }
  'db-credential-put': { request: DbCredentialRequest; reply: DbCredential }
  'db-credential-delete': { request: DbCredentialName; reply: Nothing }
  'lock-receivers': {
    request: { readonly name: string }
    reply: {
      readonly revision: number
      readonly lacking: readonly { readonly id: string; readonly role: string }[]
    }
  }
  'auth-export': {
    request: { readonly type: CaType }
    reply: { readonly pem: string }
  }
  'auth-sign-ssh-host': { request: SshHostSignRequest; reply: SshCertificate }
  'auth-sign': { request: SignRequest; reply: SignReply }
  'recording-list': {
    request: RecordingQuery
    reply: { readonly items: readonly Recording[]; readonly next?: string }
  }
  'recording-read': { request: { readonly sid: string }; reply: RecordingPiece }
  'audit-list': {
    request: AuditQuery
    reply: { readonly items: readonly JsonObject[]; readonly next?: string }
  }
  'audit-export': { request: Nothing; reply: JsonObject }
  'audit-verify': {
    request: { readonly anchors?: boolean }
    reply: { readonly ok: boolean; readonly records: number; readonly problem?: string }
  }
}

export type CallName = keyof Calls
export type Request<N extends CallName> = Calls[N]['request']
export type Reply<N extends CallName> = Calls[N]['reply']
