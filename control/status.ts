// What `tctl status` shows: authorities, members, who lags behind. Read from memory; nothing here waits for the disk.

import { readCertificate } from '../core/cert/x509.ts'
import type { Member, Status } from './api/messages.ts'
import type { AuditLog } from './audit.ts'
import type { Cache } from './cache.ts'
import type { Presence } from './presence.ts'
import type { HostRecord } from './records.ts'
import type { Authorities, CaName } from './signer/api.ts'

export interface StatusParts {
  readonly cluster: string
  readonly version: string
  readonly cache: Cache
  readonly presence: Presence
  readonly audit: AuditLog
  readonly lockRevision: () => number
}

export function clusterStatus(parts: StatusParts): Status {
  const { cluster, version, cache, audit } = parts
  const hosts = [...cache.hosts()]
  return {
    cluster,
    version,
    pins: cache.bundle.pins,
    authorities: authorityRows(cache.authorities),
    agents: hosts.filter(({ role }) => role === 'agent').map((host) => memberOf(parts, host)),
    proxies: hosts.filter(({ role }) => role === 'proxy').map((host) => memberOf(parts, host)),
    stale: lacking(parts, parts.lockRevision()).map(({ id }) => id),
    insecureKeys: cache.authorities.insecureKeys,
    audit: audit.status(),
  }
}

/** Members of the last day that are not known to hold the lock set of `revision` and all that control signed since. */
export function lacking(
  { cache, presence }: Pick<StatusParts, 'cache' | 'presence'>,
  revision: number,
): readonly { readonly id: string; readonly role: string }[] {
  return presence.known().flatMap((id) => {
    const host = cache.host(id)
    if (host === undefined) return []
    // What an agent holds is hearsay of its proxies, one of which may withhold what it reports: its own word must agree.
    const current = host.role === 'proxy' || presence.isCurrent(id)
    return current && presence.holdsLocks(id, revision) ? [] : [{ id, role: host.role }]
  })
}

const CA_NAMES: readonly CaName[] = ['user', 'host', 'target', 'db', 'db_client']

function authorityRows(authorities: Authorities): Status['authorities'] {
  const storage = authorities.insecureKeys ? 'file (in clear)' : 'file (wrapped)'
  const cas = CA_NAMES.flatMap((type) =>
    authorities.cas[type].map((ca) => ({
      type,
      protocol: 'x509',
      algorithm: 'ECDSA P-256',
      storage,
      rotation: 'standby',
      expiresAtMs: readCertificate(ca).notAfterMs,
    })),
  )
  const key = { algorithm: 'Ed25519', storage, rotation: 'standby', expiresAtMs: 0 } as const
  const ssh = (['user', 'host', 'openssh'] as const).flatMap((type) =>
    authorities.ssh[type].map(() => ({ type, protocol: 'ssh', ...key })),
  )
  const keys = (['snapshot', 'audit'] as const).flatMap((type) =>
    authorities[type].map(() => ({ type, protocol: 'signature', ...key })),
  )
  return [...cas, ...ssh, ...keys]
}

function memberOf({ presence }: StatusParts, host: HostRecord): Member {
  return {
    id: host.id,
    hostname: host.hostname,
    services: host.services,
    address: host.address ?? '',
    lastSeenMs: presence.lastSeenMs(host.id),
    online: presence.isOnline(host.id),
    recordingsAtRisk: presence.recordingsAtRisk(host.id),
  }
}
