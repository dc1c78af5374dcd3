// What the signer certifies for SSH: logins of people, host keys, and sessions of proxies with servers that have no agent. One checked
// template each, as templates.ts has for X.509: every field is checked against its box here, whatever control thinks of it. No critical
// option is ever set, and no certificate is without principals.

import { randomBytes } from 'node:crypto'

import { isPlainText, SYSTEM_ID } from '../../core/cert/identity.ts'
import { sameBytes } from '../../core/cert/key.ts'
import { isDnsName, isIpAddress } from '../../core/cert/name.ts'
import {
  buildSshCertificate,
  readSshCertificate,
  type SshCertificateKind,
  type SshOptions,
} from '../../core/cert/ssh.ts'
import {
  IDENTITY_EXTENSION,
  identityText,
  spkiOfBlob,
  sshFactsOf,
} from '../../core/cert/ssh-identity.ts'
import { max } from '../../core/limits.ts'
import { isLogin, NO_LOGIN } from '../../core/ssh/principal.ts'
import type {
  SshCaName,
  SshHostRequest,
  SshIssued,
  SshOpensshRequest,
  SshPermits,
  SshUserRequest,
} from './api.ts'
import { type AuthoritySet, authoritySpkis } from './authority.ts'
import { sshCaOf } from './ssh-key.ts'
import { checkUser, refused, within } from './templates.ts'

export function issueSshUser(set: AuthoritySet, request: SshUserRequest, nowMs: number): SshIssued {
  const { identity, publicKey, logins, permits, ttlMs } = request
  checkUser(set, identity, nowMs)
  if (!logins.every(isLogin)) throw refused('a login is one plain word')
  return issue(set, 'user_ssh', nowMs, {
    kind: 'user',
    publicKey,
    keyId: identity.name,
    principals: logins.length === 0 ? [NO_LOGIN] : logins,
    ttlMs: within(ttlMs, 'userCertTtlMaxMs'),
    extensions: { ...permitExtensions(permits), [IDENTITY_EXTENSION]: identityText(identity) },
  })
}

export function issueSshHost(set: AuthoritySet, request: SshHostRequest, nowMs: number): SshIssued {
  const { id, publicKey, hosts, ttlMs, enrolled = false } = request
  if (!isPlainText(id)) throw refused('a host is called by plain text')
  // A star in a host's principal stands for any name to ssh.
  if (!hosts.every((host) => isDnsName(host) || isIpAddress(host)))
    throw refused('the principals of a host are DNS names and addresses')
  if (enrolled && hosts.some((host) => isOwnName(host, set.cluster)))
    throw refused('that name belongs to a part of the cluster')
  return issue(set, 'host_ssh', nowMs, {
    kind: 'host',
    publicKey,
    keyId: id,
    principals: hosts,
    ttlMs: within(ttlMs, enrolled ? 'opensshHostCertTtlMaxMs' : 'hostCertTtlMs'),
    extensions: {},
  })
}

export function issueSshOpenssh(
  set: AuthoritySet,
  request: SshOpensshRequest,
  nowMs: number,
): SshIssued {
  const { user, publicKey, login, permits, ttlMs = max('opensshCertTtlMs') } = request
  if (!isPlainText(user)) throw refused('the user is called by plain text')
  if (!isLogin(login)) throw refused('a login is one plain word')
  return issue(set, 'openssh', nowMs, {
    kind: 'user',
    publicKey,
    keyId: user,
    principals: [login],
    ttlMs: within(ttlMs, 'opensshCertTtlMs'),
    extensions: permitExtensions(permits),
  })
}

/** The cluster's own name, which proxies have, and ids of agents and proxies. */
function isOwnName(host: string, cluster: string): boolean {
  return host === cluster || SYSTEM_ID.test(host.split('.')[0] ?? '')
}

interface SshLeaf {
  readonly kind: SshCertificateKind
  readonly publicKey: Uint8Array
  readonly keyId: string
  readonly principals: readonly string[]
  readonly ttlMs: number
  readonly extensions: SshOptions
}

function issue(set: AuthoritySet, ca: SshCaName, nowMs: number, leaf: SshLeaf): SshIssued {
  const { kind, publicKey, keyId, principals, ttlMs, extensions } = leaf
  const most = max('sshPrincipalsMax')
  if (principals.length === 0 || principals.length > most)
    throw refused(`an SSH certificate has 1 to ${most} principals`)
  if (new Set(principals).size !== principals.length) throw refused('a principal comes twice')
  const spki = spkiOfBlob(publicKey)
  if (authoritySpkis(set).some((own) => sameBytes(own, spki)))
    throw refused('the key is one of the signer’s own')
  const certificate = buildSshCertificate(
    sshCaOf(set.ssh[ca]),
    {
      key: publicKey,
      serial: newSerial(),
      kind,
      keyId,
      principals,
      validAfter: seconds(nowMs - max('notBeforeSkewMs')),
      validBefore: seconds(nowMs + ttlMs),
      critical: {},
      extensions,
    },
    randomBytes(NONCE_BYTES),
  )
  return { certificate, ca, facts: sshFactsOf(readSshCertificate(certificate)) }
}

const NONCE_BYTES = 32

function permitExtensions({ agentForwarding, portForwarding, x11 }: SshPermits): SshOptions {
  return {
    'permit-pty': '',
    ...(agentForwarding ? { 'permit-agent-forwarding': '' } : {}),
    ...(portForwarding ? { 'permit-port-forwarding': '' } : {}),
    ...(x11 ? { 'permit-X11-forwarding': '' } : {}),
  }
}

/** 63 random bits, never 0: it is compared as a number elsewhere, and as signed by some. */
function newSerial(): bigint {
  return (randomBytes(8).readBigUInt64BE() >> 1n) | 1n
}

/** The end is not included, and a certificate must not outlive what was asked: whole seconds, rounded down. */
function seconds(ms: number): bigint {
  return BigInt(Math.floor(ms / 1000))
}
