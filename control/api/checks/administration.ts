// Checks of the administrative calls: resources, users, tokens, status, certificates for databases, audit. Strict: a key nobody
// declared is refused.

import * as z from 'zod'

import { max } from '../../../core/limits.ts'
import { CA_TYPES } from '../ca-types.ts'
import {
  KB,
  base64,
  count,
  dbPassword,
  health,
  inviteToken,
  jsonObject,
  labels,
  list,
  name,
  names,
  nothing,
  passwordMethod,
  pem,
  queryCount,
  targetKind,
  targetStatus,
  text,
  time,
  traits,
  ttlMs,
} from './fields.ts'
import type { Checks } from './fields.ts'

const resourceName = { kind: name, name: text(512).min(1) }
const resourceReply = z.strictObject({ document: jsonObject, warnings: list(text(4 * KB)) })
const inviteReply = z.strictObject({
  invite: z.strictObject({ url: text(KB), token: inviteToken, expiresAtMs: time }),
  pins: list(text(100)),
})

export type ResourceCalls =
  | 'resource-list'
  | 'resource-get'
  | 'resource-create'
  | 'resource-put'
  | 'resource-delete'
  | 'user-create'
  | 'user-reset'
  | 'token-create'

export const resources: Pick<Checks, ResourceCalls> = {
  'resource-list': {
    request: z.strictObject({ kind: name }),
    reply: z.strictObject({ items: list(jsonObject, 100_000) }),
  },
  'resource-get': { request: z.strictObject(resourceName), reply: resourceReply },
  'resource-create': {
    request: z.strictObject({ kind: name, document: jsonObject }),
    reply: resourceReply,
  },
  'resource-put': {
    request: z.strictObject({
      ...resourceName,
      document: jsonObject,
      force: z.boolean().exactOptional(),
    }),
    reply: resourceReply,
  },
  'resource-delete': { request: z.strictObject(resourceName), reply: nothing },
  'user-create': {
    request: z.strictObject({ name: text(KB).min(1), roles: names, traits, ttlMs }),
    reply: inviteReply,
  },
  'user-reset': { request: z.strictObject({ name: text(KB).min(1), ttlMs }), reply: inviteReply },
  'token-create': {
    request: z.strictObject({
      roles: list(name, 32),
      ttlMs,
      name: z
        .string()
        .regex(/^[A-Za-z0-9._-]{16,128}$/)
        .exactOptional(),
      targets: list(text(512)).exactOptional(),
    }),
    reply: z.strictObject({
      token: text(KB),
      proxies: list(text(300)).exactOptional(),
      pins: list(text(100)),
      expiresAtMs: time,
    }),
  },
}

const member = z.strictObject({
  id: name,
  hostname: text(300),
  services: names,
  address: text(300),
  lastSeenMs: time,
  online: z.boolean(),
  recordingsAtRisk: count,
})

const dbCredentialName = { database: text(512).min(1), dbUser: text(KB).min(1) }
const dbCredential = z.strictObject({
  ...dbCredentialName,
  methods: list(passwordMethod, 3),
  inUse: z.boolean(),
  changedAtMs: time,
  changedBy: text(KB),
})

export type OperationCalls =
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

export const operations: Pick<Checks, OperationCalls> = {
  status: {
    request: nothing,
    reply: z.strictObject({
      cluster: text(KB),
      version: text(100),
      pins: list(text(100)),
      authorities: list(
        z.strictObject({
          type: name,
          protocol: name,
          algorithm: name,
          storage: name,
          rotation: name,
          expiresAtMs: time,
        }),
      ),
      agents: list(member, 20_000),
      proxies: list(member),
      stale: list(name, 20_000),
      insecureKeys: z.boolean(),
      audit: z.strictObject({ count, head: text(64) }),
    }),
  },
  targets: {
    request: nothing,
    reply: z.strictObject({
      items: list(
        z.strictObject({
          kind: targetKind,
          name: text(512),
          label: text(63),
          protocol: name,
          labels,
          owner: text(KB),
          agents: names,
          online: z.boolean(),
          address: text(300).exactOptional(),
          status: targetStatus,
          reason: text(4 * KB),
          servers: list(z.strictObject({ agent: name, online: z.boolean(), ...health })),
          refused: list(z.strictObject({ agent: name, atMs: time, reason: text(4 * KB) })),
        }),
        100_000,
      ),
    }),
  },
  'db-credential-list': {
    request: nothing,
    reply: z.strictObject({ items: list(dbCredential, 100_000) }),
  },
  'db-credential-put': {
    request: z.strictObject({
      ...dbCredentialName,
      password: dbPassword.refine((password) => !password.includes('\0'), 'a null byte in it'),
      methods: list(passwordMethod, 3),
    }),
    reply: dbCredential,
  },
  'db-credential-delete': { request: z.strictObject(dbCredentialName), reply: nothing },
  'lock-receivers': {
    request: z.strictObject({ name }),
    reply: z.strictObject({
      revision: count,
      lacking: list(z.strictObject({ id: name, role: name }), 20_000),
    }),
  },
  'auth-export': {
    request: z.strictObject({
      type: z.enum(CA_TYPES),
    }),
    reply: z.strictObject({ pem }),
  },
  'auth-sign-ssh-host': {
    request: z.strictObject({
      hosts: list(text(253).min(1), 64).refine((hosts) => hosts.length > 0, 'at least one host'),
      publicKey: base64,
      ttlMs: z.int().positive(),
    }),
    reply: z.strictObject({ certificate: base64, expiresAtMs: time }),
  },
  'auth-sign': {
    request: z.strictObject({
      format: z.literal('db'),
      hosts: list(text(253).min(1), 64).refine((hosts) => hosts.length > 0, 'at least one host'),
      targets: list(text(512), 64).exactOptional(),
      ttlMs: z.int().positive(),
      publicKey: base64,
    }),
    reply: z.strictObject({
      certificate: pem,
      cas: z.strictObject({ db: list(pem), db_client: list(pem) }),
      pgIdent: list(text(KB)),
      pgHba: list(text(KB)),
      expiresAtMs: time,
    }),
  },
  'audit-list': {
    request: z.strictObject({
      fromMs: queryCount.exactOptional(),
      toMs: queryCount.exactOptional(),
      types: text(4 * KB).exactOptional(),
      sid: text(100).exactOptional(),
      limit: queryCount.max(max('apiPageMax')).exactOptional(),
      cursor: text(KB).exactOptional(),
    }),
    reply: z.strictObject({ items: list(jsonObject), next: text(KB).exactOptional() }),
  },
  'audit-export': { request: nothing, reply: jsonObject },
  'audit-verify': {
    request: z.strictObject({ anchors: z.stringbool().exactOptional() }),
    reply: z.strictObject({
      ok: z.boolean(),
      records: count,
      problem: text(4 * KB).exactOptional(),
    }),
  },
}
