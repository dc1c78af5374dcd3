// What libpq must be told to reach a database through the public port with nothing in between: the routed name as host, the
// proxies' addresses as hostaddr, the target CA as the only root (threats: anything less than verify-full proves no agent).

import type { ServiceSettings } from './pg-service.ts'
import { splitAddress } from './supervisor/listeners.ts'

export interface ServiceTarget {
  readonly serverName: string
  readonly proxies: readonly string[]
}

export interface ServiceFiles {
  readonly certificate: string
  readonly key: string
  readonly cas: string
}

/** `host`, `hostaddr` and `port` are lists of equal length: libpq tries the proxies in turn. */
export function serviceSettings(
  target: ServiceTarget,
  files: ServiceFiles,
  names: { readonly user?: string | undefined; readonly database?: string | undefined },
): ServiceSettings {
  const addresses = target.proxies.map(splitAddress)
  return {
    host: addresses.map(() => target.serverName).join(','),
    hostaddr: addresses.map(({ host }) => host).join(','),
    port: addresses.map(({ port }) => String(port)).join(','),
    ...(names.user === undefined ? {} : { user: names.user }),
    ...(names.database === undefined ? {} : { dbname: names.database }),
    sslmode: 'verify-full',
    sslsni: '1',
    sslrootcert: files.cas,
    sslcert: files.certificate,
    sslkey: files.key,
    gssencmode: 'disable',
    application_name: 'sluice',
  }
}
