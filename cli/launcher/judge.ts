// Whether the launcher starts anything for a request: it reads the certificate itself and believes nothing else of the agent. Of its
// user CA, in time, for this login, with an identity of this cluster, no restriction that is not carried out here, and no lock.

import { hash } from 'node:crypto'

import { decodeIdentity } from '../../core/cert/identity.ts'
import { keySha256 } from '../../core/cert/key.ts'
import {
  judgeSshCertificate,
  readSshCertificate,
  type SshCertificate,
} from '../../core/cert/ssh.ts'
import { ProxyError } from '../../core/errors.ts'
import type { CertificateFacts, UserIdentity } from '../../core/identity.ts'
import type { Snapshot } from '../../core/snapshot.ts'
import { readPublicBlob } from '../../core/ssh/key.ts'
import type { LaunchAsk } from '../../workers/launch-wire.ts'
import { Networks } from '../../workers/source.ts'
import { refusalOf } from './standing.ts'

export interface Judged {
  readonly identity: UserIdentity
  /** The certificate's own command, which stands in for every other. */
  readonly forced: string | undefined
}

const IDENTITY = 'identity@sluice'
const FORCE_COMMAND = 'force-command'
const SOURCE_ADDRESS = 'source-address'
const PERMIT_PTY = 'permit-pty'

/** Throws a sentence for the person when nothing may be started. */
export function judgeAsk(ask: LaunchAsk, snapshot: Snapshot | undefined, nowMs: number): Judged {
  const cas = snapshot?.ssh?.user
  if (snapshot === undefined || cas === undefined)
    throw refusal('The launcher of this machine has not heard from control yet. Try again.')
  const certificate = readSshCertificate(ask.certificate)
  const wanted = {
    kind: 'user',
    cas,
    principal: ask.login,
    critical: [FORCE_COMMAND, SOURCE_ADDRESS],
  } as const
  const wrong = judgeSshCertificate(certificate, wanted, nowMs)
  if (wrong !== undefined)
    throw new ProxyError(wrong.code, `The certificate is not taken: ${wrong.reason}.`)
  checkSource(certificate, ask.client.host)
  const identity = identityOf(certificate)
  const facts = factsOf(certificate)
  const key = keySha256(readPublicBlob(certificate.key).export({ format: 'der', type: 'spki' }))
  const no = refusalOf({ ask, identity, facts, keySha256: key, snapshot, nowMs })
  if (no !== undefined) throw refusal(no)
  return { identity, forced: certificate.critical[FORCE_COMMAND] }
}

/** As sshd: a certificate without the extension is for no terminal. */
export function checkTerminal(ask: LaunchAsk): void {
  if (!Object.hasOwn(readSshCertificate(ask.certificate).extensions, PERMIT_PTY))
    throw refusal('The certificate does not permit a terminal.')
}

/** Addresses and networks, separated by commas. One that cannot be read restricts to nothing. */
function checkSource({ critical }: SshCertificate, host: string): void {
  if (!Object.hasOwn(critical, SOURCE_ADDRESS)) return
  const networks = (critical[SOURCE_ADDRESS] ?? '').split(',')
  if (!new Networks(networks).has(host))
    throw refusal('The certificate is not for clients of this address.')
}

function identityOf({ extensions, keyId }: SshCertificate): UserIdentity {
  const text = Object.hasOwn(extensions, IDENTITY) ? (extensions[IDENTITY] ?? '') : ''
  const bytes = Buffer.from(text, 'base64')
  const identity = bytes.toString('base64') === text ? decodeIdentity(bytes) : undefined
  if (identity?.type !== 'user' || identity.name !== keyId)
    throw new ProxyError('cert.identity', 'The certificate carries no identity of a person.')
  return identity
}

function factsOf({ serial, raw, validAfter, validBefore }: SshCertificate): CertificateFacts {
  return {
    serial: serial.toString(16),
    fingerprint: hash('sha256', raw, 'hex'),
    notBeforeMs: milliseconds(validAfter),
    notAfterMs: milliseconds(validBefore),
  }
}

/** Certificates without an end exist; their moment is the last that a number holds. */
function milliseconds(seconds: bigint): number {
  const ms = seconds * 1000n
  return ms > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(ms)
}

function refusal(sentence: string): ProxyError {
  return new ProxyError('policy.denied', sentence)
}
