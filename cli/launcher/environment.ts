// The whole environment of a login's program: nothing of the launcher's own, what passwd and login.defs say, what the session is, and
// of what the client wants only names that change no more than language and terminal. The last is checked here again, whoever checked
// it before: these variables are seen by setpriv, and with a terminal by sh, while they are still root.

import { readFileSync } from 'node:fs'

import type { UserIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import type { ProgramLaunch } from '../../workers/launch-wire.ts'
import type { Account } from './account.ts'

export interface SessionSetting {
  readonly launch: ProgramLaunch
  readonly account: Account
  readonly identity: UserIdentity
  /** What the client asked for, where a command of the certificate stands in for it. */
  readonly original?: string
}

/** Values that cannot be a path, so that no library reads a file for them. */
const WORD = /^[A-Za-z0-9_.,:@+-]*$/
const ABSOLUTE = /^\/[^\0]*$/

/** Names a client or the session itself may set, with the form of the value. */
const SETTABLE: readonly (readonly [name: RegExp, value: RegExp])[] = [
  [/^(LANG|LANGUAGE|LC_[A-Z]+)$/, WORD],
  [/^(TERM|COLORTERM|DISPLAY)$/, WORD],
  [/^SSH_AUTH_SOCK$/, ABSOLUTE],
]

export function sessionEnvironment(setting: SessionSetting): Readonly<Record<string, string>> {
  const { launch, account, original } = setting
  const { terminal } = launch
  return {
    ...settable(launch.env),
    ...(terminal === undefined ? {} : { SSH_TTY: terminal.path, ...termOf(terminal.term) }),
    HOME: account.home,
    USER: account.name,
    LOGNAME: account.name,
    SHELL: account.shell,
    PATH: pathOf(account),
    ...ofConnection(launch),
    ...ofIdentity(setting),
    ...(original === undefined ? {} : { SSH_ORIGINAL_COMMAND: original }),
  }
}

/** What is left of a wish. */
export function settable(env: Readonly<Record<string, string>>): Record<string, string> {
  const good = Object.entries(env).filter(
    ([name, value]) =>
      value.length <= max('launchEnvironmentCharsMax') &&
      SETTABLE.some(([names, values]) => names.test(name) && values.test(value)),
  )
  return Object.fromEntries(good.slice(0, max('launchEnvironmentMax')))
}

function termOf(term: string): Record<string, string> {
  return WORD.test(term) && term !== '' ? { TERM: term } : {}
}

function ofConnection({ ask: { client, server } }: ProgramLaunch): Record<string, string> {
  if (client.host === '') return {}
  return {
    SSH_CLIENT: `${client.host} ${client.port} ${server.port}`,
    SSH_CONNECTION: `${client.host} ${client.port} ${server.host || 'UNKNOWN'} ${server.port}`,
  }
}

/** Under our own names and under those that scripts written for the reference product read. */
function ofIdentity({ launch: { ask }, identity }: SessionSetting): Record<string, string> {
  const facts = {
    USER: identity.name,
    LOGIN: ask.login,
    CLUSTER_NAME: identity.cluster,
    HOST_UUID: ask.node.agentId,
  }
  const named = Object.entries(facts).flatMap(([name, value]): [string, string][] => [
    [`SSH_SLUICE_${name}`, value],
    [`SSH_TELEPORT_${name}`, value],
  ])
  return {
    ...Object.fromEntries(named),
    ...(ask.sessionId === '' ? {} : { SSH_SESSION_ID: ask.sessionId }),
    ...(ask.webProxy === '' ? {} : { SSH_SESSION_WEBPROXY_ADDR: ask.webProxy }),
  }
}

const LOGIN_DEFS = '/etc/login.defs'
const PATH_OF_PEOPLE = '/usr/local/bin:/usr/bin:/bin'
const PATH_OF_ROOT = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export function pathOf({ uid }: Account): string {
  const name = uid === 0 ? 'ENV_SUPATH' : 'ENV_PATH'
  const found = new RegExp(`^${name}\\s+(?:PATH=)?(\\S+)`, 'm').exec(loginDefs())
  return found?.[1] ?? (uid === 0 ? PATH_OF_ROOT : PATH_OF_PEOPLE)
}

/** The umask of sessions, octal. */
export function sessionUmask(): string {
  return /^UMASK\s+(0?[0-7]{1,3})\s*$/m.exec(loginDefs())?.[1] ?? '022'
}

function loginDefs(): string {
  try {
    return readFileSync(LOGIN_DEFS, 'utf8')
  } catch {
    // Not every distribution has it.
    return ''
  }
}
