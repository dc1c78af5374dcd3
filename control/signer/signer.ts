// The signer's work: opens the keys and answers requests by the templates. Used in process by tests, and by main.ts behind a
// socket. One switch over the requests; every answer is computed at once, so nothing interleaves. Keys stay inside.

import {
  checkpointBody,
  type SignedType,
  signedMessage,
  SNAPSHOT_TYPES,
} from '../../core/cert/signed.ts'
import { sameBytes, type Signer } from '../../core/cert/key.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import { max } from '../../core/limits.ts'
import { readPermitBody } from '../../core/permit.ts'
import type { SignerApi, SnapshotRequest } from './api.ts'
import { type AuthoritySet, openAuthorities, publicAuthorities } from './authority.ts'
import { openKeyFiles } from './keys.ts'
import { type SignerAnswer, signerApi, type SignerRequest } from './protocol.ts'
import { issueSshHost, issueSshOpenssh, issueSshUser } from './ssh-templates.ts'
import {
  issueDbClient,
  issueDbServer,
  issueHost,
  issueTarget,
  issueUser,
  refused,
} from './templates.ts'

export interface SignerOptions {
  /** Keys and CA certificates; made 0700 when it is not there. */
  readonly folder: string
  readonly cluster: string
  readonly passphraseFile?: string
  /** What the file holds, when this process may not read it. */
  readonly passphrase?: Uint8Array
  readonly insecureKeys?: boolean
  readonly clock?: Clock
  /** Tests make the wrapping cheap. */
  readonly scryptLog2?: number
}

/** Opens the authorities (makes them at the first start) and answers in this process. */
export async function openSigner(options: SignerOptions): Promise<SignerApi> {
  const requests = await openRequests(options)
  return signerApi({ ask: async (request) => requests(request), close: async () => {} })
}

/** Answers one request; throws ProxyError for what is refused. */
export type Requests = (request: SignerRequest) => SignerAnswer

export async function openRequests(options: SignerOptions): Promise<Requests> {
  const { folder, cluster, clock = systemClock } = options
  const keys = await openKeyFiles(options)
  const set = await openAuthorities({ keys, folder, cluster, nowMs: clock.now() })
  return (request) => answer(set, request, clock.now())
}

function answer(set: AuthoritySet, request: SignerRequest, nowMs: number): SignerAnswer {
  switch (request.kind) {
    case 'authorities':
      return { kind: 'authorities', authorities: publicAuthorities(set) }
    case 'user':
      return { kind: 'issued', issued: issueUser(set, request, nowMs) }
    case 'host':
      return { kind: 'issued', issued: issueHost(set, request, nowMs) }
    case 'target':
      return { kind: 'issued', issued: issueTarget(set, request, nowMs) }
    case 'db_client':
      return { kind: 'issued', issued: issueDbClient(set, request, nowMs) }
    case 'db_server':
      return { kind: 'issued', issued: issueDbServer(set, request, nowMs) }
    case 'ssh_user':
      return { kind: 'ssh-issued', issued: issueSshUser(set, request, nowMs) }
    case 'ssh_host':
      return { kind: 'ssh-issued', issued: issueSshHost(set, request, nowMs) }
    case 'ssh_openssh':
      return { kind: 'ssh-issued', issued: issueSshOpenssh(set, request, nowMs) }
    case 'sign-snapshot':
      return { kind: 'signature', signature: signSnapshot(set.snapshot, request) }
    case 'sign-permit':
      return { kind: 'signature', signature: signPermit(set.snapshot, request.body, nowMs) }
    case 'sign-checkpoint':
      return { kind: 'signature', signature: signCheckpoint(set.audit, request.body) }
  }
}

function signSnapshot(key: Signer, { type, body }: SnapshotRequest): Uint8Array {
  if (!SNAPSHOT_TYPES.includes(type)) throw refused('there is no such type of signed message')
  if (body.length > max('snapshotBytesMax')) throw refused('the message is too long')
  return signAs(key, type, body)
}

/** The body must be the canonical text of a permit that ends in time, so that the key signs nothing else under this name. */
function signPermit(key: Signer, body: Uint8Array, nowMs: number): Uint8Array {
  const permit = readPermitBody(body)
  if (permit === undefined) throw refused('it is no permit')
  const leftMs = permit.expiresAtMs - nowMs
  if (leftMs <= 0 || leftMs > max('permitTtlMaxMs'))
    throw refused(`a permit lasts at most ${max('permitTtlMaxMs')} ms`)
  return signAs(key, 'permit', body)
}

/** The body must be the canonical text of a checkpoint, so that the audit key signs nothing else. */
function signCheckpoint(key: Signer, body: Uint8Array): Uint8Array {
  if (body.length > max('auditEventBytesMax') || !isCheckpoint(body))
    throw refused('it is no audit checkpoint')
  return signAs(key, 'checkpoint', body)
}

function isCheckpoint(body: Uint8Array): boolean {
  const fields = parse(Buffer.from(body).toString('utf8'))
  if (fields === undefined) return false
  const { writer, count, head, timeMs } = fields
  if (typeof writer !== 'string' || typeof head !== 'string') return false
  if (!isCount(count) || !isCount(timeMs) || !/^[0-9a-f]{64}$/.test(head)) return false
  return writer.isWellFormed() && sameBytes(checkpointBody({ writer, count, head, timeMs }), body)
}

function isCount(value: unknown): value is number {
  return (
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0)
  )
}

function parse(text: string): Partial<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function signAs(key: Signer, type: SignedType, body: Uint8Array): Uint8Array {
  return key.sign(signedMessage(type, body))
}
