// Who a login is on this machine, read from its files (account-files.ts) or asked of its name services through getent, and whether it
// may be used: an account that has expired, one without a runnable shell, and everybody but root while /etc/nologin exists are refused,
// as sshd does. A locked password refuses nobody: no password is asked for here. A shell that only says that the account is not
// available is run, and says so.

import { execFile } from 'node:child_process'
import { access, constants, readFile } from 'node:fs/promises'
import process from 'node:process'
import { promisify } from 'node:util'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { type AccountTable, lineInFiles } from './account-files.ts'

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell: string
}

const run = promisify(execFile)
const GETENT = '/usr/bin/getent'
const NOLOGIN = '/etc/nologin'
const DEFAULT_SHELL = '/bin/sh'
const DAY_MS = 86_400_000
/** No name that getent could take for a number or an option. */
const LOGIN = /^[A-Za-z_][A-Za-z0-9_.@+-]*\$?$/

/** Throws a sentence for the person when the login cannot be used. */
export async function findAccount(login: string, nowMs: number): Promise<Account> {
  if (!LOGIN.test(login)) throw refusal('The name of the login is none this machine could have.')
  const root = process.getuid?.() === 0
  // Asked together: each may be a process of its own. Only root may read the second.
  const [passwd, shadow] = await Promise.all([
    lookUp('passwd', login),
    root ? lookUp('shadow', login) : '',
  ])
  const account = readPasswd(login, passwd)
  if (account === undefined) throw refusal(`This machine has no account "${login}".`)
  if (account.uid === 0 && login !== 'root')
    throw refusal(`The login "${login}" is another name of root, whom a certificate must name.`)
  if (!root) return ownAlone(account)
  if (hasExpired(shadow, nowMs))
    throw refusal(`The account "${login}" of this machine has expired.`)
  await checkUsable(account)
  return account
}

/** Only root can become somebody else. */
function ownAlone(account: Account): Account {
  if (account.uid === process.getuid?.()) return account
  throw refusal('The SSH service of this machine runs without root: it serves its own login alone.')
}

async function checkUsable(account: Account): Promise<void> {
  await access(account.shell, constants.X_OK).catch(() => {
    throw refusal(`The shell of "${account.name}" on this machine cannot be run.`)
  })
  if (account.uid === 0) return
  const closed = await readFile(NOLOGIN, 'utf8').catch(() => undefined)
  if (closed !== undefined)
    throw refusal(`This machine takes no logins now. ${closed.slice(0, SAID_CHARS_MAX)}`.trim())
}

const SAID_CHARS_MAX = 400

/** Of the one line `name:password:uid:gid:gecos:home:shell`. */
export function readPasswd(login: string, line: string): Account | undefined {
  const [name, , uid = '', gid = '', , home = '', shell = ''] = line.trimEnd().split(':')
  if (name !== login || !isId(uid) || !isId(gid)) return undefined
  return {
    name: login,
    uid: Number(uid),
    gid: Number(gid),
    home: home === '' ? '/' : home,
    shell: shell === '' ? DEFAULT_SHELL : shell,
  }
}

/** The eighth field of shadow(5): the day the account ends, counted from the epoch. Accounts without such a line do not. */
export function hasExpired(line: string, nowMs: number): boolean {
  const day = line.trimEnd().split(':')[7] ?? ''
  return /^\d+$/.test(day) && Number(day) * DAY_MS <= nowMs
}

function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) < 2 ** 32 - 1
}

async function lookUp(table: AccountTable, login: string): Promise<string> {
  return lineInFiles(table, login) ?? (await getent(table, login))
}

/** The line; '' when there is none. A machine that cannot say it lets nobody in. */
async function getent(table: AccountTable, login: string): Promise<string> {
  try {
    const options = { timeout: max('launchAccountMs'), maxBuffer: max('launchAccountBytesMax') }
    return (await run(GETENT, [table, '--', login], { ...options, env: {} })).stdout
  } catch (cause) {
    const status = typeof cause === 'object' && cause !== null && 'code' in cause ? cause.code : 0
    if (status === NOT_FOUND) return ''
    throw new ProxyError('policy.denied', 'This machine cannot say who the login is.', { cause })
  }
}

const NOT_FOUND = 2

function refusal(sentence: string): ProxyError {
  return new ProxyError('policy.denied', sentence)
}
