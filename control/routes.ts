// Every call of the API with its handler: takes the checked request apart, asks the part of control that knows, gives the reply.
// No rule lives here; the table of rows is control/api/schema.ts.

import { ProxyError } from '../core/errors.ts'
import type { UserIdentity } from '../core/identity.ts'
import { modeInForce } from '../core/login.ts'
import { mayResource } from '../core/policy/rights.ts'
import type { Caller } from './api/caller.ts'
import type { CallContext, Handlers } from './api/handler.ts'
import type { Database, DatabasesRequest, JsonObject } from './api/messages.ts'
import { openApiDocument } from './api/openapi.ts'
import { exportAuthority } from './auth-export.ts'
import type { AuditLog } from './audit.ts'
import type { Base } from './base.ts'
import type { Cache } from './cache.ts'
import type { Certificates } from './certificates.ts'
import type { DbCredentials } from './db-credentials.ts'
import { findDecision } from './decisions.ts'
import type { Documents } from './documents.ts'
import type { Membership } from './join.ts'
import type { Leases } from './leases.ts'
import type { Invites } from './login/invites.ts'
import type { LocalLogin } from './login/local.ts'
import { visibleNodes } from './nodes.ts'
import { pageOf } from './pages.ts'
import type { Permits } from './permits.ts'
import type { Presence } from './presence.ts'
import { recordingHandlers } from './recording-routes.ts'
import type { Recordings } from './recordings.ts'
import type { Snapshots } from './snapshots.ts'
import type { SshCertificates } from './ssh-certificates.ts'
import { clusterStatus, lacking } from './status.ts'
import type { TargetHealths } from './target-health.ts'
import type { Targets } from './targets.ts'
import type { TicketKeys } from './ticket-keys.ts'
import type { Tokens } from './tokens.ts'
import type { Users } from './users.ts'
import { resourceKey } from './records.ts'

export interface RouteParts {
  readonly base: Base
  readonly version: string
  readonly cache: Cache
  readonly audit: AuditLog
  readonly certificates: Certificates
  readonly sshCertificates: SshCertificates
  readonly dbCredentials: DbCredentials
  readonly documents: Documents
  readonly invites: Invites
  readonly leases: Leases
  readonly login: LocalLogin
  readonly membership: Membership
  readonly permits: Permits
  readonly presence: Presence
  readonly recordings: Recordings
  readonly healths: TargetHealths
  readonly snapshots: Snapshots
  readonly targets: Targets
  readonly ticketKeys: TicketKeys
  readonly tokens: Tokens
  readonly users: Users
}

export function makeHandlers(parts: RouteParts): Handlers {
  return {
    ...anonymousHandlers(parts),
    ...personHandlers(parts),
    ...machineHandlers(parts),
    ...resourceHandlers(parts),
    ...operationHandlers(parts),
    ...recordingHandlers(parts.recordings),
  }
}

type Some<N extends keyof Handlers> = Pick<Handlers, N>

function anonymousHandlers({
  base,
  version,
  cache,
  login,
  invites,
  membership,
}: RouteParts): Some<'ping' | 'cas' | 'login' | 'invite-read' | 'invite-complete' | 'join'> {
  return {
    ping: async () => ({
      cluster: base.cluster,
      version,
      timeMs: base.clock.now(),
      secondFactors: ['otp'],
    }),
    cas: async () => cache.bundle,
    login: (request, context) => login.login(request, context),
    'invite-read': ({ token }) => invites.read(token),
    'invite-complete': (request, context) => invites.complete(request, context),
    join: (request, context) => membership.join(request, context),
  }
}

function personHandlers(
  parts: RouteParts,
): Some<'me' | 'openapi' | 'databases' | 'nodes' | 'certificate-db' | 'decision'> {
  const { base, version, cache, certificates, audit, presence } = parts
  return {
    me: async (_request, { caller }) => {
      const { identity, facts } = person(caller)
      return {
        user: identity.name,
        roles: identity.roles,
        traits: identity.traits,
        expiresAtMs: facts.notAfterMs,
        cluster: base.cluster,
        proxies: cache.snapshot.proxies.map((proxy) => proxy.address),
        mode: modeInForce(cache.config),
      }
    },
    openapi: async () => openApiDocument(version),
    databases: async (request, { caller }) =>
      listDatabases(parts, request, person(caller).identity),
    nodes: async (request, { caller }) => {
      const isOnline = (agent: string): boolean => presence.isOnline(agent)
      const nodes = visibleNodes(cache, person(caller).identity, isOnline)
      return pageOf(nodes, request, ({ address }) => ({ kind: 'node', address }))
    },
    'certificate-db': (request, context) =>
      certificates.database(request, person(context.caller), context),
    decision: ({ id }, { caller }) => {
      const auditor =
        caller.kind === 'local' ||
        mayResource(person(caller).identity, cache.compiled, 'event', 'read')
      return findDecision(audit, id, auditor ? 'auditor' : { name: person(caller).identity.name })
    },
  }
}

