// From the SSH certificate a person proved to hold, or a proxy forwarded, to a peer or a refusal in words: the CA of people's SSH
// certificates alone. Logins, locks, generation and policy come after it (core/login.ts); its own list of logins is a
// bound besides: whoever lets somebody in asks `loginRefusal` too.

import { readSshPeer } from '../core/cert/ssh-identity.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'

export interface IdentifiedSsh {
  readonly peer: Peer
  readonly keySha256: string
  /** Wire bytes. */
  readonly certificate: Uint8Array
  /** Logins that the certificate is good for. */
  readonly principals: readonly string[]
}

export interface NotIdentifiedSsh {
  readonly refusal: Refusal
  /** Why not, for the audit log: nothing in a certificate that was refused says who showed it. */
  readonly audited: Readonly<Record<string, unknown>>
}

const LOGIN_AGAIN = 'Log in again: tsh login.'

export function identifySsh(
  certificate: Uint8Array,
  snapshot: Snapshot | undefined,
  context: { readonly cluster: string; readonly nowMs: number; readonly decisionId: string },
): IdentifiedSsh | NotIdentifiedSsh {
  const { cluster, nowMs, decisionId } = context
  const read = readSshPeer(certificate, { cas: snapshot?.ssh?.user ?? [], cluster, nowMs })
  if (read.ok) {
    const { identity, facts, keySha256, principals } = read
    // A copy: it outlives the packet it came in.
    const kept = Uint8Array.from(certificate)
    return { peer: { identity, facts }, keySha256, principals, certificate: kept }
  }
  const { code, reason } = read
  const kind = code === 'cert.expired' ? 'expired' : 'identity'
  const refusal = {
    decisionId,
    kind,
    reason: `the SSH certificate was not accepted: ${reason}`,
    next: LOGIN_AGAIN,
  } as const
  return { refusal, audited: { reason } }
}

/** What stands against a login that the certificate is not good for. */
export function loginRefusal(
  { principals }: IdentifiedSsh,
  login: string,
  decisionId: string,
): Refusal | undefined {
  if (principals.includes(login)) return undefined
  return {
    decisionId,
    kind: 'identity',
    reason: 'the SSH certificate is not good for this login',
    next: LOGIN_AGAIN,
  }
}
