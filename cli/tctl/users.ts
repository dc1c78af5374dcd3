// `tctl users`: local users are made without a password; the invite lets one person set it, once, in a browser or with tsh.

import type { InviteReply } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption, type Input, type Option, usage } from '../command.ts'
import { durationOption } from '../duration.ts'
import { durationText, timeText } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { listKind, LIST_OPTIONS } from './listing.ts'

/** Options that fill traits: what templates in roles ask for. */
const TRAITS: readonly (readonly [option: string, trait: string, about: string])[] = [
  ['logins', 'logins', 'logins of operating systems'],
  ['db-users', 'db_users', 'users of databases'],
  ['db-names', 'db_names', 'databases in a server'],
]

const TTL: Option = {
  flags: '--ttl <duration>',
  about: 'how long the link is valid: 1h, at most 48h',
}

const FORMAT: Option = formatOption(['text', 'json'])

export const usersAdd: CommandSpec = {
  takes: '<name>',
  options: [
    { flags: '--roles <roles>', about: 'roles, with commas', many: true },
    ...TRAITS.map(([option, , about]) => ({
      flags: `--${option} <names>`,
      about,
      many: true as const,
    })),
    TTL,
    FORMAT,
  ],
  examples: [
    'tctl users add alice --roles=access --db-users=reader --db-names=shop',
    'tctl users add root --roles=access,editor,auditor --ttl=8h',
  ],
  async run(input, tools) {
    const roles = input.list('roles')
    if (roles.length === 0)
      throw usage('which roles?', 'Name them: --roles=access; `tctl get roles` lists them.')
    const traits = TRAITS.map(([option, trait]) => [trait, input.list(option)] as const)
    const ttlMs = durationOption('ttl', input.text('ttl'))
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('user-create', {
        name: input.arg(0),
        roles,
        traits: Object.fromEntries(traits.filter(([, values]) => values.length > 0)),
        ...(ttlMs === undefined ? {} : { ttlMs }),
      }),
    )
    showInvite(tools, input, reply, `User "${input.arg(0)}" is created and has no password yet.`)
  },
}

export const usersReset: CommandSpec = {
  takes: '<name>',
  options: [TTL, FORMAT],
  about: 'Removes password and one-time codes, and ends every login of the user at once.',
  examples: ['tctl users reset alice'],
  async run(input, tools) {
    const ttlMs = durationOption('ttl', input.text('ttl'))
    const name = input.arg(0)
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('user-reset', { name, ...(ttlMs === undefined ? {} : { ttlMs }) }),
    )
    showInvite(tools, input, reply, `User "${name}" is reset; earlier logins have ended.`)
  },
}

export const usersLs: CommandSpec = {
  options: LIST_OPTIONS,
  examples: ['tctl users ls', 'tctl users ls --format=json'],
  run: (input, tools) => listKind(tools, input, 'user'),
}

export const usersRm: CommandSpec = {
  takes: '<name>',
  about: 'Ends every login of the user at once.',
  examples: ['tctl users rm alice'],
  run: (input, tools) => removeUser(tools, input),
}

async function removeUser(tools: Tools, input: Input): Promise<void> {
  const name = input.arg(0)
  await withAdministrator(tools, input, (client) =>
    client.call('resource-delete', { kind: 'user', name }),
  )
  tools.out(`User "${name}" is removed.\n`)
}

function showInvite(tools: Tools, input: Input, reply: InviteReply, done: string): void {
  const json = input.text('format') === 'json'
  tools.out(
    json ? `${JSON.stringify(reply, undefined, 2)}\n` : `${done}\n${inviteText(reply, tools)}`,
  )
}

/** The link, and the same without a browser. The pin makes first trust possible. */
function inviteText({ invite, pins }: InviteReply, tools: Tools): string {
  const proxy = URL.canParse(invite.url) ? new URL(invite.url) : undefined
  const address = proxy === undefined ? 'HOST:PORT' : `${proxy.hostname}:${proxy.port || '443'}`
  const left = durationText(invite.expiresAtMs - tools.clock.now())
  const pin = pins.map((each) => ` --ca-pin=${each}`).join('')
  return [
    `Share this link with them; it works once and for ${left}, until ${timeText(invite.expiresAtMs)}:`,
    '',
    `  ${invite.url}`,
    '',
    'Or, without a browser:',
    '',
    `  tsh login --proxy=${address}${pin} --invite=${invite.token}`,
    '',
  ].join('\n')
}
