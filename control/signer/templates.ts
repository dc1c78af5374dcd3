// What the signer signs. Each template takes fields, checks every one against its box (cluster, names, usage, lifetime, role)
// and builds the certificate itself; nothing here ever signs a to-be-signed part that somebody else made. Pure but for the
// serial numbers. Whoever asks is control; these checks hold when control is mistaken.

import { encodeIdentity, isPlainText, SYSTEM_ID } from '../../core/cert/identity.ts'
import { keyId, type PublicKey, readPublicKey, sameBytes } from '../../core/cert/key.ts'
import { readCsr } from '../../core/cert/csr.ts'
import {
  ipBytes,
  ipText,
  isDnsName,
  isIpAddress,
  isLabel,
  type Subject,
  subjectAttributes,
} from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { publicName } from '../../core/cert/public-name.ts'
import { factsOf, systemName, usagesOf } from '../../core/cert/verify.ts'
import { buildCertificate, newSerial, readCertificate } from '../../core/cert/x509.ts'
import { ProxyError } from '../../core/errors.ts'
import {
  type Identity,
  KIND_LABELS,
  SYSTEM_ROLES,
  type SystemRole,
  type UserIdentity,
} from '../../core/identity.ts'
import { type LimitName, max } from '../../core/limits.ts'
import type {
  CaName,
  DbClientRequest,
  DbServerRequest,
  HostRequest,
  Issued,
  TargetName,
  TargetRequest,
  UserRequest,
} from './api.ts'
import { type Authority, type AuthoritySet, authoritySpkis } from './authority.ts'

const KIND_LABEL_SET: ReadonlySet<string> = new Set(Object.values(KIND_LABELS))
/** Single labels below the cluster that mean something to a verifier. */
const RESERVED: ReadonlySet<string> = new Set([...KIND_LABEL_SET, ...SYSTEM_ROLES])

export function issueUser(set: AuthoritySet, request: UserRequest, nowMs: number): Issued {
  const { identity, spki, ttlMs } = request
  checkUser(set, identity, nowMs)
  return issue(set, 'user', nowMs, {
    subject: { commonName: identity.name, organization: set.cluster },
    key: readPublicKey(spki),
    ttlMs: within(ttlMs, 'userCertTtlMaxMs'),
    usages: usagesOf(identity),
    identity,
  })
}

/** Who may stand in a user's certificate, of either kind. */
export function checkUser(set: AuthoritySet, identity: UserIdentity, nowMs: number): void {
  if (identity.type !== 'user') throw refused('only people and bots get user certificates')
  if (identity.cluster !== set.cluster) throw refused('the user is of another cluster')
  if ((identity.mfaAtMs ?? 0) > nowMs + max('clockSkewRefuseMs'))
    throw refused('the second factor was proved in the future')
}

export function issueHost(set: AuthoritySet, request: HostRequest, nowMs: number): Issued {
  const { identity, csr, ttlMs, dnsNames = [], publicHost, self = false } = request
  if (identity.type !== 'system')
    throw refused('only processes of the cluster get host certificates')
  if (identity.cluster !== set.cluster) throw refused('the process is of another cluster')
  if ((identity.role === 'control') !== self)
    throw refused('a control certificate is made for control itself, and it gets no other')
  const own = self ? [`control.${set.cluster}`] : []
  for (const name of dnsNames) checkHostName(name, set.cluster)
  const facing = publicNames(identity.role, publicHost, set.cluster)
  return issue(set, 'host', nowMs, {
    subject: { commonName: identity.id, organization: set.cluster },
    key: readCsr(csr),
    ttlMs: within(ttlMs, 'hostCertTtlMs'),
    usages: usagesOf(identity),
    dnsNames: [systemName(identity), ...own, ...dnsNames, ...facing.dnsNames],
    ipAddresses: facing.ipAddresses,
    identity,
  })
}

export function issueTarget(set: AuthoritySet, request: TargetRequest, nowMs: number): Issued {
  const { names, csr, agentId } = request
  if (!SYSTEM_ID.test(agentId)) throw refused('the agent has no id')
  if (names.length === 0 || names.length > max('targetNamesMax'))
    throw refused(`a target certificate has 1 to ${max('targetNamesMax')} names`)
  return issue(set, 'target', nowMs, {
    subject: { commonName: agentId, organization: set.cluster },
    key: readCsr(csr),
    ttlMs: max('hostCertTtlMs'),
    usages: [OID.serverAuth],
    dnsNames: names.map((name) => targetPattern(name, set.cluster)),
  })
}

export function issueDbClient(set: AuthoritySet, request: DbClientRequest, nowMs: number): Issued {
  const { target, principal, spki, ttlMs = max('dbClientCertTtlMs') } = request
  // The database takes the CN for the user's name: a NUL or a control character in it means something else there.
  if (!isPlainText(principal) || !isPlainText(target))
    throw refused('principal and target are plain text')
  return issue(set, 'db_client', nowMs, {
    subject: { commonName: principal, organizationalUnit: target, organization: set.cluster },
    key: readPublicKey(spki),
    ttlMs: within(ttlMs, 'dbClientCertTtlMs'),
    usages: [OID.clientAuth],
  })
}

