// `tctl db ls`: the databases agents offer, who owns each name, and claims that were turned away.

import type { TargetStatus } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption } from '../command.ts'
import { queried, QUERY_OPTION } from '../query.ts'
import { FORMATS, labelsText, printable, render, table, timeText } from '../render.ts'
import { withAdministrator } from './administrator.ts'

export const dbLs: CommandSpec = {
  options: [
    formatOption(),
    QUERY_OPTION,
    { flags: '-v, --verbose', about: 'what each agent says of each database' },
  ],
  examples: [
    'tctl db ls',
    'tctl db ls -v',
    'tctl db ls --format=json',
    `tctl db ls --query='resource.spec.protocol == "postgres" && labels["env"] != "dev"'`,
  ],
  async run(input, tools) {
    const { items } = await withAdministrator(tools, input, (client) => client.call('targets', {}))
    const databases = queried(
      input,
      items.filter(({ kind }) => kind === 'db'),
      ({ name, labels, protocol }) => ({ kind: 'db', name, labels, protocol }),
    )
    const format = input.choice('format', FORMATS, 'text')
    tools.out(await render(format, databases, () => targetsText(databases, input.flag('verbose'))))
  },
}

function targetsText(targets: readonly TargetStatus[], verbose: boolean): string {
  if (targets.length === 0) return 'No agent offers a database, and no db resource is there.\n'
  const rows = targets.map((target) => [
    target.name,
    target.protocol,
    labelsText(target.labels, 40),
    target.owner,
    String(target.agents.length),
    target.status,
    target.reason,
  ])
  const claims = targets.flatMap(({ name, refused }) =>
    refused.map(
      ({ agent, atMs, reason }) =>
        `Turned away: ${name} by agent ${agent} at ${timeText(atMs)}: ${printable(reason)}\n`,
    ),
  )
  const list = table(['Name', 'Protocol', 'Labels', 'Owner', 'Agents', 'Status', 'Reason'], rows)
  const servers = verbose ? `\n${serversText(targets)}` : ''
  return `${list}${servers}${claims.length === 0 ? '' : `\n${claims.join('')}`}`
}

function serversText(targets: readonly TargetStatus[]): string {
  const rows = targets.flatMap(({ name, servers }) =>
    servers.map(({ agent, online, status, reason, sinceMs }) => [
      name,
      agent,
      online ? status : 'offline',
      sinceMs === 0 ? '' : timeText(sinceMs),
      reason,
    ]),
  )
  return table(['Database', 'Agent', 'Status', 'Since', 'Reason'], rows)
}
