// From the SSH certificate a person proved to hold, or a proxy forwarded, to a peer or a refusal in words: the CA of people's SSH
// certificates alone. Logins, locks, generation and policy come after it (core/login.ts); its own list of logins is a
// bound besides: whoever lets somebody in asks `loginRefusal` too.

import { readSshPeer, type SshPeerReading } from '../core/cert/ssh-identity.ts'
import type { Source } from '../core/messages.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'
import { Networks } from './source.ts'

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
  context: {
    readonly cluster: string
    readonly nowMs: number
    readonly decisionId: string
    /** Where the client connects from. */
    readonly client: Source
  },
): IdentifiedSsh | NotIdentifiedSsh {
  const { cluster, nowMs, decisionId, client } = context
  const cas = snapshot?.ssh?.user ?? []
  const read = within(
    readSshPeer(certificate, { cas, cluster, nowMs, critical: CARRIED_OUT }),
    client,
  )
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

/** The first is checked here, the second is the session's: it runs nothing else. */
const CARRIED_OUT = ['source-address', 'force-command']

/** A certificate for some addresses is none for others, nor where nobody knows the address. */
function within(read: SshPeerReading, { address, trusted }: Source): SshPeerReading {
  const allowed = read.ok ? read.critical['source-address'] : undefined
  if (allowed === undefined) return read
  const here = trusted && networksOf(allowed)?.has(address) === true
  if (here) return read
  return { ok: false, code: 'cert.purpose', reason: 'it is not for the address you connect from' }
}

function networksOf(list: string): Networks | undefined {
  try {
    return new Networks(list.split(','))
  } catch {
    return undefined
  }
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
