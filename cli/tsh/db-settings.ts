// `tsh db env` and `tsh db config`: how other programs connect with what `tsh db login` left: environment variables of libpq, the
// parts one by one, or a psql command line.

import { type CommandSpec, formatOption, type Input, usage } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { serviceFile } from '../pg-service.ts'
import { FORMATS, render } from '../render.ts'
import { waysIn } from '../service-settings.ts'
import type { Tools } from '../tools.ts'
import { type DatabaseAccess, saved } from './database.ts'
import { findService } from './database-service.ts'
import { requireLogin } from './session.ts'

/** Settings of libpq and the variables that mean the same (PostgreSQL manual, "Environment Variables"). */
const VARIABLES: Readonly<Record<string, string>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  user: 'PGUSER',
  dbname: 'PGDATABASE',
  sslmode: 'PGSSLMODE',
  sslsni: 'PGSSLSNI',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  gssencmode: 'PGGSSENCMODE',
}

const CONFIG_FORMATS = ['text', 'json', 'yaml', 'cmd'] as const

export const dbEnv: CommandSpec = {
  takes: '[name]',
  options: [formatOption(), { flags: '--unset', about: 'print what removes the variables again' }],
  examples: ['eval "$(tsh db env orders)"', 'eval "$(tsh db env --unset)"'],
  async run(input, tools) {
    if (input.flag('unset')) {
      tools.out(
        Object.values(VARIABLES)
          .map((name) => `unset ${name}\n`)
          .join(''),
      )
      return
    }
    const { access } = await loggedIn(tools, input)
    const variables = Object.fromEntries(
      Object.entries(VARIABLES).flatMap(([setting, name]) => {
        const value = access.settings[setting]
        return value === undefined ? [] : [[name, value]]
      }),
    )
    const lines = (): string =>
      Object.entries(variables)
        .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
        .join('')
    tools.out(await render(input.choice('format', FORMATS, 'text'), variables, lines))
  },
}

export const dbConfig: CommandSpec = {
  takes: '[name]',
  options: [formatOption(CONFIG_FORMATS)],
  about: 'cmd prints a psql command line.',
  examples: ['tsh db config orders', 'tsh db config orders --format=cmd'],
  async run(input, tools) {
    const { access, service } = await loggedIn(tools, input)
    const { settings, database } = access
    const format = input.choice('format', CONFIG_FORMATS, 'text')
    if (format === 'cmd') {
      tools.out(`psql ${quoted(`service=${service}`)}\n`)
      return
    }
    const value = {
      name: database,
      service,
      service_file: serviceFile(tools.env),
      host: [...new Set(waysIn(settings).map(({ serverName }) => serverName))].join(','),
      mode: access.mode,
      addresses: settings['hostaddr'] ?? '',
      ports: settings['port'] ?? '',
      user: settings['user'] ?? '',
      database: settings['dbname'] ?? '',
      ca: settings['sslrootcert'] ?? '',
      cert: settings['sslcert'] ?? '',
      key: settings['sslkey'] ?? '',
      valid_until: new Date(access.expiresAtMs).toISOString(),
    }
    const lines = (): string =>
      Object.entries(value)
        .map(([name, text]) => `${`${name}:`.padEnd(14)}${text}\n`)
        .join('')
    tools.out(await render(format, value, lines))
  },
}

/** The access on disk of the database named, or of the only one. */
async function loggedIn(
  tools: Tools,
  input: Input,
): Promise<{ access: DatabaseAccess; service: string }> {
  const login = await requireLogin(tools, input)
  const all = tools.profiles.databases(login.profile)
  const database = input.args[0] ?? (all.length === 1 ? all[0] : undefined)
  if (database === undefined && all.length > 0)
    throw usage('which database?', `Logged in to: ${all.join(', ')}`)
  if (database === undefined) throw notLoggedIn('any database', 'NAME')
  const access = saved(tools, login, { database })
  const service = findService(tools, login.profile, database)
  if (access !== undefined && service !== undefined) return { access, service: service.name }
  throw notLoggedIn(`the database "${database}", or no longer`, database)
}

function notLoggedIn(what: string, name: string): CommandError {
  return new CommandError(
    `not logged in to ${what}`,
    EXIT.notLoggedIn,
    `Log in to it: tsh db login ${name}`,
  )
}

/** One word of a POSIX shell. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
