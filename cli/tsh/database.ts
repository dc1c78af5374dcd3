// Access to one database: a certificate routed to it, the name and addresses to dial, the CA its agent must prove itself by. Got
// from control for a fresh key, kept in the profile and in a connection service, reused while it is valid.

import net from 'node:net'

import type { Database } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { usage } from '../command.ts'
import { newKey } from '../new-key.ts'
import type { ServiceSettings } from '../pg-service.ts'
import { type KeyPair, readText } from '../profile.ts'
import { serviceSettings } from '../service-settings.ts'
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
  /** CA certificates, PEM. */
  readonly cas: string
  readonly expiresAtMs: number
}

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
  const proxies = await resolveAll(tools, [login.profile.proxy, ...reply.proxies])
  const files = tools.profiles.databaseFiles(login.profile, database)
  return {
    database,
    settings: serviceSettings({ serverName: reply.serverName, proxies }, files, {
      user: dbUser,
      database: dbName,
    }),
    pair: { certificate: reply.certificate, key },
    cas: reply.targetCas.join(''),
    expiresAtMs: reply.expiresAtMs,
  }
}

/** Keeps it: key, certificate and CAs in the profile, a section in the service file. Returns the section's name. */
export function save(tools: Tools, login: Login, access: DatabaseAccess): string {
  const { profile } = login
  const files = tools.profiles.databaseFiles(profile, access.database)
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
  const cas = readText(tools.profiles.databaseFiles(profile, database).cas)
  const service = findService(tools, profile, database)
  if (pair === undefined || cas === undefined || service === undefined) return undefined
  const { settings } = service
  const { notAfterMs } = readFacts(pair.certificate)
  const fits =
    (dbUser === undefined || dbUser === settings['user']) &&
    (dbName === undefined || dbName === settings['dbname']) &&
    worth(notAfterMs, tools.clock.now())
  return fits ? { database, settings, pair, cas, expiresAtMs: notAfterMs } : undefined
}

/** The saved access, with the proxies' addresses as they are now; else a new one, saved. */
export async function ensure(
  tools: Tools,
  login: Login,
  connect: () => Promise<Session>,
  wanted: Wanted,
): Promise<{ access: DatabaseAccess; service: string }> {
  const known = saved(tools, login, wanted)
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
  const { settings } = access
  const proxies = await resolveAll(tools, [profile.proxy, ...profile.proxies]).catch(() => [])
  if (proxies.length === 0) return access
  const files = tools.profiles.databaseFiles(profile, access.database)
  const names = { user: settings['user'], database: settings['dbname'] }
  const target = { serverName: serverNameOf(settings), proxies }
  return { ...access, settings: serviceSettings(target, files, names) }
}

/** All databases the person may see. */
export async function listDatabases(
  client: Session['client'],
  filter: { readonly search?: string | undefined; readonly labels?: string | undefined } = {},
): Promise<readonly Database[]> {
  const { search, labels } = filter
  const items: Database[] = []
  let cursor: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const reply = await client.call('databases', {
      ...(search === undefined || search === '' ? {} : { search }),
      ...(labels === undefined || labels === '' ? {} : { labels }),
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

/** `host:port` with names as addresses: libpq takes the routed name as host, so it must be told where that is. */
async function resolveAll(tools: Tools, proxies: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(
    [...new Set(proxies)].map(async (proxy) => {
      const { host, port } = splitAddress(proxy)
      const addresses = net.isIP(host) === 0 ? await tools.lookup(host).catch(() => []) : [host]
      return addresses.map((each) => (net.isIPv6(each) ? `[${each}]:${port}` : `${each}:${port}`))
    }),
  )
  const all = [...new Set(found.flat())]
  if (all.length > 0) return all
  throw new ProxyError('dial.failed', `no address is known for ${proxies.join(', ')}`, {
    next: 'Check the name service of this machine.',
  })
}

/** Whether a certificate that ends then is worth starting with. */
export function worth(expiresAtMs: number, nowMs: number): boolean {
  return expiresAtMs - nowMs > WORTH_MS
}

/** The addresses of the settings, for clients of our own. */
export function addressesOf(settings: ServiceSettings): readonly { host: string; port: number }[] {
  const ports = (settings['port'] ?? '').split(',')
  return (settings['hostaddr'] ?? '')
    .split(',')
    .map((host, at) => ({ host, port: Number(ports[at] ?? ports[0]) }))
}

/** The name the agent proves itself by. */
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
