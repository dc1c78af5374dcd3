// `tsh ls`: the nodes the person's roles let them see.

import type { Node } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption, usage } from '../command.ts'
import { QUERY_OPTION, queryText } from '../query.ts'
import { labelsText, printable, render, table } from '../render.ts'
import { renewAliases } from './hosts.ts'
import { listNodes } from './node.ts'
import { withSession } from './session.ts'

const FORMATS = ['text', 'json', 'yaml', 'names'] as const
const LABELS_WIDTH = 60

export const ls: CommandSpec = {
  takes: '[labels...]',
  options: [
    formatOption(FORMATS),
    { flags: '--search <words>', about: 'words that must occur in name, address or labels' },
    QUERY_OPTION,
    { flags: '-v, --verbose', about: 'whole labels, ids, the logins you may use' },
  ],
  about:
    'Labels are key=value; a node must have all of them. A node that is offline is shown as such.',
  examples: [
    'tsh ls',
    'tsh ls env=prod,team=shop',
    'tsh ls --search=web --format=json',
    `tsh ls --query='labels["env"] == "prod" && !contains(split(labels["teams"], ","), "shop")'`,
    'for node in $(tsh ls --format=names env=prod); do tsh ssh "$node" uptime; done',
  ],
  async run(input, tools) {
    const query = queryText(input)
    const bad = input.args.find((each) => !each.includes('='))
    if (bad !== undefined) throw usage(`"${bad}" is no label`, 'Labels are key=value.')
    await withSession(tools, input, async ({ login, client }) => {
      await renewAliases(tools, login.profile, client)
      const nodes = await listNodes(client, {
        search: input.text('search'),
        labels: input.args.join(','),
        query,
      })
      const format = input.choice('format', FORMATS, 'text')
      if (format === 'names') {
        tools.out(nodes.map(({ name }) => `${printable(name)}\n`).join(''))
        return
      }
      const filtered = [input.args[0], input.text('search'), query].some(
        (each) => each !== undefined,
      )
      tools.out(
        await render(format, nodes, () =>
          nodes.length === 0 ? nothing(filtered) : nodesTable(nodes, input.flag('verbose')),
        ),
      )
    })
  },
}

function nothing(filtered: boolean): string {
  return filtered
    ? 'No node that your roles let you see matches.\n'
    : 'No nodes that your roles let you see.\n'
}

function nodesTable(nodes: readonly Node[], verbose: boolean): string {
  const rows = nodes.map((node) => [
    node.name,
    ...(verbose ? [node.id] : []),
    addressOf(node),
    ...(verbose ? [node.logins.join(', ') || '(none)'] : []),
    labelsText(node.labels, verbose ? Number.POSITIVE_INFINITY : LABELS_WIDTH),
  ])
  const [id, logins] = verbose ? [['Node ID'], ['Logins']] : [[], []]
  return table(['Node Name', ...id, 'Address', ...logins, 'Labels'], rows)
}

/** How a node is reached; an arrow stands for its agent, which dials out. */
function addressOf({ address, online, subKind }: Node): string {
  if (subKind === 'openssh') return address
  return online ? '⟵ Agent' : 'offline'
}
