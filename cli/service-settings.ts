// What libpq must be told to reach a database through the public port with nothing in between: a name as host, the proxies'
// addresses as hostaddr, one CA as the only root (threats: anything less than verify-full proves nobody). Relay: the routed name,
// through whichever proxy, and the target CA. Terminate: each proxy by its own public host, and the host CA.

import net from 'node:net'

import type { DbCertificate } from '../control/api/messages.ts'
import type { ServiceSettings } from './pg-service.ts'
import { splitAddress } from './supervisor/listeners.ts'

/** One way to the database: what to dial, and who must answer. */
export interface Way {
  /** Empty: the name's, as the name service tells it. */
  readonly address: string
  readonly port: number
  readonly serverName: string
}

export interface ServiceFiles {
  readonly certificate: string
  readonly key: string
  readonly cas: string
}

export interface ServiceNames {
  readonly user?: string | undefined
  readonly database?: string | undefined
}

/** The ways as control names them, nothing looked up. */
export function waysOf({
  mode,
  serverName,
  proxies,
}: Pick<DbCertificate, 'mode' | 'serverName' | 'proxies'>): readonly Way[] {
  return proxies.map(splitAddress).map(({ host, port }) => {
    if (mode === 'relay') return { address: host, port, serverName }
    return { address: net.isIP(host) === 0 ? '' : host, port, serverName: host }
  })
}

/**
 * `host`, `hostaddr` and `port` are lists of equal length: libpq tries the proxies in turn. No `application_name`: it would hide
 * from the server which program came, and win over the person's own PGAPPNAME.
 */
export function serviceSettings(
  ways: readonly Way[],
  files: ServiceFiles,
  names: ServiceNames,
): ServiceSettings {
  return {
    host: ways.map(({ serverName }) => serverName).join(','),
    hostaddr: ways.map(({ address }) => address).join(','),
    port: ways.map(({ port }) => String(port)).join(','),
    ...(names.user === undefined ? {} : { user: names.user }),
    ...(names.database === undefined ? {} : { dbname: names.database }),
    sslmode: 'verify-full',
    sslsni: '1',
    sslrootcert: files.cas,
    sslcert: files.certificate,
    sslkey: files.key,
    gssencmode: 'disable',
  }
}

/** The ways that settings hold. */
export function waysIn(settings: ServiceSettings): readonly Way[] {
  const [names, addresses, ports] = ['host', 'hostaddr', 'port'].map((key) =>
    (settings[key] ?? '').split(','),
  )
  return (names ?? []).map((serverName, at) => ({
    serverName,
    address: addresses?.[at] ?? '',
    port: Number(ports?.[at] ?? ports?.[0]),
  }))
}
