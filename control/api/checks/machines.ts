// Checks of the calls that agents and proxies make: renewal, inventory, certificates for databases, watches, audit upload,
// session leases. Strict: a key nobody declared is refused.

import * as z from 'zod'

import { max } from '../../../core/limits.ts'
import {
  KB,
  address,
  base64,
  count,
  dbPassword,
  health,
  hex,
  hostCertificate,
  labels,
  list,
  name,
  nothing,
  passwordMethod,
  pem,
  queryCount,
  targetKind,
  text,
  time,
} from './fields.ts'
import type { Checks } from './fields.ts'

const checkpoint = z.strictObject({
  writer: name,
  count,
  head: hex(64),
  timeMs: time,
  signature: base64,
})
const leaseId = z.string().regex(/^[0-9a-f]{32}$/)

const healthCheck = z.strictObject({
  intervalMs: z.int().positive(),
  timeoutMs: z.int().positive(),
  healthyThreshold: z.int().positive(),
  unhealthyThreshold: z.int().positive(),
})
const watchItem = z.strictObject({
  type: z.enum(['snapshot', 'locks', 'beacon', 'inventory']),
  body: z.string(),
  signature: base64,
  payload: z.string().exactOptional(),
})
const dynamicTarget = z.strictObject({
  name: text(512),
  protocol: name,
  labels,
  description: text(4 * KB),
  host: text(512),
  port: z.int().min(0).max(65_535),
  tls: z.strictObject({
    mode: z.enum(['verify-full', 'verify-ca', 'insecure']),
    serverName: text(4 * KB),
    trustSystemRoots: z.boolean(),
    ca: pem.exactOptional(),
  }),
})

export type MachineCalls =
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

export const machines: Pick<Checks, MachineCalls> = {
  renew: {
    request: z.strictObject({ csr: pem, address: address.exactOptional() }),
    reply: z.strictObject(hostCertificate),
  },
  inventory: {
    request: z.strictObject({
      targets: list(
        z.strictObject({
          kind: targetKind,
          name: text(512).min(1),
          protocol: name,
          labels,
          description: text(4 * KB),
        }),
      ),
      selectors: list(
        z.record(text(KB), list(text(KB), 100)).readonly(),
        max('resourceSelectorsMax'),
      ).exactOptional(),
      health: list(z.strictObject({ name: text(512), ...health })).exactOptional(),
      csr: pem.exactOptional(),
      checkpoint: checkpoint.exactOptional(),
      trustedAtMs: count.exactOptional(),
      lockRevision: count.exactOptional(),
      recordingsAtRisk: count.exactOptional(),
    }),
    reply: z.strictObject({
      accepted: list(
        z.strictObject({
          kind: targetKind.exactOptional(),
          name: text(512),
          label: text(63),
          check: healthCheck.exactOptional(),
        }),
      ),
      refused: list(z.strictObject({ name: text(512), reason: text(4 * KB) })),
      dynamic: list(dynamicTarget),
      revision: count,
      locks: watchItem.exactOptional(),
      certificate: text(max('apiBodyBytesMax')).exactOptional(),
    }),
  },
  'certificate-db-client': {
    request: z.strictObject({
      target: text(512).min(1),
      principal: text(KB),
      userCertificate: pem,
      publicKey: base64,
      resource: text(KB).exactOptional(),
    }),
    reply: z.strictObject({
      certificate: pem,
      expiresAtMs: time,
      stored: z
        .strictObject({ password: dbPassword, methods: list(passwordMethod, 3) })
        .exactOptional(),
    }),
  },
  'certificate-ssh-host': {
    request: z.strictObject({ publicKey: base64 }),
    reply: z.strictObject({ certificate: base64, expiresAtMs: time }),
  },
  'certificate-openssh': {
    request: z.strictObject({
      userCertificate: base64,
      target: text(512).min(1),
      principal: name,
      publicKey: base64,
    }),
    reply: z.strictObject({ certificate: base64, expiresAtMs: time }),
  },
  'proxy-self': {
    request: z.strictObject({
      address,
      linkedAgents: list(name, 20_000),
      lockRevision: count.exactOptional(),
      agentLockRevisions: z.record(name, count).readonly().exactOptional(),
      checkpoint: checkpoint.exactOptional(),
      recordingsAtRisk: count.exactOptional(),
    }),
    reply: nothing,
  },
  permit: {
    request: z.strictObject({
      userCertificate: pem.exactOptional(),
      userSshCertificate: base64.exactOptional(),
      target: z.strictObject({ kind: targetKind, name: text(512).min(1) }),
      principal: text(KB).exactOptional(),
    }),
    reply: z.strictObject({ permit: base64, expiresAtMs: time }),
  },
  'ticket-keys': {
    request: nothing,
    reply: z.strictObject({
      keys: list(z.strictObject({ id: count, key: base64, notAfterMs: time })),
    }),
  },
  watch: {
    request: z.strictObject({
      class: z.enum(['agent', 'proxy']),
      revision: queryCount.exactOptional(),
      locks: queryCount.exactOptional(),
      inventory: queryCount.exactOptional(),
    }),
    reply: watchItem,
  },
  'audit-upload': {
    request: z.strictObject({ lines: list(z.string(), max('auditBatchMax')) }),
    reply: z.strictObject({ acknowledged: z.int() }),
  },
  'lease-take': {
    request: z.strictObject({
      user: text(KB).min(1),
      issuer: name,
      decisionId: name,
      max: z.int().positive(),
    }),
    reply: z.strictObject({ lease: leaseId }),
  },
  'lease-keep': {
    request: z.strictObject({
      id: leaseId,
      user: text(KB).min(1).exactOptional(),
      issuer: name.exactOptional(),
    }),
    reply: nothing,
  },
  'lease-release': { request: z.strictObject({ id: leaseId }), reply: nothing },
}
