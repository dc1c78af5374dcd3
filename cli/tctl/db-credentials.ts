// `tctl db credentials`: passwords of database users that cannot log in with a certificate. The password comes from a question or
// from standard input, never from an argument; control keeps it sealed, and no command shows it again.

import type { DbCredential } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption, type Input, usage } from '../command.ts'
import { FORMATS, printable, render, table, timeText } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

const USER_OPTION = { flags: '-u, --db-user <name>', about: 'whose password it is' }

export const credentialsAdd: CommandSpec = {
  takes: '<name>',
  options: [
    USER_OPTION,
    { flags: '--password-stdin', about: 'read the password from a line of standard input' },
    {
      flags: '--allow-md5',
      about: 'let the server ask for MD5: it could be cracked from what is sent',
    },
    {
      flags: '--allow-cleartext',
      about: 'let the server ask for the password itself, over verified TLS only',
    },
  ],
  about: [
    'Replaces what is there. It is proved with SCRAM-SHA-256, which shows nothing of it, unless an option allows more.',
    'Agents of the database use it from their next session on. Prefer certificates: tctl auth sign --help.',
  ].join('\n'),
  examples: [
    'tctl db credentials add orders --db-user=app',
    'tctl db credentials add legacy --db-user=app --allow-md5 --password-stdin < password-file',
  ],
  async run(input, tools) {
    const database = input.arg(0)
    const dbUser = userOf(input)
    const password = await readPassword(input, tools, database, dbUser)
    if (password === '') throw usage('the password is empty')
    await withAdministrator(tools, input, (client) =>
      client.call('db-credential-put', {
        database,
        dbUser,
        password,
        methods: [
          'scram',
          ...(input.flag('allow-md5') ? (['md5'] as const) : []),
          ...(input.flag('allow-cleartext') ? (['cleartext'] as const) : []),
        ],
      }),
    )
    tools.out(`The password of "${dbUser}" for the database "${database}" is stored.\n`)
  },
}

export const credentialsLs: CommandSpec = {
  options: [formatOption()],
  about:
    'Passwords are not shown. "other owner": the name belongs to somebody else since; its agents do not get it.',
  examples: ['tctl db credentials ls', 'tctl db credentials ls --format=json'],
  async run(input, tools) {
    const { items } = await withAdministrator(tools, input, (client) =>
      client.call('db-credential-list', {}),
    )
    const format = input.choice('format', FORMATS, 'text')
    tools.out(await render(format, items, () => credentialsText(items)))
  },
}

export const credentialsRm: CommandSpec = {
  takes: '<name>',
  options: [USER_OPTION],
  examples: ['tctl db credentials rm orders --db-user=app'],
  async run(input, tools) {
    const database = input.arg(0)
    const dbUser = userOf(input)
    await withAdministrator(tools, input, (client) =>
      client.call('db-credential-delete', { database, dbUser }),
    )
    tools.out(
      `The password of "${dbUser}" for the database "${database}" is removed; sessions that used it go on.\n`,
    )
  },
}

function userOf(input: Input): string {
  const user = input.text('db-user')
  if (user === undefined || user === '')
    throw usage('which user of the database?', 'Name it: --db-user=app')
  return user
}

async function readPassword(
  input: Input,
  tools: Tools,
  database: string,
  dbUser: string,
): Promise<string> {
  if (input.flag('password-stdin')) return await (await tools.stdin()).secret('password')
  const password = await tools.prompt.secret(
    `Password of "${dbUser}" for the database "${database}"`,
  )
  const again = await tools.prompt.secret('The same again')
  if (password !== again) throw usage('the two passwords differ')
  return password
}

function credentialsText(items: readonly DbCredential[]): string {
  if (items.length === 0) return 'No database password is stored.\n'
  const rows = items.map(({ database, dbUser, methods, inUse, changedAtMs, changedBy }) => [
    printable(database),
    printable(dbUser),
    methods.join(','),
    inUse ? 'in use' : 'other owner',
    timeText(changedAtMs),
    printable(changedBy),
  ])
  return table(['Database', 'User', 'Methods', 'State', 'Changed', 'By'], rows)
}
