// Access to one database: a certificate routed to it, the name and addresses to dial, the CA its agent must prove itself by. Got
// from control for a fresh key, kept in the profile and in a connection service, reused while it is valid.

import net from 'node:net'

import type { Database, DbCertificate } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { SessionMode } from '../../core/login.ts'
import { usage } from '../command.ts'
import { newKey } from '../new-key.ts'
import type { ServiceSettings } from '../pg-service.ts'
import { type KeyPair, type Profile, readText } from '../profile.ts'
import { serviceSettings, type Way, waysIn, waysOf } from '../service-settings.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import type { Tools } from '../tools.ts'
import { findService, putService } from './database-service.ts'
import { type Login, readFacts, type Session } from './session.ts'

/** Who wants in, and where to. */
export interface Wanted {
  readonly database: string
  readonly dbUser?: string | undefined
  readonly dbName?: string | undefined
  readonly ttlMs?: number | undefined
}

export interface DatabaseAccess {
  readonly database: string
  readonly settings: ServiceSettings
  readonly pair: KeyPair
  readonly mode: SessionMode
  /** CA certificates, PEM. */
  readonly cas: string
  readonly expiresAtMs: number
}

type Proxies = Pick<DbCertificate, 'mode' | 'serverName' | 'proxies'>

/** A certificate that ends within this time is not worth starting with. */
const WORTH_MS = 60_000
const PAGES_MAX = 100

/** A new certificate. Nothing is written. */
export async function obtain(
  tools: Tools,
  { login, client }: Session,
  wanted: Wanted,
): Promise<DatabaseAccess> {
  const { database, ttlMs } = wanted
  const { dbUser, dbName } = await fillNames(client, wanted)
  const { key, publicKey } = newKey()
  const reply = await client.call('certificate-db', {
    service: database,
    publicKey,
    ...(dbUser === undefined ? {} : { dbUser }),
    ...(dbName === undefined ? {} : { dbName }),
    ...(ttlMs === undefined ? {} : { ttlMs }),
  })
  const files = tools.profiles.databaseFiles(login.profile, database, reply.mode)
  const ways = await resolveAll(tools, waysOf(withKnown(reply, login.profile.proxy)))
  return {
    database,
    settings: serviceSettings(ways, files, { user: dbUser, database: dbName }),
    pair: { certificate: reply.certificate, key },
    mode: reply.mode,
    cas: reply.serverCas.join(''),
    expiresAtMs: reply.expiresAtMs,
  }
}

/** Keeps it: key, certificate and CAs in the profile, a section in the service file. Returns the section's name. */
export function save(tools: Tools, login: Login, access: DatabaseAccess): string {
  const { profile } = login
  const files = tools.profiles.databaseFiles(profile, access.database, access.mode)
  tools.profiles.put(files.key, access.pair.key)
  tools.profiles.put(files.certificate, access.pair.certificate)
  tools.profiles.put(files.cas, access.cas)
  return putService(tools, profile, access.database, access.settings)
}

/** What an earlier `tsh db login` left, when it is still good for this wish. */
export function saved(tools: Tools, login: Login, wanted: Wanted): DatabaseAccess | undefined {
  const { database, dbUser, dbName } = wanted
  const { profile } = login
  const pair = tools.profiles.databasePair(profile, database)
  const service = findService(tools, profile, database)
  if (pair === undefined || service === undefined) return undefined
  const { settings } = service
  // The root that was written says what it was written for.
  const terminate = tools.profiles.databaseFiles(profile, database, 'terminate').cas
  const mode = settings['sslrootcert'] === terminate ? 'terminate' : 'relay'
  const cas = readText(tools.profiles.databaseFiles(profile, database, mode).cas)
  if (cas === undefined) return undefined
  const { notAfterMs } = readFacts(pair.certificate)
  const fits =
    (dbUser === undefined || dbUser === settings['user']) &&
    (dbName === undefined || dbName === settings['dbname']) &&
    worth(notAfterMs, tools.clock.now())
  return fits ? { database, settings, pair, mode, cas, expiresAtMs: notAfterMs } : undefined
}

/** The saved access, unless control says that sessions have another mode now. A silent control is not waited for: agents and proxies say it too. */
export async function current(
  tools: Tools,
  login: Login,
  connect: () => Promise<Session>,
  wanted: Wanted,
): Promise<DatabaseAccess | undefined> {
  const known = saved(tools, login, wanted)
  if (known === undefined) return undefined
  const signal = AbortSignal.timeout(max('modeAskedMs'))
  const mode = await connect()
    .then(async ({ client }) => (await client.call('me', {}, { signal })).mode)
    .catch(() => known.mode)
  return mode === known.mode ? known : undefined
}

/** The current access, with the proxies' addresses as they are now; else a new one, saved. */
export async function ensure(
  tools: Tools,
  login: Login,
  connect: () => Promise<Session>,
  wanted: Wanted,
): Promise<{ access: DatabaseAccess; service: string }> {
  const known = await current(tools, login, connect, wanted)
  const access =
    known === undefined
      ? await obtain(tools, await connect(), wanted)
      : await withAddresses(tools, login, known)
  return { access, service: save(tools, login, access) }
}

