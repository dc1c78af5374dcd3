// `tsh db exec`: runs SQL through the public port with our own small client, so that a machine without psql can ask a question.
// Over several databases it goes on when one fails, and ends with the status of the first failure.

import { type CommandSpec, type Input, usage } from '../command.ts'
import { CommandError, errorText, EXIT } from '../exit.ts'
import { PostgresClient, PostgresError, type QueryResult } from '../postgres-client.ts'
import { printable } from '../render.ts'
import type { Tools } from '../tools.ts'
import {
  addressesOf,
  current,
  type DatabaseAccess,
  listDatabases,
  namesOf,
  obtain,
  serverNameOf,
} from './database.ts'
import { NAME_OPTIONS } from './db-login.ts'
import { RESULT_FORMATS, resultText } from './result.ts'
import { type Login, type Session, withLogin } from './session.ts'

const PARALLEL_MAX = 10

export const dbExec: CommandSpec = {
  takes: '<words...>',
  options: [
    ...NAME_OPTIONS,
    { flags: '-f, --format <format>', about: RESULT_FORMATS.join(', '), choices: RESULT_FORMATS },
    { flags: '--dbs <names>', about: 'databases to ask, with commas', many: true },
    { flags: '--search <words>', about: 'ask all databases that these words find' },
    { flags: '--labels <labels>', about: 'ask all databases with these labels, key=value,…' },
    { flags: '--parallel <count>', about: 'how many at once, 1 to 10' },
  ],
  about: [
    'Words: NAME SQL, or SQL alone with --dbs, --search or --labels, or with one database logged in to.',
    'With --format=json each statement gives one line: {columns, rows, tag}.',
    'Nothing is written to disk; the certificate of an earlier `tsh db login` is used when it fits.',
  ].join('\n'),
  examples: [
    'tsh db exec orders "SELECT count(*) FROM customers" --db-user=reader',
    'tsh db exec "SELECT version()" --labels=env=prod --db-user=reader --format=csv',
  ],
  async run(input, tools) {
    const { name, sql } = readWords(input)
    await withLogin(tools, input, async (login, connect) => {
      const databases = await chooseDatabases(input, tools, login, connect, name)
      const ask = async (database: string): Promise<string> =>
        await askOne(tools, login, connect, input, database, sql)
      if (databases.length === 1) tools.out(await ask(databases[0] ?? ''))
      else await askAll(tools, databases, input.whole('parallel', 1, PARALLEL_MAX) ?? 1, ask)
    })
  },
}

async function askOne(
  tools: Tools,
  login: Login,
  connect: () => Promise<Session>,
  input: Input,
  database: string,
  sql: string,
): Promise<string> {
  const wanted = { database, dbUser: input.text('db-user'), dbName: input.text('db-name') }
  const access =
    (await current(tools, login, connect, wanted)) ?? (await obtain(tools, await connect(), wanted))
  const format = input.choice('format', RESULT_FORMATS, 'text')
  const results = await query(access, sql)
  return results.map((result) => resultText(result, format)).join('')
}

/** Runs the statements in one session of its own. */
async function query(access: DatabaseAccess, sql: string): Promise<readonly QueryResult[]> {
  try {
    const client = await PostgresClient.connect({
      addresses: addressesOf(access.settings),
      serverName: serverNameOf(access.settings),
      ca: [access.cas],
      certificate: access.pair.certificate,
      key: access.pair.key,
      ...namesOf(access),
    })
    try {
      return await client.query(sql)
    } finally {
      client.close()
    }
  } catch (error) {
    throw error instanceof PostgresError ? saidByServer(error) : error
  }
}

/** As psql shows it. Sluice's own refusals end with the status for "denied". */
export function saidByServer(error: PostgresError): CommandError {
  const lines = [`${error.severity}:  ${error.message}`]
  if (error.detail !== undefined) lines.push(`DETAIL:  ${error.detail}`)
  if (error.hint !== undefined) lines.push(`HINT:  ${error.hint}`)
  const ours = /\bSluice\b/.test(error.message) && ['28000', '42501'].includes(error.sqlState)
  const text = lines.map((line) => line.split('\n').map(printable).join('\n')).join('\n')
  return new CommandError(text, ours ? EXIT.denied : EXIT.failure)
}

async function askAll(
  tools: Tools,
  databases: readonly string[],
  parallel: number,
  ask: (database: string) => Promise<string>,
): Promise<void> {
  const failures: unknown[] = []
  const waiting = [...databases]
  const work = async (): Promise<void> => {
    for (let database = waiting.shift(); database !== undefined; database = waiting.shift()) {
      try {
        tools.out(`== ${database}\n${await ask(database)}`)
      } catch (error) {
        failures.push(error)
        tools.note(`== ${database}\n${errorText(error)}\n`)
      }
    }
  }
  await Promise.all(Array.from({ length: parallel }, work))
  if (failures.length === 0) return
  const status = failures[0] instanceof CommandError ? failures[0].status : EXIT.failure
  throw new CommandError(`${failures.length} of ${databases.length} databases failed`, status)
}

function readWords(input: Input): { name: string | undefined; sql: string } {
  const [first = '', second, ...more] = input.args
  if (more.length > 0) throw usage('too many words', 'Put the SQL in quotes.')
  return second === undefined ? { name: undefined, sql: first } : { name: first, sql: second }
}

async function chooseDatabases(
  input: Input,
  tools: Tools,
  login: Login,
  connect: () => Promise<Session>,
  name: string | undefined,
): Promise<readonly string[]> {
  const named = [...(name === undefined ? [] : [name]), ...input.list('dbs')]
  if (named.length > 0) return [...new Set(named)]
  const filter = { search: input.text('search'), labels: input.text('labels') }
  if (filter.search !== undefined || filter.labels !== undefined) {
    const { client } = await connect()
    const found = await listDatabases(client, filter)
    if (found.length === 0) throw new CommandError('no database matches')
    return found.map((item) => item.name)
  }
  const [only, ...others] = tools.profiles.databases(login.profile)
  if (only !== undefined && others.length === 0) return [only]
  throw usage('which database?', 'tsh db exec NAME SQL; `tsh db ls` lists the names.')
}
