// `tsh status`: the logins on disk, as the reference product prints them. No network.

import { type CommandSpec, formatOption } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { colour, durationText, FORMATS, render, timeText } from '../render.ts'
import { loginsOf, readSshLogin } from '../ssh/login.ts'
import type { Tools } from '../tools.ts'
import { type Login, loginHint, readLogin } from './session.ts'

export const status: CommandSpec = {
  options: [formatOption()],
  about: 'Ends with status 4 when nobody is logged in, or the login has expired.',
  examples: ['tsh status', 'tsh status --format=json'],
  async run(input, tools) {
    const profiles = await tools.profiles.list()
    const logins = profiles
      .map((profile) => readLogin(tools, profile))
      .filter((login) => login !== undefined)
    const [current] = logins
    const currentProfile = await tools.profiles.read()
    const active = current?.profile.proxy === currentProfile?.proxy ? current : undefined
    const value = {
      active: active === undefined ? null : describe(active, tools),
      profiles: logins.filter((login) => login !== active).map((login) => describe(login, tools)),
    }
    tools.out(
      await render(input.choice('format', FORMATS, 'text'), value, () =>
        logins.map((login) => statusText(login, tools, login === active)).join('\n'),
      ),
    )
    if (active === undefined)
      throw new CommandError('not logged in', EXIT.notLoggedIn, loginHint(undefined))
    if (active.expiresAtMs <= tools.clock.now())
      throw new CommandError(
        'the login has expired',
        EXIT.notLoggedIn,
        loginHint(active.profile.proxy),
      )
  },
}

/** The block of one login; `>` marks the current one. */
export function statusText(login: Login, tools: Tools, current: boolean): string {
  const { profile, identity, expiresAtMs } = login
  const left = expiresAtMs - tools.clock.now()
  const validity = left > 0 ? `[valid for ${durationText(left)}]` : colour('red', '[EXPIRED]')
  const databases = tools.profiles.databases(profile)
  const lines: readonly (readonly [string, string])[] = [
    ['Profile URL', `https://${profile.proxy}`],
    ['Logged in as', identity.name],
    ['Cluster', profile.cluster],
    ['Roles', identity.roles.join(', ')],
    ...loginLines(tools, login),
    ...traitLines(identity.traits),
    ...(databases.length === 0 ? [] : [['Databases', databases.join(', ')] as const]),
    ['Valid until', `${timeText(expiresAtMs)} ${validity}`],
  ]
  return lines
    .map(
      ([name, text], at) => `${at === 0 && current ? '>' : ' '} ${`${name}:`.padEnd(20)}${text}\n`,
    )
    .join('')
}

/** What the SSH certificate is good for; no line where the cluster gave none. */
function loginLines(tools: Tools, login: Login): readonly (readonly [string, string])[] {
  const ssh = readSshLogin(tools, login)
  return ssh === undefined ? [] : [['Logins', loginsOf(ssh).join(', ') || '(none)']]
}

function traitLines(
  traits: Readonly<Record<string, readonly string[]>>,
): readonly (readonly [string, string])[] {
  const shown = [
    ['db_users', 'Database users'],
    ['db_names', 'Database names'],
  ] as const
  return shown.flatMap(([trait, title]) => {
    const values = traits[trait] ?? []
    return values.length === 0 ? [] : [[title, values.join(', ')] as const]
  })
}

function describe(login: Login, tools: Tools): object {
  const { profile, identity, expiresAtMs } = login
  const ssh = readSshLogin(tools, login)
  return {
    profile_url: `https://${profile.proxy}`,
    username: identity.name,
    cluster: profile.cluster,
    roles: identity.roles,
    traits: identity.traits,
    logins: ssh === undefined ? [] : loginsOf(ssh),
    databases: tools.profiles.databases(profile),
    valid_until: new Date(expiresAtMs).toISOString(),
    expired: expiresAtMs <= tools.clock.now(),
  }
}