/** Proxies move; the names in the profile are looked up anew. */
async function withAddresses(
  tools: Tools,
  { profile }: Login,
  access: DatabaseAccess,
): Promise<DatabaseAccess> {
  const { settings, mode, database } = access
  const ways = await resolveAll(tools, waysOf(knownProxies(access, profile))).catch(() => [])
  if (ways.length === 0) return access
  const files = tools.profiles.databaseFiles(profile, database, mode)
  const names = { user: settings['user'], database: settings['dbname'] }
  return { ...access, settings: serviceSettings(ways, files, names) }
}

/** In terminate mode the settings name the proxies themselves; a routed name leads through any. */
function knownProxies({ settings, mode }: DatabaseAccess, { proxy, proxies }: Profile): Proxies {
  const serverName = serverNameOf(settings)
  if (mode === 'relay') return { mode, serverName, proxies: [proxy, ...proxies] }
  const own = waysIn(settings).map((way) => joinAddress(way.serverName, way.port))
  return { mode, serverName, proxies: own }
}

/** The proxy that was named at login is known to be reachable from here; where proxies prove themselves, only if it can. */
function withKnown({ mode, serverName, proxies }: Proxies, proxy: string): Proxies {
  const hosts = new Set(proxies.map((each) => splitAddress(each).host.toLowerCase()))
  const serves = mode === 'relay' || hosts.has(splitAddress(proxy).host.toLowerCase())
  return { mode, serverName, proxies: serves ? [proxy, ...proxies] : proxies }
}

/** All databases the person may see. */
export async function listDatabases(
  client: Session['client'],
  filter: Readonly<Partial<Record<'search' | 'labels' | 'query', string | undefined>>> = {},
): Promise<readonly Database[]> {
  const { search, labels, query } = filter
  const items: Database[] = []
  let cursor: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const reply = await client.call('databases', {
      ...(search === undefined || search === '' ? {} : { search }),
      ...(labels === undefined || labels === '' ? {} : { labels }),
      ...(query === undefined ? {} : { query }),
      ...(cursor === undefined ? {} : { cursor }),
    })
    items.push(...reply.items)
    cursor = reply.next
    if (cursor === undefined) break
  }
  return items
}

/** A user or name that was not given is filled in where the roles leave but one. */
async function fillNames(
  client: Session['client'],
  { database, dbUser, dbName }: Wanted,
): Promise<{ dbUser: string | undefined; dbName: string | undefined }> {
  if (dbUser !== undefined && dbName !== undefined) return { dbUser, dbName }
  const items = await listDatabases(client, { search: database })
  const found = items.find(({ name }) => name === database)
  return {
    dbUser: dbUser ?? onlyOne(found?.dbUsers),
    dbName: dbName ?? onlyOne(found?.dbNames),
  }
}

function onlyOne(names: readonly string[] = []): string | undefined {
  const [name, ...more] = names
  return more.length === 0 && name !== undefined && !/[*^{]/.test(name) ? name : undefined
}

/**
 * Names as addresses: libpq takes the routed name as host, so it must be told where that is. A proxy that goes by its own name and is
 * not found now is left to libpq.
 */
async function resolveAll(tools: Tools, ways: readonly Way[]): Promise<readonly Way[]> {
  const found = await Promise.all(
    ways.map(async (way) => {
      const host = way.address === '' ? way.serverName : way.address
      if (net.isIP(host) !== 0) return [{ ...way, address: host }]
      const addresses = await tools.lookup(host).catch(() => [])
      if (addresses.length === 0 && way.address === '') return [way]
      return addresses.map((address) => ({ ...way, address }))
    }),
  )
  const all = new Map(
    found.flat().map((way) => [`${way.serverName} ${way.address} ${way.port}`, way]),
  )
  if (all.size > 0) return [...all.values()]
  const names = ways.map(({ address, port }) => joinAddress(address, port)).join(', ')
  throw new ProxyError('dial.failed', `no address is known for ${names}`, {
    next: 'Check the name service of this machine.',
  })
}

export function joinAddress(host: string, port: number): string {
  return net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether a certificate that ends then is worth starting with. */
export function worth(expiresAtMs: number, nowMs: number): boolean {
  return expiresAtMs - nowMs > WORTH_MS
}

/** Where the settings lead, for clients of our own. */
export function addressesOf(
  settings: ServiceSettings,
): readonly { host: string; port: number; serverName: string }[] {
  return waysIn(settings).map(({ address, port, serverName }) => ({
    host: address === '' ? serverName : address,
    port,
    serverName,
  }))
}

/** The name by which the first way's other end proves itself: an agent by it through every proxy, a proxy alone. */
export function serverNameOf(settings: ServiceSettings): string {
  return (settings['host'] ?? '').split(',')[0] ?? ''
}

/** User and database of a session of our own. Throws what to add when the user is open. */
export function namesOf(access: DatabaseAccess): { user: string; database: string } {
  const { user, dbname } = access.settings
  if (user === undefined)
    throw usage(
      `which user of the database ${access.database}?`,
      'Name one with --db-user; `tsh db ls` shows those your roles allow.',
    )
  return { user, database: dbname ?? user }
}
