// What control and the signer say to each other: one line of JSON per request and answer, each with the request's number;
// bytes are base64. Both directions are read field by field: an unknown kind or a field of the wrong type is an error, never
// a default. No private key has a place in any of these types.

import { checkIdentity } from '../../core/cert/identity.ts'
import { readSshCertificate } from '../../core/cert/ssh.ts'
import { sshFactsOf } from '../../core/cert/ssh-identity.ts'
import { SNAPSHOT_TYPES } from '../../core/cert/signed.ts'
import { factsOf } from '../../core/cert/verify.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { ERROR_CODES, type ErrorCode, errorCode, ProxyError } from '../../core/errors.ts'
import type { SystemIdentity, UserIdentity } from '../../core/identity.ts'
import {
  type Authorities,
  type DbClientRequest,
  type DbServerRequest,
  type HostRequest,
  type Issued,
  type SignerApi,
  type SnapshotRequest,
  SSH_CA_NAMES,
  type SshHostRequest,
  type SshIssued,
  type SshOpensshRequest,
  type SshUserRequest,
  type TargetName,
  type TargetRequest,
  type UserRequest,
} from './api.ts'
import { CA_NAMES } from './authority.ts'
import { type Fields, fieldsOf, Reader } from './fields.ts'
import { readSshHost, readSshOpenssh, readSshUser } from './ssh-requests.ts'

export type SignerRequest =
  | { readonly kind: 'authorities' }
  | ({ readonly kind: 'user' } & UserRequest)
  | ({ readonly kind: 'host' } & HostRequest)
  | ({ readonly kind: 'target' } & TargetRequest)
  | ({ readonly kind: 'db_client' } & DbClientRequest)
  | ({ readonly kind: 'db_server' } & DbServerRequest)
  | ({ readonly kind: 'ssh_user' } & SshUserRequest)
  | ({ readonly kind: 'ssh_host' } & SshHostRequest)
  | ({ readonly kind: 'ssh_openssh' } & SshOpensshRequest)
  | ({ readonly kind: 'sign-snapshot' } & SnapshotRequest)
  | { readonly kind: 'sign-permit'; readonly body: Uint8Array }
  | { readonly kind: 'sign-checkpoint'; readonly body: Uint8Array }

export type SignerAnswer =
  | { readonly kind: 'authorities'; readonly authorities: Authorities }
  | { readonly kind: 'issued'; readonly issued: Issued }
  | { readonly kind: 'ssh-issued'; readonly issued: SshIssued }
  | { readonly kind: 'signature'; readonly signature: Uint8Array }

/** Carries one request to the signer. */
export interface Carrier {
  ask(request: SignerRequest): Promise<SignerAnswer>
  close(): Promise<void>
}

/** The typed API over whatever carries requests. */
export function signerApi(carrier: Carrier): SignerApi {
  const issued = async (request: SignerRequest): Promise<Issued> => {
    const answer = await carrier.ask(request)
    if (answer.kind !== 'issued') throw garbled()
    return answer.issued
  }
  const sshIssued = async (request: SignerRequest): Promise<SshIssued> => {
    const answer = await carrier.ask(request)
    if (answer.kind !== 'ssh-issued') throw garbled()
    return answer.issued
  }
  const signature = async (request: SignerRequest): Promise<Uint8Array> => {
    const answer = await carrier.ask(request)
    if (answer.kind !== 'signature') throw garbled()
    return answer.signature
  }
  return {
    async authorities() {
      const answer = await carrier.ask({ kind: 'authorities' })
      if (answer.kind !== 'authorities') throw garbled()
      return answer.authorities
    },
    user: (request) => issued({ ...request, kind: 'user' }),
    host: (request) => issued({ ...request, kind: 'host' }),
    target: (request) => issued({ ...request, kind: 'target' }),
    dbClient: (request) => issued({ ...request, kind: 'db_client' }),
    dbServer: (request) => issued({ ...request, kind: 'db_server' }),
    sshUser: (request) => sshIssued({ ...request, kind: 'ssh_user' }),
    sshHost: (request) => sshIssued({ ...request, kind: 'ssh_host' }),
    sshOpenssh: (request) => sshIssued({ ...request, kind: 'ssh_openssh' }),
    signSnapshot: (request) => signature({ ...request, kind: 'sign-snapshot' }),
    signPermit: (body) => signature({ kind: 'sign-permit', body }),
    signCheckpoint: (body) => signature({ kind: 'sign-checkpoint', body }),
    close: () => carrier.close(),
  }
}

export function encodeRequest(id: number, request: SignerRequest): string {
  return `${JSON.stringify(plain({ id, request }))}\n`
}

/** Throws `signer.refused` for a line that is no request. */
export function decodeRequest(line: string): {
  readonly id: number
  readonly request: SignerRequest
} {
  const reader = new Reader(parse(line), () => unread('the request cannot be read'))
  return { id: reader.count('id'), request: readRequest(reader.inner('request')) }
}

/** An error of ours keeps its code and sentence; of another only its fact crosses. */
export function encodeAnswer(
  id: number,
  answer: SignerAnswer | { readonly error: unknown },
): string {
  if (!('error' in answer)) return `${JSON.stringify(plain({ id, answer: wireAnswer(answer) }))}\n`
  const { error } = answer
  const code = errorCode(error) ?? 'signer.unavailable'
  const known = error instanceof ProxyError
  const message = known ? error.message : 'The signer failed; its log says why.'
  return `${JSON.stringify({ id, error: { code, message } })}\n`
}

export type DecodedAnswer = { readonly id: number } & (
  | { readonly answer: SignerAnswer }
  | { readonly error: ProxyError }
)

