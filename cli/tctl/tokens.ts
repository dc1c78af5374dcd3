// `tctl tokens`: what agents and proxies join with.

import type { TokenReply } from '../../control/api/messages.ts'
import { type CommandSpec, usage } from '../command.ts'
import { durationOption } from '../duration.ts'
import { durationText } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { listKind, LIST_OPTIONS } from './listing.ts'

export const tokensAdd: CommandSpec = {
  options: [
    { flags: '--type <types>', about: 'what may join: db, node, proxy; with commas', many: true },
    { flags: '--ttl <duration>', about: 'how long it is valid; 30m when absent' },
    {
      flags: '--value <token>',
      about: 'the token itself, 16 to 128 characters; drawn when absent',
    },
    {
      flags: '--targets <names>',
      about: 'target names that may be served; any free when absent',
      many: true,
    },
    { flags: '--format <format>', about: 'text, json', choices: ['text', 'json'] },
  ],
  examples: [
    'tctl tokens add --type=db --ttl=1h',
    'tctl tokens add --type=node,db',
    'tctl tokens add --type=db --targets=orders,billing --format=json',
  ],
  async run(input, tools) {
    const roles = input.list('type')
    if (roles.length === 0) throw usage('what may join?', 'Name it: --type=db')
    const ttlMs = durationOption('ttl', input.text('ttl'))
    const name = input.text('value')
    const targets = input.list('targets')
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('token-create', {
        roles,
        ...(ttlMs === undefined ? {} : { ttlMs }),
        ...(name === undefined ? {} : { name }),
        ...(targets.length === 0 ? {} : { targets }),
      }),
    )
    tools.out(
      input.text('format') === 'json'
        ? `${JSON.stringify(reply, undefined, 2)}\n`
        : tokenText(reply, roles, tools),
    )
  },
}

export const tokensLs: CommandSpec = {
  options: LIST_OPTIONS,
  about: 'In a table a token is cut short; --format=yaml shows it whole.',
  examples: ['tctl tokens ls', 'tctl tokens ls --format=json'],
  run: (input, tools) => listKind(tools, input, 'token'),
}

export const tokensRm: CommandSpec = {
  takes: '<token>',
  examples: ['tctl tokens rm 0123456789abcdef0123456789abcdef'],
  async run(input, tools) {
    const name = input.arg(0)
    await withAdministrator(tools, input, (client) =>
      client.call('resource-delete', { kind: 'token', name }),
    )
    tools.out('The token is removed; whoever has joined with it stays.\n')
  },
}

function tokenText(reply: TokenReply, roles: readonly string[], tools: Tools): string {
  const services = roles.join(',')
  const role = roles.filter((each) => ['db', 'node', 'proxy'].includes(each)).join(',') || 'db'
  return [
    `The join token: ${reply.token}`,
    `It is valid for ${durationText(reply.expiresAtMs - tools.clock.now())} and lets join: ${services}.`,
    '',
    'On the machine that joins:',
    '',
    joinLine(reply, role),
    '  sluice start',
    '',
  ].join('\n')
}

/** What to type on a machine that joins. */
export function joinLine({ token, proxies = [], pins }: TokenReply, roles: string): string {
  const proxy = proxies[0] ?? 'HOST:PORT'
  const words = [`--roles=${roles}`, `--proxy=${proxy}`, `--token=${token}`]
  const all = [...words, ...pins.map((pin) => `--ca-pin=${pin}`), '-o /etc/sluice.yaml']
  return `  sluice configure ${all.join(' ')}`
}
