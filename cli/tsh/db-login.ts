// `tsh db login` and `tsh db logout`: a certificate for one database, and the connection service that psql and every other libpq
// client can use with nothing in between.

import { type CommandSpec, type Option, usage } from '../command.ts'
import { serviceFile } from '../pg-service.ts'
import { durationText } from '../render.ts'
import { obtain, save } from './database.ts'
import { dropService, findService } from './database-service.ts'
import { requireLogin, withSession } from './session.ts'

const MINUTE_MS = 60_000

/** Who to be in the database: shared by the commands that connect. */
export const NAME_OPTIONS: readonly Option[] = [
  {
    flags: '-u, --db-user <name>',
    about: 'user of the database; may be left out when roles allow one',
  },
  { flags: '-n, --db-name <name>', about: 'database to open in the server' },
]

export const dbLogin: CommandSpec = {
  takes: '<name>',
  options: [
    ...NAME_OPTIONS,
    { flags: '--ttl <minutes>', about: 'how long the certificate shall last' },
  ],
  about: [
    'Writes a section [NAME] to ~/.pg_service.conf (or PGSERVICEFILE); [CLUSTER-NAME] when that name is taken',
    'by a section tsh did not write. Other sections and comments stay as they are.',
  ].join('\n'),
  examples: [
    'tsh db login orders --db-user=reader --db-name=shop',
    'psql service=orders      # afterwards',
  ],
  async run(input, tools) {
    await withSession(tools, input, async (session) => {
      const ttl = input.whole('ttl', 1, 1800)
      const access = await obtain(tools, session, {
        database: input.arg(0),
        dbUser: input.text('db-user'),
        dbName: input.text('db-name'),
        ttlMs: ttl === undefined ? undefined : ttl * MINUTE_MS,
      })
      const service = save(tools, session.login, access)
      const left = durationText(access.expiresAtMs - tools.clock.now())
      tools.out(
        [
          `Logged in to the database ${access.database} for ${left}.`,
          `Service "${service}" is in ${serviceFile(tools.env)}.`,
          '',
          `Connect:     psql "service=${service}"    or    tsh db connect ${access.database}`,
          `Query:       tsh db exec ${access.database} "SELECT 1"`,
          `Other tools: tsh db config ${access.database}, tsh db env ${access.database}, tsh proxy db ${access.database} --tunnel`,
          '',
        ].join('\n'),
      )
    })
  },
}

export const dbLogout: CommandSpec = {
  takes: '[name]',
  about: 'Without a name all databases of the current login.',
  examples: ['tsh db logout orders', 'tsh db logout'],
  async run(input, tools) {
    const { profile } = await requireLogin(tools, input)
    const all = tools.profiles.databases(profile)
    const [name] = input.args
    if (name !== undefined && !all.includes(name))
      throw usage(
        `not logged in to the database "${name}"`,
        `Logged in to: ${all.join(', ') || 'none'}`,
      )
    for (const database of name === undefined ? all : [name]) {
      const service = findService(tools, profile, database)
      dropService(tools, profile, database)
      tools.profiles.forgetDatabase(profile, database)
      const section = service === undefined ? '' : `; service "${service.name}" is removed`
      tools.out(`Logged out of the database ${database}${section}.\n`)
    }
  },
}
