// The route table of control's API: the single source for the server, the clients and the OpenAPI document. A row names
// everything the server must know before a handler runs: who may call, with which right, what is checked, which audit event
// the handler owes. The server does not start when a handler has no row or a row no handler. Never: a route outside this table.

import type * as z from 'zod'

import type { AuditName, Permission, Who } from './permission.ts'
import { CHECKS } from './checks.ts'
import type { Calls, CallName } from './calls.ts'

export interface Row<N extends CallName> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** `:name` segments are taken from the request value of that name. */
  readonly path: string
  readonly who: Who
  readonly permission: Permission
  /** The event each success leaves, or why there is none. */
  readonly audit: AuditName
  /** Whether a second factor must be fresh. `login`: the certificate's own proof is enough. */
  readonly mfa: 'none' | 'login'
  /** NDJSON: the reply is a stream of items. `begun`: it begins with the first of them, or is a refusal. */
  readonly stream?: true | 'begun'
  /** NDJSON: the body is the request's `lines`, which the handler reads and checks itself. */
  readonly lines?: true
  readonly request: z.ZodType<Calls[N]['request']>
  readonly reply: z.ZodType<Calls[N]['reply']>
}

type RowFacts = Omit<Row<CallName>, 'request' | 'reply'>

const NONE = { none: 'reads nothing that is secret' } as const
const OWN = { none: 'reads the caller’s own things' } as const
const QUIET = { none: 'repeated by machines; changes are audited where they act' } as const

const anyone = (method: Method, path: string, audit: AuditName): RowFacts => ({
  method,
  path,
  who: 'anyone',
  permission: 'none',
  audit,
  mfa: 'none',
})
const user = (method: Method, path: string, audit: AuditName): RowFacts => ({
  method,
  path,
  who: 'user',
  permission: 'own',
  audit,
  mfa: 'login',
})
const system = (
  who: 'agent' | 'proxy' | 'system',
  method: Method,
  path: string,
  audit: AuditName,
): RowFacts => ({ method, path, who, permission: 'own', audit, mfa: 'none' })
const admin = (
  method: Method,
  path: string,
  permission: Exclude<Permission, 'none'>,
  audit: AuditName,
): RowFacts => ({ method, path, who: 'admin', permission, audit, mfa: 'login' })

type Method = RowFacts['method']

