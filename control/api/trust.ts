// How a caller knows that it speaks with control: from the certificates control presents, by a pin or by known host CAs, before
// a byte of a request is written. The proxy that carries the bytes is not asked. Never: trust in a name alone.

import { decodeIdentity } from '../../core/cert/identity.ts'
import { keyPin } from '../../core/cert/key.ts'
import { verifyPeer } from '../../core/cert/verify.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { ProxyError } from '../../core/errors.ts'

/**
 * What the caller believes in. `pins`: at first contact, `sha256:<hex>` of a host CA's SPKI. `cas`: afterwards, the host CAs
 * (DER) and the cluster they belong to.
 */
export type ControlTrust =
  | { readonly pins: readonly string[] }
  | { readonly cas: readonly Uint8Array[]; readonly cluster: string }

/** Returns the cluster of the control process behind `chain` (leaf first, then its CA). Throws `trust.unproven` or `cert.*`. */
export function verifyControl(
  chain: readonly Uint8Array[],
  trust: ControlTrust,
  nowMs: number,
): string {
  const known = 'pins' in trust ? pinned(chain, trust.pins) : trust
  const verdict = verifyPeer(
    chain.slice(0, 2),
    { cas: known.cas, purpose: 'server', type: 'system', role: 'control', cluster: known.cluster },
    nowMs,
  )
  if (verdict.ok) return known.cluster
  throw new ProxyError(
    'trust.unproven',
    `The other end could not prove to be control of the cluster: ${verdict.reason}`,
    {
      next: 'If the cluster was rebuilt, log in again with the new --ca-pin that `tctl status` prints.',
    },
  )
}

function pinned(
  chain: readonly Uint8Array[],
  pins: readonly string[],
): { cas: readonly Uint8Array[]; cluster: string } {
  const [leaf, ca] = chain
  if (leaf === undefined || ca === undefined || !pins.includes(safePin(ca)))
    throw new ProxyError('trust.unproven', 'The CA of the cluster does not match the pin.', {
      next: 'Compare the pin with what `tctl status` prints on the control machine; somebody may be in between.',
    })
  // Not yet verified: only decides which cluster the pinned CA must vouch for.
  const identity = decodeIdentity(readCertificate(leaf).extensions.identity ?? new Uint8Array())
  return { cas: [ca], cluster: identity?.cluster ?? '' }
}

/** The pin of a CA certificate; '' for bytes that are none. */
function safePin(ca: Uint8Array): string {
  try {
    return keyPin(readCertificate(ca).spki)
  } catch {
    return ''
  }
}