type MachineCalls =
  | 'renew'
  | 'inventory'
  | 'certificate-db-client'
  | 'certificate-ssh-host'
  | 'certificate-openssh'
  | 'proxy-self'
  | 'permit'
  | 'ticket-keys'
  | 'watch'
  | 'audit-upload'
  | 'lease-take'
  | 'lease-keep'
  | 'lease-release'

function machineHandlers(parts: RouteParts): Some<MachineCalls> {
  const { membership, targets, certificates, ticketKeys, snapshots, audit, leases, presence } =
    parts
  return {
    renew: (request, context) => membership.renew(request, member(context), context),
    inventory: async (request, context) => {
      const caller = member(context)
      await membership.confirm(caller)
      const { checkpoint, trustedAtMs, recordingsAtRisk } = request
      presence.heard(caller.identity.id, {
        ...(checkpoint === undefined ? {} : { checkpoint }),
        ...(trustedAtMs === undefined ? {} : { trustedAtMs }),
        ...(recordingsAtRisk === undefined ? {} : { recordingsAtRisk }),
      })
      const reply = await targets.announce(request, caller, context)
      const locks = snapshots.locksAfter(request.lockRevision)
      return locks === undefined ? reply : { ...reply, locks }
    },
    'certificate-db-client': (request, context) => certificates.dbClient(request, context),
    'certificate-ssh-host': ({ publicKey }, context) =>
      parts.sshCertificates.host(publicKey, context),
    'certificate-openssh': (request, context) => parts.sshCertificates.openssh(request, context),
    'proxy-self': async (request, context) => {
      await membership.proxySelf(request, member(context), context.source.address)
      return {}
    },
    permit: (request, context) => parts.permits.give(request, context),
    'ticket-keys': async () => ({
      keys: ticketKeys.keys.map(({ id, key, notAfterMs }) => ({
        id,
        key: Buffer.from(key).toString('base64'),
        notAfterMs,
      })),
    }),
    watch: (request, context) => {
      if (request.class === 'proxy' && member(context).identity.role !== 'proxy')
        throw new ProxyError('policy.denied', 'Only proxies get the inventory.', { side: 'client' })
      return snapshots.watch(request, context.signal)
    },
    'audit-upload': async ({ lines }, context) => ({
      acknowledged: await audit.ingest(member(context).identity, lines),
    }),
    'lease-take': async (request, context) => ({
      lease: leases.take({ ...request, owner: member(context).identity.id }),
    }),
    'lease-keep': async ({ id, issuer, user }, context) => {
      const holder = issuer === undefined || user === undefined ? undefined : { issuer, user }
      leases.keep(id, member(context).identity.id, holder)
      return {}
    },
    'lease-release': async ({ id }, context) => {
      leases.release(id, member(context).identity.id)
      return {}
    },
  }
}

type ResourceCalls =
  | 'resource-list'
  | 'resource-get'
  | 'resource-create'
  | 'resource-put'
  | 'resource-delete'
  | 'user-create'
  | 'user-reset'
  | 'token-create'

function resourceHandlers({
  documents,
  users,
  tokens,
  snapshots,
}: RouteParts): Some<ResourceCalls> {
  return {
    'resource-list': async ({ kind }) => ({ items: documents.list(kind) }),
    'resource-get': async ({ kind, name }) => documents.get(kind, name),
    'resource-create': async ({ kind, document }, context) => {
      const reply = await documents.create(kind, document, context)
      await snapshots.locksOut()
      return reply
    },
    'resource-put': async ({ kind, name, document, force = false }, context) => {
      const reply = await documents.put(kind, name, document, force, context)
      await snapshots.locksOut()
      return reply
    },
    'resource-delete': async ({ kind, name }, context) => {
      await documents.delete(kind, name, context)
      await snapshots.locksOut()
      return {}
    },
    'user-create': (request, context) => users.create(request, context),
    'user-reset': async ({ name, ttlMs }, context) => {
      const reply = await users.reset(name, ttlMs, context)
      await snapshots.locksOut()
      return reply
    },
    'token-create': (request, context) => tokens.create(request, context),
  }
}