const FACTS: { readonly [N in CallName]: RowFacts } = {
  ping: anyone('GET', '/v1/ping', NONE),
  cas: anyone('GET', '/v1/cas', NONE),
  login: anyone('POST', '/v1/login', 'user.login'),
  'invite-read': anyone('GET', '/v1/invites/:token', {
    none: 'the token is the secret; its use is audited',
  }),
  'invite-complete': anyone('POST', '/v1/invites/:token', 'user.password_change'),
  join: anyone('POST', '/v1/join', 'instance.join'),

  me: user('GET', '/v1/me', OWN),
  openapi: admin('GET', '/v1/openapi.json', 'own', NONE),
  databases: user('GET', '/v1/databases', OWN),
  nodes: user('GET', '/v1/nodes', OWN),
  'certificate-db': user('POST', '/v1/certificates/db', 'cert.create'),
  decision: admin('GET', '/v1/decisions/:id', 'own', OWN),

  renew: system('system', 'POST', '/v1/renew', 'cert.create'),
  inventory: system('agent', 'PUT', '/v1/inventory', QUIET),
  'certificate-db-client': system('agent', 'POST', '/v1/certificates/db-client', 'cert.create'),
  'certificate-ssh-host': system('system', 'POST', '/v1/certificates/ssh-host', 'cert.create'),
  'certificate-openssh': system('proxy', 'POST', '/v1/certificates/openssh', 'cert.create'),
  'proxy-self': system('proxy', 'PUT', '/v1/proxies/self', QUIET),
  permit: system('proxy', 'POST', '/v1/permits', 'permit.create'),
  'ticket-keys': system('proxy', 'GET', '/v1/ticket-keys', QUIET),
  watch: { ...system('system', 'GET', '/v1/watch', QUIET), stream: true },
  'audit-upload': {
    ...system('system', 'POST', '/v1/audit', { none: 'the records are the audit log' }),
    lines: true,
  },
  'recording-state': system('system', 'GET', '/v1/recordings/:sid/state', QUIET),
  'recording-put': system('system', 'PUT', '/v1/recordings/:sid', {
    none: 'session.upload tells of it when it is whole',
  }),
  'lease-take': system('system', 'POST', '/v1/leases', QUIET),
  'lease-keep': system('system', 'PUT', '/v1/leases/:id', QUIET),
  'lease-release': system('system', 'DELETE', '/v1/leases/:id', QUIET),

  'resource-list': admin('GET', '/v1/resources/:kind', { kind: ':kind', verb: 'list' }, NONE),
  'resource-get': admin('GET', '/v1/resources/:kind/:name', { kind: ':kind', verb: 'read' }, NONE),
  'resource-create': admin(
    'POST',
    '/v1/resources/:kind',
    { kind: ':kind', verb: 'create' },
    'by-kind',
  ),
  'resource-put': admin(
    'PUT',
    '/v1/resources/:kind/:name',
    { kind: ':kind', verb: 'update' },
    'by-kind',
  ),
  'resource-delete': admin(
    'DELETE',
    '/v1/resources/:kind/:name',
    { kind: ':kind', verb: 'delete' },
    'by-kind',
  ),
  'user-create': admin('POST', '/v1/users', { kind: 'user', verb: 'create' }, 'user.create'),
  'user-reset': admin(
    'POST',
    '/v1/users/:name/reset',
    { kind: 'user', verb: 'update' },
    'reset_password_token.create',
  ),
  'token-create': admin(
    'POST',
    '/v1/tokens',
    { kind: 'token', verb: 'create' },
    'join_token.create',
  ),
  status: admin('GET', '/v1/status', { kind: 'cluster_name', verb: 'read' }, NONE),
  targets: admin('GET', '/v1/targets', { kind: 'db', verb: 'list' }, NONE),
  'db-credential-list': admin('GET', '/v1/db-credentials', { kind: 'db', verb: 'list' }, NONE),
  'db-credential-put': admin(
    'PUT',
    '/v1/db-credentials/:database/:dbUser',
    { kind: 'db', verb: 'update' },
    'db.credential.set',
  ),
  'db-credential-delete': admin(
    'DELETE',
    '/v1/db-credentials/:database/:dbUser',
    { kind: 'db', verb: 'update' },
    'db.credential.delete',
  ),
  'lock-receivers': admin('GET', '/v1/locks/:name/receivers', { kind: 'lock', verb: 'read' }, NONE),
  'auth-export': admin(
    'GET',
    '/v1/auth/export',
    { kind: 'cert_authority', verb: 'readnosecrets' },
    NONE,
  ),
  'auth-sign-ssh-host': admin(
    'POST',
    '/v1/auth/sign/ssh-host',
    { kind: 'host_cert', verb: 'create' },
    'cert.create',
  ),
  'auth-sign': admin(
    'POST',
    '/v1/auth/sign',
    { kind: 'database_certificate', verb: 'create' },
    'cert.create',
  ),
  'recording-list': admin('GET', '/v1/recordings', { kind: 'session', verb: 'list' }, NONE),
  'recording-read': {
    ...admin(
      'GET',
      '/v1/recordings/:sid',
      { kind: 'session', verb: 'read' },
      'session.recording.access',
    ),
    stream: 'begun',
  },
  'audit-list': admin('GET', '/v1/audit', { kind: 'event', verb: 'list' }, NONE),
  'audit-export': {
    ...admin('GET', '/v1/audit/export', { kind: 'event', verb: 'list' }, NONE),
    stream: true,
  },
  'audit-verify': admin('GET', '/v1/audit/verify', { kind: 'event', verb: 'read' }, NONE),
}

/** Every call with its row. */
export const ROUTES: { readonly [N in CallName]: Row<N> } = combine()

/** Names of all calls, in the order of the table. */
export const CALL_NAMES: readonly CallName[] = Object.keys(FACTS) as CallName[]

function combine(): { readonly [N in CallName]: Row<N> } {
  const rows = Object.entries(FACTS).map(([name, facts]) => [
    name,
    { ...facts, ...CHECKS[name as CallName] },
  ])
  // Both tables are complete by their types; entries() forgets it.
  return Object.fromEntries(rows) as { readonly [N in CallName]: Row<N> }
}
