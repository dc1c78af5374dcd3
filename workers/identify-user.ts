// From the certificate a person showed, or a proxy forwarded, to a peer or a refusal in words: the user CA alone, from the DER, on
// full and on resumed handshakes alike. Route, locks, generation and policy come after it (core/login.ts).

import { auditedIdentity, verifyPeer } from '../core/cert/verify.ts'
import type { Peer, Refusal } from '../core/protocol.ts'
import type { Snapshot } from '../core/snapshot.ts'

export type Identified =
  | {
      readonly peer: Peer
      /** The certificate that was verified, DER. */
      readonly leaf: Uint8Array
      readonly keySha256: string
    }
  | {
      readonly refusal: Refusal
      /** Who it was said to be, and why not, for the audit log. */
      readonly audited: Readonly<Record<string, unknown>>
    }

export interface Shown {
  readonly chain: readonly Uint8Array[]
  /** OpenSSL's verdict, where the certificate was shown in TLS: necessary, never sufficient. */
  readonly authorized: boolean
}

export function identifyUser(
  { chain, authorized }: Shown,
  snapshot: Snapshot | undefined,
  context: {
    readonly cluster: string
    readonly nowMs: number
    readonly decisionId: string
    /** The commands that bring a certificate for what was wanted. */
    readonly login?: string
  },
): Identified {
  const want = {
    cas: snapshot?.cas.user ?? [],
    purpose: 'client',
    type: 'user',
    cluster: context.cluster,
  } as const
  const verified = verifyPeer(chain, want, context.nowMs)
  const [leaf] = chain
  if (verified.ok && authorized && verified.identity.type === 'user' && leaf !== undefined) {
    const { identity, facts, keySha256 } = verified
    return { peer: { identity, facts }, leaf, keySha256 }
  }
  const reason = verified.ok ? 'the certificate was not accepted' : verified.reason
  return {
    audited: { ...auditedIdentity(verified.identity), reason },
    refusal: {
      decisionId: context.decisionId,
      kind: !verified.ok && verified.code === 'cert.expired' ? 'expired' : 'identity',
      reason: chain.length === 0 ? 'no client certificate was presented' : reason,
      next: `Log in again: ${context.login ?? 'tsh login, then tsh db login'}.`,
    },
  }
}