type OperationCalls =
  | 'status'
  | 'targets'
  | 'db-credential-list'
  | 'db-credential-put'
  | 'db-credential-delete'
  | 'lock-receivers'
  | 'auth-export'
  | 'auth-sign'
  | 'auth-sign-ssh-host'
  | 'audit-list'
  | 'audit-export'
  | 'audit-verify'

function operationHandlers(parts: RouteParts): Some<OperationCalls> {
  const { base, cache, audit, targets, certificates, dbCredentials, presence, snapshots, version } =
    parts
  return {
    status: async () =>
      clusterStatus({
        cluster: base.cluster,
        version,
        cache,
        presence,
        audit,
        lockRevision: () => snapshots.published.locks,
      }),
    targets: async () => ({ items: targets.list() }),
    'db-credential-list': async () => ({ items: await dbCredentials.list() }),
    'db-credential-put': (request, context) => dbCredentials.put(request, context),
    'db-credential-delete': async ({ database, dbUser }, context) => {
      await dbCredentials.delete(database, dbUser, context)
      return {}
    },
    'lock-receivers': async ({ name }) => {
      const item = await base.store.get(resourceKey('lock', name))
      if (item === undefined)
        throw new ProxyError('resource.not-found', `There is no lock "${name}".`, {
          side: 'client',
        })
      return { revision: item.revision, lacking: lacking(parts, item.revision) }
    },
    'auth-export': async ({ type }) => ({ pem: exportAuthority(cache.authorities, type) }),
    'auth-sign-ssh-host': (request, context) => parts.sshCertificates.enrol(request, context),
    'auth-sign': (request, context) => certificates.sign(request, context),
    'audit-list': async ({ types, ...query }) => {
      const names =
        types === undefined ? {} : { types: types.split(',').map((each) => each.trim()) }
      const { items, next } = await audit.query({ ...query, ...names })
      // Records were read from JSON: no member is undefined, which their type allows.
      const plain = items as readonly JsonObject[]
      return next === undefined ? { items: plain } : { items: plain, next }
    },
    'audit-export': () => exportLines(audit),
    'audit-verify': async ({ anchors = false }) => {
      const { ok, records, problem } = await audit.verify(
        anchors ? { anchors: presence.anchors() } : {},
      )
      return { ok, records, ...(problem === undefined ? {} : { problem }) }
    },
  }
}

/** The log's own lines as objects. */
async function* exportLines(audit: AuditLog): AsyncGenerator<JsonObject, undefined> {
  let rest = Buffer.alloc(0)
  for await (const chunk of audit.export()) {
    let bytes = Buffer.concat([rest, chunk])
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10)) {
      // Whole records of our own writing.
      if (at > 0) yield JSON.parse(bytes.toString('utf8', 0, at)) as JsonObject
      bytes = bytes.subarray(at + 1)
    }
    rest = Buffer.from(bytes)
  }
}

function listDatabases(
  { certificates, presence, healths }: RouteParts,
  request: DatabasesRequest,
  identity: UserIdentity,
): { items: readonly Database[]; next?: string } {
  const page = pageOf(certificates.visible(identity), request, ({ description, protocol }) => ({
    kind: 'db',
    description,
    protocol,
  }))
  const items = page.items.map(({ agents, ...row }) => {
    const online = agents.some((agent) => presence.isOnline(agent))
    return { ...row, online, ...healths.summary({ name: row.name, agents }) }
  })
  return { ...page, items }
}

/** The table let only people in; what else comes is our own defect. */
function person(caller: Caller): Extract<Caller, { kind: 'user' }> {
  if (caller.kind === 'user') return caller
  throw new ProxyError('policy.denied', 'This call is for people.', { side: 'client' })
}

function member({ caller }: CallContext): Extract<Caller, { kind: 'system' }> {
  if (caller.kind === 'system') return caller
  throw new ProxyError('policy.denied', 'This call is for agents and proxies.', { side: 'client' })
}
