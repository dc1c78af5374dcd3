// `tctl audit`: read, check and carry away the audit log. `verify` recomputes the whole chain; with --anchors it is compared with
// the checkpoints that agents and proxies kept, which is what shows a log that was rewritten or cut as a whole.

import type { ControlClient } from '../../control/api/client.ts'
import type { JsonObject } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption, type Input } from '../command.ts'
import { durationOption, timeOption } from '../duration.ts'
import { CommandError, EXIT } from '../exit.ts'
import { FORMATS, printable, render, table } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

const SHOWN_DEFAULT = 100
const SHOWN_MAX = 100_000
const PAGE = 1000

export const auditLs: CommandSpec = {
  options: [
    formatOption(),
    { flags: '--last <duration>', about: 'only the last 30m, 8h, 7d …' },
    { flags: '--from <time>', about: 'from this time on, UTC' },
    { flags: '--to <time>', about: 'up to this time, UTC' },
    { flags: '--types <events>', about: 'only these events, with commas: user.login', many: true },
    { flags: '--limit <count>', about: `how many; ${SHOWN_DEFAULT} when absent` },
  ],
  about: 'Newest first.',
  examples: [
    'tctl audit ls',
    'tctl audit ls --last=8h --types=user.login,db.session.start --format=json',
  ],
  async run(input, tools) {
    const items = await withAdministrator(tools, input, (client) => list(client, input, tools))
    const format = input.choice('format', FORMATS, 'text')
    tools.out(await render(format, items, () => eventsTable(items)))
  },
}

export const auditVerify: CommandSpec = {
  options: [
    { flags: '--anchors', about: 'compare with the checkpoints agents and proxies kept' },
    { flags: '--format <format>', about: 'text, json', choices: ['text', 'json'] },
  ],
  about: 'Ends with status 1 when the log is damaged, and names the first bad record.',
  examples: ['tctl audit verify', 'tctl audit verify --anchors'],
  async run(input, tools) {
    const anchors = input.flag('anchors')
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('audit-verify', anchors ? { anchors } : {}),
    )
    const agreed = anchors ? ' and agrees with the checkpoints kept elsewhere' : ''
    if (input.text('format') === 'json') tools.out(`${JSON.stringify(reply, undefined, 2)}\n`)
    else if (reply.ok) tools.out(`The audit log is whole${agreed}: ${reply.records} records.\n`)
    if (!reply.ok)
      throw new CommandError(
        `the audit log fails verification after ${reply.records} good records: ${reply.problem ?? 'no detail'}`,
        EXIT.failure,
        'Keep a copy of the files as they are; do not restart control before you have one.',
      )
  },
}

export const auditExport: CommandSpec = {
  about: 'Writes the whole log as JSON lines to standard output, oldest first.',
  examples: ['tctl audit export > audit.jsonl'],
  async run(input, tools) {
    await withAdministrator(tools, input, async (client) => {
      for await (const record of client.stream('audit-export', {}))
        await tools.outSlowly(`${JSON.stringify(record)}\n`)
    })
  },
}

async function list(
  client: ControlClient,
  input: Input,
  tools: Tools,
): Promise<readonly JsonObject[]> {
  const limit = input.whole('limit', 1, SHOWN_MAX) ?? SHOWN_DEFAULT
  const last = durationOption('last', input.text('last'))
  const fromMs =
    timeOption('from', input.text('from')) ??
    (last === undefined ? undefined : tools.clock.now() - last)
  const toMs = timeOption('to', input.text('to'))
  const types = input.list('types').join(',')
  const items: JsonObject[] = []
  let cursor: string | undefined
  do {
    const reply = await client.call('audit-list', {
      limit: Math.min(PAGE, limit - items.length),
      ...(fromMs === undefined ? {} : { fromMs }),
      ...(toMs === undefined ? {} : { toMs }),
      ...(types === '' ? {} : { types }),
      ...(cursor === undefined ? {} : { cursor }),
    })
    items.push(...reply.items)
    cursor = reply.next
  } while (cursor !== undefined && items.length < limit)
  return items
}

function eventsTable(items: readonly JsonObject[]): string {
  if (items.length === 0) return 'No events.\n'
  return table(
    ['Time (UTC)', 'Code', 'Event', 'User', 'Details'],
    items.map((item) => [
      field(item, 'time').slice(0, 19).replace('T', ' '),
      field(item, 'code'),
      field(item, 'event'),
      field(item, 'user') || field(item, 'updated_by'),
      details(item),
    ]),
  )
}

/** What tells one event of a kind from the next. */
const TELLING = [
  'name',
  'target_name',
  'db_service',
  'db_user',
  'db_name',
  'db_query',
  'rows',
  'sqlstate',
  'success',
  'error',
  'reason',
  'decision_id',
]

function details(item: JsonObject): string {
  return TELLING.flatMap((name) => {
    const text = field(item, name)
    return text === '' ? [] : [`${name}=${text.length > 60 ? `${text.slice(0, 59)}…` : text}`]
  }).join(' ')
}

function field(item: JsonObject, name: string): string {
  const value = item[name]
  if (value === undefined || value === null) return ''
  return printable(typeof value === 'string' ? value : JSON.stringify(value))
}
