// `tsh db connect`: psql with the connection service of a database, logged in to first when needed.

import type { CommandSpec } from '../command.ts'
import { CommandError, ProgramEnded } from '../exit.ts'
import { serviceFile } from '../pg-service.ts'
import { ensure } from './database.ts'
import { NAME_OPTIONS } from './db-login.ts'
import { withLogin } from './session.ts'

export const dbConnect: CommandSpec = {
  takes: '<name>',
  options: NAME_OPTIONS,
  about: 'Ends with the status of psql. Needs psql; `tsh db exec` asks without it.',
  examples: ['tsh db connect orders --db-user=reader --db-name=shop'],
  async run(input, tools) {
    const wanted = {
      database: input.arg(0),
      dbUser: input.text('db-user'),
      dbName: input.text('db-name'),
    }
    const { service } = await withLogin(tools, input, (login, connect) =>
      ensure(tools, login, connect, wanted),
    )
    const env = { ...tools.env, PGSERVICEFILE: serviceFile(tools.env) }
    const status = await tools.run('psql', [`service=${service}`], env).catch(addNext)
    if (status !== 0) throw new ProgramEnded(status)
  },
}

function addNext(error: unknown): never {
  if (!(error instanceof CommandError)) throw error
  throw new CommandError(
    error.message,
    error.status,
    'Install it (Debian: postgresql-client), or ask with: tsh db exec NAME "SELECT 1"',
  )
}
