// `tctl nodes`: the machines people reach by SSH, claims on names that were turned away, and how another machine becomes one.

import type { TargetStatus, TokenReply } from '../../control/api/messages.ts'
import { wordsOf } from '../../core/predicate/functions.ts'
import { type QueryRow, searchText } from '../../core/predicate/query.ts'
import { type CommandSpec, formatOption } from '../command.ts'
import { durationOption } from '../duration.ts'
import { queried, QUERY_OPTION } from '../query.ts'
import { durationText, FORMATS, labelsText, printable, render, table, timeText } from '../render.ts'
import { CommandError, EXIT } from '../exit.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { joinLine } from './tokens.ts'

export const nodesLs: CommandSpec = {
  takes: '[labels]',
  options: [
    formatOption(),
    { flags: '--search <words>', about: 'words that name, address or labels hold' },
    QUERY_OPTION,
  ],
  about: 'Labels: key=value, several with commas; all must be equal.',
  examples: [
    'tctl nodes ls',
    'tctl nodes ls env=prod --search=web',
    'tctl nodes ls --format=json',
    `tctl nodes ls --query='exists(labels["owner"]) && !hasPrefix(name, "old-")'`,
  ],
  async run(input, tools) {
    const { items } = await withAdministrator(tools, input, (client) => client.call('targets', {}))
    const words = wordsOf(input.text('search') ?? '')
    const pairs = readPairs(input.args[0] ?? '')
    const found = items.filter(
      (item) =>
        item.kind === 'node' &&
        words.every((word) => searchText(asRow(item)).includes(word)) &&
        pairs.every(([key, value]) => item.labels[key] === value),
    )
    const nodes = queried(input, found, asRow)
    const format = input.choice('format', FORMATS, 'text')
    tools.out(await render(format, nodes, () => nodesText(nodes)))
  },
}

export const nodesAdd: CommandSpec = {
  options: [
    { flags: '--ttl <duration>', about: 'how long machines may join with it; 30m when absent' },
    { flags: '--format <format>', about: 'text, json', choices: ['text', 'json'] },
  ],
  about: 'Makes a join token and says what to run on the machine.',
  examples: ['tctl nodes add', 'tctl nodes add --ttl=1h'],
  async run(input, tools) {
    const ttlMs = durationOption('ttl', input.text('ttl'))
    const request = { roles: ['node'], ...(ttlMs === undefined ? {} : { ttlMs }) }
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('token-create', request),
    )
    tools.out(
      input.text('format') === 'json'
        ? `${JSON.stringify(reply, undefined, 2)}\n`
        : joinText(reply, tools),
    )
  },
}

function nodesText(nodes: readonly TargetStatus[]): string {
  if (nodes.length === 0)
    return 'No such node. Another machine becomes one with `tctl nodes add`.\n'
  const rows = nodes.map(({ name, labels, address, agents, online }) => [
    name,
    address ?? agents[0] ?? '',
    address === undefined ? 'agent' : 'openssh',
    labelsText(labels, 40),
    online ? 'online' : 'offline',
  ])
  const claims = nodes.flatMap(({ name, refused }) =>
    refused.map(
      ({ agent, atMs, reason }) =>
        `Turned away: ${name} by agent ${agent} at ${timeText(atMs)}: ${printable(reason)}\n`,
    ),
  )
  const list = table(['Name', 'Agent or address', 'Kind', 'Labels', 'Link'], rows)
  return `${list}${claims.length === 0 ? '' : `\n${claims.join('')}`}`
}

function asRow({ name, address = '', labels }: TargetStatus): QueryRow {
  return { kind: 'node', name, address, labels }
}

function readPairs(text: string): readonly (readonly [string, string])[] {
  return text
    .split(',')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      if (at > 0) return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
      throw new CommandError(`"${pair}" is no label`, EXIT.usage, 'Write key=value.')
    })
}

function joinText(reply: TokenReply, tools: Tools): string {
  return [
    `The join token: ${reply.token}`,
    `Machines may join with it for ${durationText(reply.expiresAtMs - tools.clock.now())}.`,
    '',
    'On the machine that becomes a node, as root:',
    '',
    joinLine(reply, 'node'),
    '  sluice start',
    '',
    'It is called as its nodename in sluice.yaml says, or as the machine is; the name must be free.',
    '',
  ].join('\n')
}
