// Under which public name a proxy's host certificate lets it end TLS for clients: the host of the address it reports. What a proxy
// reports proves nothing, so a name is whose it was first: proxies of one token share names, as agents share targets, anybody else
// is refused and shown; a token that lists the name admits its bearer whoever came before. A proxy that claims a name elsewhere in
// the world gets it, and gains nothing: only who was told by control to dial that name trusts our host CA for it.

import { hostOfAddress, publicName } from '../core/cert/public-name.ts'
import type { Auditor } from './issue.ts'
import type { HostRecord } from './records.ts'

type Hosts = () => Iterable<HostRecord>

export class PublicNames {
  readonly #cluster: string
  readonly #hosts: Hosts
  /** Names of joins and renewals under way, by claimant, so that of two at once one is first. */
  readonly #claimed = new Map<HostRecord, string>()

  constructor(cluster: string, hosts: Hosts) {
    this.#cluster = cluster
    this.#hosts = hosts
  }

  /** Runs `work` with the record as it should be certified; until that ends nobody else gets its name. */
  async naming<T>(
    record: HostRecord,
    by: Auditor,
    work: (named: HostRecord) => Promise<T>,
  ): Promise<T> {
    const { publicName: _before, ...plain } = record
    if (record.role !== 'proxy' || record.address === undefined) return await work(plain)
    const host = hostOfAddress(record.address)
    const claim = this.#judge(record, host)
    if ('reason' in claim) {
      await by.audit('target.claim_refused', 'SLT002W', {
        server_id: record.id,
        target_name: host,
        reason: claim.reason,
        ...(claim.owner === undefined ? {} : { owner: claim.owner }),
      })
      return await work(plain)
    }
    this.#claimed.set(record, claim.name)
    try {
      return await work({ ...plain, publicName: claim.name })
    } finally {
      this.#claimed.delete(record)
    }
  }

  #judge(
    record: HostRecord,
    host: string,
  ): { readonly name: string } | { readonly reason: string; readonly owner?: string } {
    const found = publicName(host, this.#cluster)
    if (found.problem !== undefined) return { reason: found.problem }
    const { name } = found
    if (record.targets !== undefined)
      return record.targets.some((listed) => listed.toLowerCase() === host.toLowerCase())
        ? { name }
        : { reason: `the proxy’s token does not list "${host}"` }
    const other = [...this.#holders(name)].find(
      ({ id, owner }) => id !== record.id && owner !== record.owner,
    )
    if (other === undefined) return { name }
    return { reason: `"${name}" belongs to another token’s proxies`, owner: other.owner }
  }

  *#holders(name: string): Iterable<HostRecord> {
    for (const host of this.#hosts()) if (host.publicName === name) yield host
    for (const [host, claimed] of this.#claimed) if (claimed === name) yield host
  }
}

/** Proxies whose newest certificate carries the host they are dialled by now, in the order of their addresses. */
export function certifiedProxies(
  hosts: Iterable<HostRecord>,
  cluster: string,
): readonly { readonly address: string; readonly name: string }[] {
  const found = [...hosts].flatMap(({ address, publicName: name }) => {
    if (address === undefined || name === undefined) return []
    const dialled = publicName(hostOfAddress(address), cluster)
    return dialled.problem === undefined && dialled.name === name ? [{ address, name }] : []
  })
  return found.sort((a, b) => (a.address < b.address ? -1 : 1))
}
