// `tsh db ls`: the databases the person's roles let them see.

import type { Database } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption, type Input, usage } from '../command.ts'
import { QUERY_OPTION, queryText } from '../query.ts'
import { FORMATS, labelsText, render, table } from '../render.ts'
import { listDatabases } from './database.ts'
import { withSession } from './session.ts'

const LABELS_WIDTH = 40

export const dbLs: CommandSpec = {
  takes: '[labels...]',
  options: [
    formatOption(),
    { flags: '--search <words>', about: 'words that must occur in name, description or labels' },
    QUERY_OPTION,
    {
      flags: '-v, --verbose',
      about: 'whole labels, protocol, database names, and why a status is what it is',
    },
  ],
  about: [
    'Status: healthy (an agent connected to it lately), unhealthy (it took no connection), unknown (not checked),',
    'offline (no agent that serves it has been heard of).',
  ].join('\n'),
  examples: [
    'tsh db ls',
    'tsh db ls env=prod,team=shop',
    'tsh db ls --search=orders --format=json',
    `tsh db ls --query='labels["env"] == "prod" || hasPrefix(name, "stage-")'`,
  ],
  async run(input, tools) {
    const bad = input.args.find((each) => !each.includes('='))
    if (bad !== undefined) throw usage(`"${bad}" is no label`, 'Labels are key=value.')
    const query = queryText(input)
    await withSession(tools, input, async ({ login, client }) => {
      const items = await listDatabases(client, {
        search: input.text('search'),
        labels: input.args.join(','),
        query,
      })
      const mine = new Set(tools.profiles.databases(login.profile))
      tools.out(
        await render(input.choice('format', FORMATS, 'text'), items, () =>
          items.length === 0
            ? nothingText(input)
            : databasesTable(items, mine, input.flag('verbose')),
        ),
      )
    })
  },
}

function nothingText(input: Input): string {
  return [input.args[0], input.text('search'), input.text('query')].some(
    (each) => each !== undefined,
  )
    ? 'No database that your roles let you see matches.\n'
    : 'No databases that your roles let you see.\n'
}

/** `>` marks databases with a certificate on disk. */
function databasesTable(
  items: readonly Database[],
  loggedIn: ReadonlySet<string>,
  verbose: boolean,
): string {
  const rows = items.map((item) => [
    loggedIn.has(item.name) ? `> ${item.name}` : item.name,
    item.description,
    namesText(item.dbUsers),
    ...(verbose ? [namesText(item.dbNames), item.protocol] : []),
    labelsText(item.labels, verbose ? Number.POSITIVE_INFINITY : LABELS_WIDTH),
    item.status,
    ...(verbose ? [item.reason] : []),
  ])
  const names = verbose ? ['Allowed Names', 'Protocol'] : []
  const status = verbose ? ['Status', 'Reason'] : ['Status']
  return table(['Name', 'Description', 'Allowed Users', ...names, 'Labels', ...status], rows)
}

function namesText(names: readonly string[]): string {
  return names.length === 0 ? '(none)' : `[${names.join(', ')}]`
}
