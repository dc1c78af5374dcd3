// Which section of `~/.pg_service.conf` belongs to a database: `[<database>]`, so that `psql service=<database>` works; when that
// name is taken by the person's own section or by another cluster, `[<cluster>-<database>]`. Ours is told by its sslcert.

import {
  readService,
  removeService,
  serviceFile,
  type ServiceSettings,
  writeService,
} from '../pg-service.ts'
import { readText, type Profile } from '../profile.ts'
import type { Tools } from '../tools.ts'

/** Writes the section and returns its name. */
export function putService(
  tools: Tools,
  profile: Profile,
  database: string,
  settings: ServiceSettings,
): string {
  const file = serviceFile(tools.env)
  const text = readText(file) ?? ''
  const short = readService(text, database)
  const name =
    short === undefined || ours(tools, profile, database, short)
      ? database
      : longName(profile, database)
  writeService(file, name, settings)
  return name
}

/** The section of a database, if we wrote one. */
export function findService(
  tools: Tools,
  profile: Profile,
  database: string,
): { name: string; settings: ServiceSettings } | undefined {
  const text = readText(serviceFile(tools.env)) ?? ''
  for (const name of [database, longName(profile, database)]) {
    const settings = readService(text, name)
    if (settings !== undefined && ours(tools, profile, database, settings))
      return { name, settings }
  }
  return undefined
}

/** Removes the section of a database, if we wrote one. */
export function dropService(tools: Tools, profile: Profile, database: string): void {
  const found = findService(tools, profile, database)
  if (found !== undefined) removeService(serviceFile(tools.env), found.name)
}

function longName(profile: Profile, database: string): string {
  return `${profile.cluster}-${database}`
}

function ours(
  tools: Tools,
  profile: Profile,
  database: string,
  settings: ServiceSettings,
): boolean {
  return settings['sslcert'] === tools.profiles.databaseFiles(profile, database).certificate
}
