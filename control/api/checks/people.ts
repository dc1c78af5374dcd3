// Checks of the calls that strangers and people with a certificate make: first contact, login, invites, joining, own databases
// and decisions. Strict: a key nobody declared is refused.

import * as z from 'zod'

import { max } from '../../../core/limits.ts'
import {
  KB,
  address,
  base64,
  caBundle,
  hostCertificate,
  inviteToken,
  json,
  jsonObject,
  labels,
  list,
  name,
  names,
  nothing,
  pem,
  queryCount,
  targetStatus,
  text,
  time,
  traits,
  ttlMs,
} from './fields.ts'
import type { Checks } from './fields.ts'

export const anonymous: Pick<
  Checks,
  'ping' | 'cas' | 'login' | 'invite-read' | 'invite-complete' | 'join'
> = {
  ping: {
    request: nothing,
    reply: z.strictObject({
      cluster: text(KB),
      version: text(100),
      timeMs: time,
      secondFactors: list(z.literal('otp')),
    }),
  },
  cas: { request: nothing, reply: caBundle },
  login: {
    request: z.strictObject({
      // Not `name`: a wrong name is a failed login like any other, not a malformed request.
      user: text(KB).min(1),
      password: text(KB),
      otp: text(100),
      publicKey: base64,
      sshPublicKey: base64.exactOptional(),
      ttlMs,
    }),
    reply: z.strictObject({
      certificate: pem,
      ssh: z
        .strictObject({ certificate: base64, hostCas: list(base64), logins: names })
        .exactOptional(),
      cas: caBundle,
      cluster: text(KB),
      proxies: list(text(300)),
      expiresAtMs: time,
    }),
  },
  'invite-read': {
    request: z.strictObject({ token: inviteToken }),
    reply: z.strictObject({
      user: text(KB),
      cluster: text(KB),
      purpose: z.enum(['invite', 'reset']),
      otpUri: text(KB),
      otpSecret: text(100),
    }),
  },
  'invite-complete': {
    request: z.strictObject({ token: inviteToken, password: text(KB), otp: text(100) }),
    reply: z.strictObject({ user: text(KB) }),
  },
  join: {
    request: z.strictObject({
      token: text(KB).min(1),
      csr: pem,
      hostname: text(300),
      role: z.enum(['agent', 'proxy']),
      services: list(name, 32),
      address: address.exactOptional(),
    }),
    reply: z.strictObject({ id: name, cluster: text(KB), ...hostCertificate }),
  },
}

const sessionMode = z.enum(['relay', 'terminate'])

const page = {
  search: text(KB).exactOptional(),
  labels: text(KB).exactOptional(),
  query: text(max('queryLengthMax')).exactOptional(),
  cursor: text(KB).exactOptional(),
  limit: queryCount.max(max('apiPageMax')).exactOptional(),
}

export const people: Pick<
  Checks,
  'me' | 'openapi' | 'databases' | 'nodes' | 'certificate-db' | 'decision'
> = {
  me: {
    request: nothing,
    reply: z.strictObject({
      user: text(KB),
      roles: names,
      traits,
      expiresAtMs: time,
      cluster: text(KB),
      proxies: list(text(300)),
      mode: sessionMode,
    }),
  },
  openapi: { request: nothing, reply: jsonObject },
  databases: {
    request: z.strictObject(page),
    reply: z.strictObject({
      items: list(
        z.strictObject({
          name: text(512),
          protocol: name,
          labels,
          description: text(4 * KB),
          online: z.boolean(),
          status: targetStatus,
          reason: text(4 * KB),
          dbUsers: list(text(KB)),
          dbNames: list(text(KB)),
        }),
      ),
      next: text(KB).exactOptional(),
    }),
  },
  nodes: {
    request: z.strictObject(page),
    reply: z.strictObject({
      items: list(
        z.strictObject({
          id: text(512),
          name: text(512),
          address: text(512),
          labels,
          logins: names,
          online: z.boolean(),
          subKind: z.enum(['', 'openssh']),
        }),
      ),
      next: text(KB).exactOptional(),
    }),
  },
  'certificate-db': {
    request: z.strictObject({
      service: text(512).min(1),
      dbUser: text(KB).exactOptional(),
      dbName: text(KB).exactOptional(),
      publicKey: base64,
      ttlMs,
    }),
    reply: z.strictObject({
      certificate: pem,
      mode: sessionMode,
      serverName: text(253),
      target: z.strictObject({ name: text(512), protocol: name }),
      proxies: list(text(300)),
      serverCas: list(pem),
      expiresAtMs: time,
    }),
  },
  decision: {
    request: z.strictObject({ id: z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/) }),
    reply: z.strictObject({
      id: name,
      timeMs: time,
      allowed: z.boolean(),
      user: text(KB),
      target: text(KB),
      reason: text(4 * KB),
      next: text(4 * KB).exactOptional(),
      explanation: json.exactOptional(),
      text: text(max('auditEventBytesMax')).exactOptional(),
    }),
  },
}
