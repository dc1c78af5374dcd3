// The name under which a proxy ends TLS for clients: the host of its public address, in its host certificate beside the name of its
// id. Control chooses it and the signer checks it again, by the same rules. Never a name that means another part of the cluster:
// names of targets are of another CA, and control's own name stays control's.

import { KIND_LABELS, SYSTEM_ROLES } from '../identity.ts'
import { ipBytes, ipText, isDnsName, isIpAddress } from './name.ts'

export type PublicName =
  | { readonly kind: 'dns' | 'ip'; readonly name: string; readonly problem?: never }
  | { readonly problem: string }

/** Labels below the cluster that mean something to a verifier, alone or under other labels. */
const RESERVED: ReadonlySet<string> = new Set([...Object.values(KIND_LABELS), ...SYSTEM_ROLES])

/** The host of a public address in the one spelling that certificates carry, or why no certificate can carry it. */
export function publicName(host: string, cluster: string): PublicName {
  if (isIpAddress(host)) return address(ipText(ipBytes(host)))
  const name = host.toLowerCase()
  // Some resolvers read `1.2.3` or `0177.0.0.1` as addresses, so a name never ends in digits alone.
  if (!isDnsName(name) || /(?:^|\.)\d+$/.test(name))
    return { problem: `"${host}" is neither a DNS name nor an address` }
  const inner = name.endsWith(`.${cluster}`) ? name.slice(0, -cluster.length - 1) : ''
  // `proxy.<cluster>` is what people call a proxy, and nobody is known by it.
  const taken = RESERVED.has(inner.split('.').at(-1) ?? '') && inner !== 'proxy'
  if (taken) return { problem: `"${name}" is a name the cluster uses itself` }
  return { kind: 'dns', name }
}

/** The host of `host:port`, without the brackets of an IPv6 address. */
export function hostOfAddress(text: string): string {
  return text.replace(/:\d{1,5}$/, '').replace(/^\[(.*)\]$/, '$1')
}

function address(name: string): PublicName {
  const everywhere = name === '0.0.0.0' || name === ipText(ipBytes('::'))
  return everywhere ? { problem: `"${name}" is no address to dial` } : { kind: 'ip', name }
}