export function issueDbServer(set: AuthoritySet, request: DbServerRequest, nowMs: number): Issued {
  const { spki, ttlMs } = request
  const hosts = request.hosts.map((host) => host.toLowerCase())
  const [first] = hosts
  if (first === undefined || hosts.length > max('dbServerHostsMax'))
    throw refused(`a database certificate has 1 to ${max('dbServerHostsMax')} hosts`)
  // One spelling each, so that the same address twice is seen.
  const ipAddresses = hosts.filter(isIpAddress).map((host) => ipText(ipBytes(host)))
  const dnsNames = hosts.filter((host) => !isIpAddress(host))
  for (const name of dnsNames) checkDatabaseHost(name, set.cluster)
  return issue(set, 'db', nowMs, {
    subject: { commonName: first, organization: set.cluster },
    key: readPublicKey(spki),
    ttlMs: within(ttlMs, 'dbServerCertTtlMaxMs'),
    usages: [OID.serverAuth],
    dnsNames,
    ipAddresses,
  })
}

interface Leaf {
  readonly subject: Subject
  readonly key: PublicKey
  readonly ttlMs: number
  readonly usages: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly identity?: Identity
}

/**
 * Every leaf of the cluster is built here: never a CA, digitalSignature only, inside the life of its CA. Costs about 5 times
 * the raw signature (150 µs of CPU, on a machine where that takes 30), so logins are bound by password hashing, not by this.
 */
function issue(set: AuthoritySet, ca: CaName, nowMs: number, leaf: Leaf): Issued {
  const authority = set.cas[ca]
  const { key, dnsNames = [], ipAddresses = [], identity } = leaf
  if (authoritySpkis(set).some((spki) => sameBytes(spki, key.spki)))
    throw refused('the key is one of the signer’s own')
  if (new Set([...dnsNames, ...ipAddresses]).size !== dnsNames.length + ipAddresses.length)
    throw refused('a name comes twice')
  const certificate = buildCertificate(
    {
      serial: newSerial(),
      issuer: authority.subject,
      subject: subjectAttributes(leaf.subject),
      notBeforeMs: nowMs - max('notBeforeSkewMs'),
      notAfterMs: lastMoment(authority, nowMs + leaf.ttlMs),
      spki: key.spki,
      extensions: {
        basicConstraints: { ca: false },
        keyUsage: ['digitalSignature'],
        extendedKeyUsage: leaf.usages,
        subjectKeyId: keyId(key),
        authorityKeyId: authority.keyId,
        dnsNames,
        ipAddresses,
        ...(identity === undefined ? {} : { identity: encodeIdentity(identity) }),
        others: [],
      },
    },
    authority.signer,
  )
  return { certificate, ca, facts: factsOf(readCertificate(certificate)) }
}

function lastMoment(authority: Authority, notAfterMs: number): number {
  return Math.min(notAfterMs, authority.notAfterMs)
}

/** Refused, not shortened: who asks for too much has a mistake that should be seen. */
export function within(ttlMs: number, limit: LimitName): number {
  if (!Number.isSafeInteger(ttlMs) || ttlMs < max('certTtlMinMs') || ttlMs > max(limit))
    throw refused(`the lifetime is not within ${max('certTtlMinMs')} and ${max(limit)} ms`)
  return ttlMs
}

/** One label below the cluster: deeper names belong to targets, and a process could pose as one (docs/threats.md). */
function checkHostName(name: string, cluster: string): void {
  const label = name.endsWith(`.${cluster}`) ? name.slice(0, -cluster.length - 1) : ''
  if (!isLabel(label) || RESERVED.has(label))
    throw refused('a host name is one free label below the cluster')
}

/** What a proxy is called by clients whose TLS it ends. Nobody else is called by them. */
function publicNames(
  role: SystemRole,
  host: string | undefined,
  cluster: string,
): { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] } {
  if (host === undefined) return { dnsNames: [], ipAddresses: [] }
  if (role !== 'proxy') throw refused('only a proxy has a public name')
  const found = publicName(host, cluster)
  if (found.problem !== undefined) throw refused(`of a public name: ${found.problem}`)
  const { kind, name } = found
  return kind === 'dns'
    ? { dnsNames: [name], ipAddresses: [] }
    : { dnsNames: [], ipAddresses: [name] }
}

function targetPattern({ label, kindLabel }: TargetName, cluster: string): string {
  if (!isLabel(label)) throw refused('a target label is one LDH label')
  if (!KIND_LABEL_SET.has(kindLabel)) throw refused('a target name is below the label of its kind')
  return `*.${label}.${kindLabel}.${cluster}`
}

/** A database's own name is free, but for the names by which the cluster's parts know each other. */
function checkDatabaseHost(name: string, cluster: string): void {
  if (!isDnsName(name)) throw refused('a database host is a DNS name or an address')
  const inner = name.endsWith(`.${cluster}`) ? name.slice(0, -cluster.length - 1) : ''
  if (name === cluster || RESERVED.has(inner.split('.').at(-1) ?? ''))
    throw refused('a database host is not below a name the cluster uses itself')
}

export function refused(why: string): ProxyError {
  return new ProxyError('signer.refused', `The signer refuses: ${why}.`)
}