/** Throws `signer.unavailable` for a line that is no answer. */
export function decodeAnswer(line: string): DecodedAnswer {
  const reader = new Reader(parse(line), garbled)
  const id = reader.count('id')
  if (reader.has('error')) return { id, error: readError(reader.inner('error')) }
  return { id, answer: readAnswer(reader.inner('answer')) }
}

function readRequest(reader: Reader): SignerRequest {
  const kind = reader.text('kind')
  switch (kind) {
    case 'authorities':
      return { kind }
    case 'user':
      return {
        kind,
        identity: user(reader),
        spki: reader.bytes('spki'),
        ttlMs: reader.count('ttlMs'),
      }
    case 'host':
      return { kind, ...readHost(reader) }
    case 'target': {
      const names = reader.list('names').map((name) => readTargetName(reader, name))
      return { kind, names, csr: reader.bytes('csr'), agentId: reader.text('agentId') }
    }
    case 'db_client':
      return { kind, ...readDbClient(reader) }
    case 'db_server': {
      const hosts = reader.texts('hosts')
      return { kind, hosts, spki: reader.bytes('spki'), ttlMs: reader.count('ttlMs') }
    }
    case 'ssh_user':
      return { kind, identity: user(reader), ...readSshUser(reader) }
    case 'ssh_host':
      return { kind, ...readSshHost(reader) }
    case 'ssh_openssh':
      return { kind, ...readSshOpenssh(reader) }
    case 'sign-snapshot': {
      const type = SNAPSHOT_TYPES.find((known) => known === reader.text('type'))
      if (type === undefined) throw unread('there is no such type of signed message')
      return { kind, type, body: reader.bytes('body') }
    }
    case 'sign-permit':
    case 'sign-checkpoint':
      return { kind, body: reader.bytes('body') }
    default:
      throw unread('there is no such template')
  }
}

function user(reader: Reader): UserIdentity {
  const identity = checkIdentity(reader.inner('identity').fields)
  if (identity?.type !== 'user') throw unread('the identity is none of a user')
  return identity
}

function system(reader: Reader): SystemIdentity {
  const identity = checkIdentity(reader.inner('identity').fields)
  if (identity?.type !== 'system') throw unread('the identity is none of a process')
  return identity
}

function readHost(reader: Reader): HostRequest {
  return {
    identity: system(reader),
    csr: reader.bytes('csr'),
    ttlMs: reader.count('ttlMs'),
    ...(reader.has('dnsNames') ? { dnsNames: reader.texts('dnsNames') } : {}),
    ...(reader.has('publicHost') ? { publicHost: reader.text('publicHost') } : {}),
    ...(reader.has('self') ? { self: reader.flag('self') } : {}),
  }
}

function readTargetName(reader: Reader, name: unknown): TargetName {
  const inner = reader.of(name)
  return { label: inner.text('label'), kindLabel: inner.text('kindLabel') }
}

function readDbClient(reader: Reader): DbClientRequest {
  return {
    target: reader.text('target'),
    principal: reader.text('principal'),
    spki: reader.bytes('spki'),
    ...(reader.has('ttlMs') ? { ttlMs: reader.count('ttlMs') } : {}),
  }
}

/** Facts are read from the certificate again at the other end: two sources could disagree. */
function wireAnswer(answer: SignerAnswer): unknown {
  if (answer.kind !== 'issued' && answer.kind !== 'ssh-issued') return answer
  const { ca, certificate } = answer.issued
  return { kind: answer.kind, ca, certificate }
}

function readAnswer(reader: Reader): SignerAnswer {
  const kind = reader.text('kind')
  if (kind === 'signature') return { kind, signature: reader.bytes('signature') }
  if (kind === 'authorities')
    return { kind, authorities: readAuthorities(reader.inner('authorities')) }
  if (kind === 'ssh-issued') return { kind, issued: readSshIssued(reader) }
  const ca = CA_NAMES.find((known) => known === reader.text('ca'))
  if (kind !== 'issued' || ca === undefined) throw garbled()
  const certificate = reader.bytes('certificate')
  return { kind, issued: { certificate, ca, facts: factsOf(readCertificate(certificate)) } }
}

function readSshIssued(reader: Reader): SshIssued {
  const ca = SSH_CA_NAMES.find((known) => known === reader.text('ca'))
  if (ca === undefined) throw garbled()
  const certificate = reader.bytes('certificate')
  return { certificate, ca, facts: sshFactsOf(readSshCertificate(certificate)) }
}

function readAuthorities(reader: Reader): Authorities {
  const cas = reader.inner('cas')
  const ssh = reader.inner('ssh')
  return {
    cluster: reader.text('cluster'),
    cas: {
      user: cas.manyBytes('user'),
      host: cas.manyBytes('host'),
      target: cas.manyBytes('target'),
      db: cas.manyBytes('db'),
      db_client: cas.manyBytes('db_client'),
    },
    ssh: {
      user: ssh.manyBytes('user'),
      host: ssh.manyBytes('host'),
      openssh: ssh.manyBytes('openssh'),
    },
    snapshot: reader.manyBytes('snapshot'),
    audit: reader.manyBytes('audit'),
    insecureKeys: reader.flag('insecureKeys'),
  }
}

function readError(reader: Reader): ProxyError {
  const code = reader.text('code')
  return new ProxyError(isCode(code) ? code : 'signer.unavailable', reader.text('message'))
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CODES, code)
}

/** The value with byte arrays as base64. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]))
}

function parse(line: string): Fields {
  try {
    return fieldsOf(JSON.parse(line)) ?? {}
  } catch {
    return {}
  }
}

function unread(why: string): ProxyError {
  return new ProxyError('signer.refused', `The signer refuses: ${why}.`)
}

function garbled(): ProxyError {
  return new ProxyError('signer.unavailable', 'The signer’s answer cannot be read.')
}
